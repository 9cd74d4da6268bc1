import test from 'ava';
import type { SimulatedEvent } from './coverage.ts';
import { importPlanted } from '../support/mutations.ts';
import { CoverageReport, EVENTS } from './coverage.ts';
import { NO_FAULTS } from './faults.ts';
import type * as shardSimulation from './shard-simulation.ts';
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
  // What is damaged has a test of its own.
  const report = await runSeeds(60, { seed: 1, faultyMs: 3000, rotEveryMs: Infinity });
  t.log(report.toString());
  const ofDamage: readonly SimulatedEvent[] = ['bits flipped', 'replicas given up'];
  const never = EVENTS.filter((event) => report.times(event) === 0 && !ofDamage.includes(event));
  t.deepEqual(never, [], 'faults that never happen');
  const often: readonly [SimulatedEvent, number][] = [
    ['writes', 10_000],
    ['splits', 30],
    ['machines crashed', 100],
    ['members removed', 60],
  ];
  for (const [event, times] of often) t.true(report.times(event) > times, `${report.times(event)} ${event}`);
});

test('groups that shrink to one voter, and grow again, keep every promise', async (t) => {
  const report = await runSeeds(24, { seed: 1, faultyMs: 3000, rotEveryMs: Infinity, voters: 1 });
  t.true(report.times('members removed') > 60, `${report.times('members removed')} members removed`);
});

test('a member that applies a split once more after a restart leaves the other half as it has gone on', async (t) => {
  // Checkpoints of the right half only, so to speak: the left one begins before the split, and nobody says it is committed.
  const faults = { crashEveryMs: 300, membershipEveryMs: 30 };
  const report = await runSeeds(6, { seed: 1, faultyMs: 3000, longEvery: Infinity, faults });
  t.true(report.times('splits') > 6);
});

/** As it was found: no values were long then. */
function again(seed: number): Promise<unknown> {
  return runSeeds(1, { seed, longEvery: Infinity });
}

test('seeds that once were wrong hold', async (t) => {
  // A new member’s entries were taken for stored ones, and were gone with the crash that came before they were.
  await t.notThrowsAsync(again(4000471));
  // A group was made smaller while one of its nodes was down, and nobody knew yet that its files were damaged.
  await t.notThrowsAsync(again(7000842));
  // A beat of a worker’s former life came late and woke followers that the present one counted on.
  await t.notThrowsAsync(again(8000304));
  // A message for a member that was out of its group, and not buried yet, made it anew with nothing in its log.
  await t.notThrowsAsync(again(13001692));
});

/** Damage is what these runs are about; and changes of members, so that there are others to heal from. */
const ROTTEN = {
  faultyMs: 3000,
  rotEveryMs: 80,
  faults: { ...NO_FAULTS, membershipEveryMs: 30, leaderDeathEveryMs: 300, downMs: 50 },
};

test('nodes whose files are damaged are made whole, and nothing acknowledged is lost (FAILURES 15)', async (t) => {
  const report = await runSeeds(10, { seed: 1, ...ROTTEN });
  t.true(report.times('replicas given up') > 10, `${report.times('replicas given up')} replicas given up`);
});

test('the simulator notices a damaged log that votes as if it were whole (FAILURES 15)', async (t) => {
  const url = new URL('shard-simulation.ts', import.meta.url);
  const from =
    'for (const { rangeId, memberId } of members) dir.checkpoints.condemn(rangeId, memberId, { what, sinceMs });';
  const changes = [{ file: 'src/server/healing.ts', from, to: '' }];
  const planted = (await importPlanted(url, 'damagedLogVotes', changes)) as typeof shardSimulation;
  const error = await t.throwsAsync(
    async () => {
      for (let seed = 1; seed < 200; seed++) await new planted.ShardSimulation({ seed, ...ROTTEN }).run();
    },
    { code: 'KV_ASSERTION' },
  );
  t.log(error?.message.slice(0, 200));
});
