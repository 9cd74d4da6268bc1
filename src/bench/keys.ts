/**
 * Which keys a load touches. Keys are numbers 0 … count - 1, written as redis-benchmark writes them: `key:000000000042`.
 *
 * Zipfian numbers by Gray et al., Quickly Generating Billion-Record Synthetic Databases, SIGMOD 1994, as YCSB draws them:
 * skew 0.99; `zipfian` scatters the popular ranks over the key space, `latest` makes the newest key the most popular one.
 */
import type { Prng } from '../core/prng.ts';
import type { Distribution } from './operations.ts';

export const KEY_BYTES = 16;
const KEY_PREFIX = Buffer.from('key:');
const KEY_DIGITS = KEY_BYTES - KEY_PREFIX.length;
const SKEW = 0.99;
const CHARACTER_0 = 48;

/** Writes the KEY_BYTES bytes of key `number` (below 10^12) at `at`. */
export function writeKey(target: Buffer, at: number, number: number): void {
  for (let i = 0; i < KEY_PREFIX.length; i++) target[at + i] = KEY_PREFIX[i] as number;
  let rest = number;
  for (let i = KEY_BYTES - 1; i >= KEY_BYTES - KEY_DIGITS; i--) {
    const tenth = Math.floor(rest / 10);
    target[at + i] = CHARACTER_0 + rest - tenth * 10;
    rest = tenth;
  }
}

/** The keys that threads have inserted, counted in memory that they share. */
export class KeyCounter {
  readonly #next: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#next = new Int32Array(memory);
  }

  /** `count`: keys that are there before anything is inserted. */
  static create(count: number): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    new Int32Array(memory)[0] = count;
    return memory;
  }

  /** The number of a new key. */
  take(): number {
    return Atomics.add(this.#next, 0, 1);
  }

  /** Keys there are, those whose insert is still under way included. */
  get count(): number {
    return Atomics.load(this.#next, 0);
  }
}

/** Ranks 0 … count - 1; rank 0 is the most frequent. `count` may grow from one draw to the next. */
export function createZipfian(prng: Prng): (count: number) => number {
  const zeta2 = 1 + 0.5 ** SKEW;
  const alpha = 1 / (1 - SKEW);
  let known = 0;
  let zeta = 0;
  let eta = 0;
  return (count) => {
    if (count !== known) {
      if (count < known) known = zeta = 0;
      while (known < count) zeta += 1 / (++known) ** SKEW;
      eta = (1 - (2 / count) ** (1 - SKEW)) / (1 - zeta2 / zeta);
    }
    const uniform = prng.next();
    const scaled = uniform * zeta;
    if (scaled < 1) return 0;
    if (scaled < zeta2) return Math.min(1, count - 1);
    return Math.min(count - 1, Math.floor(count * (eta * uniform - eta + 1) ** alpha));
  };
}

/** Scatters numbers below 2^32 (the finalizer of MurmurHash3). */
function scatter(number: number): number {
  let hash = number | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export interface KeyChoice {
  readonly distribution: Distribution;
  /** Keys that are there at the start. */
  readonly count: number;
  /** Which of the threads this is; sequential numbers are dealt out in equal, adjoining shares. */
  readonly thread: number;
  readonly threads: number;
  /** Inserts that may be under way at a time: their keys are not counted as there. */
  readonly insertsInFlightMax: number;
}

/** Draws the numbers of existing keys. */
export function createKeyPicker(choice: KeyChoice, counter: KeyCounter, prng: Prng): () => number {
  const { count, thread, threads } = choice;
  switch (choice.distribution) {
    case 'uniform':
      return () => prng.below(count);
    case 'zipfian': {
      const rank = createZipfian(prng);
      return () => scatter(rank(count)) % count;
    }
    case 'latest': {
      const rank = createZipfian(prng);
      return () => {
        const there = Math.max(count, counter.count - choice.insertsInFlightMax);
        return there - 1 - rank(there);
      };
    }
    case 'sequential': {
      const [first, end] = shareOf(count, thread, threads);
      let next = first;
      return () => {
        const number = next++;
        if (next >= end) next = first;
        return number;
      };
    }
  }
}

/** The part [first, end) of 0 … count - 1 that belongs to one of `threads`. */
export function shareOf(count: number, thread: number, threads: number): [first: number, end: number] {
  return [Math.floor((count * thread) / threads), Math.floor((count * (thread + 1)) / threads)];
}
