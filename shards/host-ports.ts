/** What the host of a worker's ranges asks of the thread that it lives in. */
import type { Beat } from '../src/core/beat.ts';
import type { MemberId, RangeId } from '../src/core/brands.ts';
import type { Submit } from '../src/core/kv/submit.ts';
import type { RangeDescriptor, RangeScope } from '../src/core/range.ts';
import type { Message, Ready } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import type { RangeCatalog } from './range-catalog.ts';
import type { Replica } from './replica.ts';
import type { SyncTime } from './write-times.ts';

/** The way to the WAL: this worker's end of it. All of a call is taken or nothing (false: the ring is full for now). */
export interface LogAppender {
  /** Takes the hard state and entries of one Ready of a range. */
  append(rangeId: RangeId, ready: Ready): boolean;
  /** Makes what was taken visible to the writer; rings its doorbell if it sleeps. */
  publish(): void;
  /** Position behind everything taken. */
  readonly position: number;
  /** Everything before this position is durable. */
  durable(): number;
  /** When the sync that made `position` durable began and ended, on the clock of monotonicMs; null: not known. */
  syncOf(position: number): SyncTime | null;
}

export interface HostPorts {
  readonly log: LogAppender;
  /** Sends a Raft message to another node. */
  readonly send: (rangeId: RangeId, message: Message) => void;
  /** Sends a beat to a worker of another node, and says where a member lives (core/member.ts workerId). */
  readonly sendBeat: (worker: number, beat: Beat) => void;
  readonly workerOf: (member: MemberId) => number;
  /** Why writes are refused at the moment, whatever they are; null when they are not. */
  readonly refuseWrites: () => string | null;
  /** Whether memory for so many more bytes is left. */
  readonly hasMemory: (bytes: number) => boolean;
  /** Sends a command on its way again. `scope`: it belongs to this range as it was then, whatever its keys. */
  readonly resubmit: Submit<[scope: RangeScope | null]>;
  /** Keeps a command until it is known who leads its range. */
  readonly awaitLeader: Submit<[scope: RangeScope]>;
  /**
   * Makes the replica of a range that came out of a split; null when this node has had it before: a member that was stopped
   * may apply again what it did in its former life, and the range may have gone on, or be gone, since.
   */
  readonly createSibling: (left: Replica, descriptor: RangeDescriptor, store: Engine) => Replica | null;
  /** `right` was cut from `left`. */
  readonly splitApplied: (left: Replica, right: Replica) => void;
  /**
   * Boundaries, members or leaders changed, ranges came or went. Called in the same turn, before any other command runs.
   */
  readonly rangesChanged: () => void;
  /** A message for a range that is not here, or for another life of its member. */
  readonly receiveUnknown: (rangeId: RangeId, message: Message) => void;
  /** Followers of this range need a snapshot. */
  readonly wantSnapshots: (replica: Replica, to: readonly MemberId[]) => void;
  /** Sends a SNAPSHOT message with its contents. */
  readonly sendSnapshot: (replica: Replica, message: Message) => void;
  /** The core took a snapshot whose contents are here: puts a replica with its state in the place of this one. */
  readonly installSnapshot: (replica: Replica, ready: Ready) => void;
  readonly catalogChanged: (catalog: RangeCatalog) => void;
  /** The replica learned that it is no longer a member: its messages are sent, it may be destroyed. */
  readonly replicaRemoved: (replica: Replica) => void;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  readonly metrics: MetricsWriter;
}

export interface HostTimes {
  /** Of groups: how many ticks without a leader begin an election; how many without a command a rest. */
  readonly electionTicks: number;
  readonly restAfterTicks: number;
  /** Unlike that of any other start of a worker. */
  readonly seed: number;
  /** Length of a Raft tick. */
  readonly tickMs: number;
  /** How long a write that is in the log may stay without an end. */
  readonly requestTimeoutMs: number;
  /** A disk that takes longer than this for one sync is not fit to lead. */
  readonly diskStallMs: number;
}
