import test from 'ava';
import { AssertionFailed } from '../../src/core/assert.ts';
import type { SimulationOptions } from './simulation.ts';
import { Simulation } from './simulation.ts';

const STEPS = 4000;

for (const members of [3, 5]) {
  test(`${members} members keep the rules of Raft over a faulty network and disk, and agree once it heals`, (t) => {
    let committed = 0;
    let crashes = 0;
    let reads = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const result = new Simulation({ seed: seed * 1000 + members, members, steps: STEPS }).run();
      committed += result.committed;
      crashes += result.crashes;
      reads += result.reads;
    }
    // The faults did happen, and so did the work.
    t.true(committed > 400, `${committed} committed`);
    t.true(crashes > 400, `${crashes} crashes`);
    t.true(reads > 0, `${reads} reads`);
  });
}

test('a group of one commits only what its own disk has (FAILURES 10, etcd#14370)', (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const result = new Simulation({ seed, members: 1, steps: 1000 }).run();
    t.true(result.committed > 0);
  }
});

/** Whether some seed notices the planted bug. */
function isCaught(plant: NonNullable<SimulationOptions['plant']>, members: number): boolean {
  for (let seed = 1; seed <= 400; seed++) {
    try {
      new Simulation({ seed, members, steps: STEPS, plant }).run();
    } catch (error) {
      if (error instanceof AssertionFailed) return true;
      throw error;
    }
  }
  return false;
}

test('the simulator notices a vote that is not persisted', (t) => {
  t.true(isCaught('voteNotPersisted', 3));
});

test('the simulator notices an acknowledgement before the entry is durable (FAILURES 9)', (t) => {
  t.true(isCaught('acknowledgedBeforeDurable', 3));
});
