/** Throughput and latency over the number of clients, one request at a time each: Skerry by both protocols, and Redis. */
import { fill, load, planOf } from '../harness/loads.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startRedis, startSkerry, versions } from '../harness/servers.ts';
import { spreadOf } from '../harness/statistics.ts';
import type { LoadTarget } from '../../src/bench/load.ts';

const CLIENTS = [1, 4, 16, 64, 256] as const;
const ROUNDS_MAX = 3;
const WARM_UP_MS = 500;
const KEYS = 1_000_000;

export interface CurvePoint {
  readonly clients: number;
  /** Medians of the rounds. */
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly generatorShare: number;
}

export interface CurveDetails {
  readonly series: readonly { readonly name: string; readonly points: readonly CurvePoint[] }[];
}

type Measured = Omit<CurvePoint, 'clients'>;

async function measure(kind: 'set' | 'get', { pairs, seconds, say }: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const skerry = await startSkerry();
  stack.defer(() => skerry.stop());
  await fill(skerry.respPort, KEYS);
  const targets: { readonly name: string; readonly target: LoadTarget }[] = [
    { name: 'Skerry, Redis protocol', target: { kind: 'resp', host: skerry.host, port: skerry.respPort } },
    { name: 'Skerry, native client', target: { kind: 'native', server: `${skerry.host}:${skerry.port}` } },
  ];
  if (versions.redis() !== null) {
    const redis = await startRedis();
    stack.defer(() => redis.stop());
    await fill(redis.respPort, KEYS);
    targets.push({ name: 'Redis, fsync always', target: { kind: 'resp', host: '127.0.0.1', port: redis.respPort } });
  }
  const measured = new Map<string, Measured[]>();
  for (let round = 0; round < Math.min(pairs, ROUNDS_MAX); round++) {
    for (const clients of CLIENTS) {
      for (const { name, target } of targets) {
        // oxlint-disable-next-line no-await-in-loop
        const run = await load(planOf(kind, seconds, { clients, warmUpMs: WARM_UP_MS }), target);
        const { p50Ms, p99Ms } = run.latency;
        const generatorShare = run.generator.cpuSharePerThread;
        const one: Measured = { perSecond: run.operationsPerSecond, p50Ms, p99Ms, generatorShare };
        const point = `${name}\n${clients}`;
        measured.set(point, [...(measured.get(point) ?? []), one]);
        say(`${round + 1}: ${clients} clients, ${name}: ${one.perSecond.toFixed(0)}/s, p99 ${p99Ms.toFixed(2)} ms`);
      }
    }
  }
  const pointOf = (name: string, clients: number): CurvePoint => {
    const all = measured.get(`${name}\n${clients}`) ?? [];
    const median = (number: (one: Measured) => number): number => spreadOf(all.map(number)).median;
    return {
      clients,
      perSecond: median((one) => one.perSecond),
      p50Ms: median((one) => one.p50Ms),
      p99Ms: median((one) => one.p99Ms),
      generatorShare: median((one) => one.generatorShare),
    };
  };
  const series = targets.map(({ name }) => ({ name, points: CLIENTS.map((clients) => pointOf(name, clients)) }));
  const details: CurveDetails = { series };
  const most = Math.max(...CLIENTS);
  return {
    figures: series.map(({ name, points }) =>
      figure(`${name}, ${most} clients`, '/s', points.at(-1)?.perSecond ?? 0, 'higher'),
    ),
    details,
  };
}

export const curveRows: readonly Row[] = (['set', 'get'] as const).map((kind) => ({
  id: `curve-${kind}`,
  title: `${kind.toUpperCase()} over the number of clients, one request at a time each`,
  lacks: () => null,
  run: (options) => measure(kind, options),
}));
