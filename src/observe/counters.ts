/**
 * Counters in shared memory. Every thread has one metrics area and is its only writer; the main thread reads them all.
 *
 *     area   Float64 × scalar metrics    slot = index in the table of metrics.ts
 *            Float64 × HISTOGRAM_SLOTS   per histogram, in the order of the table
 *
 * Plain loads and stores: an aligned 8-byte store is one instruction on every 64-bit machine, so a reader sees the old
 * value or the new one, and with a single writer no addition is lost. Counts are exact to 2^53.
 */
import { assert } from '../core/assert.ts';
import { HISTOGRAM_SLOTS, Histogram } from './histogram.ts';
import { histogramNames, scalarNames, type HistogramName } from './metrics.ts';

export type MetricsArea = SharedArrayBuffer;

const AREA_SLOTS = scalarNames.length + histogramNames.length * HISTOGRAM_SLOTS;

/** The area of one thread, all zero. Hand it to the thread in its workerData, and to a MetricsReader. */
export function createMetricsArea(): MetricsArea {
  return new SharedArrayBuffer(AREA_SLOTS * Float64Array.BYTES_PER_ELEMENT);
}

function histogramsOf(area: MetricsArea): Readonly<Record<HistogramName, Histogram>> {
  const histograms = histogramNames.map((name, index) => {
    const byteOffset = (scalarNames.length + index * HISTOGRAM_SLOTS) * Float64Array.BYTES_PER_ELEMENT;
    return [name, new Histogram(new Float64Array(area, byteOffset, HISTOGRAM_SLOTS))] as const;
  });
  return Object.fromEntries(histograms) as Record<HistogramName, Histogram>;
}

/** What the owner of an area counts with: `metrics.add(slots.commandsRead, 1)`, `metrics.histograms.walFsync.record(us)`. */
export class MetricsWriter {
  readonly #values: Float64Array;
  readonly histograms: Readonly<Record<HistogramName, Histogram>>;

  constructor(area: MetricsArea = createMetricsArea()) {
    assert(area.byteLength === AREA_SLOTS * Float64Array.BYTES_PER_ELEMENT, 'metrics area has the wrong size');
    this.#values = new Float64Array(area, 0, scalarNames.length);
    this.histograms = histogramsOf(area);
  }

  /** Counters grow; gauges may take a negative `amount`. */
  add(slot: number, amount: number): void {
    this.#values[slot] = (this.#values[slot] as number) + amount;
  }

  set(slot: number, value: number): void {
    this.#values[slot] = value;
  }

  get(slot: number): number {
    return this.#values[slot] as number;
  }

  /** The slots from `first` to `last` themselves, for counting where nothing but an array should be known. */
  values(first: number, last: number): Float64Array {
    return this.#values.subarray(first, last + 1);
  }
}

/** One thread's area, seen from another thread. */
export class MetricsReader {
  readonly #values: Float64Array;
  readonly histograms: Readonly<Record<HistogramName, Histogram>>;

  constructor(area: MetricsArea) {
    assert(area.byteLength === AREA_SLOTS * Float64Array.BYTES_PER_ELEMENT, 'metrics area has the wrong size');
    this.#values = new Float64Array(area, 0, scalarNames.length);
    this.histograms = histogramsOf(area);
  }

  get(slot: number): number {
    return this.#values[slot] as number;
  }
}

/** The sum of one slot over several threads. */
export function sumSlot(readers: readonly MetricsReader[], slot: number): number {
  return readers.reduce((sum, reader) => sum + reader.get(slot), 0);
}

/** The largest of one slot over several threads; 0 at least. */
export function maxSlot(readers: readonly MetricsReader[], slot: number): number {
  let most = 0;
  for (const reader of readers) most = Math.max(most, reader.get(slot));
  return most;
}
