import test from 'ava';
import { importPlanted } from '../support/mutations.ts';
import { plantedShardBugs } from './planted-bugs.ts';
import type * as simulation from './shard-simulation.ts';

const SEEDS_MAX = 200;

for (const { name, title, changes, firstSeed = 1 } of plantedShardBugs) {
  test(`the simulator notices ${title}`, async (t) => {
    const url = new URL('shard-simulation.ts', import.meta.url);
    const { ShardSimulation } = (await importPlanted(url, name, changes)) as typeof simulation;
    let seed = firstSeed;
    const search = async (): Promise<void> => {
      for (; seed < firstSeed + SEEDS_MAX; seed++) await new ShardSimulation({ seed, longEvery: Infinity }).run();
    };
    const error = await t.throwsAsync(search, { code: 'KV_ASSERTION' }, `${SEEDS_MAX} seeds hold`);
    t.log(`seed ${seed}: ${error?.message.slice(0, 100)}`);
  });
}
