/**
 * Skerry beside etcd: 256 requests under way, one key each, a million keys, values of 100 bytes. The generator is ours for
 * both. A figure of etcd counts only while etcd is what is at its limit, so the generator's share of a core stands beside it.
 */

import { fill, load, planOf } from '../harness/loads.ts';
import { cpuSecondsOf } from '../harness/processes.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startEtcd, startSkerry, versions } from '../harness/servers.ts';
import type { Pair } from '../harness/statistics.ts';
import { alternate, ratioOf, spreadOf } from '../harness/statistics.ts';
import type { LoadTarget } from '../../src/bench/load.ts';
import { createEtcdTarget } from './etcd-target.ts';

const IN_FLIGHT = 256;
/** Of etcd; more make it slower, fewer too. Skerry gets a connection for each request under way. */
const ETCD_CONNECTIONS = 16;
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

async function measure(kind: 'set' | 'get', options: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const skerry = await startSkerry();
  stack.defer(() => skerry.stop());
  const members = await startEtcd(1);
  for (const member of members) stack.defer(() => member.stop());
  const ports = members.map(({ port }) => port);
  const etcd: LoadTarget = { kind: 'here', createTarget: (plan) => createEtcdTarget('127.0.0.1', ports, plan) };
  const etcdShape = { clients: ETCD_CONNECTIONS, pipeline: IN_FLIGHT / ETCD_CONNECTIONS };
  await fill(skerry.respPort, KEYS);
  const etcdPids = members.map(({ pid }) => pid);
  if (kind === 'get') await measureSide(etcd, 'set', etcdShape, ETCD_FILL_SECONDS, etcdPids);
  const resp: LoadTarget = { kind: 'resp', host: skerry.host, port: skerry.respPort };
  const ourShape = { clients: IN_FLIGHT, pipeline: 1 };
  const pairs = await alternate(
    options.pairs,
    () => measureSide(resp, kind, ourShape, options.seconds, [skerry.pid]),
    () => measureSide(etcd, kind, etcdShape, options.seconds, etcdPids),
    ({ ours, theirs }, number) => options.say(`${number}: Skerry ${brief(ours)}, etcd ${brief(theirs)}`),
  );
  return { figures: figuresOf(kind, pairs), details: { inFlight: IN_FLIGHT, etcdShape, ourShape, pairs } };
}

function brief({ perSecond, p99Ms, generatorShare, serverCores }: Side): string {
  const generator = (generatorShare * 100).toFixed(0);
  return `${perSecond.toFixed(0)}/s p99 ${p99Ms.toFixed(1)} ms (${serverCores.toFixed(2)} cores, generator ${generator} %)`;
}

function figuresOf(kind: 'set' | 'get', pairs: readonly Pair<Side>[]): RowResult['figures'] {
  const limits = kind === 'set' ? { must: 2, aim: 5 } : { must: null, aim: null };
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

function row(kind: 'set' | 'get', title: string): Row {
  return {
    id: kind === 'set' ? 'etcd-put' : 'etcd-get',
    title,
    lacks: () => (versions.etcd() === null ? 'etcd is not installed' : null),
    run: (options) => measure(kind, options),
  };
}

export const etcdRows: readonly Row[] = [
  row('set', 'Puts, 256 under way, one key a request, against etcd on one node'),
  row('get', 'Reads, 256 under way, one key a request, against etcd on one node (linearizable there, by lease here)'),
];
