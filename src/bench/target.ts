/**
 * What a load is put on. The driver says what to do in which slot; the target says when it is done.
 *
 *     driver ── begin(slot, operation) … flush() ─▶ target ── done(slot, outcome, now) ─▶ driver
 *
 * A slot is one request under way. Slots 0 … pipeline - 1 belong to the first connection, the next ones to the second …
 */
import type { OperationKind } from './operations.ts';

export const DONE = 0;
/** A read of a key that is not there. */
export const MISS = 1;
export const FAILED = 2;
export type Outcome = 0 | 1 | 2;

/** Filled anew for each operation, and valid during begin() only. */
export interface Operation {
  /** Never READ_MODIFY_WRITE: the driver makes a read and an update of it. */
  kind: OperationKind;
  keyNumber: number;
  /** Of a scan. */
  entries: number;
}

export interface TargetEvents {
  /** `nowMs`: when the reply came, by the driver's clock. */
  done(slot: number, outcome: Outcome, nowMs: number): void;
  /** What came in at one time has been handed over by done(): operations that wait for a slot can go. */
  turned(nowMs: number): void;
  /** What an error reply says. The first is kept for the user. */
  failed(message: string): void;
  /** A connection is gone, and with it the sense of the run. */
  lost(error: Error): void;
}

export interface Target {
  /** Connects everything. */
  open(events: TargetEvents): Promise<void>;
  /** Takes the operation; it leaves with flush() at the latest. */
  begin(slot: number, operation: Operation): void;
  flush(): void;
  close(): Promise<void>;
}
