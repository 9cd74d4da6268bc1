/**
 * The log in memory: an array with an offset, and the cursors over it.
 *
 *      base        persisted      submitted        last            base: the last index that is no longer here
 *   ────┼──────────────┼──────────────┼──────────────┤             submitted: handed out in a Ready, on its way to disk
 *       └ in memory, firstIndex … lastIndex ─────────┘             persisted: durable here
 *
 *             applied ≤ applying ≤ committed ≤ last                applying: handed out as committed
 *
 * Invariant: persisted ≤ submitted ≤ last, applied ≤ applying ≤ min(committed, submitted).
 *
 * A Ready on its way to the disk is a record {number, lastIndex}. Cutting the log lowers the lastIndex of the records
 * under way: their completion then no longer speaks for entries that were overwritten since, also when an entry with
 * the same index and term comes back (the ABA of etcd/raft's unstable log).
 */
import { assert } from '../assert.ts';
import type { LogIndex, Term } from '../brands.ts';
import type { Entry, SnapshotMeta } from './types.ts';
import { ENTRY_NOOP } from './types.ts';

/** termAt() of an index that is not in memory. */
export const TERM_UNKNOWN = -1 as Term;
export const NO_ENTRIES: readonly Entry[] = [];

/** What dropped slots hold until the array is cut, so that their data can be collected. */
const DROPPED: Entry = { index: 0 as LogIndex, term: 0 as Term, type: ENTRY_NOOP, data: new Uint8Array(0) };
const SLOTS_DROPPED_BEFORE_CUT = 256;

interface WriteUnderWay {
  readonly readyNumber: number;
  lastIndex: LogIndex;
}

export class RaftLog {
  baseIndex: LogIndex;
  baseTerm: Term;
  lastIndex: LogIndex;
  committed: LogIndex;
  applying: LogIndex;
  applied: LogIndex;
  submitted: LogIndex;
  persisted: LogIndex;
  /** Bytes of data in memory. */
  bytes = 0;
  /** The last index in storage once all Readys handed out are stored: tells whether the next one cuts it. */
  storedLast: LogIndex;
  private entries: Entry[] = [];
  private droppedSlots = 0;
  private readonly writes: WriteUnderWay[] = [];

  /** An empty log after a checkpoint at `index`; restoring one is adopt() on top of it. */
  constructor(index: LogIndex, term: Term) {
    this.baseIndex = this.lastIndex = index;
    this.baseTerm = term;
    this.committed = this.applying = this.applied = index;
    this.submitted = this.persisted = this.storedLast = index;
  }

  /**
   * Takes what was recovered from the disk (see RaftLogSeed.entries): drops what the checkpoint covers, and everything
   * when the log is another leader's than the checkpoint: its entry at the checkpoint's index is of another term, or
   * the one behind it of an earlier term.
   */
  adopt(recovered: readonly Entry[]): void {
    const covered = recovered.findIndex((entry) => entry.index > this.baseIndex);
    const overlap = recovered.find((entry) => entry.index === this.baseIndex);
    this.storedLast = recovered.at(-1)?.index ?? this.baseIndex;
    if (overlap !== undefined && overlap.term !== this.baseTerm) return;
    if (covered < 0) return;
    // Terms never fall along a log, so this is not what follows the checkpoint.
    if ((recovered[covered] as Entry).term < this.baseTerm) return;
    assert(
      (recovered[covered] as Entry).index === this.baseIndex + 1,
      'the recovered log begins right after the checkpoint: entries between them are missing',
    );
    for (let i = covered; i < recovered.length; i++) this.push(recovered[i] as Entry);
    this.submitted = this.persisted = this.lastIndex;
  }

  get firstIndex(): LogIndex {
    return (this.baseIndex + 1) as LogIndex;
  }

  get lastTerm(): Term {
    return this.termAt(this.lastIndex);
  }

  at(index: LogIndex): Entry {
    const entry = this.entries[this.droppedSlots + index - this.baseIndex - 1];
    assert(index > this.baseIndex && entry !== undefined, 'the entry is in memory');
    return entry;
  }

  /** The term of the entry at `index`, TERM_UNKNOWN when it is compacted or not written yet. */
  termAt(index: LogIndex): Term {
    if (index === this.baseIndex) return this.baseTerm;
    if (index < this.baseIndex || index > this.lastIndex) return TERM_UNKNOWN;
    return (this.entries[this.droppedSlots + index - this.baseIndex - 1] as Entry).term;
  }

  /** Raft paper §5.4.1: whether a log that ends so is at least as up-to-date as this one. */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    const ownTerm = this.lastTerm;
    return lastTerm > ownTerm || (lastTerm === ownTerm && lastIndex >= this.lastIndex);
  }

  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'entries are contiguous');
    assert(entry.term >= this.lastTerm, 'terms never fall along a log');
    this.entries.push(entry);
    this.lastIndex = entry.index;
    this.bytes += entry.data.length;
  }

  /** Drops the entries from `index` on. They must not be committed. */
  truncateFrom(index: LogIndex): void {
    assert(index > this.committed, 'a committed entry is never overwritten (Raft paper §5.4)');
    const kept = (index - 1) as LogIndex;
    for (let i = index; i <= this.lastIndex; i++) this.bytes -= this.at(i).data.length;
    this.entries.length -= this.lastIndex - kept;
    this.lastIndex = kept;
    this.forgetWritesAfter(kept);
  }

  private forgetWritesAfter(index: LogIndex): void {
    if (this.submitted > index) this.submitted = index;
    if (this.persisted > index) this.persisted = index;
    for (const write of this.writes) if (write.lastIndex > index) write.lastIndex = index;
  }

  /** The largest index ≤ `index` whose term is ≤ `term`: where two logs may agree (etcd/raft findConflictByTerm). */
  lastIndexWithTermAtMost(index: LogIndex, term: Term): LogIndex {
    let candidate = Math.min(index, this.lastIndex) as LogIndex;
    while (candidate > this.baseIndex && this.termAt(candidate) > term) candidate--;
    return candidate;
  }

  /** Entries from `from` on, as many as fit into `bytesMax`, but at least one if there is one. */
  slice(from: LogIndex, bytesMax: number): readonly Entry[] {
    if (from > this.lastIndex) return NO_ENTRIES;
    let end = from;
    for (let bytes = 0; end <= this.lastIndex; end++) {
      bytes += this.at(end).data.length;
      if (bytes > bytesMax && end > from) break;
    }
    return this.range(from, (end - 1) as LogIndex);
  }

  /** Entries first … last. */
  range(first: LogIndex, last: LogIndex): readonly Entry[] {
    const slot = this.droppedSlots + first - this.baseIndex - 1;
    return this.entries.slice(slot, slot + last - first + 1);
  }

  commitTo(index: LogIndex): void {
    if (index <= this.committed) return;
    assert(index <= this.lastIndex, 'a leader commits only what this member has: was its log lost or cut?');
    this.committed = index;
  }

  /** Everything not yet in a Ready, now counted as submitted under this number. */
  takeUnsubmitted(readyNumber: number): readonly Entry[] {
    if (this.submitted === this.lastIndex) return NO_ENTRIES;
    const entries = this.range((this.submitted + 1) as LogIndex, this.lastIndex);
    this.submitted = this.storedLast = this.lastIndex;
    this.writes.push({ readyNumber, lastIndex: this.lastIndex });
    return entries;
  }

  /** Everything committed and not yet handed out, now counted as applying. */
  takeCommitted(): readonly Entry[] {
    if (this.applying === this.committed) return NO_ENTRIES;
    const entries = this.range((this.applying + 1) as LogIndex, this.committed);
    this.applying = this.committed;
    return entries;
  }

  /** All writes of Readys up to this number are durable. */
  writesPersisted(readyNumber: number): void {
    while (this.writes.length > 0) {
      const write = this.writes[0] as WriteUnderWay;
      if (write.readyNumber > readyNumber) return;
      if (write.lastIndex > this.persisted) this.persisted = write.lastIndex;
      this.writes.shift();
    }
  }

  appliedTo(index: LogIndex): void {
    assert(index <= this.applying, 'only what was handed out can be applied');
    if (index > this.applied) this.applied = index;
  }

  /** Starts over from a snapshot of a leader; what was committed before stays durable, nothing else counts. */
  restore(meta: SnapshotMeta, readyNumber: number): void {
    assert(meta.index > this.committed, 'a snapshot only moves forward');
    this.forgetWritesAfter(this.committed);
    this.entries = [];
    this.droppedSlots = 0;
    this.bytes = 0;
    this.baseIndex = this.lastIndex = this.committed = this.applying = this.submitted = this.storedLast = meta.index;
    this.baseTerm = meta.term;
    this.writes.push({ readyNumber, lastIndex: meta.index });
  }

  /** Drops entries up to `index` from memory. */
  compact(index: LogIndex): void {
    if (index <= this.baseIndex) return;
    assert(index <= this.applied, 'only applied entries are dropped');
    this.baseTerm = this.termAt(index);
    for (let dropped = index - this.baseIndex; dropped > 0; dropped--) {
      this.bytes -= (this.entries[this.droppedSlots] as Entry).data.length;
      this.entries[this.droppedSlots++] = DROPPED;
    }
    this.baseIndex = index;
    if (this.droppedSlots >= SLOTS_DROPPED_BEFORE_CUT && this.droppedSlots * 2 >= this.entries.length) {
      this.entries = this.entries.slice(this.droppedSlots);
      this.droppedSlots = 0;
    }
  }
}
