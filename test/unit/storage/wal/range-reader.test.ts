import test from 'ava';
import { array, assert as assertProperty, boolean, constantFrom, integer, property, record } from 'fast-check';
import type { Disk, DiskFile } from '../../../../src/storage/disk.ts';
import { readRange } from '../../../../src/storage/wal/range-reader.ts';
import type { RangePlace } from '../../../../src/storage/wal/range-reader.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { WalHarness } from '../../../support/wal-harness.ts';

const DIR = '/wal';
const wanted = { rangeId: 7, first: 3, last: 6, bytesMax: 2 ** 20 };

const place = (segmentId: number): RangePlace => {
  return { logId: 1, segments: [{ segmentId, lastIndex: 10, isRewritten: false }] };
};

/** Entries 1 … count of range 7, between those of another. */
function write(wal: WalHarness, first: number, last: number, term = 1): void {
  for (let index = first; index <= last; index++) {
    wal.append(7, index, `${term}.${index}`, { term });
    wal.append(8, index, 'another');
    wal.writer.turn();
  }
  while (wal.writer.turn());
}

const texts = (wal: WalHarness, request = wanted): string[] | null =>
  wal.read(request)?.map(({ data }) => Buffer.from(data).toString()) ?? null;

function start(): WalHarness {
  const disk = new FaultyDisk(1);
  disk.mkdir(DIR);
  return new WalHarness(disk, { dir: DIR });
}

test('entries are read back from the open segment, in order, and not those of other ranges', (t) => {
  const wal = start();
  write(wal, 1, 10);
  t.deepEqual(texts(wal), ['1.3', '1.4', '1.5', '1.6']);
});

test('what was overwritten is not read back', (t) => {
  const wal = start();
  write(wal, 1, 5);
  write(wal, 4, 6, 2);
  t.deepEqual(texts(wal), ['1.3', '2.4', '2.5', '2.6']);
});

test('a read is bounded in bytes, and goes on where the last one ended', (t) => {
  const wal = start();
  write(wal, 1, 10);
  t.deepEqual(texts(wal, { ...wanted, bytesMax: 5 }), ['1.3', '1.4']);
  t.deepEqual(texts(wal, { ...wanted, first: 4, bytesMax: 5 }), ['1.4', '1.5']);
});

test('entries that are not in the log any more are not read back, nor what follows them', (t) => {
  const wal = start();
  write(wal, 5, 10);
  t.is(texts(wal), null);
});

test('a segment that was used again in the meantime is no source', (t) => {
  const wal = start();
  write(wal, 1, 10);
  t.is(readRange(wal.disk, DIR, place(1), wanted), null, 'of another log');
  t.is(readRange(wal.disk, DIR, place(99), wanted), null, 'its file is gone');
});

test('entries of many fragments come back whole', (t) => {
  const wal = start();
  const long = Buffer.alloc(100_000, 'long');
  wal.append(7, 1, 'first');
  while (wal.writer.turn());
  wal.append(7, 2, long);
  while (wal.writer.turn());
  const read = wal.read({ ...wanted, first: 1, last: 2 });
  t.true(long.equals(read?.[1]?.data ?? Buffer.alloc(0)));
});

/** A disk that counts what is read of it. */
class CountingDisk extends FaultyDisk implements Disk {
  bytesRead = 0;

  override openFile(...args: Parameters<FaultyDisk['openFile']>): DiskFile {
    const file = super.openFile(...args);
    const read: DiskFile['read'] = (buffer, offset, length, position) => {
      const bytes = file.read(buffer, offset, length, position);
      this.bytesRead += bytes;
      return bytes;
    };
    return new Proxy(file, {
      get: (target, name) => {
        const value: unknown = name === 'read' ? read : Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }
}

test('a long log is read back in small pieces, and each part of it about once', (t) => {
  const disk = new CountingDisk(1);
  disk.mkdir(DIR);
  const wal = new WalHarness(disk, { dir: DIR, wal: { segmentBytes: 4 * 2 ** 20 } });
  const value = Buffer.alloc(60_000, 'x');
  const count = 400;
  for (let index = 1; index <= count; index++) {
    wal.append(7, index, value);
    wal.flush();
  }
  disk.bytesRead = 0;
  let last = 1;
  while (last < count) {
    const read = wal.read({ rangeId: 7, first: last, last: count, bytesMax: 2 ** 20 }) ?? [];
    t.true(read.length > 1);
    last = read.at(-1)?.index ?? count;
  }
  t.true(disk.bytesRead < 4 * count * value.length, `${disk.bytesRead} bytes read of ${count * value.length}`);
});

test('whatever was overwritten, cut and spread over segments: what is read back in pieces is what the log says', (t) => {
  const step = record({
    kind: constantFrom('entry', 'entry', 'entry', 'entry', 'entry', 'entry', 'commit', 'read', 'cut'),
    back: integer({ min: 0, max: 4 }),
    isBack: boolean(),
    bytes: constantFrom(10, 5000, 200_000, 400_000),
    share: integer({ min: 1, max: 600_000 }),
  });
  assertProperty(
    property(array(step, { maxLength: 60 }), integer(), (steps, seed) => {
      const prng = createPrng(seed);
      const disk = new FaultyDisk(1);
      disk.mkdir(DIR);
      const wal = new WalHarness(disk, { dir: DIR });
      /** By index; those up to `base` are gone. */
      const log: string[] = [];
      let [base, committed, term, others] = [0, 0, 1, 0];
      const readAll = (bytesMax: number): void => {
        // A follower that has the first of them, and asks for more whenever it has taken what came.
        for (let first = base + 1; first <= committed;) {
          const read = wal.read({ rangeId: 7, first, last: committed, bytesMax: 1 + prng.below(bytesMax) });
          if (read === null) throw new Error(`nothing from ${first} on`);
          for (const [i, entry] of read.entries()) {
            const text = `${entry.term}:${entry.data.length}:${Buffer.from(entry.data.subarray(0, 8)).toString()}`;
            if (entry.index !== first + i || text !== log[entry.index]) {
              throw new Error(`${entry.index}: ${text} where ${log[first + i]} is right`);
            }
          }
          const last = read.at(-1)?.index ?? 0;
          first = last === first ? first + 1 : last;
        }
      };
      const append = (index: number, bytes: number): void => {
        const data = Buffer.alloc(bytes, `${term}.${index}.`);
        wal.append(7, index, data, { term });
        wal.append(8, ++others, 'another');
        wal.flush();
        log.length = index;
        log[index] = `${term}:${bytes}:${data.subarray(0, 8).toString()}`;
      };
      for (const { kind, back, isBack, bytes, share } of steps) {
        const last = Math.max(base, log.length - 1);
        if (kind === 'entry') {
          const index = Math.max(committed + 1, isBack ? last + 1 - back : last + 1);
          if (index <= last) term++;
          append(index, bytes);
        } else if (kind === 'commit') {
          committed = Math.min(last, committed + 1 + back);
        } else if (kind === 'read') {
          readAll(share);
        } else if (back === 0) {
          base = last + 3;
          committed = base;
          wal.cut(7, base, term);
          wal.flush();
          log.length = base + 1;
        }
      }
      committed = Math.max(base, log.length - 1);
      readAll(300_000);
    }),
    { numRuns: 150 },
  );
  t.pass();
});
