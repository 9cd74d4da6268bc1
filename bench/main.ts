/** The measurements: `npm run bench -- …`. See README.md beside this file. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endWithSignals } from './harness/processes.ts';
import type { Row } from './harness/row.ts';
import { runRows } from './harness/row.ts';
import { runMicro } from './micro/run.ts';
import { curveRows } from './node/curve.ts';
import { embeddedRow } from './node/embedded.ts';
import { generatorRow } from './node/generator.ts';
import { idleRow } from './node/idle.ts';
import { memoryRow } from './node/memory.ts';
import { oneClientRow } from './node/one-client.ts';
import { recoveryRow } from './node/recovery.ts';
import { restartRow } from './node/restart.ts';
import { stallRow } from './node/stall.ts';
import { etcdRows } from './peers/etcd.ts';
import { redisRows } from './peers/redis.ts';
import { writePage } from './report/page.ts';

const USAGE = `npm run bench -- micro [words]      the micro benchmarks, all or those whose name contains a word
npm run bench -- peers [rows]       beside Redis and etcd, in turns, each with its own settings for durability
npm run bench -- node [rows]        every row of the table of results
npm run bench -- report             the page of results, from the JSON files in bench/results (or --out)

  rows           all, or those whose name begins with words given: redis, redis-set, redis-get-16 …
  --pairs <n>    alternating runs of each row (7)
  --seconds <s>  of one run, about (2)
  --out <dir>    write the results there, one JSON file a row (none)`;

const peerRows: readonly Row[] = [...redisRows, ...etcdRows];
const ownRows: readonly Row[] = [
  oneClientRow,
  embeddedRow,
  memoryRow,
  restartRow,
  recoveryRow,
  idleRow,
  stallRow,
  ...curveRows,
  generatorRow,
];
const suites: Readonly<Record<string, readonly Row[]>> = { peers: peerRows, node: [...peerRows, ...ownRows] };

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
    const folder = values.out ?? fileURLToPath(new URL('./results', import.meta.url));
    for (const file of writePage(folder, suites['node']?.map(({ id }) => id) ?? [])) console.log(file);
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
  return await runRows(rows, { pairs, seconds, out: values.out ?? null, say: (text) => console.error(text) });
}

endWithSignals();
if (!(await main())) process.exitCode = 1;
