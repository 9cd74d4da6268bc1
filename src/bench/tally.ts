/**
 * What one generator thread has measured, in shared memory: the thread that shows progress reads it while it grows.
 *
 *     [ counters | latency of all | of each kind | lag of the generator ]     Float64; histograms as in observe/histogram.ts
 *
 * Latencies are recorded in tenths of a microsecond, so that they are known to 3.1 % from 3.2 µs up.
 */
import { Histogram, HISTOGRAM_SLOTS } from '../observe/histogram.ts';
import { KIND_NAMES } from './operations.ts';

export const UNITS_PER_MS = 10_000;

/** Where each counter lies. */
export const counters = {
  /** Operations answered within the measured time; errors are not among them. */
  completed: 0,
  errors: 1,
  /** Reads of keys that were not there. */
  misses: 2,
  /** Sent and not answered when the run was given up. */
  unanswered: 3,
  /** Due within the measured time and never sent, since the target took too long over others. */
  unsent: 4,
  /** From the start of measuring until the last operation or the end of the time. */
  elapsedMs: 5,
  /** CPU time of the generator thread while measuring. */
  cpuMs: 6,
  /** All operations answered, in and outside of the measured time; for progress. */
  answered: 7,
  /** Those completed that wrote. */
  writes: 8,
} as const;
const COUNTERS = Object.keys(counters).length;

const HISTOGRAMS = KIND_NAMES.length + 2;

export class Tally {
  readonly #counters: Float64Array;
  readonly latency: Histogram;
  /** By kind. */
  readonly latencyOfKind: readonly Histogram[];
  /** Open loop: how late the generator itself was, its waiting for the target not counted. */
  readonly lag: Histogram;

  constructor(memory: SharedArrayBuffer = Tally.create()) {
    const slots = new Float64Array(memory);
    this.#counters = slots.subarray(0, COUNTERS);
    const histograms = Array.from({ length: HISTOGRAMS }, (_, i) => {
      const start = COUNTERS + i * HISTOGRAM_SLOTS;
      return new Histogram(slots.subarray(start, start + HISTOGRAM_SLOTS));
    });
    this.latency = histograms[0] as Histogram;
    this.latencyOfKind = histograms.slice(1, -1);
    this.lag = histograms.at(-1) as Histogram;
  }

  static create(): SharedArrayBuffer {
    const slots = COUNTERS + HISTOGRAMS * HISTOGRAM_SLOTS;
    return new SharedArrayBuffer(slots * Float64Array.BYTES_PER_ELEMENT);
  }

  /** `counter`: one of `counters`. */
  add(counter: number, amount: number): void {
    this.#counters[counter] = (this.#counters[counter] as number) + amount;
  }

  get(counter: number): number {
    return this.#counters[counter] as number;
  }

  /** Adds another thread's numbers: counts and CPU add up, the elapsed time is the longest. */
  merge(other: Tally): void {
    for (const counter of Object.values(counters)) {
      const sum = this.get(counter) + other.get(counter);
      const longest = Math.max(this.get(counter), other.get(counter));
      this.#counters[counter] = counter === counters.elapsedMs ? longest : sum;
    }
    this.latency.merge(other.latency);
    this.latencyOfKind.forEach((histogram, kind) => histogram.merge(other.latencyOfKind[kind] as Histogram));
    this.lag.merge(other.lag);
  }
}

/** Milliseconds; each at most 3.1 % above the true value, the maximum exact. */
export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export function summarizeLatency(histogram: Histogram): LatencySummary {
  const { count, sum, max } = histogram;
  const at = (percent: number): number => histogram.percentile(percent) / UNITS_PER_MS;
  return {
    count,
    meanMs: count === 0 ? 0 : sum / count / UNITS_PER_MS,
    p50Ms: at(50),
    p90Ms: at(90),
    p99Ms: at(99),
    p999Ms: at(99.9),
    maxMs: max / UNITS_PER_MS,
  };
}
