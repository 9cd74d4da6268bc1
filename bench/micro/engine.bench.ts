/** The memory engine: single operations on 500,000 keys of 16 bytes with values of 100 bytes, keys at random. */
import type { Hlc } from '../../src/core/brands.ts';
import { createValueRef } from '../../src/core/kv/store.ts';
import { createPrng } from '../../src/core/prng.ts';
import { MemoryArena } from '../../src/engine/memory/arena.ts';
import { runSuite } from './suite.ts';

const KEYS = 500_000;
const KEY_BYTES = 16;

const prng = createPrng(1);
const keys = Buffer.alloc(KEYS * KEY_BYTES);
for (let i = 0; i < keys.length; i += 4) keys.writeUInt32LE(prng.below(2 ** 32), i);
const value = Buffer.alloc(100, 'value');
const out = createValueRef();
let version = 1;

const arena = new MemoryArena({ maxBytes: 2 ** 31 });
const store = arena.createStore();
for (let i = 0; i < KEYS; i++) putKey(i * KEY_BYTES, 0);

function putKey(at: number, expiresAtMs: number): void {
  store.put(keys, at, at + KEY_BYTES, value, 0, value.length, version++ as Hlc, expiresAtMs, 0);
}

const randomKey = (): number => prng.below(KEYS) * KEY_BYTES;
const cursor = store.cursor();

await runSuite('memory engine', [
  {
    name: 'get',
    run: () => {
      const at = randomKey();
      store.get(keys, at, at + KEY_BYTES, out);
    },
  },
  { name: 'put over a value of the same length', run: () => putKey(randomKey(), 0) },
  {
    name: 'delete and put again',
    run: () => {
      const at = randomKey();
      store.delete(keys, at, at + KEY_BYTES, version++ as Hlc);
      putKey(at, 0);
    },
  },
  {
    name: 'seek, and read the next 100 keys',
    run: () => {
      const at = randomKey();
      let more = cursor.seek(keys, at, at + KEY_BYTES);
      for (let i = 0; more && i < 100; i++) more = cursor.next();
    },
  },
  {
    name: 'freeze, put 100 keys, release',
    run: () => {
      const frozen = store.freeze();
      for (let i = 0; i < 100; i++) putKey(randomKey(), 0);
      store.release(frozen);
      while (arena.reclaim(1000));
    },
  },
]);
