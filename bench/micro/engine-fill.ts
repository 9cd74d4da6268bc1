/**
 * Fills a memory engine and prints what a key costs in bytes and in time:
 *
 *     node bench/micro/engine-fill.ts [keys = 5000000] [value bytes = 100] [page bytes = 8192]
 */
import type { Hlc } from '../../src/core/brands.ts';
import { createValueRef } from '../../src/core/kv/store.ts';
import { createPrng } from '../../src/core/prng.ts';
import { MemoryArena } from '../../src/engine/memory/arena.ts';

const [keyCount = 5_000_000, valueBytes = 100, pageBytes = 8192] = process.argv.slice(2).map(Number);
const KEY_BYTES = 16;
const SAMPLE = Math.min(keyCount, 1_000_000);

const prng = createPrng(1);
const keys = Buffer.alloc(keyCount * KEY_BYTES);
for (let i = 0; i < keys.length; i += 4) keys.writeUInt32LE(prng.below(2 ** 32), i);
const order = Int32Array.from({ length: SAMPLE }, () => prng.below(keyCount) * KEY_BYTES);
const value = Buffer.alloc(valueBytes, 'value');
const out = createValueRef();
const arena = new MemoryArena({ maxBytes: 16 * 2 ** 30, pageBytes });
const store = arena.createStore();
let version = 1;

function put(at: number): void {
  store.put(keys, at, at + KEY_BYTES, value, 0, valueBytes, version++ as Hlc, 0, 0);
}

function get(at: number): void {
  if (!store.get(keys, at, at + KEY_BYTES, out)) throw new Error('a key is missing');
}

/** Prints the mean time of `run` over `count` calls: on the clock, and of the processor, which neighbours disturb less. */
function time(what: string, count: number, run: (i: number) => void): void {
  const start = performance.now();
  const cpu = process.threadCpuUsage();
  for (let i = 0; i < count; i++) run(i);
  const { user, system } = process.threadCpuUsage(cpu);
  const us = ((performance.now() - start) * 1000) / count;
  console.log(`${what.padEnd(34)} ${us.toFixed(3)} µs, ${((user + system) / count).toFixed(3)} µs of processor`);
}

time('insert, random order', keyCount, (i) => put(i * KEY_BYTES));
console.log(`${'memory'.padEnd(34)} ${(store.bytesUsed / keyCount).toFixed(1)} B/key`);
for (const round of ['', ' again']) {
  time(`get${round}`, SAMPLE, (i) => get(order[i] as number));
  time(`put over${round}`, SAMPLE, (i) => put(order[i] as number));
}
const frozen = store.freeze();
time('put over, with a frozen state', SAMPLE, (i) => put(order[i] as number));
store.release(frozen);
const cursor = store.cursor();
cursor.first();
time('cursor, next', SAMPLE - 1, () => cursor.next());
