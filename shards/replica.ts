/**
 * One range's life on this node: its Raft member, its state machine, the commands that wait.
 *
 *                 submit                flush                 Ready.committed
 *     commands ──────────▶ proposals ─────────▶ the log ──────────────────────▶ applied, replies
 *                          (one batch per turn)                 (state machine,
 *                                                                reads behind writes)
 *
 * A single-voter group has one append on its way to the disk at a time; what arrives meanwhile is merged into the next
 * entry, so the disk sets the pace and no timer is needed. A long entry is applied while the next one is on its way. A
 * group with peers pipelines.
 *
 * Invariant: a reply to a write is made only while applying its committed entry; a reply to a read only when every write
 * acknowledged before the read arrived is applied here and this node provably still leads.
 *
 * When leadership goes, what has not entered the log is sent on its way again; what has is answered by what becomes of
 * its entry here, or as unknown when that takes too long.
 */
import { assert } from '../src/core/assert.ts';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../src/core/brands.ts';
import type { CatalogResult } from '../src/core/catalog/types.ts';
import type { Args } from '../src/core/kv/args.ts';
import { copyArgs } from '../src/core/kv/args.ts';
import type { RequestId } from '../src/core/kv/batch.ts';
import { BATCH_KIND, batchCount, batchRangeVersion, commandBytes } from '../src/core/kv/batch.ts';
import type { ReplySink, ReplyTarget } from '../src/core/kv/reply.ts';
import { discardReply, replyError } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import { CONSISTENCY_LINEARIZABLE, CONSISTENCY_STALE, holdsKeys } from '../src/core/kv/spec.ts';
import type { ApplyListener, StateMachine } from '../src/core/kv/state-machine.ts';
import { nodeOf, workerOf } from '../src/core/member.ts';
import type { RangeDescriptor, RangeScope } from '../src/core/range.ts';
import { decodeConfEntry } from '../src/core/raft/configuration.ts';
import type { ConfState, Entry, RaftGroup } from '../src/core/raft/types.ts';
import { ENTRY_CONFIG, ENTRY_DATA, REFUSED_CONF_PENDING, ROLE_LEADER } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import { slots } from '../src/observe/metrics.ts';
import { AskedEntries } from './asked-entries.ts';
import type { AskedCallback } from './asked-entries.ts';
import { applySplitTo, CATALOG_KIND, decodeSplit, encodeSplit, SPLIT_KIND } from './entry.ts';
import type { SplitEntry } from './entry.ts';
import { isSingle, withMembers } from './membership.ts';
import type { RangeCatalog } from './range-catalog.ts';
import type { ReplicaHost, ReplicaOptions, SplitCallback } from './replica-host.ts';
import { ParkedReads } from './parked-reads.ts';
import type { ParkedRead } from './parked-reads.ts';
import type { PendingBatch } from './pending-batch.ts';
import { reuseBatch } from './pending-batch.ts';
import { Proposals } from './proposals.ts';
import { ReadTimes } from './read-times.ts';
import { NOT_LEADER, RANGE_MOVED } from './replies.ts';
import { countApplied } from './write-metrics.ts';
import { sendAgain, sendAllAgain, sendBatchAgain } from './sent-again.ts';
import { explainWrite } from './write-times.ts';
import type { SyncTime } from './write-times.ts';

export class Replica {
  descriptor: RangeDescriptor;
  readonly raft: RaftGroup;
  readonly store: Engine;
  readonly machine: StateMachine;
  readonly catalog: RangeCatalog | null;
  appliedTerm: Term;
  /** As of the last entry applied; the core's may be ahead of it. */
  conf: ConfState;
  /** On the host's list of replicas to flush. */
  isTouched = false;
  /** What replaying the log since the last checkpoint would cost. */
  bytesSinceCheckpoint = 0;
  commandsSinceCheckpoint = 0;
  /**
   * The newest checkpoint names no other voter: if the log behind it were damaged, nobody would know here that the
   * range can be had from others.
   */
  isCheckpointAlone = false;

  readonly #host: ReplicaHost;
  readonly #proposals: Proposals;
  readonly #reads = new ParkedReads();
  readonly #asked = new AskedEntries();
  /** A split that waits to enter the log. */
  #splitting: { readonly data: Buffer; readonly done: SplitCallback } | null = null;
  /** The last split that did. */
  #split = { index: 0 as LogIndex, term: 0 as Term };

  readonly #listener: ApplyListener;
  /** The batch being applied, if replies to it are wanted here, and its next read. */
  #applying: PendingBatch | null = null;
  #nextRead = 0;

  constructor(host: ReplicaHost, options: ReplicaOptions) {
    this.#host = host;
    this.descriptor = options.descriptor;
    this.raft = options.raft;
    this.store = options.store;
    this.machine = options.machine;
    this.appliedTerm = options.appliedTerm;
    this.conf = options.conf;
    this.catalog = options.catalog;
    this.#proposals = new Proposals(host);
    this.#listener = { sink: (i) => this.#sinkFor(i), applied: (i) => this.#commandApplied(i) };
  }

  get isLeader(): boolean {
    return this.raft.role === ROLE_LEADER;
  }

  /** Whether others vote here too: time matters, messages come and go. */
  get hasPeers(): boolean {
    return this.descriptor.replicas.length > 1;
  }

  /** Whether this member is (still) one of the group, as far as it knows. */
  get isMember(): boolean {
    return this.descriptor.replicas.some(({ memberId }) => memberId === this.raft.id);
  }

  /**
   * Runs a command whose keys all belong to this range. `args` are valid only during the call; the reply comes to
   * target's `slot`, maybe during the call. `scopeVersion`, if not 0, is the epoch version that the asker of a command
   * without keys believed in.
   */
  submit(
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scopeVersion: number,
  ): void {
    if (scopeVersion !== 0 && scopeVersion !== this.descriptor.epoch.version) {
      sendAgain(this.#host, spec, args, target, slot, requestId, null);
    } else if (spec.consistency === CONSISTENCY_STALE) {
      this.#answerRead(spec, args, target, slot, scopeVersion, this.#timesOf(spec));
    } else if (!this.isLeader) {
      this.#host.awaitLeader(spec, args, target, slot, requestId, this.#scope);
    } else if (spec.write) {
      this.#submitWrite(spec, args, target, slot, requestId);
    } else {
      this.#submitRead(spec, args, target, slot, scopeVersion);
    }
  }

  /** A write that the store gives itself (expiry); nobody waits for its reply. */
  submitInternal(spec: CommandSpec, args: Args): void {
    this.#proposals.add(spec, args, 0, null, 0, null);
    this.#host.touched(this);
  }

  /** Cuts the range at `splitKey`; the right half becomes range `entry.newRangeId`. */
  split(entry: SplitEntry, done: SplitCallback): void {
    if (this.#isSplitting) {
      done('ERR this range is being split already; try again when that is done');
      return;
    }
    this.#splitting = { data: encodeSplit(entry), done };
    this.#host.touched(this);
  }

  /** False when this member does not lead or `to` is no other voter. */
  transferLeadership(to: MemberId): boolean {
    this.#host.wake(this);
    this.#host.touched(this);
    return this.raft.transferLeadership(to);
  }

  /** Puts into the log what is asked of it outside of the data path; not while the range is being cut. */
  ask(propose: (raft: RaftGroup) => number, done: AskedCallback): void {
    this.#host.wake(this);
    const proposed = this.#isSplitting ? REFUSED_CONF_PENDING : propose(this.raft);
    this.#asked.add(proposed, this.raft.term, this.#host.nowMs, done);
    this.#host.touched(this);
  }

  /** Proposes what waits, as far as the group takes it now. */
  flush(): void {
    if (!this.isLeader) {
      this.standDown();
      return;
    }
    if (this.isWaiting) this.#host.wake(this);
    // Nothing follows a split before it is applied: it may belong to the other half. What waits goes before it, in one write.
    if (this.#isSettled && !this.#isCutInLog) this.#proposeWaiting();
    if (this.#splitting !== null) this.#proposeSplit(this.#splitting);
    this.#reads.startRound((context) => this.raft.readIndex(context) >= 0);
  }

  /** The log here is durable through `index`; `sync`: the one that made it so, if known. `noticedMs`: monotonic. */
  logged(index: LogIndex, sync: SyncTime | null, noticedMs: number): void {
    this.#proposals.logged(index, sync, noticedMs);
  }

  /** A ReadIndex round is confirmed: its reads run once `index` is applied. */
  readConfirmed(context: number, index: LogIndex): void {
    this.#reads.confirmed(context, index);
  }

  /** Runs the reads whose index is applied. */
  runDueReads(): void {
    for (const read of this.#reads.takeDue(this.raft.appliedIndex)) this.#runRead(read);
  }

  /** Whether something waits for the group to take it. */
  get isWaiting(): boolean {
    return this.#proposals.next !== null || this.#reads.isWaiting || this.#splitting !== null;
  }

  /** Whether nobody waits here for anything, so that its group may rest. */
  get isIdle(): boolean {
    return !this.isWaiting && !this.#proposals.isAwaited && this.#reads.isEmpty && this.#asked.isEmpty;
  }

  /** Tells whoever has waited since before `timeMs` for a write in the log that its end is not known. */
  giveUpBefore(timeMs: number): void {
    if (this.#proposals.isAwaited) this.#proposals.giveUpBefore(timeMs);
    this.#asked.giveUpBefore(timeMs);
  }

  /** Applies one committed entry. */
  apply(entry: Entry): void {
    const batch = this.#proposals.take(entry);
    if (batch?.term === this.raft.term) for (const read of this.#reads.takeBefore(entry.index)) this.#runRead(read);
    const data = entry.data as Buffer;
    let answer: CatalogResult | null = null;
    let error: string | null = null;
    if (entry.type === ENTRY_DATA) {
      if (data[0] === BATCH_KIND) this.#applyBatch(batch, data);
      else if (data[0] === SPLIT_KIND) error = this.#applySplit(data);
      else if (data[0] === CATALOG_KIND) answer = this.#applyCatalogChange(data);
      else assert(false, 'replica: an entry of unknown kind');
    } else if (entry.type === ENTRY_CONFIG) {
      this.conf = decodeConfEntry(data).conf;
      this.descriptor = withMembers(this.descriptor, this.conf);
      this.#host.membersChanged(this);
    }
    this.#asked.applied(entry, error, answer);
    this.bytesSinceCheckpoint += data.length;
    this.appliedTerm = entry.term;
  }

  /** This replica ends here, or the node stops: whoever still waits is told what is known. */
  abandon(): void {
    this.#proposals.abandon();
    for (const batch of this.#proposals.takeWaiting()) batch.answerAll(NOT_LEADER);
    for (const read of this.#reads.takeAll()) replyError(read.target, read.slot, NOT_LEADER);
    this.#asked.abandon();
    this.#refuseSplit();
  }

  get #place(): { readonly rangeId: RangeId; readonly nodeId: NodeId; readonly worker: number } {
    const { id } = this.raft;
    return { rangeId: this.descriptor.rangeId, nodeId: nodeOf(id), worker: workerOf(id) };
  }

  get #scope(): RangeScope {
    return { rangeId: this.descriptor.rangeId, version: this.descriptor.epoch.version };
  }

  /**
   * The state has everything that earlier leaders acknowledged: an entry of this leadership is applied or, where nobody else
   * votes, all before its first one.
   */
  get #isSettled(): boolean {
    const { term, termStart, appliedIndex } = this.raft;
    return this.appliedTerm === term || (isSingle(this.conf) && appliedIndex >= termStart - 1);
  }

  #submitWrite(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number, requestId: RequestId | null): void {
    const growthBytes = this.machine.growthBytes(spec, args, this.#host.nowMs);
    const refused = this.#host.refuseWrite(spec, commandBytes(args, requestId !== null) + growthBytes);
    if (refused !== null) {
      replyError(target, slot, refused);
      return;
    }
    this.#proposals.add(spec, args, growthBytes, target, slot, requestId);
    this.#host.touched(this);
  }

  #submitRead(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number, scopeVersion: number): void {
    const behind = target.writesInFlight > 0 ? this.#proposals.last : null;
    const times = this.#timesOf(spec);
    if (behind !== null) {
      behind.addRead({ spec, args: copyArgs(args), target, slot, scopeVersion, times });
    } else if (this.#mayReadNow(spec)) {
      this.#answerRead(spec, args, target, slot, scopeVersion, times);
    } else {
      this.#park({ spec, args: copyArgs(args), target, slot, scopeVersion, times });
    }
  }

  #timesOf(spec: CommandSpec): ReadTimes | null {
    return spec.explain === true ? new ReadTimes(this.#host.monotonicMs()) : null;
  }

  #park(read: ParkedRead): void {
    read.times?.asked(this.#host.monotonicMs());
    this.#reads.park(read, this.raft.lastIndex);
    this.#host.touched(this);
  }

  /**
   * Whether the applied state may answer this read at this moment, without asking the others. The clock is read here,
   * after the command has arrived: a process that was stopped between two turns would trust a lease that ran out.
   */
  #mayReadNow(spec: CommandSpec): boolean {
    if (spec.consistency === CONSISTENCY_LINEARIZABLE) return false;
    if (this.hasPeers) this.#host.settle(this);
    return this.raft.leaseValid();
  }

  #answerRead(
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    scopeVersion: number,
    times: ReadTimes | null,
  ): void {
    times?.started(this.#host.monotonicMs());
    const sink = target.begin(slot);
    if (scopeVersion !== 0 && scopeVersion !== this.descriptor.epoch.version) sink.error(RANGE_MOVED);
    else this.machine.read(spec, args, this.#host.nowMs, sink);
    if (times !== null) {
      const where = { ...this.#place, term: this.raft.term, index: this.raft.appliedIndex };
      target.explain?.(slot, times.explain(spec, where, this.#host.monotonicMs()));
    }
    target.finish(slot);
  }

  /** A read that waited: the range may have been cut meanwhile. */
  #runRead(read: ParkedRead): void {
    const { spec, args, target, slot, scopeVersion, times } = read;
    if (holdsKeys(this.descriptor, spec, args)) this.#answerRead(spec, args, target, slot, scopeVersion, times);
    else this.#host.resubmit(spec, args, target, slot, null, null);
  }

  #proposeWaiting(): void {
    const proposals = this.#proposals;
    proposals.leads(this.raft.term);
    const isPaced = isSingle(this.conf) && this.#splitting === null;
    while (proposals.mayEnter(isPaced, this.raft.commitIndex)) {
      const batch = proposals.next;
      if (batch === null) break;
      const version = this.#host.nextVersion(batch.count, this.machine.latestVersion);
      const index = this.raft.propose(batch.seal(version, this.descriptor.epoch.version));
      // Refused: leadership is being handed over, or too much is uncommitted. The batch waits for the next turn.
      if (index < 0) {
        this.#host.metrics.add(slots.proposalsRefused, 1);
        break;
      }
      // Messages to peers refer to their entries' data until they are sent.
      batch.isUnshared = this.raft.isAlone;
      proposals.entered(index as LogIndex, this.raft.term, this.#host.nowMs);
    }
  }

  #applyBatch(batch: PendingBatch | null, data: Buffer): void {
    if (batchRangeVersion(data) !== this.descriptor.epoch.version) {
      // Proposed by a leader that did not know of a split before it in the log: all replicas skip it.
      if (batch !== null) sendBatchAgain(this.#host, batch);
      return;
    }
    this.#applying = batch;
    if (batch !== null) batch.times.committedMs = this.#host.monotonicMs();
    this.#nextRead = 0;
    this.machine.apply(data, this.#listener);
    this.#applying = null;
    if (batch !== null) countApplied(this.#host, batch, !isSingle(this.conf));
    this.commandsSinceCheckpoint += batchCount(data);
    if (batch !== null && batch.isUnshared && this.raft.isAlone) reuseBatch(batch);
  }

  #applyCatalogChange(data: Buffer): CatalogResult {
    assert(this.catalog !== null, 'replica: only range 1 has a catalog');
    const result = this.catalog.apply(data.subarray(1));
    this.#host.catalogChanged(this.catalog);
    return result;
  }

  #sinkFor(i: number): ReplySink {
    const target = this.#applying?.targets[i];
    return target === null || target === undefined ? discardReply : target.begin(this.#applying?.slots[i] as number);
  }

  #commandApplied(i: number): void {
    const batch = this.#applying;
    if (batch === null) return;
    const sinceMs = batch.explained.since(i);
    if (sinceMs !== undefined) this.#explainWrite(batch, i, sinceMs);
    batch.targets[i]?.finish(batch.slots[i] as number);
    for (; this.#nextRead < batch.reads.length; this.#nextRead++) {
      const { after, read } = batch.reads[this.#nextRead] as (typeof batch.reads)[number];
      if (after > i + 1) break;
      if (this.#mayReadNow(read.spec)) this.#runRead(read);
      else this.#park(read);
    }
  }

  #explainWrite(batch: PendingBatch, i: number, sinceMs: number): void {
    const explanation = explainWrite(this.#place, batch, sinceMs, this.#host.monotonicMs(), !isSingle(this.conf));
    batch.targets[i]?.explain?.(batch.slots[i] as number, explanation);
  }

  /** A split of this leadership is in the log and not applied. One of an earlier one is applied, or gone, once this is settled. */
  get #isSplitting(): boolean {
    return this.#splitting !== null || this.#isCutInLog;
  }

  get #isCutInLog(): boolean {
    const { index, term } = this.#split;
    return term === this.raft.term && index > this.raft.appliedIndex;
  }

  #proposeSplit({ data, done }: { readonly data: Buffer; readonly done: SplitCallback }): void {
    const proposed = this.raft.propose(data);
    // It waits while leadership is being handed over, or too much is uncommitted.
    if (proposed < 0) return;
    this.#splitting = null;
    this.#split = { index: proposed as LogIndex, term: this.raft.term };
    this.#asked.add(proposed, this.raft.term, this.#host.nowMs, (error) => done(error));
  }

  /** Why it did nothing, or null. */
  #applySplit(data: Buffer): string | null {
    const split = decodeSplit(data);
    const halves = applySplitTo(this.descriptor, split);
    if (halves === null) {
      return 'ERR the range has changed since the split was asked for; look at the ranges and try again';
    }
    this.descriptor = halves.left;
    const store = this.store.splitAt(split.splitKey, 0, split.splitKey.length);
    this.#host.splitApplied(this, { descriptor: halves.right, store });
    for (const batch of this.#proposals.takeWaiting()) sendBatchAgain(this.#host, batch);
    this.#host.touched(this);
    return null;
  }

  /** Another member leads, or nobody: what has not entered this log may still enter the leader's, before what comes from now on. */
  standDown(): void {
    const { leader } = this.raft;
    sendAllAgain(this.#host, this.#reads.takeAll(), this.#proposals.takeWaiting(), this.#scope, leader);
    this.#refuseSplit();
  }

  #refuseSplit(): void {
    const splitting = this.#splitting;
    this.#splitting = null;
    splitting?.done(NOT_LEADER);
  }
}
