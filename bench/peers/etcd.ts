/**
 * Skerry beside etcd: 256 requests under way, one key each, a million keys, values of 100 bytes. The generator is ours for
 * both. A figure of etcd counts only while etcd is what is at its limit, so the generator's share of a core stands beside it.
 */

import { fill, load, planOf } from '../harness/loads.ts';
import { cpuSecondsOf } from '../harness/processes.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import type { SkerryNode } from '../harness/servers.ts';
import { PRE_SPLIT_KEY, startCluster, startEtcd, startSkerry, versions } from '../harness/servers.ts';
import type { Pair } from '../harness/statistics.ts';
import { alternate, ratioOf, spreadOf } from '../harness/statistics.ts';
import type { LoadTarget } from '../../src/bench/load.ts';
import { createEtcdTarget } from './etcd-target.ts';

const IN_FLIGHT = 256;
/** Sixteen connections that share them, as client libraries do; more make etcd slower, fewer too. */
const SHARED = { clients: 16, pipeline: IN_FLIGHT / 16 };
const KEYS = 1_000_000;
/** Keys that etcd is given before reads; it would take minutes for all. */
const ETCD_FILL_SECONDS = 5;

interface Side {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of one core. */
  readonly generatorShare: number;
  /** Cores that the servers used. */
  readonly serverCores: number;
}

async function measureSide(
  target: LoadTarget,
  kind: 'set' | 'get',
  shape: { readonly clients: number; readonly pipeline: number },
  seconds: number,
  pids: readonly number[],
): Promise<Side> {
  const cpuOf = (): number => pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
  const before = cpuOf();
  const startMs = performance.now();
  const run = await load(planOf(kind, seconds, { ...shape, keyCount: KEYS }), target);
  const serverCores = ((cpuOf() - before) * 1000) / (performance.now() - startMs);
  const { p50Ms, p99Ms } = run.latency;
  return {
    perSecond: run.operationsPerSecond,
    p50Ms,
    p99Ms,
    generatorShare: run.generator.cpuSharePerThread,
    serverCores,
  };
}

/** What a row compares. */
interface Contest {
  readonly kind: 'set' | 'get';
  /** Of each of the two, all on this machine. */
  readonly nodes: 1 | 3;
  /**
   * How Skerry is asked: `shared`, by the native client, on as many connections as etcd; `apart`, as plain clients of
   * Redis would, one connection for each request under way.
   */
  readonly clients: 'shared' | 'apart';
  /** Of throughput, ours to theirs. */
  readonly limits: { readonly must: number | null; readonly aim: number | null };
}

interface Ours {
  readonly target: LoadTarget;
  readonly shape: { readonly clients: number; readonly pipeline: number };
  readonly pids: readonly number[];
}

async function startOurs({ kind, nodes, clients }: Contest, stack: AsyncDisposableStack): Promise<Ours> {
  const cluster = nodes === 1 ? [await startSkerry()] : await startCluster(nodes, [PRE_SPLIT_KEY], stack);
  const [first] = cluster as readonly [SkerryNode];
  if (nodes === 1) stack.defer(() => first.stop());
  if (nodes === 1 || kind === 'get') await fill(first.respPort, KEYS);
  const pids = cluster.map(({ pid }) => pid);
  if (clients === 'apart') {
    const target: LoadTarget = { kind: 'resp', host: first.host, port: first.respPort };
    return { target, shape: { clients: IN_FLIGHT, pipeline: 1 }, pids };
  }
  const server = cluster.map(({ host, port }) => `${host}:${port}`).join(',');
  return { target: { kind: 'native', server }, shape: SHARED, pids };
}

async function measure(contest: Contest, options: RowOptions): Promise<RowResult> {
  const { kind, nodes, limits } = contest;
  await using stack = new AsyncDisposableStack();
  const { target, shape, pids } = await startOurs(contest, stack);
  const members = await startEtcd(nodes);
  for (const member of members) stack.defer(() => member.stop());
  const ports = members.map(({ port }) => port);
  const etcd: LoadTarget = { kind: 'here', createTarget: (plan) => createEtcdTarget('127.0.0.1', ports, plan) };
  const etcdPids = members.map(({ pid }) => pid);
  if (kind === 'get') await measureSide(etcd, 'set', SHARED, ETCD_FILL_SECONDS, etcdPids);
  const pairs = await alternate(
    options.pairs,
    () => measureSide(target, kind, shape, options.seconds, pids),
    () => measureSide(etcd, kind, SHARED, options.seconds, etcdPids),
    ({ ours, theirs }, number) => options.say(`${number}: Skerry ${brief(ours)}, etcd ${brief(theirs)}`),
  );
  return { figures: figuresOf(pairs, limits), details: { inFlight: IN_FLIGHT, nodes, pairs } };
}

function brief({ perSecond, p99Ms, generatorShare, serverCores }: Side): string {
  const generator = (generatorShare * 100).toFixed(0);
  return `${perSecond.toFixed(0)}/s p99 ${p99Ms.toFixed(1)} ms (${serverCores.toFixed(2)} cores, generator ${generator} %)`;
}

function figuresOf(pairs: readonly Pair<Side>[], limits: Contest['limits']): RowResult['figures'] {
  const sides = (number: (side: Side) => number) => {
    return {
      ours: spreadOf(pairs.map(({ ours }) => number(ours))),
      theirs: spreadOf(pairs.map(({ theirs }) => number(theirs))),
    };
  };
  const rates = sides(({ perSecond }) => perSecond);
  const p99s = sides(({ p99Ms }) => p99Ms);
  const generators = sides(({ generatorShare }) => generatorShare * 100);
  const cores = sides(({ serverCores }) => serverCores);
  return [
    figure(
      'throughput, Skerry to etcd',
      '×',
      ratioOf(pairs, ({ perSecond }) => perSecond),
      'higher',
      limits,
    ),
    figure('Skerry', '/s', rates.ours, 'higher'),
    figure('etcd', '/s', rates.theirs, 'higher'),
    figure('Skerry, p99', 'ms', p99s.ours, 'lower'),
    figure('etcd, p99', 'ms', p99s.theirs, 'lower'),
    figure('etcd: cores in use', 'cores', cores.theirs, 'higher'),
    figure('Skerry: cores in use', 'cores', cores.ours, 'higher'),
    figure('generator of etcd’s load', '% of a core', generators.theirs, 'lower'),
    figure('generator of Skerry’s load', '% of a core', generators.ours, 'lower'),
  ];
}

function row(id: string, title: string, contest: Contest): Row {
  return {
    id,
    title,
    lacks: () => (versions.etcd() === null ? 'etcd is not installed' : null),
    run: (options) => measure(contest, options),
  };
}

const UNPROMISED = { must: null, aim: null };

export const etcdRows: readonly Row[] = [
  row('etcd-put', 'Puts, 256 under way, one key a request, against etcd on one node', {
    kind: 'set',
    nodes: 1,
    clients: 'shared',
    limits: { must: 2, aim: 5 },
  }),
  row('etcd-put-apart', 'Puts, 256 clients of Redis with a connection each, against etcd on one node with 16', {
    kind: 'set',
    nodes: 1,
    clients: 'apart',
    limits: { must: 2, aim: 5 },
  }),
  row(
    'etcd-get',
    'Reads, 256 under way, one key a request, against etcd on one node (linearizable there, by lease here)',
    {
      kind: 'get',
      nodes: 1,
      clients: 'shared',
      limits: UNPROMISED,
    },
  ),
];

export const etcdThreeRows: readonly Row[] = [
  row('etcd-three-put', 'Puts, 256 under way, one key a request, three nodes of each on this machine', {
    kind: 'set',
    nodes: 3,
    clients: 'shared',
    limits: { must: 4, aim: 8 },
  }),
  row('etcd-three-get', 'Linearizable reads, 256 under way, one key a request, three nodes of each on this machine', {
    kind: 'get',
    nodes: 3,
    clients: 'shared',
    limits: { must: 5, aim: 20 },
  }),
];
