/** What a replica is made of, and what it asks of the thread that it lives in. */
import type { Hlc, Term } from '../src/core/brands.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import type { StateMachine } from '../src/core/kv/state-machine.ts';
import type { Submit } from '../src/core/kv/submit.ts';
import type { RangeDescriptor, RangeScope } from '../src/core/range.ts';
import type { ConfState, RaftGroup } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import type { RangeCatalog } from './range-catalog.ts';
import type { Replica } from './replica.ts';

export interface ReplicaHost {
  /** Wall clock of this turn, Unix milliseconds; never goes back. */
  readonly nowMs: number;
  /** Puts the replica on the list of those to flush in this turn. */
  touched(replica: Replica): void;
  /** Monotonic clock, milliseconds. */
  monotonicMs(): number;
  readonly metrics: MetricsWriter;
  /** Reads the monotonic clock and lets the replica's group know how much time has passed. */
  settle(replica: Replica): void;
  /** Wakes the replica's group, if it rests: something is to be asked of it. */
  wake(replica: Replica): void;
  /** Why a write of so many bytes cannot be taken now, as an error reply; null when it can. */
  refuseWrite(spec: CommandSpec, bytes: number): string | null;
  /** Counts bytes of commands taken (positive) and done with (negative). */
  countPending(bytes: number): void;
  /** Reserves consecutive HLC readings, all of them behind `after`. */
  nextVersion(count: number, after: Hlc): Hlc;
  /** Sends a command on its way again: this range's boundaries changed, or another member leads now. */
  readonly resubmit: Submit<[scope: RangeScope | null]>;
  /** Keeps a command until it is known who leads the range. */
  readonly awaitLeader: Submit<[scope: RangeScope]>;
  /** The range was cut: `replica` has its new descriptor already, `right` describes the new range and has its store. */
  splitApplied(replica: Replica, right: { readonly descriptor: RangeDescriptor; readonly store: Engine }): void;
  /** The members of the group are others now. */
  membersChanged(replica: Replica): void;
  catalogChanged(catalog: RangeCatalog): void;
}

/** Called once: with an error's text, or null when the split was applied. */
export type SplitCallback = (error: string | null) => void;

export interface ReplicaOptions {
  readonly descriptor: RangeDescriptor;
  readonly raft: RaftGroup;
  readonly store: Engine;
  readonly machine: StateMachine;
  /** Term of the entry at raft.appliedIndex. */
  readonly appliedTerm: Term;
  /** The configuration as of raft.appliedIndex. */
  readonly conf: ConfState;
  /** Of range 1; null for others. */
  readonly catalog: RangeCatalog | null;
}
