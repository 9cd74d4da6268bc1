/**
 * The one error vocabulary. `code` is stable and is what programs test; `message` says what happened, to what, and
 * what to do. Errors that end one call are SkerryError; errors after which the node must not go on are FatalError.
 */

export type ErrorCode =
  | 'KV_NOT_LEADER' // ask the leader in hint
  | 'KV_RANGE_MOVED' // the routing was stale; hint carries the descriptor
  | 'KV_CROSS_RANGE' // keys of one atomic command live in several ranges
  | 'KV_CONFLICT' // a condition or a watched key did not hold
  | 'KV_TIMEOUT' // gave up waiting before the request was sent to anybody
  | 'KV_UNKNOWN_RESULT' // the write may or may not have happened
  | 'KV_OVERLOADED' // queues are full; nothing was done
  | 'KV_DISK_FULL' // writes are refused until there is room; reads go on
  | 'KV_OUT_OF_MEMORY' // --max-memory reached; deletes and reads go on
  | 'KV_TOO_LARGE' // key, value or frame above a configured limit
  | 'KV_INVALID' // malformed request or argument
  | 'KV_NETWORK' // connection refused, reset or closed
  | 'KV_PARTITION' // no quorum reachable
  | 'KV_CONSENSUS' // Raft refused
  | 'KV_STATE' // not possible in the present state (starting, stopping, …)
  | 'KV_CORRUPT' // a checksum or structure on disk does not hold
  | 'KV_ABORTED' // the caller's signal
  | 'KV_REPLY'; // the store answered the command with an error of the command's own (WRONGTYPE …)

export interface ErrorDetails {
  readonly cause?: unknown;
  /** Whether sending the same request again can succeed and cannot do harm. */
  readonly retryable?: boolean;
  /** What helps the caller on: a leader's address, a range descriptor, a file and an offset. */
  readonly hint?: Readonly<Record<string, unknown>>;
}

/** One call failed; the node goes on. */
export class SkerryError extends Error {
  override readonly name: string = 'SkerryError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly hint: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.code = code;
    this.retryable = details.retryable ?? false;
    this.hint = details.hint ?? {};
  }
}

/** The node must stop: going on could lose or invent data. */
export class FatalError extends SkerryError {
  override readonly name = 'FatalError';
}
