/** What the page of results says of what was measured. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { SavedRow } from '../../bench/harness/row.ts';
import { describeFigure, figure, format, verdictOf } from '../../bench/harness/row.ts';
import { spreadOf } from '../../bench/harness/statistics.ts';
import { renderReadme, writePage } from '../../bench/report/page.ts';
import { renderPlot } from '../../bench/report/svg.ts';
import { rowOrder } from '../../bench/suites.ts';

test('a figure is judged by what was promised: more is better for rates, less for times', (t) => {
  const limits = { must: 0.7, aim: 1.2 };
  const verdicts = (better: 'higher' | 'lower', all: readonly number[]) =>
    all.map((value) => verdictOf(figure('x', '×', value, better, limits)));
  t.deepEqual(verdicts('higher', [0.69, 0.7, 1.19, 1.2]), ['missed', 'met', 'met', 'aim met']);
  const times = { must: 3, aim: 1 };
  t.deepEqual(
    [3.1, 3, 1.1, 1].map((value) => verdictOf(figure('x', 'ms', value, 'lower', times))),
    ['missed', 'met', 'met', 'aim met'],
  );
  t.is(verdictOf(figure('x', '/s', 5, 'higher')), '');
});

test('numbers are printed with three digits that count, and with separators before the point only', (t) => {
  const shown = [0, 0.05541, 0.507, 4.831, 15.6, 212, 1039, 178_964.2, 1_234_567];
  t.deepEqual(shown.map(format), ['0', '0.0554', '0.507', '4.83', '15.6', '212', '1,039', '178,964', '1,234,567']);
});

test('a figure of several runs is their median, with its quartiles', (t) => {
  const one = figure('throughput', '×', spreadOf([0.5, 0.7, 0.6, 0.65, 0.55]), 'higher', { must: 0.5, aim: 1 });
  t.is(describeFigure(one), 'throughput: 0.600 × (0.550 … 0.650), must 0.500, aim 1.00: met');
});

function savedRow(id: string, changes: Partial<SavedRow>): SavedRow {
  return {
    id,
    title: `The row ${id}`,
    at: '2026-11-21T09:30:00.000Z',
    command: `npm run bench -- node ${id}`,
    pairs: 7,
    versions: { skerry: '1.2.3', commit: 'abc', redis: '7.0', etcd: null },
    machine: { cpu: 'a CPU', cpus: 2, memoryBytes: 8 * 2 ** 30, system: 'Linux', node: 'v26.0.0' },
    figures: [],
    details: null,
    ...changes,
  };
}

test('the page has a line for each promise, missed ones too, and plots of the curves', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-report-'));
  const save = (row: SavedRow): void => writeFileSync(join(folder, `${row.id}.json`), JSON.stringify(row));
  save(
    savedRow('second', { foreignWork: 0.42, figures: [figure('slow | thing', 'ms', 9, 'lower', { must: 5, aim: 1 })] }),
  );
  save(
    savedRow('first', {
      figures: [figure('rate', '/s', 1234, 'higher'), figure('ratio', '×', 2, 'higher', { must: 1, aim: 2 })],
    }),
  );
  const points = [1, 4].map((clients) => ({
    clients,
    perSecond: clients * 1000,
    p50Ms: 1,
    p99Ms: 2,
    generatorShare: 0.1,
  }));
  save(savedRow('curve-set', { details: { series: [{ name: 'Skerry', points }] } }));
  const files = writePage(folder, ['first', 'second', 'curve-set']);
  t.deepEqual(
    files.map((file) => file.slice(folder.length + 1)),
    ['README.md', 'throughput-set.svg', 'latency-set.svg'],
  );
  const page = readFileSync(join(folder, 'README.md'), 'utf8');
  t.regex(page, /\| \[The row first\]\(#first\): ratio +\| 2\.00 × +\| 1\.00 × +\| 2\.00 × +\| aim met +\| +\|/);
  t.regex(
    page,
    /\| \[The row second\]\(#second\): slow \\\| thing +\| 9\.00 ms +\| 5\.00 ms +\| 1\.00 ms +\| missed +\|/,
  );
  t.true(page.indexOf('### first') < page.indexOf('### second'), 'in the order of the suite');
  t.regex(page, /\| rate +\| 1,234 \/s +\|/);
  t.regex(page, /2026-11-21 09:30 UTC, `npm run bench -- node first`, Skerry 1\.2\.3 at abc, redis 7\.0\./);
  t.is(page.match(/Other work took/g)?.length, 1);
  t.regex(page, /The row second\..* Other work took 42 % of the machine meanwhile\./);
  t.regex(page, /2 cores of a CPU, 8 GiB, Linux, Node v26\.0\.0/);
  t.regex(page, /!\[SET: throughput over clients\]\(throughput-set\.svg\)/);
  rmSync(folder, { recursive: true });
});

test('the numbers of the README are those of the results (npm run bench -- report writes them)', (t) => {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  t.is(readFileSync(join(root, 'README.md'), 'utf8'), renderReadme(join(root, 'bench/results'), rowOrder));
});

test('a plot puts larger values higher and more clients further right, and shows names as they are', (t) => {
  const svg = renderPlot({
    title: 'a < b & c',
    xLabel: 'clients',
    yLabel: 'y',
    yScale: 'linear',
    series: [
      {
        name: 'one',
        points: [
          { x: 1, y: 10 },
          { x: 4, y: 40 },
          { x: 16, y: 25 },
        ],
      },
    ],
  });
  t.true(svg.includes('a &lt; b &amp; c'));
  const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="4"/g)].map(([, x, y]) => [
    Number(x),
    Number(y),
  ]);
  // The first one belongs to the legend.
  const [low, high, middle] = circles.slice(1) as [[number, number], [number, number], [number, number]];
  t.true(low[0] < high[0] && high[0] < middle[0]);
  t.true(high[1] < middle[1] && middle[1] < low[1], 'y grows downwards');
  t.is(high[0] - low[0], middle[0] - high[0], 'each fourfold number of clients is one step');
});

test('a logarithmic plot has a line for each power of ten around its values', (t) => {
  const points = [
    { x: 1, y: 0.2 },
    { x: 2, y: 30 },
  ];
  const series = [{ name: 'one', points }];
  const svg = renderPlot({ title: 't', xLabel: 'x', yLabel: 'y', yScale: 'logarithmic', series });
  const ticks = [...svg.matchAll(/text-anchor="end" fill="#444">([^<]+)</g)].map(([, text]) => text);
  t.deepEqual(ticks, ['0.1', '1', '10', '100']);
});

test('a page names every machine that was measured on; where there are no results, nothing is written', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-report-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  t.deepEqual(writePage(folder, []), []);
  const one = savedRow('one', {});
  const other = savedRow('other', { machine: { ...one.machine, cpu: 'another CPU' } });
  for (const row of [one, other, { ...one, id: 'third' }]) {
    writeFileSync(join(folder, `${row.id}.json`), JSON.stringify(row));
  }
  writePage(folder, []);
  const page = readFileSync(join(folder, 'README.md'), 'utf8');
  t.regex(page, /on 2 cores of a CPU, 8 GiB, Linux, Node v26\.0\.0; and on 2 cores of another CPU, .*\. Clients/);
});
