/**
 * All ranges of one shard worker, and their way to the WAL and back.
 *
 *     touched ─▶ flush ─▶ Ready ─▶ log writes ─▶ ring ─▶ (WAL writer, fsync) ─▶ durable position ─▶ persisted ─▶ touched
 *                           └─▶ committed ─▶ apply ─▶ replies
 *
 * The thread's loop calls turn() once for all that has arrived; nothing here waits for the disk. Three cursors, in bytes
 * of this worker's ring:  durable ≤ submitted (published to the writer) ≤ accepted (written into the ring, or waiting for
 * room in it). All groups share one FIFO to the disk, so the order of a group's hard states and entries is kept.
 */
import { assert } from '../src/core/assert.ts';
import type { Hlc, RangeId } from '../src/core/brands.ts';
import { createHlcClock } from '../src/core/hlc.ts';
import type { Args } from '../src/core/kv/args.ts';
import type { RequestId } from '../src/core/kv/batch.ts';
import type { ReplyTarget } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import { limits } from '../src/core/limits.ts';
import type { RangeDescriptor } from '../src/core/range.ts';
import type { Message, Ready } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import type { Replica, ReplicaHost } from './replica.ts';

/** The way to the WAL: this worker's end of it. All of a call is taken or nothing (false: the ring is full for now). */
export interface LogAppender {
  /** Takes the hard state and entries of one Ready of a range. */
  append(rangeId: RangeId, ready: Ready): boolean;
  /** Makes what was taken visible to the writer; rings its doorbell if it sleeps. */
  publish(): void;
  /** Position behind everything taken. */
  readonly position: number;
  /** Everything before this position is durable. */
  durable(): number;
}

export interface HostPorts {
  readonly log: LogAppender;
  /** Sends Raft messages to other nodes. */
  readonly send: (rangeId: RangeId, messages: readonly Message[]) => void;
  /** Why writes are refused at the moment, whatever they are; null when they are not. */
  readonly refuseWrites: () => string | null;
  /** Whether memory for so many more bytes is left. */
  readonly hasMemory: (bytes: number) => boolean;
  readonly resubmit: (
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
  ) => void;
  /** Makes the replica of a range that came out of a split. */
  readonly createSibling: (left: Replica, descriptor: RangeDescriptor, store: Engine) => Replica;
  /** Boundaries changed, ranges came or went. Called in the same turn, before any other command runs. */
  readonly rangesChanged: (changed: readonly Replica[]) => void;
}

/** A Ready on its way to the disk. */
interface LogWrite {
  readonly replica: Replica;
  readonly ready: Ready;
  /** Ring position behind it; -1 while it waits for room. */
  end: number;
}

export class ShardHost implements ReplicaHost {
  readonly replicas = new Map<RangeId, Replica>();
  readonly #ports: HostPorts;
  readonly #clock = createHlcClock();
  #touched: Replica[] = [];
  /** In order: first those in the ring, then those that wait for room. */
  readonly #writes: LogWrite[] = [];
  /** How many of #writes are in the ring. */
  #submitted = 0;
  #pendingBytes = 0;
  nowMs = 0;

  constructor(ports: HostPorts) {
    this.#ports = ports;
  }

  /** Commands taken and not yet applied, in bytes. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  add(replica: Replica): void {
    assert(!this.replicas.has(replica.descriptor.rangeId), 'host: the range is here already');
    this.replicas.set(replica.descriptor.rangeId, replica);
    this.#clock.observe(replica.machine.latestVersion);
    this.touched(replica);
  }

  /**
   * Takes in what became durable, proposes what waits, applies what is committed, and hands new entries to the WAL.
   * `nowMs`: the wall clock, Unix milliseconds.
   */
  turn(nowMs: number): void {
    if (nowMs > this.nowMs) this.nowMs = nowMs;
    this.#takeDurable();
    this.#pumpWrites();
    while (this.#touched.length > 0) {
      const touched = this.#touched;
      this.#touched = [];
      for (const replica of touched) {
        replica.isTouched = false;
        replica.flush();
        while (replica.raft.hasReady()) this.#handle(replica, replica.raft.ready());
        replica.runDueReads();
      }
    }
    this.#ports.log.publish();
  }

  /** Whether turn() would find something durable that it has not seen. Cheap; for the loop's decision to sleep. */
  get hasDurable(): boolean {
    const first = this.#writes[0];
    return first !== undefined && first.end >= 0 && first.end <= this.#ports.log.durable();
  }

  touched(replica: Replica): void {
    if (replica.isTouched) return;
    replica.isTouched = true;
    this.#touched.push(replica);
  }

  refuseWrite(spec: CommandSpec, bytes: number): string | null {
    const refused = this.#ports.refuseWrites();
    if (refused !== null) return refused;
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > limits.pendingBytesMax) {
      return 'OVERLOADED too many writes wait for the disk; nothing was done, try again';
    }
    if (spec.flags.includes('denyoom') && !this.#ports.hasMemory(this.#pendingBytes + bytes)) {
      return "OOM command not allowed when used memory > 'maxmemory'.";
    }
    return null;
  }

  countPending(bytes: number): void {
    this.#pendingBytes += bytes;
    assert(this.#pendingBytes >= 0, 'host: more commands done than taken');
  }

  nextVersion(count: number): Hlc {
    return this.#clock.next(this.nowMs, count);
  }

  resubmit(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number, requestId: RequestId | null): void {
    this.#ports.resubmit(spec, args, target, slot, requestId);
  }

  splitApplied(left: Replica, right: { readonly descriptor: RangeDescriptor; readonly store: Engine }): void {
    const sibling = this.#ports.createSibling(left, right.descriptor, right.store);
    this.add(sibling);
    this.#ports.rangesChanged([left, sibling]);
  }

  /** The node stops: everybody who waits is told what is known. */
  abandon(): void {
    for (const replica of this.replicas.values()) replica.abandon();
  }

  #handle(replica: Replica, ready: Ready): void {
    const { rangeId } = replica.descriptor;
    if (ready.messages.length > 0) this.#ports.send(rangeId, ready.messages);
    this.#writes.push({ replica, ready, end: -1 });
    this.#pumpWrites();
    for (const entry of ready.committed) replica.apply(entry);
    const last = ready.committed.at(-1);
    if (last !== undefined) {
      replica.raft.applied(last.index);
      // The WAL has what followers may still ask for; memory keeps only what the core needs for those that keep up.
      replica.raft.compact(last.index);
    }
    for (const { context, index } of ready.readStates) replica.readConfirmed(context, index);
  }

  /** Moves waiting log writes into the ring, in order, as far as there is room. */
  #pumpWrites(): void {
    const { log } = this.#ports;
    while (this.#submitted < this.#writes.length) {
      const write = this.#writes[this.#submitted] as LogWrite;
      if (write.ready.mustSync && !log.append(write.replica.descriptor.rangeId, write.ready)) return;
      write.end = log.position;
      this.#submitted++;
    }
  }

  #takeDurable(): void {
    const durable = this.#ports.log.durable();
    let done = 0;
    while (done < this.#submitted) {
      const { replica, ready, end } = this.#writes[done] as LogWrite;
      if (end > durable) break;
      done++;
      const { messagesAfterPersist } = ready;
      if (messagesAfterPersist.length > 0) this.#ports.send(replica.descriptor.rangeId, messagesAfterPersist);
      replica.raft.persisted(ready.number);
      this.touched(replica);
    }
    if (done === 0) return;
    this.#writes.splice(0, done);
    this.#submitted -= done;
  }
}
