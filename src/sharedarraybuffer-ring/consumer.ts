// The reading side of a ring: poll for published bytes, consume them in place, release them in bulk.
//
//        released            position           head
//           │                   │                 │
//   ────────┴───────────────────┴─────────────────┴─────▶ positions
//     free     consumed, kept     [start, end) and, behind a skip, the begin of the next lap
//
// Invariant: released ≤ position ≤ head.
import { dataOf, HEAD_WORD, loadPosition, SKIP_WORD, TAIL_TURNS_WORD, TAIL_WORD, turnsOf, wordsOf } from './layout.ts';

/**
 * The one consumer of a ring. It belongs to one thread; a ring has one live consumer at any time. A consumer that is made
 * over a used ring begins at the released position: what its predecessor did not release is seen again.
 */
export class RingConsumer {
  /** The whole data area: read in place between `poll` and `release`. */
  readonly buffer: Buffer;
  /** Where the published, unconsumed bytes begin in `buffer`; set by `poll`, moved on by `consume`. */
  start = 0;
  /** Where they end in `buffer`; set by `poll`. */
  end = 0;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #capacityBytes: number;
  #position: number;
  #released: number;
  #turns: number;

  /** @throws {TypeError} when `ring` is no ring */
  constructor(ring: SharedArrayBuffer) {
    this.#words = wordsOf(ring);
    this.buffer = dataOf(ring);
    this.#capacityBytes = this.buffer.length;
    this.#position = loadPosition(this.#words, TAIL_WORD, TAIL_TURNS_WORD);
    this.#released = this.#position;
    this.#turns = turnsOf(this.#position);
  }

  /**
   * Looks for published, unconsumed bytes.
   * @returns true when there are some: whole records, contiguous in `buffer` from `start` to `end`. More may follow behind
   *   a skip: consume these and poll again.
   */
  poll(): boolean {
    const capacityBytes = this.#capacityBytes;
    const publishedBytes = (Atomics.load(this.#words, HEAD_WORD) - this.#position) | 0;
    const offset = this.#position & (capacityBytes - 1);
    const lapBytes = capacityBytes - offset;
    if (publishedBytes <= lapBytes) {
      this.start = offset;
      this.end = offset + publishedBytes;
      return publishedBytes !== 0;
    }
    const validBytes = (Atomics.load(this.#words, SKIP_WORD) - this.#position) | 0;
    if (validBytes > 0) {
      this.start = offset;
      this.end = offset + validBytes;
      return true;
    }
    this.#position += lapBytes;
    this.start = 0;
    this.end = publishedBytes - lapBytes;
    return true;
  }

  /**
   * Consumes the first `bytes` of [`start`, `end`) and moves `start` behind them. Their room is not given back yet: they
   * stay as they are until released.
   * @throws {RangeError} when fewer bytes lie there
   */
  consume(bytes: number): void {
    if (!(bytes >= 0 && bytes <= this.end - this.start)) {
      throw new RangeError(`${bytes} bytes consumed of ${this.end - this.start}`);
    }
    this.start += bytes;
    this.#position += bytes;
  }

  /** Gives back everything consumed so far to the producer. */
  release(): void {
    this.#store(this.#position);
  }

  /**
   * Gives back the bytes up to `position`, the end of a record that was consumed.
   * @throws {RangeError} when `position` lies behind what was consumed, or before what was released
   */
  releaseTo(position: number): void {
    if (!(position >= this.#released && position <= this.#position)) {
      throw new RangeError(`released ${this.#released}, consumed ${this.#position}: cannot release to ${position}`);
    }
    this.#store(position);
  }

  /** Position behind the last consumed byte (and behind the skip, once `poll` went over it). */
  get position(): number {
    return this.#position;
  }

  /** Is anything published and unconsumed? Reads shared memory, changes nothing: fit for a doorbell's re-check. */
  get readable(): boolean {
    return Atomics.load(this.#words, HEAD_WORD) !== (this.#position | 0);
  }

  #store(position: number): void {
    if (position === this.#released) return;
    const turns = turnsOf(position);
    if (turns !== this.#turns) {
      Atomics.store(this.#words, TAIL_TURNS_WORD, turns);
      this.#turns = turns;
    }
    this.#released = position;
    Atomics.store(this.#words, TAIL_WORD, position | 0);
  }
}
