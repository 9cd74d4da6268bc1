import test from 'ava';
import { AssertionFailed } from '../../src/core/assert.ts';
import { NO_FAULTS } from './faults.ts';
import { Simulation } from './simulation.ts';
import type { SimulationResult } from './simulation.ts';

function runSeeds(members: number, first: number, seeds: number): Record<keyof SimulationResult, number> {
  const sum: Partial<Record<keyof SimulationResult, number>> = {};
  for (let seed = first; seed < first + seeds; seed++) {
    const result = new Simulation({ seed, members }).run();
    for (const key of Object.keys(result) as (keyof SimulationResult)[]) sum[key] = (sum[key] ?? 0) + result[key];
  }
  return sum as Record<keyof SimulationResult, number>;
}

for (const members of [3, 5]) {
  test(`${members} members keep the rules of Raft through all faults, serve linearizably, and finish once all is well (FAILURES 8)`, (t) => {
    const sum = runSeeds(members, members * 1000, 100);
    // The faults did happen, and so did the work.
    t.true(sum.crashes > 800, `${sum.crashes} crashes`);
    t.true(sum.partitions > 300, `${sum.partitions} partitions`);
    t.true(sum.pauses > 100, `${sum.pauses} pauses`);
    t.true(sum.changes > 200, `${sum.changes} membership changes`);
    t.true(sum.snapshots > 250, `${sum.snapshots} snapshots installed`);
    t.true(sum.leadersElected > 400, `${sum.leadersElected} leaders`);
    t.true(sum.reads > 10_000 && sum.writes > 8000, `${sum.reads} reads, ${sum.writes} writes`);
  });
}

test('a group of one commits only what its own disk has (FAILURES 10, etcd#14370)', (t) => {
  const sum = runSeeds(1, 1, 40);
  t.true(sum.crashes > 100 && sum.writes > 500, `${sum.crashes} crashes, ${sum.writes} writes`);
});

test('the same seed does the same', (t) => {
  t.deepEqual(runSeeds(5, 4711, 3), runSeeds(5, 4711, 3));
});

test('a network that repeats packets does not make more and more of them', (t) => {
  const network = { lossChance: 0, duplicateChance: 0.2, meanDelayMs: 25, lateChance: 0, lateMs: 0 };
  for (let seed = 1; seed <= 20; seed++) {
    const faults = { ...NO_FAULTS, network };
    const { packets } = new Simulation({ seed, members: 5, faultyMs: 2000, faults }).run();
    // Two seconds of heartbeats to all, and their answers, are 1600; the clients write all the time.
    t.true(packets < 20_000, `${packets} packets`);
  }
});

test('clocks that break the bound break leases, and that is noticed (FAILURES 3)', (t) => {
  const faults = { ...NO_FAULTS, clockEveryMs: 50, clockDrift: 2, partitionEveryMs: 400, partitionMs: 500 };
  const run = (): void => {
    for (let seed = 1; seed <= 200; seed++) new Simulation({ seed, members: 3, faults }).run();
  };
  t.throws(run, { instanceOf: AssertionFailed, message: /^lease/ });
});
