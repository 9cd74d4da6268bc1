/**
 * Whether there is memory for a write. The limit is the node's, not the worker's: each worker publishes what it uses in
 * its metrics, and all look at the sum. Beside it stands how long values are, which bounds the replies that may be due.
 */
import type { MemoryArena } from '../src/engine/memory/arena.ts';
import { MetricsReader, MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';

export interface MemoryGauge {
  /** Whether `bytes` more, on top of all that is used, stay within the limit. */
  hasRoom(bytes: number): boolean;
  /** Publishes what this worker uses. Once per turn, before anybody hears of what the turn has stored. */
  update(): void;
  /** Takes a changed limit of the node; 0 = none. */
  configure(changes: { readonly maxMemoryBytes?: number }): void;
}

export function createMemoryGauge(
  areas: readonly SharedArrayBuffer[],
  workerIndex: number,
  limitBytes: number,
  arena: Pick<MemoryArena, 'bytesUsed' | 'longestValueBytes'>,
): MemoryGauge {
  const own = new MetricsWriter(areas[workerIndex]);
  const others = areas.filter((_, i) => i !== workerIndex).map((area) => new MetricsReader(area));
  let limit = limitBytes;
  let elsewhere = 0;
  /** `elsewhere` is of an earlier turn: this worker may have slept for long, and others may have grown. */
  let isStale = true;
  let here = 0;
  return {
    hasRoom(bytes) {
      if (isStale) elsewhere = others.reduce((sum, reader) => sum + reader.get(slots.memoryUsedBytes), 0);
      isStale = false;
      return here + elsewhere + bytes <= limit;
    },
    update() {
      here = arena.bytesUsed;
      own.set(slots.memoryUsedBytes, here);
      own.set(slots.longestValueBytes, arena.longestValueBytes);
      isStale = true;
    },
    configure({ maxMemoryBytes }) {
      if (maxMemoryBytes !== undefined) limit = maxMemoryBytes === 0 ? Infinity : maxMemoryBytes;
    },
  };
}

/**
 * How large a worker's arena may become: as large as it can be. The gauge admits writes; applying what is in the log must
 * never run out of memory, and the limit may be raised while the node runs.
 */
export const ARENA_BYTES_MAX = 32 * 2 ** 30;
