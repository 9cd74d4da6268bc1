/**
 * Snapshots that followers of this worker's ranges ask for: an entry that they need has left the log. A snapshot is the
 * range's newest checkpoint, if the follower can go on from there; else a new one is asked for.
 *
 *     Ready.snapshotRequests ─▶ wanted ─▶ a fitting checkpoint? ─ yes ─▶ SNAPSHOT message ─▶ transmit ─▶ report to the core
 *                                             └ no: checkpointer.request()
 */
import type { MemberId, RangeId } from '../src/core/brands.ts';
import { membersOf } from '../src/core/raft/configuration.ts';
import type { Message } from '../src/core/raft/types.ts';
import type { MadeCheckpoint } from './checkpointer.ts';
import type { Replica } from './replica.ts';

export interface OutgoingPorts {
  /** The newest durable checkpoint that this process made of the range. */
  readonly newest: (rangeId: RangeId) => MadeCheckpoint | null;
  /** Asks for a new one. */
  readonly request: (rangeId: RangeId) => void;
  /** Sends the checkpoint at message.snapshot.index with the message; `done`: whether the follower has it. */
  readonly transmit: (rangeId: RangeId, message: Message, done: (isDelivered: boolean) => void) => void;
}

export class OutgoingSnapshots {
  readonly #ports: OutgoingPorts;
  readonly #wanted = new Map<Replica, Set<MemberId>>();

  constructor(ports: OutgoingPorts) {
    this.#ports = ports;
  }

  want(replica: Replica, to: readonly MemberId[]): void {
    const members = this.#wanted.get(replica) ?? new Set();
    for (const member of to) members.add(member);
    this.#wanted.set(replica, members);
  }

  /** Queues the messages of those whose snapshot is there. */
  turn(): void {
    for (const [replica, members] of this.#wanted) {
      const { raft, descriptor } = replica;
      if (!replica.isLeader) {
        this.#wanted.delete(replica);
        continue;
      }
      const made = this.#ports.newest(descriptor.rangeId);
      // A node that has the other half of a split already takes no snapshot from before it.
      const fits = made?.rangeVersion === descriptor.epoch.version && made.meta.index + 1 >= raft.status().firstIndex;
      for (const member of members) {
        if (fits && membersOf(made.meta.conf).has(member)) {
          members.delete(member);
          raft.sendSnapshot(member, made.meta);
        }
      }
      if (members.size === 0) this.#wanted.delete(replica);
      else this.#ports.request(descriptor.rangeId);
    }
  }

  /** A SNAPSHOT message leaves. */
  send(replica: Replica, message: Message): void {
    this.#ports.transmit(replica.descriptor.rangeId, message, (isDelivered) => {
      replica.raft.reportSnapshot(message.to, isDelivered);
    });
  }
}
