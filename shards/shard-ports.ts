/** What the ranges of a worker ask of the thread that they live in. */
import type { MemberId, RangeId } from '../src/core/brands.ts';
import type { Beat } from '../src/core/beat.ts';
import type { Args } from '../src/core/kv/args.ts';
import type { RequestId } from '../src/core/kv/batch.ts';
import type { ReplyTarget } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import type { RangeScope } from '../src/core/range.ts';
import type { Message } from '../src/core/raft/types.ts';
import type { Engine, FrozenStore } from '../src/engine/engine.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import type { CheckpointFolder, CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import type { Disk } from '../src/storage/disk.ts';
import type { SnapshotCallback } from './incoming-snapshots.ts';
import type { ShardLog } from './log.ts';
import type { RangeCatalog } from './range-catalog.ts';

export interface ShardPorts {
  readonly log: ShardLog;
  readonly disk: Disk;
  readonly folder: CheckpointFolder;
  readonly createStore: () => Engine;
  readonly refuseWrites: () => string | null;
  readonly hasMemory: (bytes: number) => boolean;
  readonly resubmit: (
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope | null,
  ) => void;
  readonly awaitLeader: (
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope,
  ) => void;
  /** Sends a Raft message to another node. */
  readonly sendMessage: (rangeId: RangeId, message: Message) => void;
  /** Sends a beat to a worker of another node, and says where a member lives (core/member.ts workerId). */
  readonly sendBeat: (worker: number, beat: Beat) => void;
  readonly workerOf: (member: MemberId) => number;
  /** Sends a checkpoint file and the SNAPSHOT message that belongs to it; `done`: whether the follower took it. */
  readonly sendSnapshot: (rangeId: RangeId, message: Message, file: string, done: SnapshotCallback) => void;
  /** The worker's ranges, their leaders or members have changed. */
  readonly rangesChanged: () => void;
  readonly catalogChanged: (catalog: RangeCatalog) => void;
  readonly writeCheckpoint: (frozen: FrozenStore, info: CheckpointInfo) => Promise<void>;
  readonly checkpointFailed: (rangeId: RangeId, error: unknown) => void;
  readonly snapshotFailed: (rangeId: RangeId, error: unknown) => void;
  /** Asks for a turn. */
  readonly schedule: () => void;
  /** Asks for one in a while. */
  readonly scheduleIn: (delayMs: number) => void;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  readonly metrics: MetricsWriter;
}
