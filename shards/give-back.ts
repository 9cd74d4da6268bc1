/**
 * Gives memory back that checkpoints and deletes have left free: once no state has been frozen for a while, the arena is
 * compacted piece by piece between the turns of the loop, and then the garbage is collected that holds the slabs given up.
 */
import type { MemoryArena } from '../src/engine/memory/arena.ts';
import { collectGarbage } from './garbage.ts';

/** Time without a frozen state before it begins, in calls of tick(). */
const QUIET_TICKS = 20;

/** Returns tick(), to be called ten times a second. `onGivenBack`: other threads may still refer to what was given up. */
export function createGiveBack(arena: MemoryArena, onGivenBack: () => void): () => void {
  let quietTicks = 0;
  let isUnderWay = false;
  let givenUp = arena.slabsGivenUp;

  function run(): void {
    isUnderWay = arena.compact();
    if (isUnderWay) {
      setImmediate(run);
    } else if (arena.slabsGivenUp > givenUp) {
      givenUp = arena.slabsGivenUp;
      collectGarbage();
      onGivenBack();
    }
  }

  return () => {
    quietTicks = arena.epochs.liveFreezes > 0 ? 0 : quietTicks + 1;
    if (quietTicks >= QUIET_TICKS && !isUnderWay) run();
  };
}
