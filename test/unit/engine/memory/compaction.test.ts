import test from 'ava';
import type { Hlc } from '../../../../src/core/brands.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import type { Engine, FrozenStore } from '../../../../src/engine/engine.ts';
import { MemoryArena } from '../../../../src/engine/memory/arena.ts';
import { openFrozen } from '../../../../src/engine/memory/frozen.ts';
import { verifyArena } from '../../../support/verify-memory.ts';

const SMALL = { pageBytes: 4096, slabBytes: 4096 * 32, maxBytes: 2 ** 28 };

const key = (i: number): string => `key:${String(i).padStart(8, '0')}`;

let version = 1;

function put(engine: Engine, key: string, value: string): void {
  const [keyBytes, valueBytes] = [Buffer.from(key), Buffer.from(value)];
  engine.put(keyBytes, 0, keyBytes.length, valueBytes, 0, valueBytes.length, version++ as Hlc, 0, 0);
}

function remove(engine: Engine, key: string): void {
  const bytes = Buffer.from(key);
  engine.delete(bytes, 0, bytes.length, version++ as Hlc);
}

function dump(cursor: ReturnType<Engine['cursor']>): [string, string][] {
  const found: [string, string][] = [];
  for (let more = cursor.first(); more; more = cursor.next()) {
    const { buffer, start, end } = cursor.value;
    found.push([cursor.keyBuffer.toString('latin1', 0, cursor.keyEnd), buffer.toString('latin1', start, end)]);
  }
  return found;
}

function compactWholly(arena: MemoryArena): void {
  while (arena.reclaim(1000));
  while (arena.compact());
  verifyArena(arena);
}

test('the memory of pages that a frozen state made the tree copy is given back when it is released', (t) => {
  const arena = new MemoryArena(SMALL);
  const engine = arena.createStore();
  for (let i = 0; i < 30_000; i++) put(engine, key(i), 'x'.repeat(100));
  const filled = arena.bytesReserved;
  const frozen = engine.freeze();
  for (let i = 0; i < 30_000; i++) put(engine, key((i * 7919) % 30_000), 'y'.repeat(100));
  t.true(arena.bytesReserved > filled * 1.8, 'every page was copied');
  t.false(arena.compact(), 'nothing moves as long as the state is frozen');
  engine.release(frozen);
  const before = dump(engine.cursor());
  compactWholly(arena);
  t.true(arena.bytesReserved < filled * 1.15 + 2 * SMALL.slabBytes, 'what is left is about what the data need');
  t.true(arena.slabsGivenUp > 10);
  t.deepEqual(dump(engine.cursor()), before);
  t.false(arena.compact(), 'there is nothing more to do');
  for (let i = 30_000; i < 80_000; i++) put(engine, key(i), 'z'.repeat(100));
  t.is(engine.keyCount, 80_000, 'the numbers of slabs given up are used again');
  verifyArena(arena);
});

test('deleted data are given back, all but a slab or two', (t) => {
  const arena = new MemoryArena(SMALL);
  const engine = arena.createStore();
  for (let i = 0; i < 20_000; i++) put(engine, `${i}`, 'x'.repeat(i % 50 === 0 ? 3000 : 60));
  for (let i = 0; i < 20_000; i++) if (i % 100 !== 1) remove(engine, `${i}`);
  compactWholly(arena);
  t.true(arena.bytesReserved <= 4 * SMALL.slabBytes, `${arena.bytesReserved} bytes`);
  t.is(dump(engine.cursor()).length, 200);
});

test('whatever is done between two pieces of a compaction, no store loses or changes anything', (t) => {
  let pieces = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const prng = createPrng(seed);
    const arena = new MemoryArena(SMALL);
    const first = arena.createStore();
    const model = new Map<string, string>();
    const stores: { engine: Engine; from: string }[] = [{ engine: first, from: '' }];
    const storeOf = (key: string): Engine => stores.findLast(({ from }) => key >= from)?.engine as Engine;
    const frozen: { state: FrozenStore; engine: Engine; contents: [string, string][] }[] = [];
    for (let step = 0; step < 12_000; step++) {
      const drawn = `k${prng.below(6000)}`;
      const what = prng.next();
      if (what < 0.6) {
        const value = 'v'.repeat(prng.chance(0.002) ? prng.below(5000) : prng.below(200)) + step;
        put(storeOf(drawn), drawn, value);
        model.set(drawn, value);
      } else if (what < 0.7) {
        remove(storeOf(drawn), drawn);
        model.delete(drawn);
      } else if (what < 0.702 && stores.length < 5 && !stores.some(({ from }) => from === drawn)) {
        const at = Buffer.from(drawn);
        stores.push({ engine: storeOf(drawn).splitAt(at, 0, at.length), from: drawn });
        stores.sort((a, b) => (a.from < b.from ? -1 : 1));
      } else if (what < 0.704 && frozen.length < 2) {
        const { engine } = stores[prng.below(stores.length)] as { engine: Engine };
        frozen.push({ state: engine.freeze(), engine, contents: dump(engine.cursor()) });
      } else if (what < 0.71 && frozen.length > 0) {
        const [{ state, engine, contents }] = frozen.splice(0, 1) as [(typeof frozen)[number]];
        t.deepEqual(dump(openFrozen(state)), contents);
        engine.release(state);
      } else if (what < 0.8) {
        arena.reclaim(100);
      } else if (arena.compact()) {
        pieces++;
      }
    }
    for (const { state, engine } of frozen) engine.release(state);
    compactWholly(arena);
    const held = stores.flatMap(({ engine }) => dump(engine.cursor()));
    t.deepEqual(
      held,
      [...model].sort(([a], [b]) => (a < b ? -1 : 1)),
      `seed ${seed}`,
    );
  }
  t.true(pieces > 20, `${pieces} pieces`);
});
