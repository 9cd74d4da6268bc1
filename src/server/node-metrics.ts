/** The metrics areas of a node's threads, as the admin server and /status want them. */
import type { MetricsArea } from '../observe/counters.ts';
import { createMetricsArea, MetricsReader } from '../observe/counters.ts';
import { processSamples } from '../observe/process-metrics.ts';
import type { MetricsSource, Sample } from '../observe/prometheus.ts';
import { renderPrometheus, samplesOf } from '../observe/prometheus.ts';
import type { MetricsSummary } from '../observe/summary.ts';
import { summarize } from '../observe/summary.ts';
import { version } from './version.ts';

export class NodeMetrics {
  /** By worker. */
  readonly workers: readonly MetricsArea[];
  readonly wal = createMetricsArea();
  readonly #startedAtMs: number;

  constructor(workerCount: number, startedAtMs: number) {
    this.workers = Array.from({ length: workerCount }, createMetricsArea);
    this.#startedAtMs = startedAtMs;
  }

  /** The page for Prometheus. `more`: what the threads do not count themselves. */
  page(more: readonly Sample[]): string {
    return renderPrometheus([...samplesOf(this.#sources), ...more, ...processSamples(version, this.#startedAtMs)]);
  }

  summary(): MetricsSummary {
    return summarize(this.#sources);
  }

  get #sources(): MetricsSource[] {
    const workers = this.workers.map((area, i): MetricsSource => {
      return { scope: 'worker', labels: { worker: String(i) }, reader: new MetricsReader(area) };
    });
    return [...workers, { scope: 'wal', labels: { wal: '0' }, reader: new MetricsReader(this.wal) }];
  }
}
