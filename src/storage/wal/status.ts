/**
 * The words that shard workers and the WAL writer share without a message:
 *
 *     0     status           how writes fare, see below; the writer alone stores it
 *     1     control count    how many control messages were posted to the writer: what its doorbell's re-check reads
 */
export const WAL_RUNNING = 0;
/** No room on the disk for the next segment: new writes are refused, what is in the rings still becomes durable. */
export const WAL_FULL = 1;
/** A write or an fsync failed: nothing becomes durable any more, and what was under way has an unknown result. */
export const WAL_POISONED = 2;
export const WAL_STOPPED = 3;
export type WalStatus = typeof WAL_RUNNING | typeof WAL_FULL | typeof WAL_POISONED | typeof WAL_STOPPED;

const STATUS_WORD = 0;
const CONTROL_WORD = 32;
const WORDS = 64;

export function createWalStatus(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT);
}

/** One thread's view of the shared words. */
export class WalStatusWords {
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared);
  }

  get status(): WalStatus {
    return Atomics.load(this.#words, STATUS_WORD) as WalStatus;
  }

  set status(status: WalStatus) {
    Atomics.store(this.#words, STATUS_WORD, status);
  }

  get controlCount(): number {
    return Atomics.load(this.#words, CONTROL_WORD);
  }

  /** Call after posting a control message and before ringing the writer's doorbell. */
  countControl(): void {
    Atomics.add(this.#words, CONTROL_WORD, 1);
  }
}
