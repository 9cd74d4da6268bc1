import { Worker } from 'node:worker_threads';
import test from 'ava';
import type { Hlc } from '../../../../src/core/brands.ts';
import { SkerryError } from '../../../../src/core/errors.ts';
import { createValueRef } from '../../../../src/core/kv/store.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import type { Engine } from '../../../../src/engine/engine.ts';
import { MemoryArena } from '../../../../src/engine/memory/arena.ts';
import { openFrozen } from '../../../../src/engine/memory/frozen.ts';
import { pagePrefix } from '../../../../src/engine/memory/page.ts';
import { MemoryStore } from '../../../../src/engine/memory/store.ts';
import { verifyArena, verifyStore } from '../../../support/verify-memory.ts';

const SMALL = { pageBytes: 4096, slabBytes: 4096 * 64 };

function put(engine: Engine, key: string, value: Buffer, version: number, expiresAtMs = 0): void {
  const bytes = Buffer.from(key, 'latin1');
  engine.put(bytes, 0, bytes.length, value, 0, value.length, version as Hlc, expiresAtMs, 0);
}

function remove(engine: Engine, key: string, version: number): boolean {
  const bytes = Buffer.from(key, 'latin1');
  return engine.delete(bytes, 0, bytes.length, version as Hlc);
}

function dump(engine: Engine): string[] {
  const lines: string[] = [];
  const cursor = engine.cursor();
  for (let more = cursor.first(); more; more = cursor.next()) {
    const { value } = cursor;
    const key = cursor.keyBuffer.toString('latin1', cursor.keyStart, cursor.keyEnd);
    lines.push(`${key} ${value.version} ${value.buffer.toString('latin1', value.start, value.end)}`);
  }
  return lines;
}

function freeAll(arena: MemoryArena): void {
  while (arena.reclaim(1000));
  verifyArena(arena);
}

test('a put that would pass maxBytes throws KV_OUT_OF_MEMORY and has changed nothing', (t) => {
  for (const pinned of [false, true]) {
    const arena = new MemoryArena({ ...SMALL, maxBytes: 8 * SMALL.slabBytes });
    const engine = arena.createStore();
    if (pinned) engine.pin(1_000_000 as Hlc);
    const prng = createPrng(7);
    let refused = 0;
    let version = 2_000_000;
    for (let i = 0; i < 40_000 && refused < 300; i++) {
      const key = `key ${prng.below(3000)}`;
      const value = Buffer.alloc(prng.chance(0.05) ? prng.below(400_000) : prng.below(3000), String(i));
      const before = refused > 0 ? dump(engine) : [];
      try {
        put(engine, key, value, version++);
        if (pinned && i === 500) engine.pin(version as Hlc);
      } catch (error) {
        t.true(error instanceof SkerryError && error.code === 'KV_OUT_OF_MEMORY');
        refused++;
        if (before.length > 0) t.deepEqual(dump(engine), before);
        verifyArena(arena);
      }
    }
    t.true(refused >= 300);
    t.true(arena.bytesReserved <= 8 * SMALL.slabBytes);
    const keys = dump(engine).map((line) => line.split(' ').slice(0, 2).join(' '));
    for (const key of keys) t.true(remove(engine, key, version++), 'deletes go on');
    engine.clear(version as Hlc);
    if (!pinned) {
      freeAll(arena);
      put(engine, 'again', Buffer.alloc(100_000), version);
      t.is(engine.keyCount, 1);
    }
  }
});

test('a freeze at the limit does not keep deletes from making room', (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 4 * SMALL.slabBytes });
  const engine = arena.createStore();
  let i = 0;
  t.throws(
    () => {
      for (; ; i++) put(engine, `key ${i}`, Buffer.alloc(200), i + 1);
    },
    { code: 'KV_OUT_OF_MEMORY' },
  );
  const frozen = engine.freeze();
  for (let j = 0; j < i; j++) t.true(remove(engine, `key ${j}`, i + j));
  t.is(engine.keyCount, 0);
  t.is(openFrozen(frozen).keyCount, i);
  engine.release(frozen);
  freeAll(arena);
  put(engine, 'again', Buffer.alloc(200), 10 * i);
});

test('after all stores are destroyed and all freezes released, every page is free', (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 2 ** 28 });
  const prng = createPrng(11);
  const engines = [arena.createStore()];
  const frozen = [];
  let version = 1;
  for (let round = 0; round < 6; round++) {
    const engine = engines.at(-1) as Engine;
    for (let i = 0; i < 2000; i++) {
      const length = prng.chance(0.01) ? 300_000 : prng.chance(0.1) ? 9000 : 100;
      put(engine, String(prng.next()), Buffer.alloc(length), version++, prng.below(2));
    }
    engine.pin(version as Hlc);
    frozen.push(engine.freeze());
    const middle = engine.cursor();
    t.true(engine.seekRank(middle, engine.keyCount >> 1));
    engines.push(engine.splitAt(middle.keyBuffer, middle.keyStart, middle.keyEnd));
  }
  verifyArena(arena);
  for (const engine of engines) engine.destroy();
  t.true(arena.bytesUsed > 0);
  for (const state of frozen) {
    let keys = 0;
    const reader = openFrozen(state);
    for (let more = reader.first(); more; more = reader.next()) keys++;
    t.is(keys, state.keyCount, 'a frozen state outlives its store');
  }
  const releaser = arena.createStore();
  for (const state of frozen) releaser.release(state);
  releaser.destroy();
  freeAll(arena);
  t.is(arena.bytesUsed, 0);
});

test('overwriting under a freeze keeps only what the freeze sees, not every value in between', (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 2 ** 26 });
  const engine = arena.createStore();
  for (let i = 0; i < 100; i++) put(engine, `key ${i}`, Buffer.alloc(10_000), i + 1);
  const used = arena.bytesUsed;
  const frozen = engine.freeze();
  for (let i = 0; i < 20_000; i++) put(engine, `key ${i % 100}`, Buffer.alloc(10_000), 1000 + i);
  t.true(arena.bytesUsed < 2.5 * used);
  engine.release(frozen);
  freeAll(arena);
  t.true(arena.bytesUsed < 1.2 * used);
});

test('freezes of one store do not make another one of the arena copy', (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 2 ** 28 });
  const left = arena.createStore();
  for (let i = 0; i < 2000; i++) put(left, `key ${String(i).padStart(5, '0')}`, Buffer.alloc(100), i + 1);
  const right = left.splitAt(Buffer.from('key 01000'), 0, 9);
  const frozen = left.freeze();
  const used = arena.bytesUsed;
  for (let i = 1000; i < 2000; i++) put(right, `key ${String(i).padStart(5, '0')}`, Buffer.alloc(100, 'b'), 5000 + i);
  t.is(arena.bytesUsed, used);
  left.release(frozen);
});

test('a reader on another thread sees the frozen state, whatever the owner does meanwhile', async (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 2 ** 28 });
  const engine = arena.createStore();
  const prng = createPrng(5);
  let version = 1;
  const mutate = (times: number): void => {
    for (let i = 0; i < times; i++) {
      const key = `key ${prng.below(4000)}`;
      const length = prng.chance(0.02) ? 70_000 + prng.below(40_000) : prng.below(800);
      if (prng.chance(0.3)) remove(engine, key, version++);
      else put(engine, key, Buffer.alloc(length, `${key}${version}`), version++);
    }
  };
  mutate(10_000);
  const worker = new Worker(new URL('./frozen-reader.worker.ts', import.meta.url));
  try {
    for (let round = 0; round < 8; round++) {
      const expected = dump(engine);
      const frozen = engine.freeze();
      const answers: string[][] = [];
      worker.once('message', (lines: string[]) => answers.push(lines));
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      worker.postMessage(frozen);
      while (answers.length === 0) {
        mutate(200);
        await new Promise((resolve) => setImmediate(resolve));
      }
      t.deepEqual(answers[0], expected);
      engine.release(frozen);
      verifyArena(arena);
    }
  } finally {
    await worker.terminate();
  }
});

test('a split shares the memory exactly: both halves together use what the whole did, but for the cut', (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 2 ** 28 });
  const engine = arena.createStore();
  for (let i = 0; i < 5000; i++) {
    put(engine, `key ${String(i).padStart(5, '0')}`, Buffer.alloc(i % 100 === 0 ? 5000 : 100), i + 1, i % 2);
  }
  const { bytesUsed, keyCount, expiringCount } = engine;
  const right = engine.splitAt(Buffer.from('key 03000'), 0, 9);
  t.is(engine.keyCount, 3000);
  t.is(right.keyCount, 2000);
  t.is(engine.keyCount + right.keyCount, keyCount);
  t.is(engine.expiringCount + right.expiringCount, expiringCount);
  t.true(Math.abs(engine.bytesUsed + right.bytesUsed - bytesUsed) <= 8 * SMALL.pageBytes);
  verifyArena(arena);
});

test('unpin sweeps in bounded pieces, and sweepVersions brings it to an end', (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 2 ** 28 });
  const engine = arena.createStore();
  for (let i = 0; i < 20_000; i++) put(engine, `key ${i}`, Buffer.alloc(50), i + 1);
  const used = arena.bytesUsed;
  engine.pin(20_000 as Hlc);
  for (let i = 0; i < 20_000; i++) put(engine, `key ${i}`, Buffer.alloc(50), 30_000 + i);
  t.true(arena.bytesUsed > 1.5 * used);
  engine.unpin(20_000 as Hlc);
  let pieces = 0;
  while (engine.sweepVersions(10)) pieces++;
  t.true(pieces > 10);
  freeAll(arena);
  t.true(arena.bytesUsed < 1.5 * used);
  t.is(engine.keyCount, 20_000);
});

test('random inserts fill leaves to more than four fifths, ascending ones to more than nine tenths', (t) => {
  const prng = createPrng(3);
  for (const [keyOf, fill] of [
    [(): string => String(prng.next()).padEnd(20, '0').slice(0, 20), 0.8],
    [(i: number): string => String(i).padStart(16, '0'), 0.9],
  ] as const) {
    const engine = new MemoryArena({ maxBytes: 2 ** 28 }).createStore();
    if (!(engine instanceof MemoryStore)) throw new Error('another engine');
    for (let i = 0; i < 60_000; i++) put(engine, keyOf(i), Buffer.alloc(100), i + 1);
    const { leafFill } = verifyStore(engine);
    t.true(leafFill > fill, `filled to ${leafFill}`);
  }
});

test('values of any length are read back where they are, in one piece', (t) => {
  const arena = new MemoryArena({ maxBytes: 2 ** 30 });
  const engine = arena.createStore();
  const out = createValueRef();
  const lengths = [0, 1, 127, 128, 511, 512, 513, 65_535, 65_545, 4_194_304, 4_194_305, 50_000_000];
  for (const [i, length] of lengths.entries()) put(engine, `key ${i}`, Buffer.alloc(length, i + 1), i + 1);
  for (const [i, length] of lengths.entries()) {
    const key = Buffer.from(`key ${i}`);
    t.true(engine.get(key, 0, key.length, out));
    t.true(Buffer.alloc(length, i + 1).equals(out.buffer.subarray(out.start, out.end)));
  }
  verifyArena(arena);
  engine.destroy();
  freeAll(arena);
  t.is(arena.bytesUsed, 0);
});

test('a store given up in the middle of loading leaves nothing behind', (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 2 ** 28 });
  const engine = arena.createStore();
  const loader = engine.bulkLoad();
  const key = Buffer.from('key 1');
  const place = loader.reserveValue(50_000);
  loader.add(key, 0, 5, place.buffer, place.start, place.end, 1 as Hlc, 0, 0);
  loader.reserveValue(30_000);
  engine.destroy();
  freeAll(arena);
  t.is(arena.bytesUsed, 0);
});

test('a root tells its keys apart by what they do not share, whatever comes first and whatever follows', (t) => {
  const arena = new MemoryArena({ ...SMALL, maxBytes: 64 * SMALL.slabBytes });
  const store = arena.createStore() as MemoryStore;
  const { tree } = store;
  const shared = 'tenant:with:a:long:name:';
  const value = Buffer.alloc(20);
  let version = 1;
  const numbered = (i: number): string => shared + String(i).padStart(8, '0');
  for (let i = 0; i < 2000; i++) put(store, numbered((i * 7919) % 2000), value, version++);
  t.is(tree.rootLevel, 1);
  t.true(pagePrefix(tree.memory.slabOfPage(tree.root), tree.memory.baseOfPage(tree.root)) >= shared.length);
  for (let i = 0; i < 3000; i++) put(store, `${i % 2 === 0 ? 'a' : 'z'}:${i}`, value, version++);
  t.is(verifyStore(store).keys, 5000);
  const found = createValueRef();
  for (let i = 0; i < 2000; i++) t.true(store.get(Buffer.from(numbered(i)), 0, shared.length + 8, found));
});
