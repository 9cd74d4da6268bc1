/**
 * What must hold of a Raft group at every moment, whatever happens (Raft paper, figure 3), and what the leases and reads of
 * this one promise on top. An observer with all members in view: it is told of every step, and knows what nobody inside can.
 *
 *   election safety        at most one leader in a term
 *   log matching           an entry is known by its index and term, and so is the one before it
 *   leader completeness    a leader has all that was committed in earlier terms
 *   state-machine safety   one entry is committed at an index, and everybody applies it, in order
 *   durability             what is committed is on the disks of a quorum
 *   lease                  who answers by its lease, nobody has been elected after
 *   read index             is not behind what was committed anywhere before the read was asked
 */
import { assert } from '../../src/core/assert.ts';
import type { LogIndex, MemberId, Term } from '../../src/core/brands.ts';
import type { Entry, RaftGroup } from '../../src/core/raft/types.ts';

/** A member as the observer sees it: the core, with its log in view. */
export interface Observed extends Pick<
  RaftGroup,
  'id' | 'term' | 'lastIndex' | 'commitIndex' | 'appliedIndex' | 'leaseValid' | 'status'
> {
  /** What is before is not in view any more. */
  readonly firstIndex: LogIndex;
  /** -1 when it is not in view. */
  termAt(index: LogIndex): Term;
  entryAt(index: LogIndex): Entry;
}

interface Known {
  readonly entry: Entry;
  readonly termBefore: Term;
}

interface Committed {
  readonly entry: Entry;
  /** The term of the leader that committed it. */
  readonly inTerm: Term;
}

const TERMS = 2 ** 20;
const keyOf = (index: number, term: number): number => index * TERMS + term;

export class Invariants {
  readonly leaderOfTerm = new Map<Term, MemberId>();
  /** By index; the first is #base + 1. */
  readonly #committed: Committed[] = [];
  readonly #base: LogIndex;
  /** Snapshots installed. */
  snapshots = 0;
  readonly #known = new Map<number, Known>();
  /** Entries that were on their way to a disk; a crash decides whether they ever were there. */
  readonly #written = new Map<number, Known>();
  readonly #durable = new Map<MemberId, { upTo: number; readonly entries: Set<number> }>();
  readonly #commitSeen = new Map<MemberId, LogIndex>();
  #lastElected = 0 as Term;
  readonly #onElected: () => void;

  /** `base`: the log's entries come after this index. `onElected`: somebody leads who did not before. */
  constructor(base: LogIndex, onElected: () => void) {
    this.#base = base;
    this.#onElected = onElected;
  }

  /** The last index that is committed anywhere. */
  get committedIndex(): LogIndex {
    return (this.#base + this.#committed.length) as LogIndex;
  }

  /** A member came up: what it has on its disk counts as durable. */
  started(raft: Observed, recovered: readonly Entry[]): void {
    const upTo = (raft.firstIndex - 1) as LogIndex;
    this.#commitSeen.set(raft.id, upTo);
    this.durable(raft.id, upTo, raft.termAt(upTo), recovered);
    this.#commitRecovered(upTo, raft.termAt(upTo));
  }

  /** In a group of one, what is found on the disk is committed by that, though nobody was told before the crash. */
  #commitRecovered(upTo: LogIndex, termThere: Term): void {
    const found: Entry[] = [];
    let term = termThere;
    for (let index: number = upTo; index > this.committedIndex; index--) {
      const key = keyOf(index, term);
      const known = this.#known.get(key) ?? this.#written.get(key);
      assert(known !== undefined, 'a member has applied what nobody ever wrote');
      found.unshift(known.entry);
      term = known.termBefore;
    }
    for (const entry of found) this.#committed.push({ entry, inTerm: termThere });
  }

  /** Entries on their way to a member's disk, in order, after one of `termBefore`. */
  written(termBefore: Term, entries: readonly Entry[]): void {
    let before = termBefore;
    for (const entry of entries) {
      this.#written.set(keyOf(entry.index, entry.term), { entry, termBefore: before });
      before = entry.term;
    }
  }

  /** Entries that are on a member's disk or on their way to another one, in order, after one of `termBefore` (-1: not known). */
  logged(termBefore: Term, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const known = this.#known.get(keyOf(entry.index, entry.term));
      if (known === undefined) {
        this.#known.set(keyOf(entry.index, entry.term), { entry, termBefore });
      } else {
        assert(isSame(known.entry, entry), 'log matching: two entries of one index and term differ');
        const isJoined = known.termBefore === termBefore || known.termBefore < 0 || termBefore < 0;
        assert(isJoined, 'log matching: what is before an entry differs from log to log');
      }
      termBefore = entry.term;
    }
  }

  /** On the member's disk: its checkpoint up to `upTo`, and these entries, which follow one of `termBefore`. */
  durable(member: MemberId, upTo: LogIndex, termBefore: Term, entries: readonly Entry[]): void {
    this.logged(termBefore, entries);
    const disk = this.#durable.get(member) ?? { upTo: 0, entries: new Set() };
    this.#durable.set(member, disk);
    disk.upTo = Math.max(disk.upTo, upTo);
    for (const { index, term } of entries) disk.entries.add(keyOf(index, term));
  }

  elected(raft: Observed): void {
    const { id, term, lastIndex } = raft;
    const other = this.leaderOfTerm.get(term);
    assert(other === undefined || other === id, 'election safety: two leaders in one term');
    if (other === id) return;
    this.leaderOfTerm.set(term, id);
    if (term > this.#lastElected) this.#lastElected = term;
    for (const { entry, inTerm } of this.#committed) {
      if (inTerm >= term) continue;
      const { index } = entry;
      const has = index <= lastIndex && (index < raft.firstIndex || raft.termAt(index) === entry.term);
      assert(has, 'leader completeness: a leader lacks what was committed before its term');
    }
    this.#onElected();
  }

  /** To be called after each step of the member. */
  stepped(raft: Observed): void {
    const commit = raft.commitIndex;
    const seen = this.#commitSeen.get(raft.id) ?? 0;
    if (commit === seen) return;
    for (let index = Math.max(seen + 1, raft.firstIndex); index <= commit; index++) {
      const entry = raft.entryAt(index as LogIndex) as Entry | undefined;
      assert(entry !== undefined, 'what a member calls committed is in its log');
      this.#commit(raft, entry);
    }
    this.#commitSeen.set(raft.id, commit);
  }

  #commit(raft: Observed, entry: Entry): void {
    const known = this.#committed[entry.index - this.#base - 1];
    if (known !== undefined) {
      assert(isSame(known.entry, entry), 'state-machine safety: two entries are committed at one index');
      return;
    }
    assert(entry.index === this.committedIndex + 1, 'entries are committed in order');
    const has = (id: MemberId): boolean => {
      const disk = this.#durable.get(id);
      return disk !== undefined && (disk.upTo >= entry.index || disk.entries.has(keyOf(entry.index, entry.term)));
    };
    const { voters, votersOutgoing } = raft.status().conf;
    const isMajority = (ids: readonly MemberId[]): boolean => ids.filter(has).length * 2 > ids.length;
    const isDurable = isMajority(voters) && (votersOutgoing.length === 0 || isMajority(votersOutgoing));
    assert(isDurable, 'durability: an entry is committed before a quorum has it on disk');
    this.#committed.push({ entry, inTerm: raft.term });
  }

  /** A member would answer a read now, or does. */
  readByLease(raft: Observed): void {
    if (!raft.leaseValid()) return;
    assert(this.#lastElected <= raft.term, 'lease: a leader answers although another one has been elected after it');
    assert(raft.appliedIndex >= this.committedIndex, 'lease: a leader answers from a state that is behind');
  }
}

function isSame(a: Entry, b: Entry): boolean {
  return a.index === b.index && a.term === b.term && a.type === b.type && Buffer.compare(a.data, b.data) === 0;
}
