import { Worker } from 'node:worker_threads';
import test from 'ava';
import { MetricsReader, MetricsWriter, createMetricsArea, sumSlot } from '../../../src/observe/counters.ts';
import { errorSlots, histogramMetrics, scalarMetrics, scalarNames, slots } from '../../../src/observe/metrics.ts';

test('a reader sees what the writer of its area counted, and sums over threads', (t) => {
  const areas = [createMetricsArea(), createMetricsArea()];
  const writers = areas.map((area) => new MetricsWriter(area));
  const readers = areas.map((area) => new MetricsReader(area));
  writers[0]?.add(slots.commandsRead, 3);
  writers[1]?.add(slots.commandsRead, 4);
  writers[1]?.set(slots.keys, 7);
  writers[1]?.add(slots.keys, -2);
  writers[1]?.histograms.walFsync.record(200);
  t.is(sumSlot(readers, slots.commandsRead), 7);
  t.is(readers[1]?.get(slots.keys), 5);
  t.is(writers[1]?.get(slots.keys), 5);
  t.is(readers[0]?.histograms.walFsync.count, 0);
  t.is(readers[1]?.histograms.walFsync.percentile(50), 200);
});

test('no two metrics share a slot, and each error code has its own', (t) => {
  t.is(new Set(Object.values(slots)).size, scalarNames.length);
  t.is(new Set(Object.values(errorSlots)).size, Object.keys(errorSlots).length);
  for (const [code, slot] of Object.entries(errorSlots)) {
    const name = scalarNames[slot];
    t.truthy(name);
    t.deepEqual(scalarMetrics[name as 'errorReply'].labels, { code });
  }
});

test('every metric is named as Prometheus asks: prefix, base unit, _total on counters alone', (t) => {
  for (const { family, labels } of [...Object.values(scalarMetrics), ...Object.values(histogramMetrics)]) {
    t.regex(family.name, /^skerry_[a-z][a-z_]*[a-z]$/);
    t.is(family.name.endsWith('_total'), family.type === 'counter', family.name);
    t.false(/_(milliseconds|micros|ms|us)(_|$)/.test(family.name), `${family.name} is not in seconds`);
    t.true(family.help.length > 10 && family.help.endsWith('.'));
    for (const label of Object.keys(labels)) t.regex(label, /^[a-z][a-z_]*$/);
  }
});

test('nothing is lost between a thread that counts and one that reads', async (t) => {
  const area = createMetricsArea();
  const reader = new MetricsReader(area);
  const counters = new URL('../../../src/observe/counters.ts', import.meta.url).href;
  const source = `
    import { workerData } from 'node:worker_threads';
    const { MetricsWriter } = await import(${JSON.stringify(counters)});
    const metrics = new MetricsWriter(workerData);
    for (let i = 0; i < 1_000_000; i++) {
      metrics.add(${slots.messagesIn}, 1);
      metrics.histograms.commandLatency.record(i & 1023);
    }`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: area });
  let last = 0;
  let backwards = 0;
  const watch = setInterval(() => {
    const now = reader.get(slots.messagesIn);
    if (now < last) backwards++;
    last = now;
  }, 1);
  await new Promise((resolve, reject) => {
    worker.once('exit', resolve);
    worker.once('error', reject);
  });
  clearInterval(watch);
  t.is(backwards, 0);
  t.is(reader.get(slots.messagesIn), 1_000_000);
  t.is(reader.histograms.commandLatency.count, 1_000_000);
});
