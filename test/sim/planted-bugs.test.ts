import test from 'ava';
import { importPlanted } from '../support/mutations.ts';
import { plantedBugs } from './planted-bugs.ts';
import type * as simulation from './simulation.ts';

const SEEDS_MAX = 1000;

for (const { name, title, changes, faults = {}, members = 3, raft = {}, firstSeed = 1 } of plantedBugs) {
  test(`the simulator notices ${title}`, async (t) => {
    const url = new URL('simulation.ts', import.meta.url);
    const { Simulation } = (await importPlanted(url, name, changes)) as typeof simulation;
    let seed = 0;
    const error = t.throws(
      () => {
        for (seed = firstSeed; seed < firstSeed + SEEDS_MAX; seed++)
          new Simulation({ seed, members, faults, raft }).run();
      },
      { code: 'KV_ASSERTION' },
      `${SEEDS_MAX} seeds hold`,
    );
    t.log(`seed ${seed}: ${error?.message.slice(0, 100)}`);
  });
}
