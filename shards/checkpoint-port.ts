/** Checkpoints of a worker's ranges: written by another thread on this one's request, and counted. */
import type { RangeId } from '../src/core/brands.ts';
import type { FrozenStore } from '../src/engine/engine.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import type { Logger } from '../src/observe/log.ts';
import { slots } from '../src/observe/metrics.ts';
import type { CheckpointInfo } from '../src/storage/checkpoint/index.ts';

export interface CheckpointPort {
  /** Resolves when the checkpoint is durable. */
  readonly writeCheckpoint: (frozen: FrozenStore, info: CheckpointInfo) => Promise<void>;
  readonly checkpointFailed: (rangeId: RangeId, error: unknown) => void;
  readonly snapshotFailed: (rangeId: RangeId, error: unknown) => void;
}

/** `write` resolves with the checkpoint's bytes. */
export function createCheckpointPort(
  metrics: MetricsWriter,
  log: Logger,
  write: (frozen: FrozenStore, info: CheckpointInfo) => Promise<number>,
): CheckpointPort {
  return {
    async writeCheckpoint(frozen, info) {
      const startedMs = performance.now();
      const bytes = await write(frozen, info);
      metrics.histograms.checkpointDuration.record((performance.now() - startedMs) * 1000);
      metrics.add(slots.checkpoints, 1);
      metrics.add(slots.checkpointBytes, bytes);
    },
    checkpointFailed(rangeId, error) {
      metrics.add(slots.checkpointsFailed, 1);
      log.error({ err: error, rangeId }, 'a checkpoint failed; the log is kept, and it is tried again later');
    },
    snapshotFailed(rangeId, error) {
      log.error({ err: error, rangeId }, 'a snapshot could not be read; its leader will send another one');
    },
  };
}
