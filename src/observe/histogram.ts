/**
 * Log-linear histograms (the idea of HdrHistogram, Gil Tene) over shared memory: 32 equal buckets in each power of two, so
 * a value is known to 1/32 (3.1 %) whatever its size, in 7 KiB, and recording is three array accesses.
 *
 *     one histogram:  [ sum | max | bucket 0 … bucket 895 ]      Float64 each
 *
 *     bucket  0     1     2    …   31    32        33        …   63        64            …
 *     values [0,1] (1,2] (2,3] … (31,32] (32,33]  (33,34]   … (63,64]   (64,66]          …
 *
 * Buckets are closed above, as Prometheus's `le` is: a power of two is the upper edge of a bucket, never inside one.
 * Values are non-negative, in a unit of the user's choice, and end at 2^32: larger ones count as 2^32 in the buckets.
 * One thread writes; others read at any time and see a state at most a few additions old.
 */
import { assert } from '../core/assert.ts';

const SUB_BITS = 5;
const SUB_COUNT = 1 << SUB_BITS;
const VALUE_MAX = 0xffff_ffff;

/** Buckets of one histogram. */
export const HISTOGRAM_BUCKETS = (32 - SUB_BITS) * SUB_COUNT + SUB_COUNT;
const SUM = 0;
const MAX = 1;
const FIRST_BUCKET = 2;
/** Float64 slots of one histogram. */
export const HISTOGRAM_SLOTS = FIRST_BUCKET + HISTOGRAM_BUCKETS;

/** Index of the bucket that holds `value`. */
export function bucketOf(value: number): number {
  const above = Math.ceil(value) - 1;
  if (!(above > 0)) return 0;
  const n = above > VALUE_MAX ? VALUE_MAX : above;
  if (n < SUB_COUNT) return n;
  const shift = 31 - SUB_BITS - Math.clz32(n);
  return (shift + 1) * SUB_COUNT + ((n >>> shift) - SUB_COUNT);
}

/** The largest value that bucket `index` holds. */
export function bucketUpperEdge(index: number): number {
  if (index < SUB_COUNT) return index + 1;
  const shift = Math.floor(index / SUB_COUNT) - 1;
  return ((index % SUB_COUNT) + SUB_COUNT + 1) * 2 ** shift;
}

export class Histogram {
  readonly #slots: Float64Array;

  /** `slots`: HISTOGRAM_SLOTS numbers, zero at first; by default memory of its own. */
  constructor(slots: Float64Array = new Float64Array(HISTOGRAM_SLOTS)) {
    assert(slots.length === HISTOGRAM_SLOTS, 'histogram: wrong number of slots');
    this.#slots = slots;
  }

  /** Counts one value, or `times` the same. Allocates nothing. Only one thread may call it. */
  record(value: number, times = 1): void {
    const slots = this.#slots;
    const index = FIRST_BUCKET + bucketOf(value);
    slots[index] = (slots[index] as number) + times;
    slots[SUM] = (slots[SUM] as number) + (value > 0 ? value * times : 0);
    if (value > (slots[MAX] as number)) slots[MAX] = value;
  }

  /** Adds everything that `other` holds. */
  merge(other: Histogram): void {
    const from = other.#slots;
    const slots = this.#slots;
    slots[SUM] = (slots[SUM] as number) + (from[SUM] as number);
    slots[MAX] = Math.max(slots[MAX] as number, from[MAX] as number);
    for (let i = FIRST_BUCKET; i < HISTOGRAM_SLOTS; i++) slots[i] = (slots[i] as number) + (from[i] as number);
  }

  reset(): void {
    this.#slots.fill(0);
  }

  /** A copy in memory of its own, so that several questions see the same state. */
  snapshot(): Histogram {
    return new Histogram(Float64Array.from(this.#slots));
  }

  get count(): number {
    let count = 0;
    for (let i = FIRST_BUCKET; i < HISTOGRAM_SLOTS; i++) count += this.#slots[i] as number;
    return count;
  }

  get sum(): number {
    return this.#slots[SUM] as number;
  }

  get max(): number {
    return this.#slots[MAX] as number;
  }

  /**
   * The smallest bucket edge that at least `percent` of the values do not exceed: at most 3.1 % above the true
   * percentile, never above the largest value. 0 when nothing was recorded. percent: 0 … 100.
   */
  percentile(percent: number): number {
    const rank = Math.max(1, Math.ceil((percent / 100) * this.count));
    let seen = 0;
    for (let i = 0; i < HISTOGRAM_BUCKETS; i++) {
      seen += this.#slots[FIRST_BUCKET + i] as number;
      if (seen >= rank) return Math.min(bucketUpperEdge(i), this.max);
    }
    return 0;
  }

  /**
   * How many values are ≤ each of the powers of two 2^0, 2^1 … 2^exponentMax (exact, since these are bucket edges),
   * in one walk.
   */
  cumulativeByPowerOfTwo(exponentMax: number): number[] {
    const cumulative: number[] = [];
    let seen = 0;
    for (let i = 0; i < HISTOGRAM_BUCKETS && cumulative.length <= exponentMax; i++) {
      seen += this.#slots[FIRST_BUCKET + i] as number;
      if (bucketUpperEdge(i) === 2 ** cumulative.length) cumulative.push(seen);
    }
    return cumulative;
  }
}
