/**
 * Members that wait to be told: a leader writes to a range that this worker has no replica of, because this node was just
 * added to it. Such a member knows nothing, stores nothing, never votes; its answers make the leader send a snapshot,
 * and with that it becomes a replica.
 */
import { assert } from '../src/core/assert.ts';
import type { MemberId, RangeId } from '../src/core/brands.ts';
import { incarnationOf } from '../src/core/member.ts';
import type { Message, RaftGroup, Ready } from '../src/core/raft/types.ts';
import { MSG_APPEND, MSG_HEARTBEAT, MSG_PRE_VOTE, MSG_SNAPSHOT, MSG_VOTE } from '../src/core/raft/types.ts';
import { isBuried } from '../src/storage/checkpoint/index.ts';

export interface JoiningPorts {
  readonly send: (rangeId: RangeId, message: Message) => void;
  /** A member with an empty log and no configuration. */
  readonly createEmpty: (member: MemberId) => RaftGroup;
  /** The last of this node's members of the range that is gone for good; 0 = none. */
  readonly tombstoneOf: (rangeId: RangeId) => MemberId;
}

/** Requests for votes that came before the split that makes their range was applied here; the newest of each range. */
const EARLY_RANGES_MAX = 64;

export class JoiningMembers {
  readonly #ports: JoiningPorts;
  readonly #early = new Map<RangeId, Message>();
  readonly #members = new Map<RangeId, RaftGroup>();

  constructor(ports: JoiningPorts) {
    this.#ports = ports;
  }

  /** A message for a range that has no replica here. */
  receive(rangeId: RangeId, message: Message): void {
    if (message.type === MSG_PRE_VOTE || message.type === MSG_VOTE) {
      if (this.#early.size >= EARLY_RANGES_MAX) this.#early.clear();
      this.#early.set(rangeId, message);
      return;
    }
    const raft = this.memberFor(rangeId, message);
    if (raft === null) return;
    raft.step(message);
    const ready = this.#answer(rangeId, raft);
    assert(ready === null, 'joining: a snapshot is stepped only when its contents are here');
  }

  /** Steps a SNAPSHOT whose contents are here. The Ready to install it, or null when it was not taken. */
  receiveSnapshot(rangeId: RangeId, raft: RaftGroup, message: Message): Ready | null {
    raft.step(message);
    return this.#answer(rangeId, raft);
  }

  /** The member that this message is for, made if it is new; null when it is not for one that can be. */
  memberFor(rangeId: RangeId, { type, to }: Message): RaftGroup | null {
    if (type !== MSG_APPEND && type !== MSG_HEARTBEAT && type !== MSG_SNAPSHOT) return null;
    const known = this.#members.get(rangeId);
    if (known !== undefined && incarnationOf(known.id) > incarnationOf(to)) return null;
    if (known?.id === to) return known;
    if (isBuried(to, this.#ports.tombstoneOf(rangeId))) return null;
    const raft = this.#ports.createEmpty(to);
    this.#members.set(rangeId, raft);
    return raft;
  }

  /** Takes out the request for a vote that came too early for a range that was cut from another one just now. */
  takeEarly(rangeId: RangeId): Message | null {
    const message = this.#early.get(rangeId) ?? null;
    this.#early.delete(rangeId);
    return message;
  }

  /** The range has a replica here now, or is not wanted here any more. */
  forget(rangeId: RangeId): void {
    this.#members.delete(rangeId);
  }

  /** Sends what the member has to say. Nothing of it rests on anything that must be stored. */
  #answer(rangeId: RangeId, raft: RaftGroup): Ready | null {
    while (raft.hasReady()) {
      const ready = raft.ready();
      if (ready.snapshot !== null) return ready;
      for (const message of ready.messages) this.#ports.send(rangeId, message);
      for (const message of ready.messagesAfterPersist) this.#ports.send(rangeId, message);
      raft.persisted(ready.number);
    }
    return null;
  }
}
