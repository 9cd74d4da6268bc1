/**
 * One range's writes on their way into the log and through it.
 *
 *     add() ─▶ filling ─▶ queued ─▶ next(), entered() ─▶ in the log ─▶ take(entry) ─▶ applied, replies
 *              (one batch a turn;   (full ones)          (in order of
 *                                                         their index)
 *
 * What waits can still go anywhere. What is in the log has one of three ends: its entry is applied; another leader's
 * entry took its place (it never happened); or nobody knows within the time that a client waits.
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
import { NOT_LEADER, UNKNOWN_RESULT } from './replies.ts';
import type { SyncTime } from './write-times.ts';

/**
 * The disk works on the next batch while so many commands or more are applied. Fewer are applied and answered sooner than the
 * log's thread is woken, and the next batch grows meanwhile.
 */
const APPLIED_BESIDE_MIN = 32;

export class Proposals {
  /** Counts bytes of commands taken (positive) and done with (negative). */
  readonly #countPending: (bytes: number) => void;
  readonly #monotonicMs: () => number;
  #filling: PendingBatch | null = null;
  /** Full batches, in order, before #filling. */
  #queued: PendingBatch[] = [];
  /** In order of their index. */
  #inLog: PendingBatch[] = [];

  constructor(countPending: (bytes: number) => void, monotonicMs: () => number) {
    this.#countPending = countPending;
    this.#monotonicMs = monotonicMs;
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
    this.#countPending(bytes + growthBytes);
    if (filling.count === 0) filling.times.begin(this.#monotonicMs());
    if (spec.explain === true) filling.explained.add(filling.count, this.#monotonicMs());
    filling.addWrite(spec.op & OP_CODE_MASK, args, target, slot, requestId);
    filling.growthBytes += growthBytes;
  }

  /** The batch with the newest write that is not applied yet. */
  get last(): PendingBatch | null {
    return this.#filling ?? this.#queued.at(-1) ?? this.#inLog.at(-1) ?? null;
  }

  get inLogCount(): number {
    return this.#inLog.length;
  }

  /**
   * Whether the next batch of a group without peers may enter the log: nothing of it is on its way to the disk, and what is
   * committed and not applied is worth it.
   */
  mayFollow(commitIndex: LogIndex): boolean {
    const last = this.#inLog.at(-1);
    return last === undefined || (last.index <= commitIndex && last.count >= APPLIED_BESIDE_MIN);
  }

  /** The batch to be proposed next. */
  get next(): PendingBatch | null {
    return this.#queued[0] ?? this.#filling;
  }

  /** The next batch has become the log's entry at `index`. */
  entered(index: LogIndex, term: Term, nowMs: number): void {
    const batch = this.#queued.shift() ?? this.#filling;
    assert(batch !== null, 'proposals: nothing waits');
    if (batch === this.#filling) this.#filling = null;
    batch.index = index;
    batch.term = term;
    batch.enteredAtMs = nowMs;
    batch.times.enteredMs = this.#monotonicMs();
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
    const first = this.#inLog[0];
    if (first === undefined || first.index > entry.index) return null;
    assert(first.index === entry.index, 'proposals: a batch in the log was passed over');
    this.#inLog.shift();
    this.#countPending(BATCH_HEADER_BYTES - first.bytes - first.growthBytes);
    if (first.term === entry.term) return first;
    first.answerAll(NOT_LEADER);
    return null;
  }

  /** Takes out what has not entered the log. */
  takeWaiting(): PendingBatch[] {
    const waiting = this.#filling === null ? this.#queued : [...this.#queued, this.#filling];
    for (const batch of waiting) this.#countPending(BATCH_HEADER_BYTES - batch.bytes - batch.growthBytes);
    this.#queued = [];
    this.#filling = null;
    return waiting;
  }

  /** Tells whoever waits for a batch that entered the log before `timeMs` that its end is not known. */
  giveUpBefore(timeMs: number): void {
    for (const batch of this.#inLog) {
      if (batch.enteredAtMs >= timeMs) return;
      batch.answerAll(UNKNOWN_RESULT);
    }
  }

  /** Nothing of this log will be applied here any more. */
  abandon(): void {
    for (const batch of this.#inLog) {
      this.#countPending(BATCH_HEADER_BYTES - batch.bytes - batch.growthBytes);
      batch.answerAll(UNKNOWN_RESULT);
    }
    this.#inLog = [];
  }
}
