/**
 * What every engine must do, as a function that each engine's test file runs. The random part does the same operations
 * to the engine and to a plain model (engine-model.ts).
 */
import type { TestFn } from 'ava';
import type { Hlc } from '../../src/core/brands.ts';
import { createValueRef } from '../../src/core/kv/store.ts';
import { createPrng } from '../../src/core/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { type EngineUnderTest, Machine, type MachineOptions } from './engine-model.ts';

const shapes: Record<string, MachineOptions> = {
  'few short keys': { keys: 60, keyBytesMax: 8, valueBytesMax: 300, sharedPrefix: false },
  'short keys': { keys: 3000, keyBytesMax: 20, valueBytesMax: 2000, sharedPrefix: false },
  'keys with long common beginnings': { keys: 800, keyBytesMax: 300, valueBytesMax: 2000, sharedPrefix: true },
  'keys of up to 1024 bytes': { keys: 500, keyBytesMax: 1024, valueBytesMax: 1500, sharedPrefix: false },
  'long values': { keys: 100, keyBytesMax: 30, valueBytesMax: 200_000, sharedPrefix: false },
};

/** Registers the tests. `create` makes a fresh engine under test; `dispose` checks that nothing is left over. */
export function testEngine(test: TestFn, name: string, create: () => EngineUnderTest & { dispose(): void }): void {
  for (const [shape, options] of Object.entries(shapes)) {
    test(`${name} does what a sorted map does: ${shape}`, (t) => {
      for (let seed = 1; seed <= 6; seed++) {
        const under = create();
        const machine = new Machine(under, createPrng(seed), options);
        for (let i = 1; i <= 2500; i++) {
          try {
            machine.step();
            if (i % 250 === 0) machine.check();
          } catch (cause) {
            throw new Error(`seed ${seed}, step ${i}: ${cause instanceof Error ? cause.stack : String(cause)}`, {
              cause,
            });
          }
        }
        machine.finish();
        under.dispose();
      }
      t.pass();
    });
  }

  test(`${name} keeps ascending, descending and repeated keys in order`, (t) => {
    const under = create();
    for (const order of [(i: number) => i, (i: number) => 4999 - i, (i: number) => (i * 2503) % 5000]) {
      const engine = under.createEngine();
      for (let i = 0; i < 5000; i++) put(engine, numbered(order(i)), `v${order(i)}`, i + 1);
      under.verify(engine);
      t.is(engine.keyCount, 5000);
      const cursor = engine.cursor();
      let i = 0;
      for (let more = cursor.first(); more; more = cursor.next()) {
        const { value } = cursor;
        t.is(cursor.keyBuffer.toString('latin1', cursor.keyStart, cursor.keyEnd), numbered(i).toString('latin1'));
        t.is(value.buffer.toString('latin1', value.start, value.end), `v${i++}`);
      }
      t.is(i, 5000);
      engine.destroy();
    }
    under.dispose();
  });

  test(`${name} loads sorted keys in bulk as if they had been put`, (t) => {
    const under = create();
    const engine = under.createEngine();
    const loader = engine.bulkLoad();
    const values = [0, 1, 100, 600, 5000, 70_000].map((length, i) => Buffer.alloc(length, i + 1));
    for (let i = 0; i < 20_000; i++) {
      const key = numbered(i);
      const value = values[i % 500 < 6 ? i % 500 : 2] as Buffer;
      if (i % 3 === 0) {
        const place = loader.reserveValue(value.length);
        value.copy(place.buffer, place.start);
        loader.add(key, 0, key.length, place.buffer, place.start, place.end, (i + 1) as Hlc, i % 5, i % 7);
      } else {
        loader.add(key, 0, key.length, value, 0, value.length, (i + 1) as Hlc, i % 5, i % 7);
      }
    }
    loader.finish();
    under.verify(engine);
    t.is(engine.keyCount, 20_000);
    t.is(engine.expiringCount, 16_000);
    const out = createValueRef();
    for (let i = 0; i < 20_000; i++) {
      const key = numbered(i);
      const value = values[i % 500 < 6 ? i % 500 : 2] as Buffer;
      if (!engine.get(key, 0, key.length, out)) t.fail(`key ${i} is missing`);
      if (!value.equals(out.buffer.subarray(out.start, out.end))) t.fail(`value ${i} differs`);
      if (out.version !== i + 1 || out.expiresAtMs !== i % 5 || out.tag !== i % 7) t.fail(`fields of ${i} differ`);
    }
    t.throws(() => engine.bulkLoad(), undefined, 'only into an empty store');
    engine.destroy();
    under.dispose();
  });

  test(`${name} shows a pinned version until it is unpinned, deleted keys included`, (t) => {
    const under = create();
    const engine = under.createEngine();
    const out = createValueRef();
    const key = numbered(1);
    put(engine, key, 'first', 10);
    engine.pin(10 as Hlc);
    put(engine, key, 'second', 11);
    engine.setExpiry(key, 0, key.length, 12 as Hlc, 99);
    engine.delete(key, 0, key.length, 13 as Hlc);
    t.false(engine.get(key, 0, key.length, out));
    t.is(engine.keyCount, 0);
    t.false(engine.cursor().first());
    t.true(engine.getAt(key, 0, key.length, 10 as Hlc, out));
    t.is(out.buffer.toString('latin1', out.start, out.end), 'first');
    t.is(out.version, 10 as Hlc);
    t.false(engine.getAt(key, 0, key.length, 9 as Hlc, out));
    engine.unpin(10 as Hlc);
    while (engine.sweepVersions(100));
    t.false(engine.getAt(key, 0, key.length, 10 as Hlc, out));
    under.verify(engine);
    engine.destroy();
    under.dispose();
  });
}

function put(engine: Engine, key: Buffer, value: string, version: number): void {
  const bytes = Buffer.from(value);
  engine.put(key, 0, key.length, bytes, 0, bytes.length, version as Hlc, 0, 0);
}

function numbered(i: number): Buffer {
  return Buffer.from(`key:${String(i).padStart(8, '0')}`);
}
