import test from 'ava';
import { importPlanted } from '../support/mutations.ts';
import { clusterBugs } from './cluster-bugs.ts';
import type * as simulation from './shard-simulation.ts';

const SEEDS_MAX = 100;

for (const { name, title, changes, faults = {}, longEvery = Infinity, firstSeed = 1 } of clusterBugs) {
  test(`the simulator of whole clusters notices ${title}`, async (t) => {
    const url = new URL('shard-simulation.ts', import.meta.url);
    const { ShardSimulation } = (await importPlanted(url, `cluster-${name}`, changes)) as typeof simulation;
    let seed = firstSeed;
    const search = async (): Promise<void> => {
      for (; seed < firstSeed + SEEDS_MAX; seed++) {
        await new ShardSimulation({ seed, faultyMs: 3000, rotEveryMs: Infinity, longEvery, faults }).run();
      }
    };
    const error = await t.throwsAsync(search, undefined, `${SEEDS_MAX} seeds hold`);
    t.log(`seed ${seed}: ${error?.message.slice(0, 100)}`);
  });
}
