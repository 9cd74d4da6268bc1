import test from 'ava';
import { MetricsReader, MetricsWriter, createMetricsArea } from '../../../src/observe/counters.ts';
import { slots } from '../../../src/observe/metrics.ts';
import { summarize } from '../../../src/observe/summary.ts';

test('counters are summed over threads, ratios and maxima are the largest, histograms are merged', (t) => {
  const areas = [createMetricsArea(), createMetricsArea(), createMetricsArea()] as const;
  const [first, second, wal] = areas.map((area) => new MetricsWriter(area)) as [
    MetricsWriter,
    MetricsWriter,
    MetricsWriter,
  ];
  first.add(slots.commandsRead, 3);
  second.add(slots.commandsRead, 4);
  first.set(slots.walRingFill, 0.25);
  second.set(slots.walRingFill, 0.5);
  first.set(slots.eventLoopStallMaxSeconds, 0.25);
  second.set(slots.eventLoopStallMaxSeconds, 0.125);
  wal.add(slots.walFsyncs, 2);
  for (let i = 0; i < 99; i++) first.histograms.commandLatency.record(100);
  second.histograms.commandLatency.record(50_000);
  const { totals, distributions, workerStallSeconds } = summarize([
    { scope: 'worker', labels: { worker: '0' }, reader: new MetricsReader(areas[0]) },
    { scope: 'worker', labels: { worker: '1' }, reader: new MetricsReader(areas[1]) },
    { scope: 'wal', labels: { wal: '0' }, reader: new MetricsReader(areas[2]) },
  ]);
  t.is(totals.commandsRead, 7);
  t.is(totals.walRingFill, 0.5);
  t.is(totals.walFsyncs, 2);
  t.is(totals.eventLoopStallMaxSeconds, 0.25);
  t.deepEqual(workerStallSeconds, [0.25, 0.125]);
  t.deepEqual(distributions.commandLatency, {
    count: 100,
    mean: 0.000599,
    p50: 0.0001,
    p99: 0.0001,
    p999: 0.05,
    max: 0.05,
  });
});

test('a node that has done nothing has zeros, not NaN', (t) => {
  const { totals, distributions } = summarize([]);
  t.true(Object.values(totals).every((value) => value === 0));
  t.true(
    Object.values(distributions).every((distribution) => Object.values(distribution).every((value) => value === 0)),
  );
});
