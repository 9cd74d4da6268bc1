import test from 'ava';
import { readRange } from '../../../../src/storage/wal/range-reader.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { WalHarness } from '../../../support/wal-harness.ts';

const DIR = '/wal';
const wanted = { rangeId: 7, first: 3, last: 6, bytesMax: 2 ** 20 };

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
  const place = { logId: 1, segmentIds: [1] };
  t.is(readRange(wal.disk, DIR, place, wanted), null, 'of another log');
  t.is(readRange(wal.disk, DIR, { logId: 1, segmentIds: [99] }, wanted), null, 'its file is gone');
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
