/**
 * All ranges of one shard worker, and their way to the WAL and back.
 *
 *     touched ─▶ flush ─▶ Ready ─▶ log writes ─▶ ring ─▶ (WAL writer, fsync) ─▶ durable position ─▶ persisted ─▶ touched
 *                           └─▶ committed ─▶ apply ─▶ replies
 *
 * The thread's loop calls turn() once for all that has arrived; nothing here waits for the disk. Three cursors, in bytes
 * of this worker's ring:  durable ≤ submitted (published to the writer) ≤ accepted (written into the ring, or waiting for
 * room in it). All groups share one FIFO to the disk, so the order of a group's hard states and entries is kept.
 *
 * Time comes to the groups as ticks of a monotonic clock, which is read after input arrived and before it is stepped:
 * a process that was stopped learns how long before it believes anything.
 */
import { assert } from '../src/core/assert.ts';
import type { Hlc, MemberId, RangeId } from '../src/core/brands.ts';
import { createHlcClock } from '../src/core/hlc.ts';
import { createPrng } from '../src/core/prng.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import type { Beat } from '../src/core/beat.ts';
import { limits } from '../src/core/limits.ts';
import type { RangeDescriptor } from '../src/core/range.ts';
import type { Message, Ready } from '../src/core/raft/types.ts';
import { MSG_SNAPSHOT } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';
import type { HostPorts, HostTimes } from './host-ports.ts';
import type { Leadership } from './write-metrics.ts';
import { noteLeadership } from './write-metrics.ts';
import type { RangeCatalog } from './range-catalog.ts';
import type { Replica } from './replica.ts';
import { heirOf } from './membership.ts';
import { RestingGroups } from './resting.ts';
import type { ReplicaHost } from './replica-host.ts';
import type { LogWrite } from './writes-under-way.ts';
import { WritesUnderWay } from './writes-under-way.ts';

export class ShardHost implements ReplicaHost {
  readonly replicas = new Map<RangeId, Replica>();
  readonly metrics: MetricsWriter;
  readonly resubmit: HostPorts['resubmit'];
  readonly awaitLeader: HostPorts['awaitLeader'];
  readonly #ports: HostPorts;
  readonly #times: HostTimes;
  readonly #clock = createHlcClock();
  /** Replicas that time matters to: of groups with others in them, or without a leader. */
  readonly #timed = new Set<Replica>();
  /** Those of them that do not rest. */
  readonly #ticked = new Set<Replica>();
  readonly resting: RestingGroups;
  #touched: Replica[] = [];
  readonly #writes: WritesUnderWay;
  readonly #written = (write: LogWrite, noticedMs: number): void => this.#stored(write, noticedMs);
  /** Handed to the log in this turn, and their committed entries still to be applied. */
  #readies: { readonly replica: Replica; readonly ready: Ready }[] = [];
  #pendingBytes = 0;
  /** When the last whole tick was paid. */
  #tickedAtMs: number;
  /** Who led which range when it was last said. */
  readonly #announced = new Map<Replica, Leadership>();
  #isChanged = false;
  nowMs = 0;

  constructor(times: HostTimes, ports: HostPorts) {
    this.#ports = ports;
    this.metrics = ports.metrics;
    this.resubmit = ports.resubmit;
    this.awaitLeader = ports.awaitLeader;
    this.#writes = new WritesUnderWay(ports);
    this.#times = times;
    this.#tickedAtMs = ports.monotonicMs();
    const boot = createPrng(times.seed).below(2 ** 32);
    this.resting = new RestingGroups(
      { electionTicks: times.electionTicks, boot },
      {
        workerOf: ports.workerOf,
        send: ports.sendBeat,
        replicaOf: ({ rangeId }) => this.replicas.get(rangeId),
        woke: (replica) => this.#ticked.add(replica),
        rested: (replica) => this.#ticked.delete(replica),
      },
    );
  }

  /** Commands taken and not yet applied, in bytes. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Every group that others vote in rests. */
  get isAtRest(): boolean {
    return this.#ticked.size === 0;
  }

  /** Whether turn() must be called for time alone. */
  get needsTicks(): boolean {
    return this.#timed.size > 0;
  }

  add(replica: Replica): void {
    assert(!this.replicas.has(replica.descriptor.rangeId), 'host: the range is here already');
    this.replicas.set(replica.descriptor.rangeId, replica);
    this.#keepTimeFor(replica);
    replica.machine.lookups = this.metrics.values(slots.keyspaceHits, slots.keyspaceMisses);
    this.#isChanged = true;
    this.touched(replica);
  }

  /** Takes a replica out; whoever waits in it is told what is known. Its writes on the way to the disk go on. */
  remove(replica: Replica): void {
    this.replicas.delete(replica.descriptor.rangeId);
    this.resting.leave(replica);
    this.#timed.delete(replica);
    this.#ticked.delete(replica);
    this.#announced.delete(replica);
    this.#isChanged = true;
    replica.abandon();
  }

  /**
   * Takes a replica whose state came with a snapshot, in the place of the one that there was of its range. `ready`: as the
   * core gave it; `onDurable` runs when the log has its cut.
   */
  install(replica: Replica, ready: Ready, onDurable: () => void): void {
    const { raft, descriptor } = replica;
    const old = this.replicas.get(descriptor.rangeId);
    if (old !== undefined) this.remove(old);
    this.add(replica);
    const { term, vote, commit } = raft.status();
    // A member that only waited has stored nothing yet: its term counts from here on.
    const hardState = ready.hardState ?? { term, vote, commit };
    this.#send(replica, ready.messages);
    this.#writes.push(descriptor.rangeId, replica, { ...ready, hardState }, onDurable);
    raft.applied(raft.commitIndex);
  }

  /** Stores what is in the Ready of a member that has no replica; `onDurable` runs when it, and all before it, is. */
  store(rangeId: RangeId, ready: Ready, onDurable: () => void): void {
    this.#writes.push(rangeId, null, ready, onDurable);
  }

  catalogChanged(catalog: RangeCatalog): void {
    this.#ports.catalogChanged(catalog);
  }

  /** A message from a member on another node. */
  receive(rangeId: RangeId, message: Message): void {
    const replica = this.replicas.get(rangeId);
    if (replica === undefined || replica.raft.id !== message.to) {
      this.#ports.receiveUnknown(rangeId, message);
      return;
    }
    this.payTicks();
    if (replica.raft.isResting) this.resting.stirred(replica, message);
    replica.raft.step(message);
    this.touched(replica);
  }

  /** A beat of a worker of another node. */
  receiveBeat(worker: number, beat: Beat): void {
    this.payTicks();
    this.resting.receive(worker, beat);
  }

  /** The transport lost a node: what was sent to its members may not have arrived. */
  unreachable(worker: number, isThere: (member: MemberId) => boolean): void {
    this.payTicks();
    this.resting.unreachable(worker);
    for (const replica of this.#timed) {
      for (const { memberId } of replica.descriptor.replicas) {
        if (isThere(memberId) && !replica.raft.isResting) replica.raft.reportUnreachable(memberId);
      }
    }
  }

  monotonicMs(): number {
    return this.#ports.monotonicMs();
  }

  payTicks(): void {
    const { tickMs, electionTicks, requestTimeoutMs, restAfterTicks } = this.#times;
    const passedMs = this.#ports.monotonicMs() - this.#tickedAtMs;
    if (passedMs < tickMs) return;
    const ticks = Math.floor(passedMs / tickMs);
    this.#tickedAtMs += ticks * tickMs;
    // More time than that never counts: every election timeout, and every lease, is over by then.
    const paid = Math.min(ticks, 2 * electionTicks);
    for (const replica of this.#ticked) {
      if (replica.raft.idleTicks >= restAfterTicks && this.resting.consider(replica)) continue;
      replica.raft.tick(paid);
      replica.giveUpBefore(this.nowMs - requestTimeoutMs);
      if (replica.raft.hasReady() || replica.isWaiting) this.touched(replica);
    }
    // Afterwards: those that wake of it are lent all of this time at once.
    this.resting.tick(ticks);
  }

  settle(replica: Replica): void {
    this.payTicks();
    if (replica.raft.isResting) this.resting.lend(replica);
  }

  wake(replica: Replica): void {
    if (!replica.raft.isResting) return;
    this.payTicks();
    this.resting.wake(replica);
  }

  /**
   * Takes in what became durable, proposes what waits, applies what is committed, and hands new entries to the WAL.
   * `nowMs`: the wall clock, Unix milliseconds.
   */
  turn(nowMs: number): void {
    if (nowMs > this.nowMs) this.nowMs = nowMs;
    this.payTicks();
    this.#writes.takeDurable(this.#written);
    this.#handOverIfStalled();
    this.#writes.pump();
    while (this.#touched.length > 0) {
      const touched = this.#touched;
      this.#touched = [];
      this.#noteLeaders(touched);
      for (const replica of touched) {
        replica.isTouched = false;
        if (!this.#isHere(replica)) continue;
        replica.flush();
        while (replica.raft.hasReady()) this.#handle(replica, replica.raft.ready());
      }
      // The disk works on what follows while this thread applies what is durable.
      this.#ports.log.publish();
      this.#applyReadies();
      for (const replica of touched) {
        if (!this.#isHere(replica)) continue;
        replica.runDueReads();
        if (!replica.isMember) this.#ports.replicaRemoved(replica);
      }
    }
    this.#ports.log.publish();
  }

  /** Whether the log has moved on in a way that turn() has to do with. Cheap; for the loop's decision to sleep. */
  get hasLogNews(): boolean {
    return this.#writes.hasNews;
  }

  /** Whether writes wait for room in the log. */
  get awaitsLog(): boolean {
    return this.#writes.isWaiting;
  }

  /** Whether turn() has something to do at once. */
  get hasTouched(): boolean {
    return this.#touched.length > 0;
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

  nextVersion(count: number, after: Hlc): Hlc {
    this.#clock.observe(after);
    return this.#clock.next(this.nowMs, count);
  }

  splitApplied(left: Replica, right: { readonly descriptor: RangeDescriptor; readonly store: Engine }): void {
    const sibling = this.#ports.createSibling(left, right.descriptor, right.store);
    if (sibling === null) {
      right.store.destroy();
    } else {
      this.add(sibling);
      this.#ports.splitApplied(left, sibling);
    }
    this.#announce();
  }

  membersChanged(replica: Replica): void {
    this.#keepTimeFor(replica);
    this.#isChanged = true;
  }

  #keepTimeFor(replica: Replica): void {
    // Time makes a member that is alone lead, when it does not.
    const isTimed = replica.hasPeers || !replica.isLeader;
    if (isTimed) this.#timed.add(replica);
    else this.#timed.delete(replica);
    if (isTimed && !replica.raft.isResting) this.#ticked.add(replica);
    else this.#ticked.delete(replica);
  }

  /** The node stops: everybody who waits is told what is known. */
  abandon(): void {
    for (const replica of this.replicas.values()) replica.abandon();
  }

  /** Tells the router before anything is sent on its way again because of it. */
  #noteLeaders(touched: readonly Replica[]): void {
    for (const replica of touched) {
      const last = this.#announced.get(replica);
      const now = noteLeadership(this.metrics, replica.raft, last);
      if (now === last) continue;
      this.#announced.set(replica, now);
      this.#isChanged = true;
      if (this.#isHere(replica)) this.#keepTimeFor(replica);
    }
    if (this.#isChanged) this.#announce();
  }

  #announce(): void {
    this.#isChanged = false;
    this.#ports.rangesChanged();
  }

  #isHere(replica: Replica): boolean {
    return this.replicas.get(replica.descriptor.rangeId) === replica;
  }

  /** Sends and stores what is in the Ready; the rest of it follows in #applyReadies(). */
  #handle(replica: Replica, ready: Ready): void {
    if (ready.snapshot !== null) {
      // What is committed before it is applied to the state that it takes the place of.
      this.#applyReadies();
      this.#ports.installSnapshot(replica, ready);
      return;
    }
    this.#send(replica, ready.messages);
    if (replica.isLeader) this.metrics.add(slots.proposals, ready.entries.length);
    this.#writes.push(replica.descriptor.rangeId, replica, ready, null);
    this.#readies.push({ replica, ready });
  }

  #applyReadies(): void {
    const readies = this.#readies;
    this.#readies = [];
    for (const { replica, ready } of readies) if (this.#isHere(replica)) this.#apply(replica, ready);
  }

  #apply(replica: Replica, ready: Ready): void {
    for (const entry of ready.committed) replica.apply(entry);
    const last = ready.committed.at(-1);
    if (last !== undefined) {
      this.metrics.add(slots.entriesApplied, ready.committed.length);
      replica.raft.applied(last.index);
      // The WAL has what followers may still ask for; memory keeps only what the core needs for those that keep up.
      replica.raft.compact(last.index);
      // What waited for these entries can follow them now.
      this.touched(replica);
    }
    for (const { context, index } of ready.readStates) replica.readConfirmed(context, index);
    if (ready.snapshotRequests.length > 0) this.#ports.wantSnapshots(replica, ready.snapshotRequests);
  }

  #send(replica: Replica, messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.type === MSG_SNAPSHOT) this.#ports.sendSnapshot(replica, message);
      else this.#ports.send(replica.descriptor.rangeId, message);
    }
  }

  /** Has others lead what is led here, as far as there is anybody. Whether nothing is left to hand over. */
  handOver(): boolean {
    let isDone = true;
    for (const replica of this.#timed) {
      const status = replica.isLeader ? replica.raft.status() : null;
      const heir = status === null ? null : heirOf(status);
      if (heir === null) continue;
      isDone = false;
      if (status?.transferee === 0) replica.transferLeadership(heir);
    }
    return isDone;
  }

  /** One slow disk must not make all ranges that are led here slow (TigerBeetle, tikv#13357): others lead them better. */
  #handOverIfStalled(): void {
    const sinceMs = this.#writes.oldestSinceMs;
    if (sinceMs === null || this.#ports.monotonicMs() - sinceMs <= this.#times.diskStallMs) return;
    this.handOver();
  }

  #stored({ replica, ready, onDurable, end }: LogWrite, noticedMs: number): void {
    onDurable?.();
    if (replica === null) return;
    const last = ready.entries.at(-1);
    if (last !== undefined) replica.logged(last.index, this.#ports.log.syncOf(end), noticedMs);
    this.#send(replica, ready.messagesAfterPersist);
    replica.raft.persisted(ready.number);
    this.touched(replica);
  }
}
