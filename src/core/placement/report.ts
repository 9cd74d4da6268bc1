/** What is known about the ranges of a cluster: what replicas report, and what follows from all reports together. */
import type { LogIndex, MemberId, Term } from '../brands.ts';
import type { RangeDescriptor } from '../range.ts';

/** What the leader of a range says of one of its members. */
export interface MemberProgress {
  readonly memberId: MemberId;
  readonly matchIndex: LogIndex;
  /** Heard of within an election timeout. The leader itself is. */
  readonly isActive: boolean;
  /** It replicates (no probe, no snapshot) and lacks so little that it would not hold up a commit. */
  readonly isCaughtUp: boolean;
}

/** What a worker says of a range that it has a replica of. */
export interface RangeReport {
  /** As of what this replica has applied. */
  readonly descriptor: RangeDescriptor;
  /** This replica's member id; it need not be in the descriptor (it waits for its first snapshot, or is removed). */
  readonly memberId: MemberId;
  /** 0 = not known. This replica leads when it is its own id. */
  readonly leader: MemberId;
  readonly term: Term;
  readonly appliedIndex: LogIndex;
  /** A configuration change is not finished: joint, or not yet committed. No other can be made. */
  readonly isChanging: boolean;
  /** Of a leader, itself included; else empty. */
  readonly members: readonly MemberProgress[];
  /** Memory of the keys and values. */
  readonly bytes: number;
}
