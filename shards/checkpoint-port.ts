/** Checkpoints of a worker's ranges, written by another thread on this one's request, and counted; and whose they may not be any more. */
import type { MemberId, RangeId } from '../src/core/brands.ts';
import type { FrozenStore } from '../src/engine/engine.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import type { Logger } from '../src/observe/log.ts';
import { slots } from '../src/observe/metrics.ts';
import type { CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import type { FromWorker } from './messages.ts';
import type { Requests } from './requests.ts';

export interface CheckpointPort {
  /** Resolves when the checkpoint is durable. */
  readonly writeCheckpoint: (frozen: FrozenStore, info: CheckpointInfo) => Promise<void>;
  readonly checkpointFailed: (rangeId: RangeId, error: unknown) => void;
  readonly checkpointDamaged: (rangeId: RangeId, file: string, what: string) => void;
  readonly snapshotFailed: (rangeId: RangeId, error: unknown) => void;
  /** As ShardPorts has it. */
  readonly dropEarlier: (rangeId: RangeId, memberId: MemberId, confVersion: number) => void;
}

/** `send`: to the main thread, which answers under the id that `requests` gave. */
export function createCheckpointPort(
  metrics: MetricsWriter,
  log: Logger,
  requests: Requests,
  send: (message: FromWorker) => void,
): CheckpointPort {
  return {
    async writeCheckpoint(frozen, info) {
      const startedMs = performance.now();
      const bytes = await requests.ask<number>((id) => send({ type: 'checkpoint', id, frozen, info }));
      metrics.histograms.checkpointDuration.record((performance.now() - startedMs) * 1000);
      metrics.add(slots.checkpoints, 1);
      metrics.add(slots.checkpointBytes, bytes);
    },
    checkpointFailed(rangeId, error) {
      metrics.add(slots.checkpointsFailed, 1);
      log.error({ err: error, rangeId }, 'a checkpoint failed; the log is kept, and it is tried again later');
    },
    checkpointDamaged(rangeId, file, what) {
      log.error({ rangeId, what }, 'a file is damaged; it is replaced by new checkpoints, and kept aside');
      send({ type: 'keepAside', file });
    },
    snapshotFailed(rangeId, error) {
      log.error({ err: error, rangeId }, 'a snapshot could not be read; its leader will send another one');
    },
    dropEarlier: (rangeId, memberId, confVersion) => send({ type: 'dropEarlier', rangeId, memberId, confVersion }),
  };
}
