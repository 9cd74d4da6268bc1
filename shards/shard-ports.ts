/** What the ranges of a worker ask of the thread that they live in. */
import type { MemberId, RangeId } from '../src/core/brands.ts';
import type { Message } from '../src/core/raft/types.ts';
import type { Engine, FrozenStore } from '../src/engine/engine.ts';
import type { CheckpointFolder, CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import type { Disk } from '../src/storage/disk.ts';
import type { HostPorts } from './host-ports.ts';
import type { SnapshotCallback } from './incoming-snapshots.ts';
import type { ShardLog } from './log.ts';

export interface ShardPorts extends Pick<
  HostPorts,
  | 'refuseWrites'
  | 'hasMemory'
  | 'resubmit'
  | 'awaitLeader'
  | 'sendBeat'
  | 'workerOf'
  | 'rangesChanged'
  | 'catalogChanged'
  | 'monotonicMs'
  | 'metrics'
> {
  readonly log: ShardLog;
  readonly disk: Disk;
  readonly folder: CheckpointFolder;
  readonly createStore: () => Engine;
  /** Sends a Raft message to another node. */
  readonly sendMessage: (rangeId: RangeId, message: Message) => void;
  /** Sends a checkpoint file and the SNAPSHOT message that belongs to it; `done`: whether the follower took it. */
  readonly sendSnapshot: (rangeId: RangeId, message: Message, file: string, done: SnapshotCallback) => void;
  readonly writeCheckpoint: (frozen: FrozenStore, info: CheckpointInfo) => Promise<void>;
  readonly checkpointFailed: (rangeId: RangeId, error: unknown) => void;
  /** The file is to be kept aside when the new one that is asked for has taken its place. */
  readonly checkpointDamaged: (rangeId: RangeId, file: string, what: string) => void;
  readonly snapshotFailed: (rangeId: RangeId, error: unknown) => void;
  /** This node's member, on whichever worker, is out of its group: another one has come since. */
  readonly dropEarlier: (rangeId: RangeId, member: MemberId, confVersion: number) => void;
  /** Asks for a turn. */
  readonly schedule: () => void;
  /** Asks for one in a while. */
  readonly scheduleIn: (delayMs: number) => void;
}
