import { readFileSync } from 'node:fs';
import test from 'ava';
import type { Hlc, LogIndex, RangeId, Term } from '../../../../src/core/brands.ts';
import { SkerryError } from '../../../../src/core/errors.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import type { Engine } from '../../../../src/engine/engine.ts';
import { MemoryArena } from '../../../../src/engine/memory/arena.ts';
import { openFrozen } from '../../../../src/engine/memory/frozen.ts';
import type { CheckpointInfo } from '../../../../src/storage/checkpoint/index.ts';
import {
  loadCheckpoint,
  readCheckpointInfo,
  verifyCheckpoint,
  writeCheckpoint,
} from '../../../../src/storage/checkpoint/index.ts';
import { TEMPORARY_SUFFIX } from '../../../../src/storage/checkpoint/write.ts';
import { FaultyDisk, SimulatedCrash } from '../../../support/faulty-disk.ts';

const FILE = '/data/range-7.checkpoint';

function infoAt(appliedIndex: number): CheckpointInfo {
  return {
    rangeId: 7 as RangeId,
    appliedIndex: appliedIndex as LogIndex,
    appliedTerm: 3 as Term,
    latestVersion: 123_456_789_012_345 as Hlc,
    meta: Buffer.from(`what the host needs at ${appliedIndex}`),
  };
}

function newStore(): Engine {
  return new MemoryArena({ maxBytes: 2 ** 30 }).createStore();
}

function newDisk(): FaultyDisk {
  const disk = new FaultyDisk();
  disk.mkdir('/data');
  disk.syncDir('/');
  return disk;
}

function put(store: Engine, key: Buffer, value: Buffer, version: number, expiresAtMs = 0, tag = 0): void {
  store.put(key, 0, key.length, value, 0, value.length, version as Hlc, expiresAtMs, tag);
}

function smallStore(mark: string): Engine {
  const store = newStore();
  put(store, Buffer.from('a'), Buffer.from(mark), 5, 1_700_000_000_000, 2);
  put(store, Buffer.from('b'), Buffer.alloc(0), 6);
  put(store, Buffer.from('c'), Buffer.alloc(300, mark), 2 ** 52 + 1);
  return store;
}

function checkpoint(disk: FaultyDisk, store: Engine, info: CheckpointInfo): ReturnType<typeof writeCheckpoint> {
  const frozen = store.freeze();
  try {
    return writeCheckpoint(disk, FILE, openFrozen(frozen), info);
  } finally {
    store.release(frozen);
  }
}

/** Everything in a store, as text. */
function dump(store: Engine): string[] {
  const lines: string[] = [];
  const cursor = store.cursor();
  for (let more = cursor.first(); more; more = cursor.next()) {
    const { value } = cursor;
    const key = cursor.keyBuffer.toString('latin1', cursor.keyStart, cursor.keyEnd);
    const bytes = value.buffer.toString('latin1', value.start, value.end);
    lines.push(`${key} ${value.version} ${value.expiresAtMs} ${value.tag} ${bytes}`);
  }
  return lines;
}

function load(disk: FaultyDisk): { store: Engine; info: CheckpointInfo } {
  const store = newStore();
  const loader = store.bulkLoad();
  const info = loadCheckpoint(disk, FILE, loader);
  loader.finish();
  return { store, info };
}

/** Reads all of it and keeps nothing: for the thousands of damaged files. */
function loadNowhere(disk: FaultyDisk): void {
  const place = { buffer: Buffer.alloc(400_000), start: 0, end: 0 };
  loadCheckpoint(disk, FILE, {
    add: () => undefined,
    reserveValue: (valueBytes) => ({ ...place, end: valueBytes }),
  });
}

test('what was written is loaded again: keys, values of all lengths, versions, expiries, tags, description', (t) => {
  const prng = createPrng(1);
  const store = newStore();
  const lengths = [0, 1, 100, 511, 513, 70_000, 262_143, 262_144, 262_145, 1_048_576, 1_048_577, 3_500_000];
  for (let i = 0; i < 6000; i++) {
    const key = Buffer.alloc(i % 100 === 0 ? 1024 : 1 + prng.below(40));
    for (let b = 0; b < key.length; b++) key[b] = prng.below(256);
    const length = i < lengths.length ? (lengths[i] as number) : prng.below(i % 50 === 0 ? 20_000 : 200);
    const value = Buffer.alloc(length, i % 3 === 0 ? 'text that shrinks ' : undefined);
    if (i % 3 !== 0) for (let b = 0; b < length; b++) value[b] = prng.below(256);
    put(store, key, value, i + 1, i % 4 === 0 ? 2 ** 41 + i : 0, i % 9 === 0 ? 200 : 0);
  }
  put(store, Buffer.alloc(0), Buffer.from('the value of the empty key'), 9999);
  const disk = newDisk();
  const progress: number[] = [];
  const frozen = store.freeze();
  const written = writeCheckpoint(disk, FILE, openFrozen(frozen), infoAt(42), (keys) => progress.push(keys));
  store.release(frozen);
  t.is(written.keys, store.keyCount);
  t.is(progress.at(-1), store.keyCount);
  t.is(written.bytes, disk.openFile(FILE, 'r').size());
  t.deepEqual(verifyCheckpoint(disk, FILE), []);
  t.deepEqual(readCheckpointInfo(disk, FILE), infoAt(42));
  const loaded = load(disk);
  t.deepEqual(loaded.info, infoAt(42));
  t.deepEqual(dump(loaded.store), dump(store));
  t.is(loaded.store.expiringCount, store.expiringCount);
  t.is(checkpoint(disk, loaded.store, infoAt(42)).crc, written.crc);
});

test('an empty range has a checkpoint too', (t) => {
  const disk = newDisk();
  t.is(checkpoint(disk, newStore(), infoAt(1)).keys, 0);
  t.deepEqual(verifyCheckpoint(disk, FILE), []);
  t.is(load(disk).store.keyCount, 0);
});

test('a crash at any step of writing leaves the old checkpoint or the new one, whole', (t) => {
  const oldStore = smallStore('old');
  const newerStore = smallStore('new');
  const base = newDisk();
  checkpoint(base, oldStore, infoAt(1));
  const complete = base.clone();
  const before = complete.operations;
  checkpoint(complete, newerStore, infoAt(2));
  const steps = complete.operations - before;
  t.true(steps >= 5);
  const seen = new Set<number>();
  for (let step = 0; step <= steps; step++) {
    for (let seed = 1; seed <= 10; seed++) {
      const disk = base.clone(seed);
      disk.faults = { crashAfter: step };
      let finished = false;
      try {
        checkpoint(disk, newerStore, infoAt(2));
        finished = true;
      } catch (error) {
        if (!(error instanceof SimulatedCrash)) throw error;
      }
      disk.crash();
      t.deepEqual(verifyCheckpoint(disk, FILE), []);
      const { info, store } = load(disk);
      t.deepEqual(dump(store), dump(info.appliedIndex === 1 ? oldStore : newerStore));
      if (finished) t.is(info.appliedIndex, 2 as LogIndex, 'what was reported as written is there');
      seen.add(info.appliedIndex);
      checkpoint(disk, newerStore, infoAt(3));
      t.is(readCheckpointInfo(disk, FILE).appliedIndex, 3 as LogIndex, 'the next one is not hindered');
    }
  }
  t.deepEqual([...seen].sort(), [1, 2]);
});

test('a disk that fills up or fails its sync leaves the old checkpoint and no part of a new one, and the error is the disk’s', (t) => {
  for (const [faults, code] of [
    [{ budgetBytes: 1 }, 'ENOSPC'],
    [{ failSyncAfter: 0 }, 'EIO'],
  ] as const) {
    const disk = newDisk();
    checkpoint(disk, smallStore('old'), infoAt(1));
    disk.faults = faults;
    t.throws(() => checkpoint(disk, smallStore('new'), infoAt(2)), { code });
    t.is(load(disk).info.appliedIndex, 1 as LogIndex);
    t.false(disk.exists(FILE + TEMPORARY_SUFFIX), 'what is left of it would take room from the log');
  }
});

test('a flipped bit at any place is found, and named with file and offset', (t) => {
  const disk = newDisk();
  const store = smallStore('mark');
  put(store, Buffer.from('long'), Buffer.alloc(300_000, 'shrinks'), 9);
  const { bytes } = checkpoint(disk, store, infoAt(42));
  t.true(bytes < 2000);
  for (let offset = 0; offset < bytes; offset++) {
    for (let bit = 0; bit < 8; bit++) {
      disk.flipBit(FILE, offset, bit);
      const error = t.throws(() => loadNowhere(disk), { instanceOf: SkerryError, code: 'KV_CORRUPT' });
      const damages = verifyCheckpoint(disk, FILE);
      if (damages.length === 0 || error.hint['file'] !== FILE || typeof error.hint['offset'] !== 'number') {
        t.fail(`bit ${bit} at ${offset}`);
      }
      disk.flipBit(FILE, offset, bit);
    }
  }
  t.deepEqual(verifyCheckpoint(disk, FILE), []);
});

test('a file that is cut off anywhere, or has something behind its end, is refused', (t) => {
  const disk = newDisk();
  const { bytes } = checkpoint(disk, smallStore('mark'), infoAt(42));
  for (let size = 0; size < bytes; size++) {
    const cut = disk.clone();
    cut.openFile(FILE, 'r+').truncate(size);
    t.throws(() => loadNowhere(cut), { code: 'KV_CORRUPT' });
    t.true(verifyCheckpoint(cut, FILE).length > 0);
  }
  disk.openFile(FILE, 'r+').write(Buffer.alloc(40), 0, 40, bytes);
  t.throws(() => loadNowhere(disk), { code: 'KV_CORRUPT' });
});

test('damage in several blocks is told block by block', (t) => {
  const disk = newDisk();
  const store = newStore();
  const prng = createPrng(3);
  for (let i = 0; i < 2000; i++) {
    const value = Buffer.alloc(500);
    for (let b = 0; b < value.length; b++) value[b] = prng.below(256);
    put(store, Buffer.from(`key ${String(i).padStart(5, '0')}`), value, i + 1);
  }
  checkpoint(disk, store, infoAt(42));
  disk.flipBit(FILE, 100_000, 1);
  disk.flipBit(FILE, 700_000, 1);
  const damages = verifyCheckpoint(disk, FILE);
  t.is(damages.length, 2);
  for (const { what } of damages) t.regex(what, /checksum of a block/);
  t.true((damages[0]?.offset as number) < 100_000 && (damages[1]?.offset as number) < 700_000);
});

test('the example in docs/checkpoint-format.md is what is written', (t) => {
  const disk = newDisk();
  const store = newStore();
  put(store, Buffer.from('a'), Buffer.from('1'), 10);
  put(store, Buffer.from('bc'), Buffer.from('xyz'), 11, 1_800_000_000_000);
  const info = { ...infoAt(5), rangeId: 2 as RangeId, latestVersion: 11 as Hlc, meta: Buffer.from('meta') };
  const { bytes } = checkpoint(disk, store, info);
  const document = readFileSync(new URL('../../../../docs/checkpoint-format.md', import.meta.url), 'utf8');
  const dumped = [...document.matchAll(/^[0-9a-f]{4} {2}((?:[0-9a-f]{2} {1,2})+)/gm)]
    .flatMap(([, row]) => (row as string).trim().split(/\s+/))
    .join('');
  t.is(dumped, disk.bytes(FILE, 0, bytes).toString('hex'));
});
