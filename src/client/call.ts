/** One call of a user on its way: what to send, for how long, and whom to tell. */
import type { Argument } from '../codec/native/frame.ts';
import type { SkerryError } from '../core/errors.ts';
import type { Decode } from './replies.ts';
import type { Link } from './transport.ts';

/** May be sent again at will. */
export const CALL_READ = 0;
/** Carries an identity, so that it may be sent again and is applied once. */
export const CALL_WRITE = 1;
/** Changes something and has no identity: once sent, it is not sent again. */
export const CALL_ONCE = 2;
export type CallKind = typeof CALL_READ | typeof CALL_WRITE | typeof CALL_ONCE;

export interface Request {
  readonly op: number;
  readonly kind: CallKind;
  readonly args: readonly Argument[];
  /** The key that decides where it goes; null = anywhere. */
  readonly key: Argument | null;
  /** As in the frame. */
  readonly consistency: number;
  /** It resolves with Explained<Result>. */
  readonly isExplained: boolean;
}

export class Call {
  readonly request: Request;
  readonly decode: Decode<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: SkerryError) => void;
  /** Monotonic milliseconds. */
  readonly startedMs: number;
  readonly deadlineMs: number;
  /** Of a write, for as long as it lives. 0 = none yet. */
  sequence = 0;
  /** Of the attempt under way. */
  requestId = 0;
  /** Where the attempt under way was sent; null = it waits. */
  link: Link | null = null;
  sentMs = 0;
  /** When it waits: not to be sent before. */
  notBeforeMs = 0;
  /** Attempts that were sent. */
  attempts = 0;
  /** Attempts that failed, rounds of connecting included. */
  failures = 0;
  lastError: SkerryError | null = null;
  /** An attempt was sent whose fate nobody knows. */
  mayHaveHappened = false;
  settled = false;
  /** Takes the listener off the caller's signal. */
  release: (() => void) | null = null;

  constructor(
    request: Request,
    decode: Decode<unknown>,
    startedMs: number,
    deadlineMs: number,
    resolve: (value: unknown) => void,
    reject: (error: SkerryError) => void,
  ) {
    this.request = request;
    this.decode = decode;
    this.startedMs = startedMs;
    this.deadlineMs = deadlineMs;
    this.resolve = resolve;
    this.reject = reject;
  }
}
