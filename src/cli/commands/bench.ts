/** `skerry bench`: puts a load on a node, a Redis or a store of its own, and says how it bore it. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { LoadTarget } from '../../bench/load.ts';
import { embeddedTarget } from '../../bench/load.ts';
import type { MeasuredRun } from '../../bench/measured-run.ts';
import { runMeasured, thisMachine } from '../../bench/measured-run.ts';
import type { NodeProbe } from '../../bench/node-probe.ts';
import { probeEmbedded, probeOverHttp } from '../../bench/node-probe.ts';
import type { Distribution } from '../../bench/operations.ts';
import { DISTRIBUTIONS, parseWorkload } from '../../bench/operations.ts';
import type { LoadPlan } from '../../bench/plan.ts';
import { loadingPlan } from '../../bench/plan.ts';
import { openStore } from '../../client/connect.ts';
import { SkerryError } from '../../core/errors.ts';
import { version } from '../../server/version.ts';
import { printBenchTable, showBenchProgress } from '../bench-output.ts';
import { printJson } from '../output.ts';

const DEFAULT_SERVER = process.env['SKERRY_SERVER'] ?? '127.0.0.1:7370';
const DEFAULT_HTTP_PORT = 7371;

const HELP = `
Workloads: set, get, mixes such as get:95,set:5 of read (get), update (set), insert, scan and rmw, and YCSB's ycsb-a to ycsb-f.
Keys are key:000000000000 and so on, as redis-benchmark writes them: use it on a store that may have them.

Examples:
  skerry bench                                             sets, then gets, 50 clients, against the node on this machine
  skerry bench set --clients 1,4,16,64,256 --json          the curve of clients and latency
  skerry bench get:95,set:5 --rate 20000 --duration 60     open loop: latency counts from when a request was due
  skerry bench ycsb-a --load --keys 100000 --distribution zipfian
  skerry bench set get --resp 127.0.0.1:6379 --pipeline 16 the same against any server that speaks Redis's protocol
  skerry bench set --embedded --pipeline 256               a store inside this process, in a folder for the time being`;

interface BenchFlags {
  readonly server: string;
  readonly resp?: string;
  readonly embedded?: true | string;
  readonly http?: string;
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
}

export function registerBench(program: Command): void {
  program
    .command('bench')
    .argument('[workloads...]', 'One after another; see below.', ['set', 'get'])
    .option('--server <host:port>', 'Native address of a node.', DEFAULT_SERVER)
    .option('--resp <host:port>', "Use Redis's protocol, at this address, instead.")
    .option(
      '--embedded [dir]',
      'Use a store in this process instead; without a folder, a new one that is deleted again.',
    )
    .option('--http <host:port>', "The node's admin HTTP, for its own numbers. Default with --server: port 7371 there.")
    .option('--clients <n,…>', 'Clients; several numbers give a run each.', numbers, [50])
    .option('--pipeline <n>', 'Requests under way for each client.', count, 1)
    .option('--threads <n>', 'Threads of the generator.', count, 1)
    .option('--rate <n>', 'Open loop: so many requests a second, whatever the node does.', positive)
    .addOption(
      new Option('--distribution <d>', 'Which keys. Default: the YCSB mix’s own, else uniform.').choices(DISTRIBUTIONS),
    )
    .option('--keys <n>', 'Keys that there are.', count, 1_000_000)
    .option('--value-bytes <n>', 'Bytes of a value.', count, 100)
    .option('--load', 'First write every key once.')
    .option('--warm-up <s>', 'Seconds before measuring begins.', seconds, 2)
    .option('--duration <s>', 'Seconds of measuring.', seconds, 10)
    .option('--requests <n>', 'End each run after so many requests instead, without a warm-up.', count)
    .option('--seed <n>', 'Of the random numbers.', count, 1)
    .option('--json', 'Print JSON.')
    .description('Put a load on a node and measure how it bears it')
    .addHelpText('after', HELP)
    .action(bench);
}

async function bench(workloads: readonly string[], flags: BenchFlags): Promise<void> {
  const plans = workloads.flatMap((name) =>
    flags.clients.map((clients) => ({ name, plan: planOf(name, clients, flags) })),
  );
  const subject = await openSubject(flags);
  const runs: (MeasuredRun & { readonly workload: string })[] = [];
  try {
    const [first] = plans;
    if (flags.load === true && first !== undefined) {
      const loading = loadingPlan(
        { ...first.plan, clients: Math.max(first.plan.clients, 50), pipeline: 16 },
        flags.keys,
      );
      const show = showBenchProgress('loading');
      await runMeasured(loading, subject.target, null, show.progress);
      show.end();
    }
    for (const { name, plan } of plans) {
      const show = showBenchProgress(`${name}, ${plan.clients} ${plan.clients === 1 ? 'client' : 'clients'}`);
      // oxlint-disable-next-line no-await-in-loop
      runs.push({ workload: name, ...(await runMeasured(plan, subject.target, subject.probe, show.progress)) });
      show.end();
    }
  } finally {
    await subject.close();
  }
  if (flags.json === true) {
    printJson({
      skerry: version,
      at: new Date().toISOString(),
      command: process.argv.slice(2),
      target: subject.name,
      machine: thisMachine(),
      runs,
    });
  } else {
    printBenchTable(runs);
  }
  const failed = runs.find(({ firstError }) => firstError !== null);
  if (failed !== undefined) {
    throw new SkerryError('KV_REPLY', `${failed.errors} requests failed, the first with: ${failed.firstError}`);
  }
}

function planOf(workload: string, clients: number, flags: BenchFlags): LoadPlan {
  const { mix, distribution } = parseWorkload(workload);
  return {
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
}

interface Subject {
  /** As results say it. */
  readonly name: string;
  readonly target: LoadTarget;
  readonly probe: NodeProbe | null;
  close(): Promise<void>;
}

async function openSubject(flags: BenchFlags): Promise<Subject> {
  if (flags.embedded !== undefined) return await openOwnStore(flags.embedded);
  if (flags.resp !== undefined) {
    const at = flags.resp.lastIndexOf(':');
    const target: LoadTarget = { kind: 'resp', host: flags.resp.slice(0, at), port: Number(flags.resp.slice(at + 1)) };
    return { name: `redis://${flags.resp}`, target, probe: await findProbe(flags.http), close: nothing };
  }
  const { server } = flags;
  const http = flags.http ?? `${server.slice(0, server.lastIndexOf(':'))}:${DEFAULT_HTTP_PORT}`;
  return {
    name: `skerry://${server}`,
    target: { kind: 'native', server },
    probe: await findProbe(http),
    close: nothing,
  };
}

/** A load is worth measuring without the node's own numbers too. */
async function findProbe(http: string | undefined): Promise<NodeProbe | null> {
  if (http === undefined) return null;
  const probe = probeOverHttp(http);
  try {
    await probe();
    return probe;
  } catch (error) {
    process.stderr.write(`skerry: going on without the node's own numbers (--http): ${(error as Error).message}\n`);
    return null;
  }
}

const nothing = (): Promise<void> => Promise.resolve();

async function openOwnStore(folder: true | string): Promise<Subject> {
  // Only those who embed a store load its engine and start its threads.
  const { openEmbedded } = await import('../../server/embedded.ts');
  const dir = folder === true ? mkdtempSync(path.join(os.tmpdir(), 'skerry-bench-')) : folder;
  const store = await openStore(await openEmbedded(dir, undefined), { timeoutMs: 60_000 });
  return {
    name: 'embedded',
    target: embeddedTarget(store),
    probe: probeEmbedded(store),
    async close() {
      await store.close();
      if (folder === true) rmSync(dir, { recursive: true });
    },
  };
}

function count(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 1) return number;
  throw new SkerryError('KV_INVALID', `"${text}" is no whole number from 1 up`);
}

function numbers(text: string): number[] {
  return text.split(',').map(count);
}

function positive(text: string): number {
  const number = Number(text);
  if (number > 0 && number < Infinity) return number;
  throw new SkerryError('KV_INVALID', `"${text}" is no number above 0`);
}

function seconds(text: string): number {
  return text === '0' ? 0 : positive(text);
}
