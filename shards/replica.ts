/**
 * One range's life on this node: its Raft member, its state machine, the commands that wait.
 *
 *                 submit                flush                 Ready.committed
 *     commands ──────────▶ filling ──────────────▶ proposed ──────────────────▶ applied, replies
 *                          (one batch per turn;    (in the log,                 (state machine,
 *                           full ones queue up)     not yet applied)             reads behind writes)
 *
 * A single-voter group has one append on its way to the disk at a time; what arrives meanwhile is merged into the next
 * entry, so the disk sets the pace and no timer is needed. A group with peers pipelines.
 *
 * Invariant: a reply to a write is made only while applying its committed entry; a reply to a read only when every write
 * acknowledged before the read arrived is applied here and this node provably still leads.
 */
import { assert } from '../src/core/assert.ts';
import type { Hlc, LogIndex, Term } from '../src/core/brands.ts';
import type { Args } from '../src/core/kv/args.ts';
import { copyArgs, createArgs } from '../src/core/kv/args.ts';
import type { BatchCommand, RequestId } from '../src/core/kv/batch.ts';
import {
  BATCH_HEADER_BYTES,
  BATCH_KIND,
  batchCount,
  batchRangeVersion,
  COMMAND_HAS_REQUEST_ID,
  commandBytes,
  readCommand,
} from '../src/core/kv/batch.ts';
import type { ReplySink, ReplyTarget } from '../src/core/kv/reply.ts';
import { discardReply } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import type { ApplyListener, StateMachine } from '../src/core/kv/state-machine.ts';
import { commandByOp } from '../src/core/kv/table.ts';
import { limits } from '../src/core/limits.ts';
import type { RangeDescriptor } from '../src/core/range.ts';
import { rangeContains } from '../src/core/range.ts';
import type { Entry, RaftGroup } from '../src/core/raft/types.ts';
import { ENTRY_DATA, ROLE_LEADER } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import { applySplitTo, decodeSplit, encodeSplit, SPLIT_KIND } from './entry.ts';
import type { SplitEntry } from './entry.ts';
import { ParkedReads } from './parked-reads.ts';
import type { ParkedRead } from './parked-reads.ts';
import { PendingBatch } from './pending-batch.ts';

/** What a replica asks of the thread that it lives in. */
export interface ReplicaHost {
  /** Wall clock of this turn, Unix milliseconds; never goes back. */
  readonly nowMs: number;
  /** Puts the replica on the list of those to flush in this turn. */
  touched(replica: Replica): void;
  /** Why a write of so many bytes cannot be taken now, as an error reply; null when it can. */
  refuseWrite(spec: CommandSpec, bytes: number): string | null;
  /** Counts bytes of commands taken (positive) and done with (negative). */
  countPending(bytes: number): void;
  /** Reserves consecutive HLC readings. */
  nextVersion(count: number): Hlc;
  /** Sends a command on its way again after this range's boundaries changed. */
  resubmit(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number, requestId: RequestId | null): void;
  /** The range was cut: `replica` has its new descriptor already, `right` describes the new range and has its store. */
  splitApplied(replica: Replica, right: { readonly descriptor: RangeDescriptor; readonly store: Engine }): void;
}

/** Called once: with an error's text, or null when the split was applied. */
export type SplitCallback = (error: string | null) => void;

export interface ReplicaOptions {
  readonly descriptor: RangeDescriptor;
  readonly raft: RaftGroup;
  readonly store: Engine;
  readonly machine: StateMachine;
  /** Term of the entry at raft.appliedIndex. */
  readonly appliedTerm: Term;
}

/** Entries of a group with peers that may be on their way at once. */
const PIPELINED_BATCHES_MAX = 16;

export class Replica {
  descriptor: RangeDescriptor;
  readonly raft: RaftGroup;
  readonly store: Engine;
  readonly machine: StateMachine;
  appliedTerm: Term;
  /** On the host's list of replicas to flush. */
  isTouched = false;
  /** What replaying the log since the last checkpoint would cost. */
  bytesSinceCheckpoint = 0;
  commandsSinceCheckpoint = 0;

  readonly #host: ReplicaHost;
  #filling = new PendingBatch();
  /** Full batches, in order, before #filling. */
  #queued: PendingBatch[] = [];
  /** In the log, in order. */
  readonly #proposed: PendingBatch[] = [];
  readonly #reads = new ParkedReads();
  #splitting: { readonly data: Buffer; inLog: boolean; readonly done: SplitCallback } | null = null;

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
    this.#listener = { sink: (i) => this.#sinkFor(i), applied: (i) => this.#commandApplied(i) };
  }

  get isLeader(): boolean {
    return this.raft.role === ROLE_LEADER;
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
    if (!spec.write) {
      this.#submitRead(spec, args, target, slot, scopeVersion);
      return;
    }
    if (scopeVersion !== 0 && scopeVersion !== this.descriptor.epoch.version) {
      replyError(target, slot, RANGE_MOVED);
      return;
    }
    const bytes = commandBytes(args, requestId !== null);
    const growthBytes = this.machine.growthBytes(spec, args, this.#host.nowMs);
    const refused = this.isLeader ? this.#host.refuseWrite(spec, bytes + growthBytes) : NOT_LEADER;
    if (refused !== null) {
      replyError(target, slot, refused);
      return;
    }
    this.#addWrite(spec.op, args, bytes, target, slot, requestId);
    this.#filling.growthBytes += growthBytes;
    this.#host.countPending(growthBytes);
  }

  /** A write that the store gives itself (expiry); nobody waits for its reply. */
  submitInternal(spec: CommandSpec, args: Args): void {
    this.#addWrite(spec.op, args, commandBytes(args, false), null, 0, null);
  }

  /** Cuts the range at `splitKey`; the right half becomes range `entry.newRangeId`. */
  split(entry: SplitEntry, done: SplitCallback): void {
    if (this.#splitting !== null) {
      done('ERR this range is being split already; try again when that is done');
      return;
    }
    this.#splitting = { data: encodeSplit(entry), inLog: false, done };
    this.#host.touched(this);
  }

  /** Proposes what waits, as far as the group takes it now. */
  flush(): void {
    if (!this.isLeader) {
      this.#refuseWaiting();
      return;
    }
    if (this.#splitting !== null) {
      // Nothing follows a split in the log before it is applied: what waits may belong to the other half.
      if (!this.#splitting.inLog) this.#splitting.inLog = this.raft.propose(this.#splitting.data) > 0;
    } else {
      this.#proposeWaiting();
    }
    this.#reads.startRound((context) => this.raft.readIndex(context) >= 0);
  }

  /** A ReadIndex round is confirmed: its reads run once `index` is applied. */
  readConfirmed(context: number, index: LogIndex): void {
    this.#reads.confirmed(context, index);
  }

  /** Runs the reads whose index is applied. */
  runDueReads(): void {
    for (const read of this.#reads.takeDue(this.raft.appliedIndex)) this.#runRead(read);
  }

  /** Applies one committed entry. */
  apply(entry: Entry): void {
    const data = entry.data as Buffer;
    if (entry.type === ENTRY_DATA) {
      if (data[0] === BATCH_KIND) this.#applyBatch(entry, data);
      else if (data[0] === SPLIT_KIND) this.#applySplit(data);
      else assert(false, 'replica: an entry of unknown kind');
    }
    this.bytesSinceCheckpoint += data.length;
    this.appliedTerm = entry.term;
  }

  /** The node stops: whoever still waits is told what is known. */
  abandon(): void {
    for (const batch of this.#proposed.splice(0)) this.#answerAll(batch, UNKNOWN_RESULT);
    this.#refuseWaiting();
  }

  #addWrite(
    op: number,
    args: Args,
    bytes: number,
    target: ReplyTarget | null,
    slot: number,
    requestId: RequestId | null,
  ): void {
    const filling = this.#filling;
    const isFull =
      filling.count === limits.batchCommandsMax || (filling.count > 0 && filling.bytes + bytes > limits.batchBytesMax);
    if (isFull) {
      this.#queued.push(filling);
      this.#filling = new PendingBatch();
    }
    this.#host.countPending(bytes);
    this.#filling.addWrite(op, args, target, slot, requestId);
    this.#host.touched(this);
  }

  #submitRead(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number, scopeVersion: number): void {
    const behind = target.writesInFlight > 0 ? this.#lastBatch() : null;
    if (behind !== null) {
      behind.addRead({ spec, args: copyArgs(args), target, slot, scopeVersion });
    } else if (this.raft.leaseValid()) {
      this.#answerRead(spec, args, target, slot, scopeVersion);
    } else if (this.isLeader) {
      this.#reads.park({ spec, args: copyArgs(args), target, slot, scopeVersion });
      this.#host.touched(this);
    } else {
      replyError(target, slot, NOT_LEADER);
    }
  }

  #lastBatch(): PendingBatch | null {
    if (this.#filling.count > 0) return this.#filling;
    return this.#queued.at(-1) ?? this.#proposed.at(-1) ?? null;
  }

  #answerRead(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number, scopeVersion: number): void {
    const sink = target.begin(slot);
    if (scopeVersion !== 0 && scopeVersion !== this.descriptor.epoch.version) sink.error(RANGE_MOVED);
    else this.machine.read(spec, args, this.#host.nowMs, sink);
    target.finish(slot);
  }

  /** A read that waited: the range may have been cut meanwhile. */
  #runRead(read: ParkedRead): void {
    const { spec, args, target, slot, scopeVersion } = read;
    const { firstKey } = spec;
    const isHere =
      firstKey === 0 ||
      rangeContains(this.descriptor, args.buffer, args.start[firstKey - 1] as number, args.end[firstKey - 1] as number);
    if (isHere) this.#answerRead(spec, args, target, slot, scopeVersion);
    else this.#host.resubmit(spec, args, target, slot, null);
  }

  #proposeWaiting(): void {
    const depth = this.descriptor.replicas.length === 1 ? 1 : PIPELINED_BATCHES_MAX;
    while (this.#proposed.length < depth) {
      const batch = this.#queued[0] ?? this.#filling;
      if (batch.count === 0) break;
      const version = this.#host.nextVersion(batch.count);
      const index = this.raft.propose(batch.seal(version, this.descriptor.epoch.version));
      // Refused: leadership is being handed over, or too much is uncommitted. The batch waits for the next turn.
      if (index < 0) break;
      batch.index = index as LogIndex;
      batch.term = this.raft.term;
      this.#proposed.push(batch);
      if (batch === this.#filling) this.#filling = new PendingBatch();
      else this.#queued.shift();
    }
  }

  #applyBatch(entry: Entry, data: Buffer): void {
    const batch = this.#takeProposed(entry);
    if (batch !== null) this.#host.countPending(BATCH_HEADER_BYTES - data.length - batch.growthBytes);
    if (batchRangeVersion(data) !== this.descriptor.epoch.version) {
      // Proposed by a leader that did not know of a split before it in the log: all replicas skip it.
      if (batch !== null) this.#resubmit(batch, data);
      return;
    }
    this.#applying = batch;
    this.#nextRead = 0;
    this.machine.apply(data, this.#listener);
    this.#applying = null;
    this.commandsSinceCheckpoint += batchCount(data);
  }

  /** The batch that this entry was made of, if it was made here. */
  #takeProposed(entry: Entry): PendingBatch | null {
    const first = this.#proposed[0];
    if (first === undefined || first.index > entry.index) return null;
    assert(first.index === entry.index, 'replica: a proposed batch was passed over');
    this.#proposed.shift();
    if (first.term === entry.term) return first;
    // Another leader's entry took its place.
    this.#answerAll(first, NOT_LEADER);
    return null;
  }

  #sinkFor(i: number): ReplySink {
    const target = this.#applying?.targets[i];
    return target === null || target === undefined ? discardReply : target.begin(this.#applying?.slots[i] as number);
  }

  #commandApplied(i: number): void {
    const batch = this.#applying;
    if (batch === null) return;
    batch.targets[i]?.finish(batch.slots[i] as number);
    for (; this.#nextRead < batch.reads.length; this.#nextRead++) {
      const { after, read } = batch.reads[this.#nextRead] as (typeof batch.reads)[number];
      if (after > i + 1) break;
      if (this.raft.leaseValid()) this.#runRead(read);
      else this.#reads.park(read);
    }
  }

  #applySplit(data: Buffer): void {
    const mine = this.#splitting !== null && this.#splitting.inLog ? this.#splitting : null;
    this.#splitting = null;
    const split = decodeSplit(data);
    const halves = applySplitTo(this.descriptor, split);
    if (halves === null) {
      mine?.done('ERR the range has changed since the split was asked for; look at the ranges and try again');
      return;
    }
    this.descriptor = halves.left;
    const store = this.store.splitAt(split.splitKey, 0, split.splitKey.length);
    this.#host.splitApplied(this, { descriptor: halves.right, store });
    const waiting = [...this.#queued, this.#filling];
    this.#queued = [];
    this.#filling = new PendingBatch();
    for (const batch of waiting) {
      this.#host.countPending(BATCH_HEADER_BYTES - batch.bytes - batch.growthBytes);
      this.#resubmit(batch, batch.seal(0 as Hlc, 0));
    }
    mine?.done(null);
    this.#host.touched(this);
  }

  /** Sends the commands of a batch that will not be applied, and the reads behind them, on their way again. */
  #resubmit(batch: PendingBatch, data: Buffer): void {
    const command: BatchCommand = {
      op: 0,
      flags: 0,
      requestId: { clientId: 0, sequence: 0, floor: 0 },
      args: createArgs(),
      next: BATCH_HEADER_BYTES,
    };
    let nextRead = 0;
    for (let i = 0; i < batch.count; i++) {
      readCommand(data, command.next, command);
      const target = batch.targets[i];
      if (target !== null && target !== undefined) this.#resubmitCommand(command, target, batch.slots[i] as number);
      for (; nextRead < batch.reads.length; nextRead++) {
        const { after, read } = batch.reads[nextRead] as (typeof batch.reads)[number];
        if (after > i + 1) break;
        if (read.scopeVersion !== 0) replyError(read.target, read.slot, RANGE_MOVED);
        else this.#host.resubmit(read.spec, read.args, read.target, read.slot, null);
      }
    }
  }

  #resubmitCommand(command: BatchCommand, target: ReplyTarget, slot: number): void {
    const spec = commandByOp(command.op);
    assert(spec !== undefined, 'replica: a batch holds an unknown command');
    // Commands without keys are addressed to a range by whoever gathers their replies; it asks again.
    if (spec.firstKey === 0) {
      replyError(target, slot, RANGE_MOVED);
      return;
    }
    const hasRequestId = (command.flags & COMMAND_HAS_REQUEST_ID) !== 0;
    this.#host.resubmit(spec, command.args, target, slot, hasRequestId ? { ...command.requestId } : null);
  }

  /** This node does not lead (any more): nothing that waits was put into the log. */
  #refuseWaiting(): void {
    for (const batch of [...this.#queued, this.#filling]) this.#answerAll(batch, NOT_LEADER);
    this.#queued = [];
    this.#filling = new PendingBatch();
    for (const read of this.#reads.takeAll()) replyError(read.target, read.slot, NOT_LEADER);
    const splitting = this.#splitting;
    this.#splitting = null;
    splitting?.done(splitting.inLog ? UNKNOWN_RESULT : NOT_LEADER);
  }

  #answerAll(batch: PendingBatch, text: string): void {
    this.#host.countPending(BATCH_HEADER_BYTES - batch.bytes - batch.growthBytes);
    batch.targets.forEach((target, i) => {
      if (target !== null) replyError(target, batch.slots[i] as number, text);
    });
    for (const { read } of batch.reads) replyError(read.target, read.slot, NOT_LEADER);
  }
}

const NOT_LEADER = 'NOTLEADER this node does not lead the range of this key; try again';
const RANGE_MOVED = 'RANGEMOVED the boundaries of the range have changed; try again';
const UNKNOWN_RESULT =
  'UNKNOWNRESULT the write was handed to the log and the node stopped before it was confirmed; it may or may not have happened';

function replyError(target: ReplyTarget, slot: number, text: string): void {
  target.begin(slot).error(text);
  target.finish(slot);
}
