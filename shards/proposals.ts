/**
 * One range's writes on their way into the log and through it.
 *
 *     add() ─▶ filling ─▶ queued ─▶ next(), entered() ─▶ in the log ─▶ take(entry) ─▶ applied, replies
 *              (one batch a turn;   (full ones)          (in order of
 *                                                         their index)
 *
 * What waits can still go anywhere. What is in the log has one of three ends: its entry is applied; another leader's
 * entry is applied in its place (it never happened); or nobody knows within the time that a client waits. That this log
 * lost it to another leader's entries is no end: those may be lost in turn.
 */
import { assert } from '../src/core/assert.ts';
import type { LogIndex, Term } from '../src/core/brands.ts';
import type { Args } from '../src/core/kv/args.ts';
import type { RequestId } from '../src/core/kv/batch.ts';
import { BATCH_HEADER_BYTES, commandBytes } from '../src/core/kv/batch.ts';
import type { ReplyTarget } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import { OP_CODE_MASK } from '../src/core/kv/spec.ts';
import { limits } from '../src/core/limits.ts';
import type { Entry } from '../src/core/raft/types.ts';
import type { PendingBatch } from './pending-batch.ts';
import { takeBatch } from './pending-batch.ts';
import type { ReplicaHost } from './replica-host.ts';
import { slots } from '../src/observe/metrics.ts';
import { NOT_LEADER, UNKNOWN_RESULT } from './replies.ts';
import type { SyncTime } from './write-times.ts';

/**
 * The disk works on the next batch while so many commands or more are applied. Fewer are applied and answered sooner than the
 * log's thread is woken, and the next batch grows meanwhile.
 */
const APPLIED_BESIDE_MIN = 32;
/** Entries of a group with peers that may be on their way at once. */
const PIPELINED_BATCHES_MAX = 16;

type ProposalsHost = Pick<ReplicaHost, 'countPending' | 'monotonicMs' | 'metrics'>;

export class Proposals {
  readonly #host: ProposalsHost;
  #filling: PendingBatch | null = null;
  /** Full batches, in order, before #filling. */
  #queued: PendingBatch[] = [];
  /** Of this leadership, in order of their index. */
  #inLog: PendingBatch[] = [];
  /** Of earlier ones: this log may have something else in their place, and others may still have them. */
  #former: PendingBatch[] = [];

  constructor(host: ProposalsHost) {
    this.#host = host;
  }

  /** `target` is null for commands that the store gives itself. */
  add(
    spec: CommandSpec,
    args: Args,
    growthBytes: number,
    target: ReplyTarget | null,
    slot: number,
    requestId: RequestId | null,
  ): void {
    const bytes = commandBytes(args, requestId !== null);
    let filling = this.#filling;
    if (filling === null) {
      filling = takeBatch();
    } else if (filling.count === limits.batchCommandsMax || filling.bytes + bytes > limits.batchBytesMax) {
      this.#queued.push(filling);
      filling = takeBatch();
    }
    this.#filling = filling;
    this.#host.countPending(bytes + growthBytes);
    if (filling.count === 0) filling.times.begin(this.#host.monotonicMs());
    if (spec.explain === true) filling.explained.add(filling.count, this.#host.monotonicMs());
    filling.addWrite(spec.op & OP_CODE_MASK, args, target, slot, requestId);
    filling.growthBytes += growthBytes;
  }

  /** The batch with the newest write that is not applied yet. */
  get last(): PendingBatch | null {
    return this.#filling ?? this.#queued.at(-1) ?? this.#inLog.at(-1) ?? null;
  }

  /**
   * Whether the next batch may enter the log. In a group without peers, when nothing of it is on its way to the disk, and
   * what is committed and not applied is worth it.
   */
  mayEnter(isAlone: boolean, commitIndex: LogIndex): boolean {
    if (!isAlone) return this.#inLog.length < PIPELINED_BATCHES_MAX;
    const last = this.#inLog.at(-1);
    return last === undefined || (last.index <= commitIndex && last.count >= APPLIED_BESIDE_MIN);
  }

  /** Whether somebody may be waiting for what is in the log, or was. */
  get isAwaited(): boolean {
    return this.#inLog.length > 0 || this.#former.length > 0;
  }

  /** The batch to be proposed next. */
  get next(): PendingBatch | null {
    return this.#queued[0] ?? this.#filling;
  }

  /** This member leads in `term`. What an earlier leadership left in the log holds nothing up. */
  leads(term: Term): void {
    if (this.#inLog.length === 0 || this.#inLog[0]?.term === term) return;
    this.#former.push(...this.#inLog);
    this.#inLog = [];
  }

  /** The next batch has become the log's entry at `index`. */
  entered(index: LogIndex, term: Term, nowMs: number): void {
    const batch = this.#queued.shift() ?? this.#filling;
    assert(batch !== null, 'proposals: nothing waits');
    if (batch === this.#filling) this.#filling = null;
    batch.index = index;
    batch.term = term;
    batch.enteredAtMs = nowMs;
    batch.times.enteredMs = this.#host.monotonicMs();
    this.#host.metrics.histograms.batchCommands.record(batch.count);
    this.#inLog.push(batch);
  }

  /** The log here is durable through `index`, by this sync if it is known; `noticedMs`: monotonic. */
  logged(index: LogIndex, sync: SyncTime | null, noticedMs: number): void {
    for (const batch of this.#inLog) {
      if (batch.index > index) return;
      batch.times.logged(sync, noticedMs);
    }
  }

  /** The batch that this committed entry was made of, if it was made here; what the entry displaced is refused. */
  take(entry: Entry): PendingBatch | null {
    let taken: PendingBatch | null = null;
    const first = this.#inLog[0];
    if (first !== undefined && first.index <= entry.index) {
      assert(first.index === entry.index, 'proposals: a batch in the log was passed over');
      this.#inLog.shift();
      taken = this.#end(first, entry);
    }
    if (this.#former.length === 0) return taken;
    for (const batch of this.#former) if (batch.index === entry.index) taken = this.#end(batch, entry) ?? taken;
    this.#former = this.#former.filter(({ index }) => index !== entry.index);
    return taken;
  }

  #end(batch: PendingBatch, entry: Entry): PendingBatch | null {
    this.#uncount(batch);
    if (batch.term === entry.term) return batch;
    this.#host.metrics.add(slots.proposalsDisplaced, 1);
    batch.answerAll(NOT_LEADER);
    return null;
  }

  #uncount(batch: PendingBatch): void {
    this.#host.countPending(BATCH_HEADER_BYTES - batch.bytes - batch.growthBytes);
  }

  /** Takes out what has not entered the log. */
  takeWaiting(): PendingBatch[] {
    const waiting = this.#filling === null ? this.#queued : [...this.#queued, this.#filling];
    for (const batch of waiting) this.#uncount(batch);
    this.#queued = [];
    this.#filling = null;
    return waiting;
  }

  /** Tells whoever waits for a batch that entered the log before `timeMs` that its end is not known. */
  giveUpBefore(timeMs: number): void {
    for (const batch of this.#inLog) {
      if (batch.enteredAtMs >= timeMs) break;
      this.#tellUnknown(batch);
    }
    if (this.#former.length === 0) return;
    const late = this.#former.filter(({ enteredAtMs }) => enteredAtMs < timeMs);
    this.#former = this.#former.filter(({ enteredAtMs }) => enteredAtMs >= timeMs);
    for (const batch of late) this.#giveUp(batch);
  }

  /** Nothing of this log will be applied here any more. */
  abandon(): void {
    for (const batch of [...this.#inLog, ...this.#former]) this.#giveUp(batch);
    this.#inLog = [];
    this.#former = [];
  }

  #giveUp(batch: PendingBatch): void {
    this.#uncount(batch);
    this.#tellUnknown(batch);
  }

  #tellUnknown(batch: PendingBatch): void {
    if (!batch.isGivenUp) this.#host.metrics.add(slots.proposalsUnknown, 1);
    batch.isGivenUp = true;
    batch.answerAll(UNKNOWN_RESULT);
  }
}
