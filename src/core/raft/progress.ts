/**
 * What a leader knows of one other member, and how it sends to it (etcd/raft tracker/progress.go):
 *
 *            rejected                    needs what is compacted
 *   PROBE ◀─────────── REPLICATE     PROBE, REPLICATE ──────────────▶ SNAPSHOT
 *     │  first match       ▲                                             │ delivered, acknowledged or lost
 *     └────────────────────┘             PROBE ◀──────────────────────────┘
 *
 * PROBE: one append at a time until logs meet. REPLICATE: appends are streamed, `next` runs ahead of `match`.
 * SNAPSHOT: no appends.
 */
import type { LogIndex, MemberId } from '../brands.ts';

export const PROGRESS_PROBE = 0;
export const PROGRESS_REPLICATE = 1;
export const PROGRESS_SNAPSHOT = 2;
export type ProgressState = typeof PROGRESS_PROBE | typeof PROGRESS_REPLICATE | typeof PROGRESS_SNAPSHOT;

/** Appends under way: a queue of (last index, bytes), oldest first, bounded in number and bytes. */
export class Inflights {
  bytes = 0;
  private readonly lastIndexes: LogIndex[] = [];
  private readonly sizes: number[] = [];
  private readonly messagesMax: number;
  private readonly bytesMax: number;

  constructor(messagesMax: number, bytesMax: number) {
    this.messagesMax = messagesMax;
    this.bytesMax = bytesMax;
  }

  get count(): number {
    return this.lastIndexes.length;
  }

  get full(): boolean {
    return this.lastIndexes.length >= this.messagesMax || this.bytes >= this.bytesMax;
  }

  add(lastIndex: LogIndex, bytes: number): void {
    this.lastIndexes.push(lastIndex);
    this.sizes.push(bytes);
    this.bytes += bytes;
  }

  /** An acknowledgement of `index` frees all appends that end at or before it. */
  freeTo(index: LogIndex): void {
    let freed = 0;
    for (; freed < this.lastIndexes.length && (this.lastIndexes[freed] as LogIndex) <= index; freed++) {
      this.bytes -= this.sizes[freed] as number;
    }
    if (freed === 0) return;
    this.lastIndexes.splice(0, freed);
    this.sizes.splice(0, freed);
  }

  clear(): void {
    this.lastIndexes.length = 0;
    this.sizes.length = 0;
    this.bytes = 0;
  }
}

export class Progress {
  readonly id: MemberId;
  learner: boolean;
  state: ProgressState = PROGRESS_PROBE;
  /** Durable there and the same as here. */
  match = 0 as LogIndex;
  next: LogIndex;
  /** Of the snapshot under way; 0 while the host is still asked for one. */
  pendingSnapshot = 0 as LogIndex;
  /** Heard from since the last check of the quorum. */
  recentActive = false;
  /** The transport has not lost it since it was last heard of. */
  isReachable = true;
  /** Heard from between the last check of the quorum and the one before. */
  activeBefore = false;
  /** PROBE: an append is out, wait for its answer or a heartbeat's. */
  probeSent = false;
  /** What was read back for it is out: until this tick no heartbeat's answer means that it was lost. */
  readBackUntil = 0;
  /** Send an append even if it is empty. */
  wantsAppend = false;
  /** The commit index that this member was told of by the stream of appends. */
  sentCommit = 0 as LogIndex;
  /** The latest stamp that it answered (lease.ts). */
  ackedStamp: number;
  /** Refusals of appends sent before the probe or stream under way began are stale. */
  streamStamp = 0;
  /** Answers to messages sent before it became a member (again) are not its own. */
  readonly sinceStamp: number;
  readonly inflights: Inflights;

  constructor(id: MemberId, learner: boolean, next: LogIndex, sinceStamp: number, inflights: Inflights) {
    this.id = id;
    this.learner = learner;
    this.next = next;
    this.sinceStamp = sinceStamp;
    this.ackedStamp = -1;
    this.inflights = inflights;
  }

  /** Whether it answers: a check of the quorum a moment ago does not make it silent. */
  get isLive(): boolean {
    return this.recentActive || this.activeBefore;
  }

  get paused(): boolean {
    return this.state === PROGRESS_SNAPSHOT || (this.state === PROGRESS_PROBE && this.probeSent);
  }

  becomeProbe(): void {
    // After a snapshot the follower has all of it, but has not said so yet.
    const from = this.state === PROGRESS_SNAPSHOT ? Math.max(this.match, this.pendingSnapshot) : this.match;
    this.reset(PROGRESS_PROBE);
    this.next = (from + 1) as LogIndex;
  }

  becomeReplicate(): void {
    this.reset(PROGRESS_REPLICATE);
    this.next = (this.match + 1) as LogIndex;
  }

  becomeSnapshot(): void {
    this.reset(PROGRESS_SNAPSHOT);
  }

  private reset(state: ProgressState): void {
    this.state = state;
    this.pendingSnapshot = 0 as LogIndex;
    this.probeSent = false;
    this.readBackUntil = 0;
    this.sentCommit = 0 as LogIndex;
    this.inflights.clear();
  }

  /** An append that ends at `lastIndex` was sent (`bytes` of entries; none: lastIndex is the previous index). */
  sent(lastIndex: LogIndex, bytes: number): void {
    if (this.state === PROGRESS_PROBE) {
      this.probeSent = true;
    } else if (lastIndex >= this.next) {
      this.next = (lastIndex + 1) as LogIndex;
      this.inflights.add(lastIndex, bytes);
    }
  }

  /** An acknowledgement: whether it is news. */
  matched(index: LogIndex): boolean {
    if (this.next <= index) this.next = (index + 1) as LogIndex;
    if (index <= this.match) return false;
    this.match = index;
    this.probeSent = false;
    return true;
  }

  /**
   * The append after `rejected` was refused; `hint`: where the logs may meet. Moves `next` back and returns whether
   * the answer was not stale.
   */
  rejected(rejected: LogIndex, hint: LogIndex): boolean {
    if (this.state === PROGRESS_REPLICATE) {
      if (rejected <= this.match) return false;
      this.becomeProbe();
    } else if (this.state === PROGRESS_SNAPSHOT || this.next - 1 !== rejected) {
      return false;
    }
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1) as LogIndex;
    this.probeSent = false;
    return true;
  }
}
