/**
 * Hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) in one double:
 *
 *     53 bits = Unix milliseconds (42 bits, to the year 2109) × 2048 + logical counter (11 bits)
 *
 * The counter may run over into the milliseconds; then the clock runs ahead of the wall clock by as much, which is
 * harmless. A reading never repeats and never goes back, whatever the wall clock does.
 */
import type { Hlc } from './brands.ts';

export const HLC_LOGICAL_RANGE = 2048;

export interface HlcClock {
  /** Reserves `count` consecutive readings and returns the first. `nowMs`: the wall clock, Unix milliseconds. */
  next(nowMs: number, count: number): Hlc;
  /** Takes note of a reading seen elsewhere (a log entry, a peer's message): later readings are larger. */
  observe(seen: Hlc): void;
  /** The largest reading given out or seen. */
  readonly latest: Hlc;
}

export function createHlcClock(start: Hlc = 0 as Hlc): HlcClock {
  let latest: number = start;
  return {
    next(nowMs, count) {
      const first = Math.max(latest + 1, nowMs * HLC_LOGICAL_RANGE);
      latest = first + count - 1;
      return first as Hlc;
    },
    observe(seen) {
      if (seen > latest) latest = seen;
    },
    get latest() {
      return latest as Hlc;
    },
  };
}

/** The physical part: Unix milliseconds. */
export function hlcToMs(hlc: Hlc): number {
  return Math.floor(hlc / HLC_LOGICAL_RANGE);
}
