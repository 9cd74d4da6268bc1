import test from 'ava';
import * as fc from 'fast-check';
import { MetricsReader, MetricsWriter, createMetricsArea } from '../../../src/observe/counters.ts';
import { Histogram } from '../../../src/observe/histogram.ts';
import { scalarMetrics, slots } from '../../../src/observe/metrics.ts';
import { processSamples } from '../../../src/observe/process-metrics.ts';
import { histogramValue, renderPrometheus, samplesOf, type Sample } from '../../../src/observe/prometheus.ts';
import { parsePrometheus } from './prometheus-parser.ts';

const gauge = { name: 'skerry_test', type: 'gauge', help: 'For a test.' } as const;

const page = (lines: string[]): string => `# HELP h h\n# TYPE h histogram\n${lines.join('\n')}\n`;

test('the page is written exactly as the format asks', (t) => {
  const histogram = new Histogram();
  for (const microseconds of [90, 128, 129, 100_000]) histogram.record(microseconds);
  const duration = { name: 'skerry_test_seconds', type: 'histogram', help: 'One\\two\nthree "four".' } as const;
  const samples: Sample[] = [
    { family: { ...gauge, name: 'skerry_a_total', type: 'counter' }, labels: { kind: 'q"b\\n\n' }, value: 3 },
    { family: gauge, labels: {}, value: 0.5 },
    {
      family: duration,
      labels: { worker: '1' },
      value: histogramValue(histogram, { exponents: [6, 8], unitsPerBase: 1e6 }),
    },
    { family: { ...gauge, name: 'skerry_a_total', type: 'counter' }, labels: { kind: 'b' }, value: 1 },
  ];
  t.is(
    renderPrometheus(samples),
    [
      '# HELP skerry_a_total For a test.',
      '# TYPE skerry_a_total counter',
      String.raw`skerry_a_total{kind="q\"b\\n\n"} 3`,
      'skerry_a_total{kind="b"} 1',
      '# HELP skerry_test For a test.',
      '# TYPE skerry_test gauge',
      'skerry_test 0.5',
      String.raw`# HELP skerry_test_seconds One\\two\nthree "four".`,
      '# TYPE skerry_test_seconds histogram',
      'skerry_test_seconds_bucket{worker="1",le="0.000064"} 0',
      'skerry_test_seconds_bucket{worker="1",le="0.000128"} 2',
      'skerry_test_seconds_bucket{worker="1",le="0.000256"} 3',
      'skerry_test_seconds_bucket{worker="1",le="+Inf"} 4',
      'skerry_test_seconds_sum{worker="1"} 0.100347',
      'skerry_test_seconds_count{worker="1"} 4',
      '',
    ].join('\n'),
  );
});

test('whatever a label or a value holds, an independent parser reads it back', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.double(), fc.string(), (label, value, help) => {
      const sample: Sample = { family: { ...gauge, help }, labels: { label }, value };
      const parsed = parsePrometheus(renderPrometheus([sample])).get(gauge.name);
      t.is(parsed?.help, help);
      t.deepEqual(parsed?.samples, [{ name: gauge.name, labels: { label }, value: value + 0 }]);
    }),
  );
});

test('every metric of every thread is on the page, under its thread and nowhere else', (t) => {
  const areas = [createMetricsArea(), createMetricsArea(), createMetricsArea()] as const;
  const [first, second, wal] = areas.map((area) => new MetricsWriter(area));
  first?.add(slots.commandsWrite, 5);
  second?.add(slots.commandsWrite, 6);
  wal?.histograms.walFsync.record(200);
  const rendered = renderPrometheus([
    ...samplesOf([
      { scope: 'worker', labels: { worker: '0' }, reader: new MetricsReader(areas[0]) },
      { scope: 'worker', labels: { worker: '1' }, reader: new MetricsReader(areas[1]) },
      { scope: 'wal', labels: { wal: '0' }, reader: new MetricsReader(areas[2]) },
    ]),
    ...processSamples('1.2.3', 1_700_000_000_000),
  ]);
  const families = parsePrometheus(rendered);
  const writes = families
    .get('skerry_commands_total')
    ?.samples.filter((sample) => sample.labels['kind'] === 'write')
    .map((sample) => [sample.labels['worker'], sample.value]);
  t.deepEqual(writes, [
    ['0', 5],
    ['1', 6],
  ]);
  const fsync = families.get('skerry_wal_fsync_duration_seconds')?.samples ?? [];
  t.true(fsync.every((sample) => sample.labels['wal'] === '0'));
  t.is(fsync.find((sample) => sample.name.endsWith('_count'))?.value, 1);
  t.is(fsync.find((sample) => sample.name.endsWith('_sum'))?.value, 0.0002);
  for (const { family } of Object.values(scalarMetrics)) t.true(families.has(family.name), family.name);
  t.is(families.get('process_start_time_seconds')?.samples[0]?.value, 1_700_000_000);
  t.is(families.get('skerry_build_info')?.samples[0]?.labels['version'], '1.2.3');
});

test('a page that breaks the format would be noticed by the parser', (t) => {
  const good = ['h_bucket{le="1"} 1', 'h_bucket{le="+Inf"} 2', 'h_sum 3', 'h_count 2'];
  t.notThrows(() => parsePrometheus(page(good)));
  t.throws(() => parsePrometheus(page(good.with(0, 'h_bucket{le="1"} 3'))), { message: /cumulative/ });
  t.throws(() => parsePrometheus(page(good.with(3, 'h_count 1'))), { message: /\+Inf bucket/ });
  t.throws(() => parsePrometheus(page(good.toSpliced(1, 1))), { message: /last bucket/ });
  t.throws(() => parsePrometheus(page([...good, 'h_sum 3'])), { message: /twice/ });
  t.throws(() => parsePrometheus(page(good.with(2, 'h_sum{a="\\q"} 3'))), { message: /escape/ });
});
