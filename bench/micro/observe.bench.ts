/** What counting costs on the hot path, and what a scrape costs the main thread. */
import { MetricsReader, MetricsWriter, createMetricsArea } from '../../src/observe/counters.ts';
import { slots } from '../../src/observe/metrics.ts';
import { renderPrometheus, samplesOf } from '../../src/observe/prometheus.ts';
import { runSuite } from './suite.ts';

const areas = [0, 1, 2, 3].map(createMetricsArea);
const metrics = new MetricsWriter(areas[0]);
const { commandLatency } = metrics.histograms;
const sources = areas.map((area, worker) => ({
  scope: 'worker' as const,
  labels: { worker: String(worker) },
  reader: new MetricsReader(area),
}));

let value = 0;

await runSuite('observe', [
  { name: 'count one command', run: () => metrics.add(slots.commandsRead, 1) },
  {
    name: 'record one latency',
    run: () => {
      value = (value * 69069 + 1) >>> 0;
      commandLatency.record(value >>> 16);
    },
  },
  { name: 'render the page of four workers', run: () => renderPrometheus(samplesOf(sources)) },
]);
