/** What a call tells of itself when it is asked to: `{ explain: true }`. */
import type { ServerExplanation } from '../codec/native/explanation.ts';
import type { RangeExplanation } from '../core/kv/explanation.ts';
import { roundedMs } from '../core/kv/explanation.ts';
import type { Call } from './call.ts';
import type { CallOptions } from './options.ts';
import { unexpected } from './replies.ts';

/** Where the time of a call went. Milliseconds. */
export interface Explanation {
  /** From the call to its reply, retries included. */
  readonly totalMs: number;
  /** How often it was sent. */
  readonly attempts: number;
  /** From the last time that it was sent to its reply: what is not in `server.totalMs` went by on the network and in queues. */
  readonly roundTripMs: number;
  /**
   * The worker that was asked. What is not in the `totalMs` of the range went by on the way to the range's leader, if that
   * is another worker, and in waiting for there to be one.
   */
  readonly server: { readonly nodeId: number; readonly worker: number; readonly totalMs: number };
  /** The ranges that took part; several for a command whose keys lie in several. */
  readonly ranges: readonly RangeExplanation[];
}

export interface Explained<Result> {
  readonly result: Result;
  readonly explanation: Explanation;
}

/** With it, a call resolves with its result and where the time went. */
export interface ExplainOption {
  readonly explain: true;
}

export function wantsExplanation(options: (CallOptions & Partial<ExplainOption>) | undefined): boolean {
  return options?.explain === true;
}

/** What a call gives that had nothing to send. */
export function nothingAsked<Result>(
  result: Result,
  options: (CallOptions & Partial<ExplainOption>) | undefined,
): Result | Explained<Result> {
  if (!wantsExplanation(options)) return result;
  const server = { nodeId: 0, worker: 0, totalMs: 0 };
  return { result, explanation: { totalMs: 0, attempts: 0, roundTripMs: 0, server, ranges: [] } };
}

/** The result of a call with what the server told. Throws SkerryError KV_INVALID when it told nothing. */
export function explained<Result>(
  result: Result,
  { attempts, startedMs, sentMs }: Call,
  told: ServerExplanation | null,
): Explained<Result> {
  if (told === null) throw unexpected('an explained reply');
  const nowMs = performance.now();
  const { ranges, nodeId, worker, totalMs } = told;
  const explanation = {
    totalMs: roundedMs(nowMs - startedMs),
    attempts,
    roundTripMs: roundedMs(nowMs - sentMs),
    server: { nodeId, worker, totalMs },
    ranges,
  };
  return { result, explanation };
}
