/**
 * SCAN's cursors: from the number that a client sends back to the key at which its scan goes on. Shared by all workers,
 * because a client may continue a scan on another connection. Each worker writes only its own slots; the others read.
 *
 *     cursor number   generation × SLOTS + slot        (generation ≥ 1, so it is never 0)
 *     slot            u32 generation · u32 key bytes · key
 *
 * A slot is reused after SLOTS_PER_WORKER newer cursors of its worker. A cursor that old is refused: going on from
 * somewhere else would drop keys.
 */
import { limits } from '../../core/limits.ts';

const SLOTS = 16_384;
const GENERATION_START_MAX = 2 ** 30;
const SLOT_WORDS = 2 + Math.ceil(limits.keyBytesMax / 4);

export function createCursorTable(): SharedArrayBuffer {
  return new SharedArrayBuffer(SLOTS * SLOT_WORDS * 4);
}

export class CursorTable {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #bytes: Buffer;
  readonly #workerIndex: number;
  readonly #workerCount: number;
  #given = 0;
  /** Differs from start to start, so that a cursor of the node's former life is not taken for one of this life. */
  readonly #firstGeneration: number;

  constructor(shared: SharedArrayBuffer, workerIndex: number, workerCount: number) {
    this.#words = new Int32Array(shared);
    this.#bytes = Buffer.from(shared);
    this.#workerIndex = workerIndex;
    this.#workerCount = workerCount;
    this.#firstGeneration = 1 + Math.floor(Math.random() * GENERATION_START_MAX);
  }

  /** A cursor for the key. */
  put(key: Buffer): number {
    const own = Math.floor(SLOTS / this.#workerCount);
    const slot = (this.#given % own) * this.#workerCount + this.#workerIndex;
    const generation = this.#firstGeneration + Math.floor(this.#given / own);
    this.#given++;
    const word = slot * SLOT_WORDS;
    // A reader of the slot's older cursor sees 0 or another generation before or after it copied, and gives up.
    Atomics.store(this.#words, word, 0);
    this.#words[word + 1] = key.length;
    key.copy(this.#bytes, (word + 2) * 4);
    Atomics.store(this.#words, word, generation);
    return generation * SLOTS + slot;
  }

  /** The key of a cursor, or null when it is too old, or never was. */
  get(cursor: number): Buffer | null {
    const slot = cursor % SLOTS;
    const generation = Math.floor(cursor / SLOTS);
    const word = slot * SLOT_WORDS;
    if (Atomics.load(this.#words, word) !== generation || generation === 0) return null;
    const start = (word + 2) * 4;
    const key = Buffer.from(
      this.#bytes.subarray(start, start + Math.min(this.#words[word + 1] as number, limits.keyBytesMax)),
    );
    return Atomics.load(this.#words, word) === generation ? key : null;
  }
}
