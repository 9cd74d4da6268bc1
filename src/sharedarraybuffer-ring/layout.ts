// What lies where in a ring's SharedArrayBuffer, and how a u32 word becomes a position.
//
//   byte 0        128          256          384          512                        512 + capacity
//   ┌────────────┬────────────┬────────────┬────────────┬───────────────────────────┐
//   │ magic      │ head       │ tail       │ skip       │ data                      │
//   │            │ head turns │ tail turns │            │                           │
//   └────────────┴────────────┴────────────┴────────────┴───────────────────────────┘
//    never written producer     consumer     producer     producer
//
// Lines lie 128 bytes apart, because processors fetch cache lines of 64 bytes in pairs. Each word has one writer.
//
// A position is a safe integer that counts bytes since the ring began and never goes back; byte `position` lies at
// `position mod capacity` in the data. The bytes from one multiple of the capacity to the next are a lap. A record never
// crosses from lap to lap: where it does not fit, the rest of the lap is skipped, and skipped bytes count in positions.
//
//   head   position behind the last published byte, modulo 2^32
//   tail   position behind the last released byte, modulo 2^32
//   skip   position where the valid data of the lap before head's lap ends, modulo 2^32
//   turns  position / 2^31, rounded down: what a side that begins late needs to extend head or tail to 53 bits

const MAGIC = 0x52494e47; // "RING"
const WORD_BYTES = 4;
const LINE_WORDS = 128 / WORD_BYTES;
const MAGIC_WORD = 0;
const HALF_TURN = 2 ** 31;

export const HEAD_WORD = LINE_WORDS;
export const HEAD_TURNS_WORD = HEAD_WORD + 1;
export const TAIL_WORD = 2 * LINE_WORDS;
export const TAIL_TURNS_WORD = TAIL_WORD + 1;
export const SKIP_WORD = 3 * LINE_WORDS;

const DATA_OFFSET_BYTES = 4 * LINE_WORDS * WORD_BYTES;
const CAPACITY_BYTES_MIN = 64;
/** Invariant: head - tail ≤ capacity < 2^31, so differences of two words, taken as int32, are exact. */
const CAPACITY_BYTES_MAX = 2 ** 30;

export interface RingOptions {
  /** Size of the data area: a power of two, 64 … 2^30. The longest record that always fits an empty ring is half of it. */
  capacityBytes: number;
  /** Position of the first byte, 0 by default: lets tests begin just before the 32-bit words wrap around. */
  startPosition?: number;
}

function isCapacity(bytes: number): boolean {
  return (
    Number.isInteger(bytes) && bytes >= CAPACITY_BYTES_MIN && bytes <= CAPACITY_BYTES_MAX && (bytes & (bytes - 1)) === 0
  );
}

/**
 * Makes an empty ring: plain shared memory that goes to both threads through `workerData` or a message.
 * @throws {RangeError} for a capacity that is no power of two between 64 and 2^30, or an unsafe start position.
 */
export function createRing(options: RingOptions): SharedArrayBuffer {
  const { capacityBytes, startPosition = 0 } = options;
  if (!isCapacity(capacityBytes)) {
    throw new RangeError(
      `capacityBytes must be a power of two, ${CAPACITY_BYTES_MIN} to ${CAPACITY_BYTES_MAX}: ${capacityBytes}`,
    );
  }
  if (!Number.isSafeInteger(startPosition) || startPosition < 0) {
    throw new RangeError(`startPosition must be a safe integer ≥ 0: ${startPosition}`);
  }
  const shared = new SharedArrayBuffer(DATA_OFFSET_BYTES + capacityBytes);
  const words = new Int32Array(shared, 0, DATA_OFFSET_BYTES / WORD_BYTES);
  for (const [word, turnsWord] of [
    [HEAD_WORD, HEAD_TURNS_WORD],
    [TAIL_WORD, TAIL_TURNS_WORD],
  ] as const) {
    Atomics.store(words, turnsWord, turnsOf(startPosition));
    Atomics.store(words, word, startPosition | 0);
  }
  Atomics.store(words, SKIP_WORD, startPosition | 0);
  Atomics.store(words, MAGIC_WORD, MAGIC);
  return shared;
}

/**
 * The control words of a ring made by `createRing`.
 * @throws {TypeError} when the memory is no ring.
 */
export function wordsOf(ring: SharedArrayBuffer): Int32Array<SharedArrayBuffer> {
  if (!(ring instanceof SharedArrayBuffer) || !isCapacity(ring.byteLength - DATA_OFFSET_BYTES)) {
    throw new TypeError('not a ring: give the SharedArrayBuffer that createRing() made');
  }
  const words = new Int32Array(ring, 0, DATA_OFFSET_BYTES / WORD_BYTES);
  if (Atomics.load(words, MAGIC_WORD) !== MAGIC) {
    throw new TypeError('not a ring: the memory does not begin with the magic word');
  }
  return words;
}

/** The data area of a ring, as one Buffer over the shared memory. */
export function dataOf(ring: SharedArrayBuffer): Buffer {
  return Buffer.from(ring, DATA_OFFSET_BYTES, ring.byteLength - DATA_OFFSET_BYTES);
}

/** Half turns of the 32-bit words that a position has behind it. Changes by one at most from store to store. */
export function turnsOf(position: number): number {
  return Math.floor(position / HALF_TURN);
}

/**
 * Extends a word to the full position with the help of its turns. The turns are stored before the word, and their lowest
 * bit repeats the word's highest: where these differ, the writer was ended between the two stores, and the turns are one ahead.
 */
export function loadPosition(words: Int32Array<SharedArrayBuffer>, word: number, turnsWord: number): number {
  const low = Atomics.load(words, word) >>> 0;
  const stored = Atomics.load(words, turnsWord);
  const turns = (stored & 1) === low >>> 31 ? stored : stored - 1;
  return Math.floor(turns / 2) * 2 ** 32 + low;
}
