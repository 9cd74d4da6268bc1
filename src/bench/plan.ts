/** What a load run is: everything a generator thread needs to know, as plain data. */
import { SkerryError } from '../core/errors.ts';
import type { Distribution, Mix } from './operations.ts';

/** Keys are counted in 32 bits with a sign; what is left of them is for inserts. */
const KEYS_MAX = 2_000_000_000;

/** What threads of the generator can reach by themselves. */
export type TargetSpec =
  /** The native client. `server`: host:port, or several with commas. */
  | { readonly kind: 'native'; readonly server: string }
  /** Redis's protocol, without a client library. */
  | { readonly kind: 'resp'; readonly host: string; readonly port: number };

export interface LoadPlan {
  /** Clients: connections; with the embedded API, callers. */
  readonly clients: number;
  /** Requests under way for each client. */
  readonly pipeline: number;
  /** Generator threads; clients and rate are dealt out to them. */
  readonly threads: number;
  readonly mix: Mix;
  readonly distribution: Distribution;
  /** Keys that are there before the run. */
  readonly keyCount: number;
  readonly valueBytes: number;
  /**
   * Open loop: operations that fall due each second, whatever the target does; latency counts from when each was due.
   * Null is the closed loop: each slot sends its next operation when it has the answer to the last one.
   */
  readonly ratePerSecond: number | null;
  readonly warmUpMs: number;
  /** Of measuring. */
  readonly durationMs: number;
  /** Ends after so many operations, whatever the time; for loading. Null = by time. No warm-up then, and no rate. */
  readonly operations: number | null;
  readonly seed: number;
}

/** Writes every key once, in order: what has to be there before reads are measured. */
export function loadingPlan(plan: LoadPlan, keyCount: number): LoadPlan {
  return {
    ...plan,
    mix: [0, 1, 0, 0, 0],
    distribution: 'sequential',
    keyCount,
    ratePerSecond: null,
    warmUpMs: 0,
    durationMs: Infinity,
    operations: keyCount,
  };
}

function wrong(message: string): SkerryError {
  return new SkerryError('KV_INVALID', message);
}

/** Throws SkerryError KV_INVALID for what no generator can run. */
export function checkPlan({ clients, pipeline, threads, operations, ratePerSecond, keyCount }: LoadPlan): void {
  if (!(clients >= 1 && pipeline >= 1 && threads >= 1 && keyCount >= 1)) {
    throw wrong('clients, pipeline, threads and keys are 1 or more');
  }
  if (threads > clients) throw wrong(`${threads} generator threads are more than ${clients} clients`);
  if (keyCount > KEYS_MAX) throw wrong(`there may be at most ${KEYS_MAX} keys`);
  if (operations !== null && ratePerSecond !== null) {
    throw wrong('a number of operations and a rate do not go together');
  }
}
