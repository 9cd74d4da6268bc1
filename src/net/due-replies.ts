/**
 * How much memory the replies to a connection's unanswered commands may take, so that no more commands are taken before
 * that is too much. It must be known before the replies are there: they come all at once, when a write is durable, when a
 * ring is drained.
 *
 *     GET a   GET b   MGET c d e   SET f …   KEYS *
 *       1   +   1   +    3             0        ?        values asked for
 *                   └─ × the largest value in the store, or on its way there from this connection
 *
 * Invariant: what is due stays below the window, but for the last two commands taken.
 *
 * The window begins small and doubles whenever the client has read everything: a client that does not read has little due,
 * one that does soon has enough to be kept busy. Values of another node's ranges are not known here: they are taken to be
 * no larger than the replies so far.
 */

const WINDOW_BYTES_FIRST = 1024 * 1024;
/** How large a reply of any length is taken to be before the first ones are there. */
const REPLY_BYTES_ASSUMED = 1024 * 1024;
/** What a protocol adds to a value. */
const BESIDE_VALUE_BYTES = 32;

export class DueReplies {
  readonly #windowBytesMax: number;
  readonly #largestValueBytes: () => number;
  #windowBytes: number;
  // Since no command was unanswered:
  #values = 0;
  #valuesMost = 0;
  #askers = 0;
  #unknown = 0;
  #commandBytesMost = 0;
  /** A reply, as far as can be said from those before. */
  #expectedBytes = 0;

  /** `largestValueBytes`: no value in this node's memory is longer. */
  constructor(windowBytesMax: number, largestValueBytes: () => number) {
    this.#windowBytesMax = windowBytesMax;
    this.#windowBytes = Math.min(WINDOW_BYTES_FIRST, windowBytesMax);
    this.#largestValueBytes = largestValueBytes;
  }

  /** A command of `commandBytes` was taken that asks for this many values, or (UNKNOWN_VALUES) nobody knows how many. */
  took(values: number, commandBytes: number): void {
    // What it stores may be what the next one asks for.
    if (commandBytes > this.#commandBytesMost) this.#commandBytesMost = commandBytes;
    if (values === 0) return;
    this.#askers++;
    if (values < 0) this.#unknown++;
    else this.#values += values;
    if (values > this.#valuesMost) this.#valuesMost = values;
  }

  /** Whether the replies to `unanswered` commands may be more than `share` of the window. */
  exceeds(share: number, unanswered: number): boolean {
    // A single one may be answered before the next is taken, as reads of this worker's ranges are.
    if (unanswered <= 1 || this.#askers === 0) return false;
    const limit = this.#windowBytes * share;
    const values = Math.min(this.#values, unanswered * this.#valuesMost);
    const valueBytes = Math.max(this.#largestValueBytes(), this.#commandBytesMost) + BESIDE_VALUE_BYTES;
    if (values * valueBytes + Math.min(this.#unknown, unanswered) * REPLY_BYTES_ASSUMED >= limit) return true;
    return Math.min(this.#askers, unanswered) * this.#expectedBytes >= limit;
  }

  /** Grows at once, shrinks slowly: being wrong upwards costs a short wait, downwards a lot of memory. */
  learn(replyBytes: number): void {
    const expected = this.#expectedBytes;
    this.#expectedBytes = replyBytes >= expected ? replyBytes : expected + (replyBytes - expected) / 8;
  }

  /** Everything is answered. */
  allAnswered(): void {
    this.#values = 0;
    this.#valuesMost = 0;
    this.#askers = 0;
    this.#unknown = 0;
    this.#commandBytesMost = 0;
  }

  /** The client has read everything. */
  allRead(): void {
    this.#windowBytes = Math.min(this.#windowBytes * 2, this.#windowBytesMax);
  }
}
