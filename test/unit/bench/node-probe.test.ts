/** What is read from a node's metrics, and what is made of two readings. */
import test from 'ava';
import { nodeUse, parseMetricsPage, type NodeReading } from '../../../src/bench/node-probe.ts';
import { createMetricsArea, MetricsReader, MetricsWriter } from '../../../src/observe/counters.ts';
import { slots } from '../../../src/observe/metrics.ts';
import { renderPrometheus, samplesOf } from '../../../src/observe/prometheus.ts';

test('a reading takes the numbers of all threads from the page that a node serves', (t) => {
  const areas = [createMetricsArea(), createMetricsArea(), createMetricsArea()] as const;
  const [first, second, wal] = areas.map((area) => new MetricsWriter(area)) as [
    MetricsWriter,
    MetricsWriter,
    MetricsWriter,
  ];
  first.set(slots.keys, 3);
  second.set(slots.keys, 4);
  first.set(slots.eventLoopStallMaxSeconds, 0.002);
  second.set(slots.eventLoopStallMaxSeconds, 0.0155);
  wal.add(slots.walFsyncs, 12);
  wal.add(slots.walBytes, 98_304);
  const page = renderPrometheus(
    samplesOf([
      { scope: 'worker', labels: { worker: '0' }, reader: new MetricsReader(areas[0]) },
      { scope: 'worker', labels: { worker: '1' }, reader: new MetricsReader(areas[1]) },
      { scope: 'wal', labels: { wal: '0' }, reader: new MetricsReader(areas[2]) },
    ]),
  );
  const { keys, stallMs, fsyncs, walBytes } = parseMetricsPage(page, 0);
  t.deepEqual({ keys, stallMs, fsyncs, walBytes }, { keys: 7, stallMs: [2, 15.5], fsyncs: 12, walBytes: 98_304 });
});

const before: NodeReading = {
  atMs: 1000,
  fsyncs: 100,
  fsyncSeconds: 1,
  walBytes: 1_000_000,
  checkpointBytes: 0,
  cpuSeconds: 5,
  residentBytes: 1,
  keys: 10,
  ranges: 2,
  stallMs: [1],
};

test('what a node did is set against the time between the readings', (t) => {
  const after = {
    ...before,
    atMs: 3000,
    fsyncs: 300,
    fsyncSeconds: 1.5,
    walBytes: 3_000_000,
    cpuSeconds: 8,
    stallMs: [9, 4],
  };
  const use = nodeUse(before, after, { operationsPerSecond: 3000, writesPerSecond: 1000 });
  t.is(use.fsyncsPerSecond, 100);
  t.is(use.meanFsyncMs, 2.5);
  t.is(use.commitsPerFsync, 10);
  t.is(use.walBytesPerCommit, 1000);
  t.is(use.cpuCores, 1.5);
  t.is(use.cpuUsPerOperation, 500);
  t.deepEqual(use.longestStallMs, [9, 4]);
});

test('a stall that was known at the start is told from one of the measured time', (t) => {
  const rates = { operationsPerSecond: 1, writesPerSecond: 0 };
  const use = nodeUse({ ...before, stallMs: [9, 4, 0] }, { ...before, atMs: 2000, stallMs: [9, 4.1, 0.2] }, rates);
  t.deepEqual(use.stallMayBeOlder, [true, false, false]);
});

test('a stall that has been forgotten by the end counts by what was read meanwhile', (t) => {
  const rates = { operationsPerSecond: 1, writesPerSecond: 0 };
  const between = [
    { ...before, stallMs: [3, 20] },
    { ...before, stallMs: [12, 5] },
  ];
  const use = nodeUse({ ...before, stallMs: [4, 0] }, { ...before, atMs: 61_000, stallMs: [2, 1] }, rates, between);
  t.deepEqual(use.longestStallMs, [12, 20]);
  t.deepEqual(use.stallMayBeOlder, [false, false]);
});

test('a load that only reads has no figures for a write', (t) => {
  const use = nodeUse(before, { ...before, atMs: 2000 }, { operationsPerSecond: 1000, writesPerSecond: 0 });
  t.is(use.commitsPerFsync, null);
  t.is(use.meanFsyncMs, null);
  t.is(use.walBytesPerCommit, null);
});
