/**
 * Whether there is memory for a write. The limit is the node's, not the worker's: each worker publishes what it uses in
 * its metrics, and all look at the sum.
 */
import { MetricsReader, MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';

export interface MemoryGauge {
  /** Whether `bytes` more, on top of all that is used, stay within the limit. */
  hasRoom(bytes: number): boolean;
  /** Publishes what this worker uses. Once per turn. */
  update(): void;
}

export function createMemoryGauge(
  areas: readonly SharedArrayBuffer[],
  workerIndex: number,
  maxBytes: number,
  bytesUsed: () => number,
): MemoryGauge {
  const own = new MetricsWriter(areas[workerIndex]);
  const others = areas.filter((_, i) => i !== workerIndex).map((area) => new MetricsReader(area));
  let elsewhere = 0;
  let here = 0;
  return {
    hasRoom: (bytes) => here + elsewhere + bytes <= maxBytes,
    update() {
      here = bytesUsed();
      own.set(slots.memoryUsedBytes, here);
      elsewhere = others.reduce((sum, reader) => sum + reader.get(slots.memoryUsedBytes), 0);
    },
  };
}

const ARENA_BYTES_MAX = 32 * 2 ** 30;
const ARENA_BYTES_MORE = 2 ** 30;

/**
 * How large a worker's arena may become: more than what writes are admitted for, since applying what is in the log must
 * never run out of memory.
 */
export function arenaBytes(maxMemoryBytes: number): number {
  return Math.min(ARENA_BYTES_MAX, Math.ceil(maxMemoryBytes * 1.25) + ARENA_BYTES_MORE);
}
