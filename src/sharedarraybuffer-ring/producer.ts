// The writing side of a ring: reserve room, write in place, commit, publish.
//
//          released          published      position
//             │                  │              │
//   ──────────┴──────────────────┴──────────────┴──────────▶ positions
//     free      consumer's         committed      free, up to released + capacity
//
// Invariant: released ≤ published ≤ position ≤ released + capacity.
import type { Doorbell } from './doorbell.ts';
import { dataOf, HEAD_TURNS_WORD, HEAD_WORD, loadPosition, SKIP_WORD, TAIL_WORD, turnsOf, wordsOf } from './layout.ts';

/**
 * The one producer of a ring. It belongs to one thread; a ring has one live producer at any time. A producer that is made
 * over a used ring goes on behind the last published byte.
 */
export class RingProducer {
  /** The whole data area: write in place between `reserve` and `commit`. */
  readonly buffer: Buffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #doorbell: Doorbell | null;
  readonly #capacityBytes: number;
  #position: number;
  #published: number;
  #released: number;
  #turns: number;
  #reservedBytes = 0;
  #reservedSkipBytes = 0;
  #reservedOffset = 0;
  #lapEnd: number;
  #entersLap = false;

  /**
   * @param ring what `createRing` made
   * @param consumerDoorbell rung by `publish`; null where the consumer polls by itself
   * @throws {TypeError} when `ring` is no ring
   */
  constructor(ring: SharedArrayBuffer, consumerDoorbell: Doorbell | null) {
    this.#words = wordsOf(ring);
    this.#doorbell = consumerDoorbell;
    this.buffer = dataOf(ring);
    this.#capacityBytes = this.buffer.length;
    this.#position = loadPosition(this.#words, HEAD_WORD, HEAD_TURNS_WORD);
    this.#published = this.#position;
    this.#lapEnd = this.#position;
    this.#turns = turnsOf(this.#position);
    this.#released = this.#position - ((this.#position - Atomics.load(this.#words, TAIL_WORD)) >>> 0);
  }

  /**
   * Finds room for a record of at most `bytes` (1 … capacity). Takes back an earlier reservation that was not committed.
   * A record of up to half the capacity always fits an empty ring; a longer one only where the position allows.
   * @returns where in `buffer` the `bytes` contiguous bytes begin, or -1 when there is no room now
   * @throws {RangeError} when `bytes` could never fit
   */
  reserve(bytes: number): number {
    const capacityBytes = this.#capacityBytes;
    if (!(bytes > 0 && bytes <= capacityBytes)) {
      throw new RangeError(`a reservation has 1 to ${capacityBytes} bytes: ${bytes}`);
    }
    let offset = this.#position & (capacityBytes - 1);
    let skipBytes = 0;
    if (offset + bytes > capacityBytes) {
      skipBytes = capacityBytes - offset;
      offset = 0;
    }
    const needed = this.#position + skipBytes + bytes - capacityBytes;
    if (needed > this.#released && needed > this.released()) {
      this.#reservedBytes = 0;
      return -1;
    }
    this.#reservedBytes = bytes;
    this.#reservedSkipBytes = skipBytes;
    this.#reservedOffset = offset;
    return offset;
  }

  /**
   * The first `bytes` of the last reservation are a record now; the consumer sees it after `publish`. Ends the
   * reservation: the rest of it is free again. 0 bytes give up the reservation.
   * @throws {RangeError} when more is committed than was reserved
   */
  commit(bytes: number): void {
    if (!(bytes >= 0 && bytes <= this.#reservedBytes)) {
      throw new RangeError(`${bytes} bytes committed of ${this.#reservedBytes} reserved`);
    }
    this.#reservedBytes = 0;
    if (bytes === 0) return;
    if (this.#reservedOffset === 0) {
      this.#lapEnd = this.#position;
      this.#entersLap = true;
    }
    this.#position += this.#reservedSkipBytes + bytes;
  }

  /** Makes all that is committed visible to the consumer and wakes it if it is parked. Does nothing when nothing is new. */
  publish(): void {
    const position = this.#position;
    if (position === this.#published) return;
    const words = this.#words;
    if (this.#entersLap) {
      // Invariant: the consumer no longer needs the skip word of the lap before. Bytes in lap k+1 are committed only when
      // the released position lies inside lap k (they share the capacity with it), so it has left lap k-1 behind. For the
      // same reason no two laps are entered between two publications. The word is stored for every lap, also when nothing was
      // skipped: a word from an old lap could look current after 2^32 bytes.
      Atomics.store(words, SKIP_WORD, this.#lapEnd | 0);
      this.#entersLap = false;
    }
    const turns = turnsOf(position);
    if (turns !== this.#turns) {
      Atomics.store(words, HEAD_TURNS_WORD, turns);
      this.#turns = turns;
    }
    this.#published = position;
    Atomics.store(words, HEAD_WORD, position | 0);
    if (this.#doorbell !== null) this.#doorbell.ring();
  }

  /** Position behind the last committed byte: the record's LSN in this ring. A safe integer that never goes back. */
  get position(): number {
    return this.#position;
  }

  /**
   * Position up to which the consumer has given back the bytes, read from shared memory. Where the consumer releases only
   * what is durable this is the durable watermark: a record is durable when its LSN is ≤ `released()`.
   */
  released(): number {
    const released = this.#released;
    const advance = (Atomics.load(this.#words, TAIL_WORD) - released) >>> 0;
    if (advance !== 0) this.#released = released + advance;
    return this.#released;
  }

  /** Bytes that are neither committed nor waiting for release. They need not be contiguous. Re-reads shared memory. */
  get bytesFree(): number {
    return this.#capacityBytes - (this.#position - this.released());
  }
}
