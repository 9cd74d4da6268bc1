/**
 * Members that wait for their state: somebody of the group writes to a range that this worker has no replica of, because this
 * node was just added to it, or because a snapshot took it past the split that made the range. Such a member knows nothing.
 * Its answers make the leader send a snapshot, and with that it becomes a replica.
 *
 *     a leader's message ─▶ waits ───────────────────────────────────────────── SNAPSHOT ─▶ replica
 *     a request for a vote ─▶ kept: the split may be applied here any moment ─▶ waits, and votes   │
 *                             (and makes no member before somebody asks again, later)              └ the split after all
 *
 * Where nothing names an earlier life of the range on this node, it never promised anything, so it may vote: its vote is as
 * durable as any other before it is given, and this node names it first (docs/adr/0011-voters-without-a-state.md).
 */
import { assert } from '../src/core/assert.ts';
import type { MemberId, RangeId } from '../src/core/brands.ts';
import { incarnationOf } from '../src/core/member.ts';
import type { HardState, Message, RaftGroup, Ready } from '../src/core/raft/types.ts';
import { MSG_APPEND, MSG_HEARTBEAT, MSG_PRE_VOTE, MSG_SNAPSHOT, MSG_VOTE } from '../src/core/raft/types.ts';
import { isBuried } from '../src/storage/checkpoint/index.ts';

export interface JoiningPorts {
  readonly send: (rangeId: RangeId, message: Message) => void;
  /** Puts the Ready's hard state into the log; `onDurable` runs when it is. */
  readonly store: (rangeId: RangeId, ready: Ready, onDurable: () => void) => void;
  /** A member with an empty log and no configuration; `keepsVotes`: `hardState` has whatever it voted for. */
  readonly createEmpty: (member: MemberId, hardState: HardState | null, keepsVotes: boolean) => RaftGroup;
  /** The last of this node's members of the range that is gone for good; 0 = none. */
  readonly tombstoneOf: (rangeId: RangeId) => MemberId;
  /** Whether any member of the range may have spoken on this node. */
  readonly isNamed: (rangeId: RangeId) => boolean;
  /** The member is about to be counted on. Durable. */
  readonly name: (rangeId: RangeId, member: MemberId) => void;
  /** A member that was named is gone for good. */
  readonly bury: (rangeId: RangeId, member: MemberId) => void;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** So long after the first request for a vote the next one is not put down to a split that is about to be applied. */
  readonly patienceMs: number;
}

/** A member that had voted when the node stopped. */
export interface WaitingMember {
  readonly rangeId: RangeId;
  readonly memberId: MemberId;
  readonly hardState: HardState;
}

interface Waiting {
  readonly raft: RaftGroup;
  readonly mayVote: boolean;
  /** It has a name, and its hard states go to the log. */
  isStored: boolean;
}

/** Ranges with requests for votes that nobody was here for. */
const EARLY_RANGES_MAX = 4096;

export class JoiningMembers {
  readonly #ports: JoiningPorts;
  /** The newest request for a vote of each range, and when the first one came. */
  readonly #early = new Map<RangeId, { readonly message: Message; readonly sinceMs: number }>();
  readonly #members = new Map<RangeId, Waiting>();

  constructor(ports: JoiningPorts) {
    this.#ports = ports;
  }

  /** Takes a member that was recovered. */
  restore({ rangeId, memberId, hardState }: WaitingMember): void {
    const raft = this.#ports.createEmpty(memberId, hardState, true);
    this.#members.set(rangeId, { raft, mayVote: true, isStored: true });
  }

  /** A message for a range that has no replica here. */
  receive(rangeId: RangeId, message: Message): void {
    const member = isRequest(message) ? this.#voterFor(rangeId, message) : this.#memberFor(rangeId, message);
    if (member === null) return;
    member.raft.step(message);
    const ready = this.#answer(rangeId, member);
    assert(ready === null, 'joining: a snapshot is stepped only when its contents are here');
  }

  /** Steps a SNAPSHOT whose contents are here. The member and the Ready to install it, or null when it was not taken. */
  receiveSnapshot(rangeId: RangeId, message: Message): { readonly raft: RaftGroup; readonly ready: Ready } | null {
    const member = this.#memberFor(rangeId, message);
    if (member === null) return null;
    member.raft.step(message);
    const ready = this.#answer(rangeId, member);
    return ready === null ? null : { raft: member.raft, ready };
  }

  /** The member that waits; null: none does. */
  waitingIn(rangeId: RangeId): RaftGroup | null {
    return this.#members.get(rangeId)?.raft ?? null;
  }

  /** Takes out the request for a vote that came too early for a range that was cut from another one just now. */
  takeEarly(rangeId: RangeId): Message | null {
    const early = this.#early.get(rangeId);
    this.#early.delete(rangeId);
    return early?.message ?? null;
  }

  /** The range has a replica here now, which goes on from the member that waited. */
  forget(rangeId: RangeId): void {
    this.#members.delete(rangeId);
  }

  /** The member is out of its group. */
  drop(rangeId: RangeId, member: MemberId): void {
    const waiting = this.#members.get(rangeId);
    if (waiting?.raft.id !== member) return;
    this.#members.delete(rangeId);
    if (waiting.isStored) this.#ports.bury(rangeId, member);
  }

  /** Who is to answer a request for a vote; null while that may be a replica that is about to be made. */
  #voterFor(rangeId: RangeId, message: Message): Waiting | null {
    const known = this.#members.get(rangeId);
    if (known?.raft.id === message.to && known.mayVote && (known.isStored || !this.#ports.isNamed(rangeId)))
      return known;
    const nowMs = this.#ports.monotonicMs();
    const sinceMs = this.#early.get(rangeId)?.sinceMs ?? nowMs;
    if (this.#early.size >= EARLY_RANGES_MAX) this.#early.delete(this.#early.keys().next().value as RangeId);
    this.#early.set(rangeId, { message, sinceMs });
    if (nowMs - sinceMs < this.#ports.patienceMs || this.#ports.isNamed(rangeId)) return null;
    this.#early.delete(rangeId);
    return this.#newest(rangeId, message.to);
  }

  /** The member that a leader's message is for; null when it is not for one that can be. */
  #memberFor(rangeId: RangeId, { type, to }: Message): Waiting | null {
    const isLeaders = type === MSG_APPEND || type === MSG_HEARTBEAT || type === MSG_SNAPSHOT;
    return isLeaders ? this.#newest(rangeId, to) : null;
  }

  /** The member of this id, made if it is new; null when its time is over. */
  #newest(rangeId: RangeId, member: MemberId): Waiting | null {
    const known = this.#members.get(rangeId);
    if (known?.raft.id === member) return known;
    if (known !== undefined && incarnationOf(known.raft.id) > incarnationOf(member)) return null;
    if (isBuried(member, this.#ports.tombstoneOf(rangeId))) return null;
    if (known !== undefined) this.drop(rangeId, known.raft.id);
    const mayVote = !this.#ports.isNamed(rangeId);
    const waiting = { raft: this.#ports.createEmpty(member, null, mayVote), mayVote, isStored: false };
    this.#members.set(rangeId, waiting);
    return waiting;
  }

  /** Sends what the member has to say. Until its first vote, nothing of it rests on anything that must be stored. */
  #answer(rangeId: RangeId, member: Waiting): Ready | null {
    const { raft } = member;
    while (raft.hasReady()) {
      const ready = raft.ready();
      if (ready.snapshot !== null) return ready;
      if (!member.isStored && (ready.hardState?.vote ?? 0) !== 0) {
        this.#ports.name(rangeId, raft.id);
        member.isStored = true;
      }
      for (const message of ready.messages) this.#ports.send(rangeId, message);
      const persisted = (): void => {
        for (const message of ready.messagesAfterPersist) this.#ports.send(rangeId, message);
        raft.persisted(ready.number);
      };
      if (member.isStored) this.#ports.store(rangeId, ready, persisted);
      else persisted();
    }
    return null;
  }
}

function isRequest({ type }: Message): boolean {
  return type === MSG_PRE_VOTE || type === MSG_VOTE;
}
