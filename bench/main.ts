/** The measurements: `npm run bench -- …`. See README.md beside this file. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildPackage } from './harness/package.ts';
import { endWithSignals } from './harness/processes.ts';
import { runRows } from './harness/row.ts';
import { runMicro } from './micro/run.ts';
import { writePage, writeReadme } from './report/page.ts';
import { rowOrder, suites } from './suites.ts';

const USAGE = `npm run bench -- micro [words]      the micro benchmarks, all or those whose name contains a word
npm run bench -- peers [rows]       beside Redis and etcd, in turns, each with its own settings for durability
npm run bench -- node [rows]        one node: all of the above, and what it does alone
npm run bench -- cluster [rows]     three nodes on this machine, beside three of etcd and alone
npm run bench -- report             the page of results, from the JSON files in bench/results (or --out), and the README’s numbers

  rows           all, or those whose name begins with words given: redis, redis-set, redis-get-16 …
  --pairs <n>    alternating runs of each row (7)
  --seconds <s>  of one run, about (2)
  --out <dir>    write the results there, one JSON file a row (none)`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pairs: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '2' },
    out: { type: 'string' },
  },
});
const [what = '', ...words] = positionals;

async function main(): Promise<boolean> {
  if (what === 'micro') return await runMicro(words);
  if (what === 'report') {
    const results = fileURLToPath(new URL('./results', import.meta.url));
    const folder = values.out ?? results;
    for (const file of writePage(folder, rowOrder)) console.log(file);
    if (folder === results) console.log(writeReadme(folder, rowOrder));
    return true;
  }
  const suite = Object.hasOwn(suites, what) ? suites[what] : undefined;
  if (suite === undefined) {
    console.error(USAGE);
    return false;
  }
  const rows = suite.filter(({ id }) => words.length === 0 || words.some((word) => `${id}-`.startsWith(`${word}-`)));
  if (rows.length === 0) {
    console.error(`No row begins with ${words.join(' or ')}. There is: ${suite.map(({ id }) => id).join(', ')}.`);
    return false;
  }
  const pairs = Number(values.pairs);
  const seconds = Number(values.seconds);
  if (!(pairs >= 1 && seconds > 0)) throw new RangeError('--pairs and --seconds are numbers above 0');
  buildPackage();
  return await runRows(rows, { pairs, seconds, out: values.out ?? null, say: (text) => console.error(text) });
}

endWithSignals();
if (!(await main())) process.exitCode = 1;
