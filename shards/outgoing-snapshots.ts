/**
 * Followers of this worker's ranges that need an entry which has left memory. It is read back from the log; if that has been
 * used again, they get a snapshot: the range's newest checkpoint, if the follower can go on from there; else a new one is
 * asked for.
 *
 *     Ready.snapshotRequests ─▶ read the log ─ there ─▶ the core sends it, and asks again for what follows
 *                                   └ gone ─▶ wanted ─▶ a fitting checkpoint? ─ yes ─▶ SNAPSHOT message ─▶ transmit ─▶ report
 *                                                           └ no: checkpointer.request()                       to the core
 */
import type { LogIndex, MemberId, RangeId } from '../src/core/brands.ts';
import { membersOf } from '../src/core/raft/configuration.ts';
import type { Entry, Message } from '../src/core/raft/types.ts';
import { slots } from '../src/observe/metrics.ts';
import type { MadeCheckpoint } from './checkpointer.ts';
import { FIRST_INDEX } from './entry.ts';
import type { ShardHost } from './host.ts';
import type { ShardLog } from './log.ts';
import type { Replica } from './replica.ts';

export interface OutgoingPorts {
  readonly log: Pick<ShardLog, 'read'>;
  readonly host: Pick<ShardHost, 'wake' | 'touched' | 'metrics'>;
  readonly schedule: () => void;
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
    for (const member of to) void this.#readBack(replica, member);
  }

  async #readBack(replica: Replica, member: MemberId): Promise<void> {
    const { host, schedule } = this.#ports;
    const { raft, descriptor } = replica;
    const { term, firstIndex, progress } = raft.status();
    const previous = ((progress.find(({ id }) => id === member)?.next ?? 0) - 1) as LogIndex;
    // One that has nothing yet begins with a snapshot: there is no entry before the first.
    const entries = previous <= FIRST_INDEX ? null : await this.#read(descriptor.rangeId, previous, firstIndex);
    if (!replica.isLeader || raft.term !== term) return;
    if (entries === null || entries.length < 2) {
      this.#wantSnapshot(replica, member);
    } else {
      host.wake(replica);
      raft.sendReadBack(member, entries);
      this.#count(entries);
    }
    host.touched(replica);
    schedule();
  }

  async #read(rangeId: RangeId, first: LogIndex, firstInMemory: LogIndex): Promise<readonly Entry[] | null> {
    try {
      return await this.#ports.log.read(rangeId, first, (firstInMemory - 1) as LogIndex);
    } catch {
      // The disk or the log has its own way of saying so; a snapshot does as well.
      return null;
    }
  }

  /** The first entry is the one that the follower should have already. */
  #count(entries: readonly Entry[]): void {
    const { metrics } = this.#ports.host;
    metrics.add(slots.readBackEntries, entries.length - 1);
    for (let i = 1; i < entries.length; i++) metrics.add(slots.readBackBytes, entries[i]?.data.length ?? 0);
  }

  #wantSnapshot(replica: Replica, member: MemberId): void {
    const members = this.#wanted.get(replica) ?? new Set();
    members.add(member);
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
      this.#ports.schedule();
    });
  }
}
