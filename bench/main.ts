/** The measurements: `npm run bench -- …`. See README.md beside this file. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildPackage } from './harness/package.ts';
import { endWithSignals } from './harness/processes.ts';
import { runRows, type Row } from './harness/row.ts';
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

/** Said without a stack: it is the command line that is wrong, or what it names is not there. */
class UsageError extends Error {}

interface CommandLine {
  readonly what: string;
  readonly words: readonly string[];
  readonly pairs: number;
  readonly seconds: number;
  readonly out: string | null;
}

/** Null: help is asked for. Throws UsageError. */
function readCommandLine(): CommandLine | null {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        pairs: { type: 'string', default: '7' },
        seconds: { type: 'string', default: '2' },
        out: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) return null;
    const [what = '', ...words] = positionals;
    return { what, words, pairs: Number(values.pairs), seconds: Number(values.seconds), out: values.out ?? null };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function main(): Promise<boolean> {
  const commandLine = readCommandLine();
  if (commandLine === null) {
    console.log(USAGE);
    return true;
  }
  const { what, words, pairs, seconds, out } = commandLine;
  if (what === 'micro') return await runMicro(words);
  if (what === 'report') {
    const results = fileURLToPath(new URL('./results', import.meta.url));
    const folder = out ?? results;
    const written = writePage(folder, rowOrder);
    if (written.length === 0) throw new UsageError(`There are no results in ${folder}: measure with --out first.`);
    for (const file of written) console.log(file);
    if (folder === results) console.log(writeReadme(folder, rowOrder));
    return true;
  }
  const suite = Object.hasOwn(suites, what) ? suites[what] : undefined;
  if (suite === undefined) throw new UsageError(USAGE);
  const rows = chooseRows(suite, words);
  if (!(Number.isInteger(pairs) && pairs >= 1 && seconds > 0 && seconds < Infinity)) {
    throw new UsageError('--pairs is a whole number from 1 up, --seconds a number above 0');
  }
  buildPackage();
  return await runRows(rows, { pairs, seconds, out, say: (text) => console.error(text) });
}

function isMeant(id: string, word: string): boolean {
  return `${id}-`.startsWith(`${word}-`);
}

/** All rows, or those whose name begins with one of the words; a word that begins none is a mistake. */
function chooseRows(suite: readonly Row[], words: readonly string[]): readonly Row[] {
  const idle = words.filter((word) => !suite.some(({ id }) => isMeant(id, word)));
  if (idle.length > 0) {
    const names = suite.map(({ id }) => id).join(', ');
    throw new UsageError(`No row begins with ${idle.join(' or ')}. There is: ${names}.`);
  }
  return suite.filter(({ id }) => words.length === 0 || words.some((word) => isMeant(id, word)));
}

endWithSignals();
try {
  if (!(await main())) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
