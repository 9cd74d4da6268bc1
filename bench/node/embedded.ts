/** A store inside the caller's process, 256 durable SETs under way, beside Redis with fsync always and pipelines of 16; all keys are there. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { fill } from '../harness/loads.ts';
import { LAUNCHER } from '../harness/package.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startRedis, versions } from '../harness/servers.ts';
import { alternate, ratioOf, spreadOf } from '../harness/statistics.ts';
import { runBenchmark } from '../peers/redis-benchmark.ts';
import type { MeasuredRun } from '../../src/bench/measured-run.ts';

const IN_FLIGHT = 256;
const KEYS = 1_000_000;

interface Side {
  readonly perSecond: number;
  readonly p99Ms: number;
}

/** In a process of its own, which has nothing to do but this. */
async function runEmbedded(seconds: number): Promise<Side> {
  const flags = ['--clients', `${IN_FLIGHT}`, '--keys', `${KEYS}`, '--load', '--duration', `${seconds}`, '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, [LAUNCHER, 'bench', 'set', '--embedded', ...flags]);
  const { runs } = JSON.parse(stdout) as { runs: [MeasuredRun] };
  return { perSecond: runs[0].operationsPerSecond, p99Ms: runs[0].latency.p99Ms };
}

async function measure({ pairs, seconds, say }: RowOptions): Promise<RowResult> {
  const redis = await startRedis();
  try {
    await fill(redis.respPort, KEYS);
    const settings = {
      test: 'set',
      port: redis.respPort,
      clients: 50,
      pipeline: 16,
      keys: KEYS,
      valueBytes: 100,
    } as const;
    const { perSecond } = await runBenchmark({ ...settings, requests: 200_000 });
    const requests = Math.round(perSecond * seconds);
    const runs = await alternate<Side>(
      pairs,
      () => runEmbedded(seconds),
      () => runBenchmark({ ...settings, requests }),
      ({ ours, theirs }, number) => {
        const ratio = ours.perSecond / theirs.perSecond;
        say(
          `${number}: embedded ${ours.perSecond.toFixed(0)}/s, Redis ${theirs.perSecond.toFixed(0)}/s, ${ratio.toFixed(2)} ×`,
        );
      },
    );
    const ratio = ratioOf(runs, (side) => side.perSecond);
    return {
      figures: [
        figure('throughput, embedded to Redis', '×', ratio, 'higher', { must: 1, aim: 2 }),
        figure('embedded', '/s', spreadOf(runs.map(({ ours }) => ours.perSecond)), 'higher'),
        figure('Redis', '/s', spreadOf(runs.map(({ theirs }) => theirs.perSecond)), 'higher'),
        figure('embedded, p99', 'ms', spreadOf(runs.map(({ ours }) => ours.p99Ms)), 'lower'),
      ],
      details: { inFlight: IN_FLIGHT, runs },
    };
  } finally {
    await redis.stop();
  }
}

export const embeddedRow: Row = {
  id: 'embedded',
  title: 'The embedded client, 256 durable SETs under way, against Redis with pipelines of 16',
  lacks: () => (versions.redis() === null || versions.redisBenchmark() === null ? 'Redis is not installed' : null),
  run: measure,
};
