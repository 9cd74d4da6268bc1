/**
 * Skerry's RESP port beside Redis with fsync always, both under redis-benchmark: 50 clients, values of 100 bytes, a million
 * keys. Skerry is split in the middle of the keys, and has its defaults, or two workers, so that half of what a connection
 * asks for lives in the other one.
 */
import { fill } from '../harness/loads.ts';
import type { Figure, Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { PRE_SPLIT_KEY, startRedis, startSkerry, versions } from '../harness/servers.ts';
import type { Pair, Spread } from '../harness/statistics.ts';
import { alternate, ratioOf, spreadOf } from '../harness/statistics.ts';
import type { BenchmarkResult } from './redis-benchmark.ts';
import { runBenchmark } from './redis-benchmark.ts';

const CLIENTS = 50;
const VALUE_BYTES = 100;
const KEYS = 1_000_000;
/** Of the first run, which warms up and tells how many requests the others need. */
const FIRST_REQUESTS = 200_000;

interface Target {
  readonly test: 'set' | 'get';
  readonly pipeline: number;
  /** Two workers, each of which has one of the two ranges; else as many as are the default. */
  readonly isForwarded: boolean;
  /** Of throughput, ours to theirs. */
  readonly must: number;
  readonly aim: number;
}

async function measure({ test, pipeline, isForwarded, must, aim }: Target, options: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const skerry = await startSkerry(['--pre-split', PRE_SPLIT_KEY, ...(isForwarded ? ['--workers', '2'] : [])]);
  stack.defer(() => skerry.stop());
  const redis = await startRedis();
  stack.defer(() => redis.stop());
  const runner = async (port: number): Promise<() => Promise<BenchmarkResult>> => {
    await fill(port, KEYS, VALUE_BYTES);
    const settings = { test, port, clients: CLIENTS, pipeline, keys: KEYS, valueBytes: VALUE_BYTES };
    const first = await runBenchmark({ ...settings, requests: FIRST_REQUESTS });
    const requests = Math.max(FIRST_REQUESTS / 10, Math.round(first.perSecond * options.seconds));
    return () => runBenchmark({ ...settings, requests });
  };
  const ours = await runner(skerry.respPort);
  const theirs = await runner(redis.respPort);
  const pairs = await alternate(options.pairs, ours, theirs, (pair, number) => {
    const { ours: a, theirs: b } = pair;
    options.say(`${number}: Skerry ${brief(a)}, Redis ${brief(b)}, ${(a.perSecond / b.perSecond).toFixed(2)} ×`);
  });
  return { figures: figuresOf(pairs, must, aim), details: { clients: CLIENTS, pipeline, pairs } };
}

function brief({ perSecond, p99Ms }: BenchmarkResult): string {
  return `${perSecond.toFixed(0)}/s p99 ${p99Ms} ms`;
}

const perSecond = (run: BenchmarkResult): number => run.perSecond;
const p99Ms = (run: BenchmarkResult): number => run.p99Ms;

function figuresOf(pairs: readonly Pair<BenchmarkResult>[], must: number, aim: number): Figure[] {
  const of = (side: 'ours' | 'theirs', number: (run: BenchmarkResult) => number): Spread =>
    spreadOf(pairs.map((pair) => number(pair[side])));
  return [
    figure('throughput, Skerry to Redis', '×', ratioOf(pairs, perSecond), 'higher', { must, aim }),
    figure('p99, Skerry to Redis', '×', ratioOf(pairs, p99Ms), 'lower', { must: 3, aim: 1 }),
    figure('Skerry', '/s', of('ours', perSecond), 'higher'),
    figure('Redis', '/s', of('theirs', perSecond), 'higher'),
    figure('Skerry, p99', 'ms', of('ours', p99Ms), 'lower'),
    figure('Redis, p99', 'ms', of('theirs', p99Ms), 'lower'),
  ];
}

const targets: readonly Omit<Target, 'isForwarded'>[] = [
  { test: 'set', pipeline: 1, must: 0.5, aim: 1 },
  { test: 'set', pipeline: 16, must: 0.7, aim: 1.2 },
  { test: 'set', pipeline: 64, must: 0.7, aim: 1.2 },
  { test: 'get', pipeline: 1, must: 0.5, aim: 1 },
  { test: 'get', pipeline: 16, must: 0.5, aim: 1 },
  { test: 'get', pipeline: 64, must: 0.5, aim: 1 },
];

function row(target: Target): Row {
  const { test, pipeline, isForwarded } = target;
  return {
    id: `redis-${test}-${pipeline}${isForwarded ? '-forwarded' : ''}`,
    title:
      `${test.toUpperCase()}, pipeline ${pipeline}, ` +
      `${isForwarded ? 'half of them forwarded between two workers, ' : ''}against Redis with fsync always`,
    lacks: () =>
      versions.redis() === null || versions.redisBenchmark() === null
        ? 'redis-server and redis-benchmark are not installed'
        : null,
    run: (options) => measure(target, options),
  };
}

export const redisRows: readonly Row[] = [false, true].flatMap((isForwarded) =>
  targets.map((target) => row({ ...target, isForwarded })),
);
