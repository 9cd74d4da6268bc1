/** All metrics over all threads as plain data, for people and for /status: sums, and percentiles that the Prometheus page has not. */
import { sumSlot } from './counters.ts';
import { Histogram } from './histogram.ts';
import { histogramMetrics, histogramNames, scalarMetrics, scalarNames, slots } from './metrics.ts';
import type { HistogramName, ScalarName } from './metrics.ts';
import type { MetricsSource } from './prometheus.ts';

/** In the metric's base unit: seconds, bytes, or a plain number. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface MetricsSummary {
  /** Counters and gauges by their name in the table of metrics; ratios and maxima are the largest of all threads. */
  readonly totals: Readonly<Record<ScalarName, number>>;
  readonly distributions: Readonly<Record<HistogramName, Distribution>>;
  /** The longest stall of each worker's event loop in the last half minute, seconds. */
  readonly workerStallSeconds: readonly number[];
}

/** Gauges whose sum says nothing. */
const largestOfAll: ReadonlySet<ScalarName> = new Set<ScalarName>([
  'walRingFill',
  'forwardRingFill',
  'recoverySeconds',
  'eventLoopStallMaxSeconds',
]);

export function summarize(sources: readonly MetricsSource[]): MetricsSummary {
  const readers = (scope: string) => sources.filter((source) => source.scope === scope).map(({ reader }) => reader);
  const totals = scalarNames.map((name) => {
    const own = readers(scalarMetrics[name].family.scope);
    const slot = slots[name];
    const value = largestOfAll.has(name) ? Math.max(0, ...own.map((reader) => reader.get(slot))) : sumSlot(own, slot);
    return [name, value] as const;
  });
  const stalls = scalarMetrics.eventLoopStallMaxSeconds.family;
  const distributions = histogramNames.map((name) => {
    const { family, unitsPerBase } = histogramMetrics[name];
    const merged = new Histogram();
    for (const reader of readers(family.scope)) merged.merge(reader.histograms[name]);
    return [name, distributionOf(merged, unitsPerBase)] as const;
  });
  return {
    totals: Object.fromEntries(totals) as Record<ScalarName, number>,
    distributions: Object.fromEntries(distributions) as Record<HistogramName, Distribution>,
    workerStallSeconds: readers(stalls.scope).map((reader) => reader.get(slots.eventLoopStallMaxSeconds)),
  };
}

function distributionOf(histogram: Histogram, unitsPerBase: number): Distribution {
  const { count, sum, max } = histogram;
  return {
    count,
    mean: count === 0 ? 0 : sum / count / unitsPerBase,
    p50: histogram.percentile(50) / unitsPerBase,
    p99: histogram.percentile(99) / unitsPerBase,
    p999: histogram.percentile(99.9) / unitsPerBase,
    max: max / unitsPerBase,
  };
}
