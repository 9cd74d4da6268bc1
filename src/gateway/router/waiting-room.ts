/**
 * Commands whose range has no leader that is known: they wait, in the order of their arrival, until the routes change, or
 * for a moment, and are then sent on their way again. Nothing of them has been done, so one that waits too long is refused with a clear
 * word, and whoever asked may try again. What comes from whom somebody waits for here already, for the same range, waits behind
 * that: a connection's commands are run in their order.
 */
import type { RangeId } from '../../core/brands.ts';
import type { Args } from '../../core/kv/args.ts';
import { copyArgs } from '../../core/kv/args.ts';
import { commandBytes, type RequestId } from '../../core/kv/batch.ts';
import type { ReplyTarget } from '../../core/kv/reply.ts';
import { replyError } from '../../core/kv/reply.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import type { Submit, SubmittedCommand } from '../../core/kv/submit.ts';
import { limits } from '../../core/limits.ts';
import type { RangeScope } from '../../core/range.ts';

export interface WaitingRoomOptions {
  /** How long a command may wait, unless whoever asked has less patience. */
  readonly waitMs: number;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** Sends a command on its way again. */
  readonly submit: Submit<[scope: RangeScope | null, sinceMs: number]>;
}

interface Waiting extends SubmittedCommand {
  readonly rangeId: RangeId;
  readonly scope: RangeScope | null;
  readonly bytes: number;
  readonly sinceMs: number;
  readonly untilMs: number;
}

export class WaitingRoom {
  readonly #options: WaitingRoomOptions;
  #waiting: Waiting[] = [];
  /** How many wait for each range, of whom. */
  readonly #counts = new Map<ReplyTarget, Map<RangeId, number>>();
  #bytes = 0;

  constructor(options: WaitingRoomOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#waiting.length;
  }

  /** Whether a command of this target waits for this range. */
  holds(rangeId: RangeId, target: ReplyTarget): boolean {
    return this.#counts.size > 0 && this.#counts.get(target)?.has(rangeId) === true;
  }

  /** `args` are copied. `sinceMs`: when the command first found no leader; 0 = now. */
  add(
    rangeId: RangeId,
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope | null,
    sinceMs: number,
  ): void {
    const bytes = commandBytes(args, requestId !== null);
    if (this.#bytes > 0 && this.#bytes + bytes > limits.waitingBytesMax) {
      replyError(target, slot, 'OVERLOADED too many commands wait for a leader; nothing was done, try again');
      return;
    }
    this.#bytes += bytes;
    const { monotonicMs, waitMs } = this.#options;
    const firstMs = sinceMs === 0 ? monotonicMs() : sinceMs;
    this.#count(rangeId, target, 1);
    this.#waiting.push({
      rangeId,
      spec,
      args: copyArgs(args),
      target,
      slot,
      requestId,
      scope,
      bytes,
      sinceMs: firstMs,
      untilMs: firstMs + Math.min(waitMs, target.patienceMs?.(slot) ?? Infinity),
    });
  }

  /** Sends everybody on their way again. Who finds no leader comes back, in the same order. */
  retry(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#takeAll();
    for (const { spec, args, target, slot, requestId, scope, sinceMs } of waiting) {
      this.#options.submit(spec, args, target, slot, requestId, scope, sinceMs);
    }
  }

  /** Refuses those that have waited too long. `why`: the error of a range that has had no leader for so long. */
  expire(why: (rangeId: RangeId, waitedMs: number) => string): void {
    const nowMs = this.#options.monotonicMs();
    const expired = this.#waiting.filter(({ untilMs }) => untilMs <= nowMs);
    if (expired.length === 0) return;
    this.#waiting = this.#waiting.filter(({ untilMs }) => untilMs > nowMs);
    for (const { rangeId, target, slot, bytes, sinceMs } of expired) {
      this.#bytes -= bytes;
      this.#count(rangeId, target, -1);
      replyError(target, slot, `${why(rangeId, nowMs - sinceMs)}; nothing was done, try again`);
    }
  }

  #count(rangeId: RangeId, target: ReplyTarget, change: number): void {
    const counts = this.#counts.get(target) ?? new Map<RangeId, number>();
    const count = (counts.get(rangeId) ?? 0) + change;
    if (count > 0) counts.set(rangeId, count);
    else counts.delete(rangeId);
    if (counts.size > 0) this.#counts.set(target, counts);
    else this.#counts.delete(target);
  }

  #takeAll(): Waiting[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#counts.clear();
    this.#bytes = 0;
    return waiting;
  }
}
