import test from 'ava';
import { ShardSimulation } from './shard-simulation.ts';
import type { ShardSimulationOptions, ShardSimulationResult } from './shard-simulation.ts';

type Sum = Record<keyof ShardSimulationResult, number>;

async function runSeeds(seeds: number, options: ShardSimulationOptions): Promise<Sum> {
  const sum: Partial<Sum> = {};
  for (let seed = options.seed; seed < options.seed + seeds; seed++) {
    const result = await new ShardSimulation({ ...options, seed }).run();
    for (const key of Object.keys(result) as (keyof Sum)[]) sum[key] = (sum[key] ?? 0) + result[key];
  }
  return sum as Sum;
}

test('whole clusters over real logs, checkpoints and disks keep every promise through all faults, and finish', async (t) => {
  const sum = await runSeeds(12, { seed: 1, faultyMs: 4000 });
  t.true(sum.ranges > 15, `${sum.ranges} ranges`);
  t.true(sum.changes > 30, `${sum.changes} membership changes`);
  t.true(sum.crashes > 50, `${sum.crashes} crashes`);
  t.true(sum.reads > 1000 && sum.writes > 1000, `${sum.reads} reads, ${sum.writes} writes`);
});

test('a member that applies a split once more after a restart leaves the other half as it has gone on', async (t) => {
  // Checkpoints of the right half only, so to speak: the left one begins before the split, and nobody says it is committed.
  const sum = await runSeeds(6, { seed: 1, faultyMs: 3000, faults: { crashEveryMs: 300, membershipEveryMs: 30 } });
  t.true(sum.ranges > 12, `${sum.ranges} ranges`);
});
