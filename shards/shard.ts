/**
 * Everything of one worker that concerns its ranges: recovery, the host, checkpoints, snapshots, expiry, splits, and how
 * replicas come and go. The thread's main connects it to sockets, rings, other nodes and the main thread.
 */
import { assert } from '../src/core/assert.ts';
import type { Hlc, LogIndex, MemberId, RangeId, Term } from '../src/core/brands.ts';
import type { DamagedReplica } from '../src/core/placement/report.ts';
import { createStateMachine } from '../src/core/kv/state-machine.ts';
import { requireCommand } from '../src/core/kv/table.ts';
import { createPrng } from '../src/core/prng.ts';
import type { RangeDescriptor, Route } from '../src/core/range.ts';
import { rangeContains, rangesOverlap } from '../src/core/range.ts';
import { incarnationOf } from '../src/core/member.ts';
import { confOf } from '../src/core/raft/configuration.ts';
import { Raft } from '../src/core/raft/raft.ts';
import type { HardState, Message, RaftLogSeed, Ready } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import { isBuried } from '../src/storage/checkpoint/index.ts';
import { CheckpointCheck } from './checkpoint-check.ts';
import { Checkpointer } from './checkpointer.ts';
import { FIRST_INDEX, FIRST_TERM, NOTHING_PROMISED } from './entry.ts';
import type { ExpiryCycle } from './expiry.ts';
import { createExpiryCycle } from './expiry.ts';
import { GoneMembers } from './gone-members.ts';
import { ShardHost } from './host.ts';
import { IncomingSnapshots } from './incoming-snapshots.ts';
import type { LoadedSnapshot, SnapshotCallback } from './incoming-snapshots.ts';
import { JoiningMembers } from './joining.ts';
import type { WaitingMember } from './joining.ts';
import { isSingle } from './membership.ts';
import { OutgoingSnapshots } from './outgoing-snapshots.ts';
import { RangeAdmin } from './range-admin.ts';
import { RangeCatalog } from './range-catalog.ts';
import type { RecoveredRange } from './recovery.ts';
import { Replica } from './replica.ts';
import type { SplitCallback } from './replica-host.ts';
import type { ShardOptions } from './shard-options.ts';
import type { ShardPorts } from './shard-ports.ts';
import { sweepVersions } from './version-sweep.ts';

export class Shard {
  readonly host: ShardHost;
  readonly admin: RangeAdmin;
  readonly #ports: ShardPorts;
  readonly #options: ShardOptions;
  readonly #checkpointer: Checkpointer;
  readonly #joining: JoiningMembers;
  readonly #incoming: IncomingSnapshots;
  readonly #outgoing: OutgoingSnapshots;
  readonly #check: CheckpointCheck;
  readonly #tombstones: Map<RangeId, MemberId>;
  /** Out of their groups, but the other half of a split still lives by their log. */
  #leaving: Replica[] = [];
  readonly #gone: GoneMembers;
  /** A snapshot that was stepped, until its Ready comes by. */
  #loaded: LoadedSnapshot | null = null;
  readonly #expiry: ExpiryCycle = createExpiryCycle(requireCommand('EXPIRED'));

  constructor(options: ShardOptions, ports: ShardPorts) {
    this.#options = options;
    this.#ports = ports;
    this.#tombstones = new Map(options.tombstones);
    this.#gone = new GoneMembers(options, { ...ports, buried: (rangeId) => this.#checkpointer.forget(rangeId) });
    const { monotonicMs } = ports;
    this.host = new ShardHost(options, {
      ...ports,
      send: ports.sendMessage,
      createSibling: (left, descriptor, store) => this.#sibling(left, descriptor, store),
      splitApplied: (left, right) => this.#splitApplied(left, right),
      receiveUnknown: (rangeId, message) => this.#receiveUnknown(rangeId, message),
      wantSnapshots: (replica, to) => this.#outgoing.want(replica, to),
      sendSnapshot: (replica, message) => this.#outgoing.send(replica, message),
      installSnapshot: (replica, ready) => this.#install(replica, ready),
      replicaRemoved: (replica) => this.#remove(replica),
    });
    this.admin = new RangeAdmin(this.host);
    this.#checkpointer = new Checkpointer({
      maxRecoverySeconds: options.maxRecoverySeconds,
      replicas: this.host.replicas,
      write: ports.writeCheckpoint,
      written: (rangeId, member) => ports.folder.stored(rangeId, member),
      logCheckpoint: (rangeId, index, term) => ports.log.checkpointed(rangeId, index, term),
      schedule: ports.schedule,
      onError: ports.checkpointFailed,
      monotonicMs,
    });
    this.#joining = new JoiningMembers({
      send: ports.sendMessage,
      store: (rangeId, ready, onDurable) => this.host.store(rangeId, ready, onDurable),
      createEmpty: (member, hardState, keepsVotes) => this.#emptyRaft(member, hardState, keepsVotes),
      tombstoneOf: (rangeId) => this.#tombstones.get(rangeId) ?? (0 as MemberId),
      isNamed: (rangeId) => ports.folder.isNamed(rangeId),
      name: (rangeId, member) => ports.folder.born(rangeId, member),
      bury: (rangeId, member) => this.#entomb(rangeId, member),
      monotonicMs,
      patienceMs: options.electionTicks * options.tickMs,
    });
    this.#incoming = new IncomingSnapshots({
      disk: ports.disk,
      createStore: ports.createStore,
      valueBytesMax: options.valueBytesMax,
      bytesPerSecond: options.snapshotRate ?? (() => 0),
      monotonicMs,
      loaded: (snapshot) => this.#stepSnapshot(snapshot),
      failed: ports.snapshotFailed,
    });
    this.#outgoing = new OutgoingSnapshots({
      log: ports.log,
      host: this.host,
      schedule: ports.schedule,
      newest: (rangeId) => this.#checkpointer.newest(rangeId),
      request: (rangeId) => this.#checkpointer.holdBack([rangeId]),
      transmit: (rangeId, message, done) => {
        const file = ports.folder.checkpointFile(rangeId, message.snapshot?.index ?? 0);
        ports.sendSnapshot(rangeId, message, file, (isTaken) => {
          if (!isTaken) this.#check.look(rangeId, file);
          done(isTaken);
        });
      },
    });
    this.#check = new CheckpointCheck({
      disk: ports.disk,
      damaged: (rangeId, file, what) => {
        ports.checkpointDamaged(rangeId, file, what);
        this.holdBack([rangeId]);
      },
      failed: ports.checkpointFailed,
      monotonicMs,
    });
  }

  get routes(): Route[] {
    return [...this.host.replicas.values()].map(({ descriptor, raft }) => {
      return { range: descriptor, leader: raft.leader, term: raft.term, isTermOver: raft.hasSteppedDown };
    });
  }

  /** Keys present, expired ones that nobody has deleted yet included; `expiring`: those that have an expiry. */
  countKeys(): { readonly keys: number; readonly expiring: number } {
    let [keys, expiring] = [0, 0];
    for (const { store } of this.host.replicas.values()) {
      keys += store.keyCount;
      expiring += store.expiringCount;
    }
    return { keys, expiring };
  }

  /** Takes a range that was recovered. */
  adopt(range: RecoveredRange): void {
    const { memberId, descriptor, store, machine, conf, appliedIndex, appliedTerm, hardState, tail, catalog } = range;
    if (range.cutFrom !== null) {
      this.#checkpointer.split(range.cutFrom, descriptor.rangeId);
      this.#ports.folder.born(descriptor.rangeId, memberId);
    }
    if (range.isLogBehind) {
      // Else its next entry would look like one behind a gap.
      const isTold = this.#ports.log.checkpointed(descriptor.rangeId, appliedIndex, appliedTerm);
      assert(isTold, 'shard: at a start the log has room');
    }
    const raft = this.#raft(memberId, {
      snapshotIndex: appliedIndex,
      snapshotTerm: appliedTerm,
      conf,
      entries: tail,
      hardState,
      applied: appliedIndex,
    });
    const replica = new Replica(this.host, { descriptor, raft, store, machine, appliedTerm, conf, catalog });
    replica.bytesSinceCheckpoint = range.replayedBytes;
    replica.commandsSinceCheckpoint = range.replayedCommands;
    replica.isCheckpointAlone = range.isCheckpointAlone;
    // Nobody else could be elected, so there is nothing to wait for.
    if (isSingle(conf)) raft.campaign();
    this.host.add(replica);
    if (catalog !== null) this.#ports.catalogChanged(catalog);
  }

  /** Takes members that have voted and waited for their state. */
  awaitStates(members: readonly WaitingMember[]): void {
    for (const member of members) this.#joining.restore(member);
  }

  /** Members of this node that are damaged: they are silent, and their groups hear why from the placement. */
  giveUp(damaged: readonly DamagedReplica[]): void {
    for (const replica of damaged) {
      const { rangeId, memberId } = replica;
      // Its group has gone on, and a new member has come, while the node was about to stop.
      if (this.host.replicas.has(rangeId)) {
        this.#ports.folder.forgive(rangeId);
        continue;
      }
      if (this.#tombstones.get(rangeId) !== memberId) this.#gone.restore(rangeId, memberId);
      this.#tombstones.set(rangeId, memberId);
      this.admin.damaged.set(rangeId, replica);
    }
  }

  /** All work of one turn of the loop. */
  turn(nowMs: number): void {
    this.host.turn(nowMs);
    this.admin.turn();
    this.#checkpointer.turn();
    this.#outgoing.turn();
    const loadsInMs = this.#incoming.turn();
    if (loadsInMs !== null) this.#ports.scheduleIn(loadsInMs);
    const checksInMs = this.#check.turn();
    if (checksInMs !== null) this.#ports.scheduleIn(checksInMs);
    this.#leaving = this.#leaving.filter((replica) => !this.#bury(replica));
    this.#gone.turn(this.host.awaitsLog);
    // What the steps above have queued: snapshots to send, a snapshot's cut.
    if (this.host.hasTouched) this.host.turn(nowMs);
    this.#ports.log.publish();
  }

  /**
   * Gives the memory of expired keys and of versions that nobody needs any more back; call it some times a second.
   * Returns how many keys were found expired.
   */
  expireSome(): number {
    const replicas = [...this.host.replicas.values()];
    const isSwept = sweepVersions(replicas);
    // The host's clock stands still while it has nothing to do.
    const expired = this.#expiry.round(replicas, Date.now());
    if (expired > 0 || isSwept) this.#ports.schedule();
    return expired;
  }

  /** These ranges hold back log segments. */
  holdBack(rangeIds: Iterable<RangeId>): void {
    this.#checkpointer.holdBack(rangeIds);
    this.#ports.schedule();
  }

  /** Takes a changed bound of how long a restart may take. */
  configure({ maxRecoverySeconds }: { readonly maxRecoverySeconds?: number }): void {
    if (maxRecoverySeconds === undefined) return;
    this.#checkpointer.maxRecoverySeconds = maxRecoverySeconds;
    this.#ports.schedule();
  }

  /** Cuts the range of this worker that holds `key` there; the right half is range `newRangeId`. */
  split(key: Buffer, newRangeId: RangeId, done: SplitCallback): void {
    const replica = [...this.host.replicas.values()].find(({ descriptor }) =>
      rangeContains(descriptor, key, 0, key.length),
    );
    if (replica === undefined) {
      done('RANGEMOVED the range of this key is no longer on this worker; try again');
    } else if (key.equals(replica.descriptor.startKey)) {
      done('ERR a range begins at this key already');
    } else {
      const rangeVersion = replica.descriptor.epoch.version;
      replica.split({ newRangeId, splitKey: Buffer.from(key), rangeVersion }, done);
      this.#ports.schedule();
    }
  }

  /** A snapshot came in: `file` is whole, verified and durable. */
  snapshotArrived(rangeId: RangeId, message: Message, file: string, done: SnapshotCallback): void {
    this.#incoming.arrived(rangeId, message, file, done);
    this.#ports.schedule();
  }

  /** This node's member is in no configuration of the range any more, and cannot have heard of it. */
  drop(rangeId: RangeId, member: MemberId): void {
    if (this.admin.damaged.get(rangeId)?.memberId === member) this.#forgive(rangeId);
    this.#joining.drop(rangeId, member);
    const replica = this.host.replicas.get(rangeId);
    if (replica !== undefined && replica.raft.id === member) this.#remove(replica);
    else if (this.#isForgotten(rangeId, member)) this.#entomb(rangeId, member);
    this.#ports.schedule();
  }

  /** A start found no more of it than its name, which would keep later members from having a state. */
  #isForgotten(rangeId: RangeId, member: MemberId): boolean {
    const isOver = isBuried(member, this.#tombstones.get(rangeId) ?? (0 as MemberId));
    const isLeaving = this.#leaving.some(({ descriptor }) => descriptor.rangeId === rangeId);
    return this.#options.owns(member) && !isOver && !isLeaving && this.#gone.isLast(rangeId, member);
  }

  #receiveUnknown(rangeId: RangeId, message: Message): void {
    const replica = this.host.replicas.get(rangeId);
    if (replica !== undefined) {
      // A later life of this node's member can only begin when the earlier one is out of the group for good.
      if (incarnationOf(message.to) <= incarnationOf(replica.raft.id)) return;
      this.#remove(replica);
    }
    this.#joining.receive(rangeId, message);
  }

  /** The contents of a snapshot are loaded: hands its message to the member that it is for. */
  #stepSnapshot(snapshot: LoadedSnapshot): void {
    const { rangeId, message } = snapshot;
    if (this.#mayInstall(snapshot)) {
      this.#loaded = snapshot;
      const replica = this.host.replicas.get(rangeId);
      if (replica?.raft.id === message.to) {
        this.host.receive(rangeId, message);
        this.host.turn(this.host.nowMs);
      } else if (replica === undefined) {
        const taken = this.#joining.receiveSnapshot(rangeId, message);
        if (taken !== null) this.#installInto(taken.raft, taken.ready);
      }
    }
    const isInstalled = this.#loaded === null && this.host.replicas.get(rangeId)?.store === snapshot.store;
    this.#loaded = null;
    if (!isInstalled) {
      snapshot.store.destroy();
      this.#ports.disk.unlink(snapshot.file);
    }
    snapshot.done(isInstalled);
  }

  /**
   * Not over the keys of another range, which will hear of its own split first; and not in the place of a log that the
   * other half of a split lives by; nor before the log has heard of the end of the member before. The leader tries again.
   */
  #mayInstall({ rangeId, message, meta }: LoadedSnapshot): boolean {
    const { confVersion } = meta.descriptor.epoch;
    if (this.#checkpointer.owes(rangeId) || !this.#gone.mayBegin(rangeId, message.to, confVersion)) return false;
    const others = [...this.host.replicas.values(), ...this.#leaving];
    return others.every(
      ({ descriptor }) => descriptor.rangeId === rangeId || !rangesOverlap(descriptor, meta.descriptor),
    );
  }

  #install(old: Replica, ready: Ready): void {
    this.#installInto(old.raft, ready);
    old.store.destroy();
  }

  #installInto(raft: Replica['raft'], ready: Ready): void {
    const snapshot = this.#loaded;
    assert(snapshot !== null && snapshot.index === ready.snapshot?.index, 'shard: a snapshot is installed when loaded');
    this.#loaded = null;
    const { rangeId, meta, store, machine, term, index, file } = snapshot;
    const { folder } = this.#ports;
    folder.born(rangeId, raft.id);
    folder.stage(rangeId, index, file);
    this.#joining.forget(rangeId);
    this.#checkpointer.replaced(rangeId);
    const catalog = meta.catalog === undefined ? null : new RangeCatalog(meta.catalog);
    const { descriptor, conf } = meta;
    const replica = new Replica(this.host, { descriptor, raft, store, machine, appliedTerm: term, conf, catalog });
    this.host.install(replica, ready, () => {
      // It may have left this node, or a later snapshot have come, while the log made room for this one.
      if (this.host.replicas.get(rangeId) !== replica) return;
      folder.install(rangeId, index);
      folder.stored(rangeId, raft.id);
      this.#checkpointer.settled(rangeId);
      if (this.admin.damaged.has(rangeId)) this.#forgive(rangeId);
    });
    if (catalog !== null) this.#ports.catalogChanged(catalog);
  }

  /** The group of a damaged member has taken it out. */
  #forgive(rangeId: RangeId): void {
    this.#ports.folder.forgive(rangeId);
    this.admin.damaged.delete(rangeId);
    this.#ports.rangesChanged();
  }

  /** This node's member is out of the group. */
  #remove(replica: Replica): void {
    this.host.remove(replica);
    // A message that was long on its way would make it anew, as a member that knows nothing.
    this.#tombstones.set(replica.descriptor.rangeId, replica.raft.id);
    if (!this.#bury(replica)) this.#leaving.push(replica);
  }

  /** Destroys what is left of a replica, unless the other half of a split still lives by its log. */
  #bury(replica: Replica): boolean {
    const { rangeId } = replica.descriptor;
    if (this.#checkpointer.owes(rangeId)) return false;
    this.#entomb(rangeId, replica.raft.id);
    replica.store.destroy();
    return true;
  }

  /** This node's members of the range are gone for good, up to this one. */
  #entomb(rangeId: RangeId, member: MemberId): void {
    this.#tombstones.set(rangeId, member);
    this.#gone.add(rangeId, member);
  }

  #sibling(left: Replica, descriptor: RangeDescriptor, store: Engine): Replica | null {
    const { valueBytesMax } = this.#options;
    const tombstone = this.#tombstones.get(descriptor.rangeId) ?? (0 as MemberId);
    if (this.host.replicas.has(descriptor.rangeId) || isBuried(left.raft.id, tombstone)) return null;
    const waiting = this.#joining.waitingIn(descriptor.rangeId);
    const others = [...this.#ports.folder.membersOf(descriptor.rangeId), ...(waiting === null ? [] : [waiting.id])];
    if (others.some((other) => incarnationOf(other) > incarnationOf(left.raft.id))) return null;
    const machine = createStateMachine({
      store,
      valueBytesMax,
      sessions: left.machine.encodeSessions(),
      latestVersion: left.machine.latestVersion as Hlc,
    });
    const { conf } = left;
    const raft = this.#newbornRaft(left.raft.id, {
      snapshotIndex: FIRST_INDEX,
      snapshotTerm: FIRST_TERM,
      conf,
      entries: [],
      hardState: { term: FIRST_TERM, vote: 0 as MemberId, commit: FIRST_INDEX },
      applied: FIRST_INDEX,
    });
    // Votes that it gave before the split was applied here bind it.
    if (waiting?.id === left.raft.id) raft.inherit(waiting.term, waiting.status().vote);
    this.#joining.forget(descriptor.rangeId);
    this.#ports.folder.born(descriptor.rangeId, left.raft.id);
    // The others cut their ranges a little later; where the left half is led, the right one is ready first.
    if (left.isLeader) raft.campaign();
    return new Replica(this.host, {
      descriptor,
      raft,
      store,
      machine,
      appliedTerm: FIRST_TERM,
      conf,
      catalog: null,
    });
  }

  #splitApplied(left: Replica, right: Replica): void {
    const { rangeId } = right.descriptor;
    this.#checkpointer.split(left.descriptor.rangeId, rangeId);
    const early = this.#joining.takeEarly(rangeId);
    if (early !== null) this.host.receive(rangeId, early);
  }

  /** A member that waits to be told. */
  #emptyRaft(member: MemberId, stored: HardState | null, keepsVotes: boolean): Raft {
    const hardState = stored ?? NOTHING_PROMISED;
    const [index, term] = [0 as LogIndex, 0 as Term];
    const seed = { snapshotIndex: index, snapshotTerm: term, conf: confOf([]), entries: [], hardState, applied: index };
    return this.#raft(member, seed, true, keepsVotes);
  }

  #raft(id: MemberId, log: RaftLogSeed, isNewborn = false, keepsVotes = false): Raft {
    const { seed, electionTicks } = this.#options;
    const prng = createPrng(seed + this.host.replicas.size);
    return new Raft({ id, prng, electionTicks, isNewborn, keepsVotes, log });
  }

  /** Of a member that has answered nobody yet. */
  #newbornRaft(id: MemberId, log: RaftLogSeed): Raft {
    return this.#raft(id, log, true);
  }
}
