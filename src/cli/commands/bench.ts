/** `skerry bench`: puts a load on a node, a Redis or a store of its own, and says how it bore it. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { runMeasured, thisMachine } from '../../bench/measured-run.ts';
import type { Distribution } from '../../bench/operations.ts';
import { DISTRIBUTIONS, parseWorkload, SCAN } from '../../bench/operations.ts';
import type { LoadPlan } from '../../bench/plan.ts';
import { checkPlan, loadingPlan } from '../../bench/plan.ts';
import { SkerryError } from '../../core/errors.ts';
import { version } from '../../server/version.ts';
import { printBenchTables, remarksOn, showBenchProgress } from '../bench-output.ts';
import type { NamedRun } from '../bench-output.ts';
import { openSubject } from '../bench-subject.ts';
import type { Subject, SubjectFlags } from '../bench-subject.ts';
import { EXIT_INTERRUPTED } from '../exit-codes.ts';
import { printJson } from '../output.ts';

const DEFAULT_SERVER = process.env['SKERRY_SERVER'] ?? '127.0.0.1:7370';

const HELP = `
Workloads: set, get, mixes such as get:95,set:5 of read (get), update (set),
insert, scan and rmw, and YCSB's ycsb-a to ycsb-f. Keys are key:000000000000 and
so on, as redis-benchmark writes them: use it on a store that may have them.

Examples:
  skerry bench
      sets, then gets, 50 clients, against the node on this machine
  skerry bench set --clients 1,4,16,64,256 --out curve.json
      the curve of clients and latency, printed, and written as JSON
  skerry bench get:95,set:5 --rate 20000 --duration 60
      open loop: latency counts from when a request was due
  skerry bench ycsb-a --load --keys 100000 --distribution zipfian
      the keys are written first
  skerry bench set get --resp 127.0.0.1:6379 --pipeline 16
      the same against any server that speaks Redis's protocol
  skerry bench set --embedded --pipeline 256
      a store inside this process, in a folder for the time being`;

interface BenchFlags extends SubjectFlags {
  readonly clients: readonly number[];
  readonly pipeline: number;
  readonly threads: number;
  readonly rate?: number;
  readonly distribution?: Distribution;
  readonly keys: number;
  readonly valueBytes: number;
  readonly load?: boolean;
  readonly warmUp: number;
  readonly duration: number;
  readonly requests?: number;
  readonly seed: number;
  readonly json?: boolean;
  readonly out?: string;
}

export function registerBench(program: Command): void {
  const command = program
    .command('bench')
    .argument('[workloads...]', 'One after another; see below. Default: set get.')
    .description('Put a load on a node and measure how it bears it')
    .addHelpText('after', HELP)
    .action(bench);
  const all = [
    option('--server <host:port>', 'Native address of a node; of several with commas.').default(DEFAULT_SERVER),
    option('--resp <host:port>', "Use Redis's protocol, at this address, instead.").conflicts(['server', 'embedded']),
    option(
      '--embedded [dir]',
      'Use a store in this process instead; without a folder, a new one that is deleted again.',
    ).conflicts(['server', 'http', 'threads']),
    option('--http <host:port>', "The node's admin HTTP, for its own numbers. Default with --server: port 7371 there."),
    option('--clients <n,…>', 'Clients; several numbers are a run each.').argParser(numbers).default([50], '50'),
    option('--pipeline <n>', 'Requests under way for each client.').argParser(count).default(1),
    option('--threads <n>', 'Threads of the generator.').argParser(count).default(1),
    option('--rate <n>', 'Open loop: so many requests a second, whatever the node does.').argParser(positive),
    option('--distribution <d>', 'Which keys. Default: the YCSB mix’s own, else uniform.').choices(DISTRIBUTIONS),
    option('--keys <n>', 'Keys that there are.').argParser(count).default(1_000_000),
    option('--value-bytes <n>', 'Bytes of a value.').argParser(count).default(100),
    option('--load', 'First write every key once.'),
    option('--warm-up <s>', 'Seconds before measuring begins.').argParser(notNegative).default(2),
    option('--duration <s>', 'Seconds of measuring.').argParser(positive).default(10),
    option('--requests <n>', 'End each run after so many requests instead, without a warm-up.')
      .argParser(count)
      .conflicts(['rate', 'duration', 'warmUp']),
    option('--seed <n>', 'Of the random numbers.').argParser(count).default(1),
    option('--json', 'Print JSON instead of tables.'),
    option('--out <file>', 'Write the JSON there too.'),
  ];
  for (const one of all) command.addOption(one);
}

function option(flags: string, description: string): Option {
  return new Option(flags, description);
}

async function bench(given: readonly string[], flags: BenchFlags): Promise<void> {
  const workloads = given.length === 0 ? ['set', 'get'] : given;
  const plans = workloads.flatMap((name) =>
    flags.clients.map((clients) => ({ name, plan: planOf(name, clients, flags) })),
  );
  // That a file cannot be written is better known before the load than behind it.
  if (flags.out !== undefined) closeSync(openSync(flags.out, 'a'));
  const subject = await openSubject(flags);
  const runs: NamedRun[] = [];
  const onInterrupt = (): void => {
    report(runs, subject, flags);
    process.exit(EXIT_INTERRUPTED);
  };
  process.once('SIGINT', onInterrupt);
  try {
    if (flags.load === true) await loadKeys(plans[0]?.plan as LoadPlan, subject);
    for (const { name, plan } of plans) {
      const show = showBenchProgress(`${name}, ${plan.clients} ${plan.clients === 1 ? 'client' : 'clients'}`);
      try {
        // oxlint-disable-next-line no-await-in-loop
        runs.push({ workload: name, ...(await runMeasured(plan, subject.target, subject.probe, show.progress)) });
      } finally {
        show.end();
      }
    }
  } finally {
    process.off('SIGINT', onInterrupt);
    await subject.close();
    // What was measured before a run failed is worth having.
    report(runs, subject, flags);
  }
  for (const remark of runs.flatMap(remarksOn)) process.stderr.write(`skerry: ${remark}\n`);
  refuse(runs.find(({ firstError }) => firstError !== null));
}

async function loadKeys(plan: LoadPlan, { target }: Subject): Promise<void> {
  const loading = loadingPlan({ ...plan, clients: Math.max(plan.clients, 50), pipeline: 16 }, plan.keyCount);
  const show = showBenchProgress('loading');
  try {
    refuse(await runMeasured(loading, target, null, show.progress));
  } finally {
    show.end();
  }
}

/** Throws when requests of a run have failed. */
function refuse(run: { readonly errors: number; readonly firstError: string | null } | undefined): void {
  if (run === undefined || run.firstError === null) return;
  throw new SkerryError('KV_REPLY', `${run.errors} requests failed, the first with: ${run.firstError}`);
}

function report(runs: readonly NamedRun[], subject: Subject, { json, out }: BenchFlags): void {
  if (runs.length === 0) return;
  const result = {
    skerry: version,
    at: new Date().toISOString(),
    command: process.argv.slice(2),
    target: subject.name,
    machine: thisMachine(),
    runs,
  };
  if (out !== undefined) writeFileSync(out, `${JSON.stringify(result, null, 1)}\n`);
  if (json === true) printJson(result);
  else printBenchTables(runs);
}

function planOf(workload: string, clients: number, flags: BenchFlags): LoadPlan {
  const { mix, distribution } = parseWorkload(workload);
  if (flags.resp !== undefined && (mix[SCAN] as number) > 0) {
    throw new SkerryError('KV_INVALID', `${workload} scans by key, which Redis's protocol cannot: leave --resp out`);
  }
  const plan: LoadPlan = {
    clients,
    pipeline: flags.pipeline,
    threads: flags.threads,
    mix,
    distribution: flags.distribution ?? distribution,
    keyCount: flags.keys,
    valueBytes: flags.valueBytes,
    ratePerSecond: flags.rate ?? null,
    warmUpMs: flags.requests === undefined ? flags.warmUp * 1000 : 0,
    durationMs: flags.requests === undefined ? flags.duration * 1000 : Infinity,
    operations: flags.requests ?? null,
    seed: flags.seed,
  };
  checkPlan(plan);
  return plan;
}

function count(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 1) return number;
  throw new InvalidArgumentError(`"${text}" is no whole number from 1 up.`);
}

function numbers(text: string): number[] {
  return text.split(',').map(count);
}

function positive(text: string): number {
  const number = Number(text);
  if (number > 0 && number < Infinity) return number;
  throw new InvalidArgumentError(`"${text}" is no number above 0.`);
}

function notNegative(text: string): number {
  return text === '0' ? 0 : positive(text);
}
