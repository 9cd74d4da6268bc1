/**
 * Shows the observer what the replicas of a shard do: it stands between the host and the log, sees every Ready that has
 * something to store, and keeps a copy of each member's log.
 *
 *     ShardHost ── append(rangeId, ready) ──▶ ObservedLog ──▶ RangeLog ──▶ WAL
 *                                               └ copies, and durable() when the WAL says so ──▶ Invariants of the range
 */
import type { LogIndex, MemberId, RangeId, Term } from '../../src/core/brands.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import type { Entry, RaftGroup, RaftStatus, Ready } from '../../src/core/raft/types.ts';
import { ROLE_LEADER } from '../../src/core/raft/types.ts';
import { FIRST_INDEX } from '../../shards/entry.ts';
import type { ShardLog } from '../../shards/log.ts';
import type { Replica } from '../../shards/replica.ts';
import type { Coverage } from './coverage.ts';
import type { Invariants, Observed } from './invariants.ts';

/** What the core's own log says, while it is in its memory. */
class OpenRaft extends Raft {
  /** Those that it has stored: a new member may have more in memory before its first Ready comes by. */
  static storedEntriesOf(raft: RaftGroup): readonly Entry[] {
    const { log } = (raft as OpenRaft).state;
    return log.range(log.firstIndex, log.persisted);
  }

  static entryOf(raft: RaftGroup, index: LogIndex): Entry | undefined {
    const { log } = (raft as OpenRaft).state;
    return index > log.baseIndex && index <= log.lastIndex ? log.at(index) : undefined;
  }

  static baseOf(raft: RaftGroup): { index: LogIndex; term: Term } {
    const { log } = (raft as OpenRaft).state;
    return { index: log.baseIndex, term: log.baseTerm };
  }

  /** One that is alone leads at once, and says and does nothing in its term before that is on its disk. */
  static isTermStored(raft: RaftGroup): boolean {
    return (raft as OpenRaft).state.hardStateDurable;
  }

  /** A snapshot has taken the log's place, and is not stored yet. */
  static isSnapshotUnderWay(raft: RaftGroup): boolean {
    const { snapshotReady, persistedNumber } = (raft as OpenRaft).state;
    return snapshotReady > persistedNumber;
  }
}

class ObservedMember implements Observed {
  readonly raft: RaftGroup;
  #base: { readonly index: LogIndex; readonly term: Term };
  #entries: Entry[];

  constructor(raft: RaftGroup) {
    this.raft = raft;
    this.#base = OpenRaft.baseOf(raft);
    this.#entries = [...OpenRaft.storedEntriesOf(raft)];
  }

  get id(): MemberId {
    return this.raft.id;
  }
  get term(): Term {
    return this.raft.term;
  }
  get lastIndex(): LogIndex {
    return this.raft.lastIndex;
  }
  get commitIndex(): LogIndex {
    return this.raft.commitIndex;
  }
  get appliedIndex(): LogIndex {
    return this.raft.appliedIndex;
  }
  get firstIndex(): LogIndex {
    const base = OpenRaft.isSnapshotUnderWay(this.raft) ? OpenRaft.baseOf(this.raft) : this.#base;
    return (base.index + 1) as LogIndex;
  }
  get entries(): readonly Entry[] {
    return this.#entries;
  }

  leaseValid(): boolean {
    return this.raft.leaseValid();
  }

  status(): RaftStatus {
    return this.raft.status();
  }

  termAt(index: LogIndex): Term {
    const entry = this.#entryAt(index);
    if (entry !== undefined) return entry.term;
    const base = [this.#base, OpenRaft.baseOf(this.raft)].find((one) => one.index === index);
    return base?.term ?? (-1 as Term);
  }

  /** The same of what is stored, or next in the ring. */
  storedTermAt(index: LogIndex): Term {
    if (index === this.#base.index) return this.#base.term;
    const entry = this.#entries[index - this.#base.index - 1] ?? OpenRaft.entryOf(this.raft, index);
    return entry?.term ?? (-1 as Term);
  }

  entryAt(index: LogIndex): Entry {
    return copied(this.#entryAt(index) as Entry);
  }

  /** What waits for room in the log's ring is in the core only; what the core has dropped from its memory is here. */
  #entryAt(index: LogIndex): Entry | undefined {
    return OpenRaft.entryOf(this.raft, index) ?? this.#entries[index - this.#base.index - 1];
  }

  /** What the Ready makes of its log. */
  take({ snapshot, entries }: Ready): void {
    if (snapshot !== null) {
      this.#base = { index: snapshot.index, term: snapshot.term };
      this.#entries = [];
    }
    const [first] = entries;
    if (first === undefined) return;
    this.#entries.length = Math.min(this.#entries.length, first.index - this.#base.index - 1);
    this.#entries.push(...entries);
  }
}

interface Write {
  readonly rangeId: RangeId;
  readonly member: MemberId;
  readonly termBefore: Term;
  readonly ready: Ready;
  readonly end: number;
}

/** A replica that is alone uses the buffers of what it has applied again. */
const copied = (entry: Entry): Entry => ({ ...entry, data: Buffer.from(entry.data) });

/** A Ready that is next in the ring. */
interface Announced {
  readonly given: Ready;
  /** Null: it counts for nobody. */
  readonly write: { readonly member: ObservedMember; readonly termBefore: Term; readonly ready: Ready } | null;
}

export class ObservedLog implements ShardLog {
  readonly #log: ShardLog;
  readonly #replicas: () => ReadonlyMap<RangeId, Replica>;
  readonly #invariantsOf: (rangeId: RangeId) => Invariants;
  readonly #members = new Map<RaftGroup, ObservedMember>();
  readonly #coverage: Coverage;
  #writes: Write[] = [];
  #next: Announced | null = null;

  constructor(
    log: ShardLog,
    replicas: () => ReadonlyMap<RangeId, Replica>,
    invariantsOf: (rangeId: RangeId) => Invariants,
    coverage: Coverage,
  ) {
    this.#coverage = coverage;
    this.#log = log;
    this.#replicas = replicas;
    this.#invariantsOf = invariantsOf;
  }

  async read(...wanted: Parameters<ShardLog['read']>): ReturnType<ShardLog['read']> {
    const entries = await this.#log.read(...wanted);
    if (entries !== null) this.#coverage.count('log read back');
    return entries;
  }

  syncOf(position: number): ReturnType<ShardLog['syncOf']> {
    return this.#log.syncOf(position);
  }

  append(rangeId: RangeId, given: Ready): boolean {
    // Its first entries may be on the disk before there is room for the others.
    if (this.#next?.given !== given) this.#next = this.#announced(rangeId, given);
    if (!this.#log.append(rangeId, given)) {
      this.#coverage.count('log rings full');
      return false;
    }
    const { write } = this.#next;
    this.#next = null;
    if (given.snapshot !== null) this.#coverage.count('logs cut by a snapshot');
    if (write === null) {
      const isVote = given.hardState !== null && given.hardState.vote !== 0 && given.hardState.commit < FIRST_INDEX;
      if (isVote) this.#coverage.count('votes without a state');
      return true;
    }
    const { member, termBefore, ready } = write;
    member.take(ready);
    this.#writes.push({ rangeId, member: member.id, termBefore, ready, end: this.#log.position });
    return true;
  }

  #announced(rangeId: RangeId, given: Ready): Announced {
    const replica = this.#replicas().get(rangeId);
    // A replica that left meanwhile, and what it still stores counts for nobody; or a member that has nothing but a vote.
    if (replica === undefined) return { given, write: null };
    const member = this.#memberOf(rangeId, replica);
    const ready = { ...given, entries: given.entries.map(copied) };
    const [first] = ready.entries;
    const termBefore = first === undefined ? (0 as Term) : member.storedTermAt((first.index - 1) as LogIndex);
    this.#invariantsOf(rangeId).written(termBefore, ready.entries);
    return { given, write: { member, termBefore, ready } };
  }

  durable(): number {
    const durable = this.#log.durable();
    while (this.#writes[0] !== undefined && this.#writes[0].end <= durable) {
      const { rangeId, member, termBefore, ready } = this.#writes.shift() as Write;
      const upTo = ready.snapshot?.index ?? (0 as LogIndex);
      this.#invariantsOf(rangeId).durable(member, upTo, termBefore, ready.entries);
    }
    return durable;
  }

  checkpointed(rangeId: RangeId, index: LogIndex, term: Term): boolean {
    return this.#log.checkpointed(rangeId, index, term);
  }
  gone(rangeId: RangeId): boolean {
    return this.#log.gone(rangeId);
  }
  publish(): void {
    this.#log.publish();
  }
  get position(): number {
    return this.#log.position;
  }

  /** After a turn: what is committed now, who leads now. */
  stepped(): void {
    for (const [rangeId, replica] of this.#replicas()) {
      const member = this.#memberOf(rangeId, replica);
      const invariants = this.#invariantsOf(rangeId);
      invariants.stepped(member);
      if (replica.raft.role === ROLE_LEADER && OpenRaft.isTermStored(replica.raft)) invariants.elected(member);
    }
  }

  /** Whoever leads would answer by its lease now, or not: either must be right. */
  askForLeases(): void {
    for (const [rangeId, replica] of this.#replicas()) {
      if (replica.isLeader) this.#invariantsOf(rangeId).readByLease(this.#memberOf(rangeId, replica));
    }
  }

  #memberOf(rangeId: RangeId, { raft }: Replica): ObservedMember {
    let member = this.#members.get(raft);
    if (member === undefined) {
      member = new ObservedMember(raft);
      this.#members.set(raft, member);
      this.#invariantsOf(rangeId).started(member, member.entries);
    }
    return member;
  }
}
