import test from 'ava';
import type { SimulatedEvent } from './coverage.ts';
import { CoverageReport, EVENTS } from './coverage.ts';
import { ShardSimulation } from './shard-simulation.ts';
import type { ShardSimulationOptions } from './shard-simulation.ts';

async function runSeeds(seeds: number, options: ShardSimulationOptions): Promise<CoverageReport> {
  const report = new CoverageReport();
  for (let seed = options.seed; seed < options.seed + seeds; seed++) {
    const { coverage } = await new ShardSimulation({ ...options, seed }).run();
    report.add(coverage);
  }
  return report;
}

test('whole clusters over real logs, checkpoints and disks keep every promise through all faults, and finish', async (t) => {
  const report = await runSeeds(30, { seed: 1, faultyMs: 3000 });
  t.log(report.toString());
  const never = EVENTS.filter((event) => report.times(event) === 0);
  t.deepEqual(never, [], 'faults that never happen');
  const often: readonly [SimulatedEvent, number][] = [
    ['writes', 10_000],
    ['splits', 30],
    ['machines crashed', 100],
    ['members removed', 60],
  ];
  for (const [event, times] of often) t.true(report.times(event) > times, `${report.times(event)} ${event}`);
});

test('a member that applies a split once more after a restart leaves the other half as it has gone on', async (t) => {
  // Checkpoints of the right half only, so to speak: the left one begins before the split, and nobody says it is committed.
  const report = await runSeeds(6, { seed: 1, faultyMs: 3000, faults: { crashEveryMs: 300, membershipEveryMs: 30 } });
  t.true(report.times('splits') > 6);
});
