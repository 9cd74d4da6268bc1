/**
 * Drives one target from one thread.
 *
 *     closed loop   every slot: begin ─▶ done ─▶ begin ─▶ …                 latency from begin
 *     open loop     due times: start + i / rate ─▶ a free slot ─▶ done      latency from the due time
 *
 * In the open loop an operation that falls due while all slots are taken waits for one, and its wait counts: a target that
 * stalls for a second shows a second, not one slow answer and a generator that politely paused with it ("coordinated
 * omission", Gil Tene). What is not answered a while after the end counts with the time it has waited until then.
 *
 *     |── warm-up ──|────── measured ──────|── drain ──|
 *     start      measure                  end        given up
 */
import { assert } from '../core/assert.ts';
import { createPrng } from '../core/prng.ts';
import type { KeyCounter } from './keys.ts';
import { createKeyPicker, shareOf } from './keys.ts';
import type { OperationKind } from './operations.ts';
import { createKindPicker, INSERT, READ, READ_MODIFY_WRITE, SCAN, SCAN_ENTRIES_MAX, UPDATE } from './operations.ts';
import type { LoadPlan } from './plan.ts';
import type { Tally } from './tally.ts';
import { counters, UNITS_PER_MS } from './tally.ts';
import type { Operation, Outcome, Target, TargetEvents } from './target.ts';
import { FAILED, MISS } from './target.ts';

/** How long answers are waited for behind the end. */
const DRAIN_MS = 5000;
const BLOCKED_MS = 10;

/** Time as the driver knows it; tests have their own. */
export interface Clock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** CPU time of this thread so far, in milliseconds. */
  cpuMs(): number;
  /** Calls `wake` at that time or a little later. */
  wakeAt(atMs: number, wake: () => void): void;
}

export interface DriverOptions {
  readonly plan: LoadPlan;
  readonly thread: number;
  readonly target: Target;
  readonly tally: Tally;
  readonly keys: KeyCounter;
  readonly clock: Clock;
}

const NOTHING = -1;

export class Driver implements TargetEvents {
  readonly #plan: LoadPlan;
  readonly #target: Target;
  readonly #tally: Tally;
  readonly #keys: KeyCounter;
  readonly #clock: Clock;
  readonly #pickKind: (uniform: number) => OperationKind;
  readonly #pickKey: () => number;
  readonly #uniform: () => number;
  readonly #operation: Operation = { kind: READ, keyNumber: 0, entries: 0 };
  /** By slot: the kind under way, or NOTHING; when it was due; its key. */
  readonly #kinds: Int8Array;
  readonly #dueMs: Float64Array;
  readonly #keyNumbers: Float64Array;
  /** Of slots under way: the first half of a read-modify-write. */
  readonly #halfDone: Uint8Array;
  /** Open loop: free slots, longest free first, so that all connections take part. */
  readonly #free: Int32Array;
  #freeHead = 0;
  #freeCount = 0;
  #underWay = 0;
  /** Operations begun, or in the open loop due times used up. */
  #begun = 0;
  readonly #operationsMax: number;
  readonly #intervalMs: number;
  readonly #thread: number;
  /** All slots were taken when the last operation fell due. */
  #blocked = false;
  #firstDueMs = 0;
  #measureMs = 0;
  #endMs = 0;
  #cpuAtMeasureMs = 0;
  #cpuAtEndMs: number | null = null;
  #finished: ((message: string | null) => void) | null = null;
  #abort: ((error: Error) => void) | null = null;
  #failure: string | null = null;
  /** A connection went while others were still being made. */
  #lostEarly: Error | null = null;

  constructor({ plan, thread, target, tally, keys, clock }: DriverOptions) {
    const slots = slotsOf(plan, thread);
    const prng = createPrng(plan.seed * 1000 + thread);
    this.#plan = plan;
    this.#thread = thread;
    this.#target = target;
    this.#tally = tally;
    this.#keys = keys;
    this.#clock = clock;
    this.#uniform = () => prng.next();
    this.#pickKind = createKindPicker(plan.mix);
    const choice = {
      distribution: plan.distribution,
      count: plan.keyCount,
      thread,
      threads: plan.threads,
      insertsInFlightMax: plan.clients * plan.pipeline,
    };
    this.#pickKey = createKeyPicker(choice, keys, prng.fork());
    this.#kinds = new Int8Array(slots).fill(NOTHING);
    this.#dueMs = new Float64Array(slots);
    this.#keyNumbers = new Float64Array(slots);
    this.#halfDone = new Uint8Array(slots);
    this.#free = Int32Array.from({ length: slots }, (_, slot) => slot);
    this.#freeCount = slots;
    this.#operationsMax = plan.operations === null ? Infinity : sizeOf(shareOf(plan.operations, thread, plan.threads));
    this.#intervalMs = plan.ratePerSecond === null ? 0 : (1000 * plan.threads) / plan.ratePerSecond;
  }

  /** Runs the plan on a target that is open, from `startMs` of the clock on. Resolves with the first error's text, or null; rejects when a connection is lost. */
  run(startMs: number): Promise<string | null> {
    if (this.#lostEarly !== null) return Promise.reject(this.#lostEarly);
    const { warmUpMs, durationMs } = this.#plan;
    // The threads' due times lie between each other's.
    this.#firstDueMs = startMs + (this.#intervalMs * this.#thread) / this.#plan.threads;
    this.#measureMs = startMs + warmUpMs;
    this.#endMs = this.#measureMs + durationMs;
    return new Promise((resolve, reject) => {
      this.#finished = resolve;
      this.#abort = reject;
      this.#clock.wakeAt(startMs, () => this.#start());
      this.#clock.wakeAt(this.#measureMs, () => (this.#cpuAtMeasureMs = this.#clock.cpuMs()));
      if (durationMs !== Infinity) {
        this.#clock.wakeAt(this.#endMs, () => this.#end());
        this.#clock.wakeAt(this.#endMs + DRAIN_MS, () => this.#giveUp());
      }
    });
  }

  done(slot: number, outcome: Outcome, nowMs: number): void {
    const kind = this.#kinds[slot] as OperationKind;
    assert(this.#kinds[slot] !== NOTHING, 'load: an answer to an operation that was not begun');
    if (kind === READ_MODIFY_WRITE && this.#halfDone[slot] === 0 && outcome !== FAILED) {
      this.#halfDone[slot] = 1;
      if (outcome === MISS) this.#countMiss(nowMs);
      this.#begin(slot, UPDATE);
      return;
    }
    this.#kinds[slot] = NOTHING;
    this.#underWay--;
    this.#tally.add(counters.answered, 1);
    this.#record(kind, this.#dueMs[slot] as number, nowMs, outcome);
    if (this.#plan.ratePerSecond !== null) this.#giveBack(slot);
    else if (nowMs < this.#endMs && this.#begun < this.#operationsMax) this.#take(slot, nowMs);
    if (this.#underWay === 0) this.#finishWhenIdle(nowMs);
  }

  turned(nowMs: number): void {
    if (this.#plan.ratePerSecond !== null && this.#finished !== null) this.#pump(nowMs);
    this.#target.flush();
  }

  failed(message: string): void {
    this.#failure ??= message;
  }

  lost(error: Error): void {
    // A server that refuses us says why before it closes.
    const told = this.#failure === null ? error : new Error(`${error.message}, having said: ${this.#failure}`);
    this.#finished = null;
    if (this.#abort === null) this.#lostEarly ??= told;
    else this.#abort(told);
  }

  #start(): void {
    const nowMs = this.#clock.nowMs();
    if (this.#plan.ratePerSecond !== null) {
      this.#tick();
      return;
    }
    for (let slot = 0; slot < this.#kinds.length && this.#begun < this.#operationsMax; slot++) this.#take(slot, nowMs);
    this.#target.flush();
    if (this.#underWay === 0) this.#finish(nowMs);
  }

  /** Open loop: begins what is due now, and comes back when the next operation is. */
  #tick(): void {
    if (this.#finished === null) return;
    const nowMs = this.#clock.nowMs();
    this.#pump(nowMs);
    this.#target.flush();
    // While all slots are taken, it is answers that let the next one go.
    const nextMs = this.#blocked ? nowMs + BLOCKED_MS : this.#nextDueMs;
    if (this.#nextDueMs < this.#endMs) this.#clock.wakeAt(nextMs, () => this.#tick());
  }

  get #nextDueMs(): number {
    return this.#firstDueMs + this.#begun * this.#intervalMs;
  }

  #pump(nowMs: number): void {
    for (let dueMs = this.#nextDueMs; dueMs <= nowMs && dueMs < this.#endMs; dueMs = this.#nextDueMs) {
      if (this.#freeCount === 0) {
        this.#blocked = true;
        return;
      }
      if (!this.#blocked && this.#isMeasured(dueMs)) this.#tally.lag.record((nowMs - dueMs) * UNITS_PER_MS);
      this.#take(this.#takeFree(), dueMs);
    }
    this.#blocked = false;
  }

  #take(slot: number, dueMs: number): void {
    const kind = this.#pickKind(this.#uniform());
    this.#begun++;
    this.#underWay++;
    this.#kinds[slot] = kind;
    this.#dueMs[slot] = dueMs;
    this.#halfDone[slot] = 0;
    this.#keyNumbers[slot] = kind === INSERT ? this.#keys.take() : this.#pickKey();
    this.#begin(slot, kind === READ_MODIFY_WRITE ? READ : kind);
  }

  #begin(slot: number, kind: OperationKind): void {
    const operation = this.#operation;
    operation.kind = kind;
    operation.keyNumber = this.#keyNumbers[slot] as number;
    operation.entries = kind === SCAN ? 1 + Math.floor(this.#uniform() * SCAN_ENTRIES_MAX) : 0;
    this.#target.begin(slot, operation);
  }

  /** Whether the time lies in the measured time. */
  #isMeasured(atMs: number): boolean {
    return atMs >= this.#measureMs && atMs < this.#endMs;
  }

  #record(kind: OperationKind, dueMs: number, nowMs: number, outcome: Outcome): void {
    const answeredInTime = this.#isMeasured(nowMs);
    if (outcome === FAILED) {
      this.#tally.add(counters.errors, 1);
      return;
    }
    if (outcome === MISS) this.#countMiss(nowMs);
    if (answeredInTime) {
      this.#tally.add(counters.completed, 1);
      if (kind !== READ && kind !== SCAN) this.#tally.add(counters.writes, 1);
    }
    // Closed loop: what was under way at the end counts when it is answered, or a stall there would not be seen.
    if (this.#plan.ratePerSecond === null ? nowMs < this.#measureMs : !this.#isMeasured(dueMs)) return;
    const units = (nowMs - dueMs) * UNITS_PER_MS;
    this.#tally.latency.record(units);
    this.#tally.latencyOfKind[kind]?.record(units);
  }

  #countMiss(nowMs: number): void {
    if (this.#isMeasured(nowMs)) this.#tally.add(counters.misses, 1);
  }

  #takeFree(): number {
    const slot = this.#free[this.#freeHead] as number;
    this.#freeHead = (this.#freeHead + 1) % this.#free.length;
    this.#freeCount--;
    return slot;
  }

  #giveBack(slot: number): void {
    this.#free[(this.#freeHead + this.#freeCount++) % this.#free.length] = slot;
  }

  #finishWhenIdle(nowMs: number): void {
    if (this.#begun >= this.#operationsMax) this.#finish(nowMs);
    else if (nowMs >= this.#endMs && (this.#plan.ratePerSecond === null || this.#nextDueMs >= this.#endMs)) {
      this.#finish(nowMs);
    }
  }

  #end(): void {
    this.#cpuAtEndMs = this.#clock.cpuMs();
    if (this.#underWay === 0) this.#finishWhenIdle(this.#clock.nowMs());
  }

  /** The drain is over: what waits still is counted with the time that it has waited, its true latency being longer. */
  #giveUp(): void {
    if (this.#finished === null) return;
    const nowMs = this.#clock.nowMs();
    const isOpen = this.#plan.ratePerSecond !== null;
    this.#kinds.forEach((kind, slot) => {
      if (kind === NOTHING) return;
      const dueMs = this.#dueMs[slot] as number;
      this.#tally.add(counters.unanswered, 1);
      if (isOpen ? this.#isMeasured(dueMs) : true) this.#recordWait(kind as OperationKind, dueMs, nowMs);
    });
    for (; isOpen && this.#nextDueMs < this.#endMs; this.#begun++) {
      if (!this.#isMeasured(this.#nextDueMs)) continue;
      this.#tally.add(counters.unsent, 1);
      this.#tally.latency.record((nowMs - this.#nextDueMs) * UNITS_PER_MS);
    }
    this.#finish(nowMs);
  }

  #recordWait(kind: OperationKind, dueMs: number, nowMs: number): void {
    this.#tally.latency.record((nowMs - dueMs) * UNITS_PER_MS);
    this.#tally.latencyOfKind[kind]?.record((nowMs - dueMs) * UNITS_PER_MS);
  }

  #finish(nowMs: number): void {
    if (this.#finished === null) return;
    this.#tally.add(counters.elapsedMs, Math.min(nowMs, this.#endMs) - this.#measureMs);
    this.#tally.add(counters.cpuMs, (this.#cpuAtEndMs ?? this.#clock.cpuMs()) - this.#cpuAtMeasureMs);
    const finished = this.#finished;
    this.#finished = null;
    finished(this.#failure);
  }
}

/** Requests that one of the plan's threads has under way at most. */
export function slotsOf(plan: LoadPlan, thread: number): number {
  return sizeOf(shareOf(plan.clients, thread, plan.threads)) * plan.pipeline;
}

function sizeOf([first, end]: readonly [number, number]): number {
  return end - first;
}
