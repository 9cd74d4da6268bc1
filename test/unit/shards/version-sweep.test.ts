/** Overwritten values: their memory is held while a pin needs them, and comes back when it is gone. */
import test from 'ava';
import type { Hlc } from '../../../src/core/brands.ts';
import type { Engine } from '../../../src/engine/engine.ts';
import { MemoryArena } from '../../../src/engine/memory/arena.ts';
import { sweepVersions } from '../../../shards/version-sweep.ts';

const KEYS = 30_000;

function fill(store: Engine, firstVersion: number): void {
  for (let i = 0; i < KEYS; i++) {
    const key = Buffer.from(`key ${String(i).padStart(6, '0')}`);
    store.put(key, 0, key.length, Buffer.alloc(100, i), 0, 100, (firstVersion + i) as Hlc, 0, 0);
  }
}

test('what a pin kept of overwritten values comes back in rounds after it is gone, on both sides of a split', (t) => {
  const arena = new MemoryArena({ maxBytes: 2 ** 28 });
  const left = arena.createStore();
  fill(left, 1);
  const usedOnce = arena.bytesUsed;
  const pinned = KEYS as Hlc;
  left.pin(pinned);
  fill(left, KEYS + 1);
  const right = left.splitAt(Buffer.from('key 010000'), 0, 10);
  const ranges = [{ store: left }, { store: right }];
  while (sweepVersions(ranges));
  while (arena.reclaim(1000));
  t.true(arena.bytesUsed > 1.5 * usedOnce, 'held while somebody needs them');
  left.unpin(pinned);
  right.unpin(pinned);
  let rounds = 0;
  while (sweepVersions(ranges)) rounds++;
  t.true(rounds > 0, 'not all at once');
  t.false(sweepVersions(ranges));
  while (arena.reclaim(1000));
  t.true(arena.bytesUsed < 1.3 * usedOnce, `${arena.bytesUsed} bytes of ${usedOnce}`);
  t.is(left.keyCount + right.keyCount, KEYS);
});

test('without a pin nothing is kept of an overwritten value', (t) => {
  const arena = new MemoryArena({ maxBytes: 2 ** 28 });
  const store = arena.createStore();
  fill(store, 1);
  const usedOnce = arena.bytesUsed;
  for (let i = 1; i < 5; i++) fill(store, i * KEYS + 1);
  while (arena.reclaim(1000));
  t.true(arena.bytesUsed < 1.1 * usedOnce);
});

test('a range that is cut while it is being swept is swept to the end on both sides', (t) => {
  const arena = new MemoryArena({ maxBytes: 2 ** 28 });
  const left = arena.createStore();
  fill(left, 1);
  const usedOnce = arena.bytesUsed;
  left.pin(KEYS as Hlc);
  fill(left, KEYS + 1);
  left.unpin(KEYS as Hlc);
  const right = left.splitAt(Buffer.from('key 010000'), 0, 10);
  while (sweepVersions([{ store: left }, { store: right }]));
  while (arena.reclaim(1000));
  t.true(arena.bytesUsed < 1.3 * usedOnce, `${arena.bytesUsed} bytes of ${usedOnce}`);
});
