/**
 * Gives back the memory of older versions of values. The engine keeps a version only while somebody pins a moment that it
 * was the newest at (a snapshot, a watch, a backup); when the pin goes, a first few leaves are cleared at once, and the
 * rest here, some at a time, so that no large range stops its worker.
 */
import type { Engine } from '../src/engine/engine.ts';

/** One round's share per range: some milliseconds when every key has older versions. */
const LEAVES_PER_ROUND = 200;

/** Clears the next leaves of each range. Whether there may be more; without anything to do it costs nothing. */
export function sweepVersions(ranges: Iterable<{ readonly store: Pick<Engine, 'sweepVersions'> }>): boolean {
  let isMore = false;
  for (const { store } of ranges) if (store.sweepVersions(LEAVES_PER_ROUND)) isMore = true;
  return isMore;
}
