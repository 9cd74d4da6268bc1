/**
 * Prometheus's text format 0.0.4, and the samples of all threads' metrics areas in it.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import type { MetricsReader } from './counters.ts';
import type { Histogram } from './histogram.ts';
import {
  histogramMetrics,
  histogramNames,
  scalarMetrics,
  scalarNames,
  slots,
  type HistogramMetric,
  type MetricScope,
} from './metrics.ts';

export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string>>;

/** One value, or one histogram, of a family. */
export interface Sample {
  readonly family: { readonly name: string; readonly type: 'counter' | 'gauge' | 'histogram'; readonly help: string };
  readonly labels: Labels;
  readonly value: number | HistogramValue;
}

/** A histogram as Prometheus sees it. */
export interface HistogramValue {
  /** Upper edges, rising, without +Inf, each with how many values do not exceed it. */
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
  readonly sum: number;
  readonly count: number;
}

/** A thread's metrics area and the labels that tell it from others: `{ worker: '0' }`. */
export interface MetricsSource {
  readonly scope: MetricScope;
  readonly labels: Labels;
  readonly reader: MetricsReader;
}

/** Everything the threads count. A family appears for the threads of its scope only. */
export function samplesOf(sources: readonly MetricsSource[]): Sample[] {
  return sources.flatMap(({ scope, labels, reader }) => {
    const samples: Sample[] = [];
    for (const name of scalarNames) {
      const { family, labels: own } = scalarMetrics[name];
      if (family.scope === scope)
        samples.push({ family, labels: { ...labels, ...own }, value: reader.get(slots[name]) });
    }
    for (const name of histogramNames) {
      const metric = histogramMetrics[name];
      if (metric.family.scope !== scope) continue;
      const value = histogramValue(reader.histograms[name].snapshot(), metric);
      samples.push({ family: metric.family, labels: { ...labels, ...metric.labels }, value });
    }
    return samples;
  });
}

/** `histogram` must not change meanwhile: take a snapshot of one in shared memory. */
export function histogramValue(
  histogram: Histogram,
  { exponents: [first, last], unitsPerBase }: Pick<HistogramMetric, 'exponents' | 'unitsPerBase'>,
): HistogramValue {
  const buckets = histogram
    .cumulativeByPowerOfTwo(last)
    .map((count, exponent) => ({ le: 2 ** exponent / unitsPerBase, count }))
    .slice(first);
  return { buckets, sum: histogram.sum / unitsPerBase, count: histogram.count };
}

/** The page that Prometheus scrapes: families in the order in which they first appear, each in one block. */
export function renderPrometheus(samples: readonly Sample[]): string {
  const blocks = new Map<string, string[]>();
  for (const { family, labels, value } of samples) {
    let lines = blocks.get(family.name);
    if (lines === undefined) {
      lines = [`# HELP ${family.name} ${escapeHelp(family.help)}`, `# TYPE ${family.name} ${family.type}`];
      blocks.set(family.name, lines);
    }
    if (typeof value === 'number') {
      lines.push(sampleLine(family.name, labels, value));
    } else {
      for (const { le, count } of value.buckets) {
        lines.push(sampleLine(`${family.name}_bucket`, { ...labels, le: formatValue(le) }, count));
      }
      lines.push(
        sampleLine(`${family.name}_bucket`, { ...labels, le: '+Inf' }, value.count),
        sampleLine(`${family.name}_sum`, labels, value.sum),
        sampleLine(`${family.name}_count`, labels, value.count),
      );
    }
  }
  return [...blocks.values()].flat().join('\n') + '\n';
}

function sampleLine(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${formatValue(value)}`;
}

function formatValue(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');
