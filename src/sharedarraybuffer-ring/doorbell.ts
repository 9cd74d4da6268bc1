// Wakes one waiting thread, from any number of others, at most once for each time that it parks.
//
//   waiter                                ringer
//     parked ← 1                            head ← …              (publish: the news come first)
//     ready()? then parked ← 0, go on       parked = 0? then done
//     sleep while parked = 1                parked 1 → 0 succeeds? then notify
//
// Both sides store first and load then, with sequentially consistent operations: at least one of them sees the other's
// store, so either the waiter finds its news in the re-check or the ringer finds it parked (Dekker's argument). Only the
// ringer whose exchange takes the flag from 1 to 0 notifies.
//
// The exchange and the notify are two steps, so a notify may come late, when the waiter has gone on and parked anew. The
// flag tells: as long as it is 1, nobody has rung for this parking, and the waiter sleeps again.

/** The flag has neighbours of its own only, wherever the allocator puts the memory. */
const DOORBELL_BYTES = 256;
const PARKED_WORD = 128 / 4;

/** Makes a doorbell: plain shared memory that goes to all threads through `workerData` or a message. */
export function createDoorbell(): SharedArrayBuffer {
  return new SharedArrayBuffer(DOORBELL_BYTES);
}

/** A thread's view of a doorbell. One thread waits at it (`wait`, or `park` and `unpark`); any may `ring` it. */
export class Doorbell {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #onNotified = (): void => this.#notified();
  #wake: (() => void) | null = null;
  #listening = false;

  /** @throws {TypeError} when `shared` is no doorbell */
  constructor(shared: SharedArrayBuffer) {
    if (!(shared instanceof SharedArrayBuffer) || shared.byteLength !== DOORBELL_BYTES) {
      throw new TypeError('not a doorbell: give the SharedArrayBuffer that createDoorbell() made');
    }
    this.#words = new Int32Array(shared);
  }

  /** Wakes the waiter if it is parked; one atomic load when it is not. Call it after the news are stored. */
  ring(): void {
    if (Atomics.load(this.#words, PARKED_WORD) === 0) return;
    if (Atomics.compareExchange(this.#words, PARKED_WORD, 1, 0) === 1) Atomics.notify(this.#words, PARKED_WORD);
  }

  /**
   * Blocks this thread until it is rung or `timeoutMs` have passed. Returns at once when `ready()` is true after the flag is set.
   * `ready` must read shared memory (`RingConsumer.readable`, `RingProducer.reserve`). Not for a thread that runs an event loop.
   */
  wait(ready: () => boolean, timeoutMs: number = Infinity): void {
    Atomics.store(this.#words, PARKED_WORD, 1);
    if (!ready()) {
      const deadlineMs = performance.now() + timeoutMs;
      let remainingMs = timeoutMs;
      while (
        Atomics.wait(this.#words, PARKED_WORD, 1, remainingMs) === 'ok' &&
        Atomics.load(this.#words, PARKED_WORD) === 1
      ) {
        remainingMs = deadlineMs - performance.now();
      }
    }
    Atomics.store(this.#words, PARKED_WORD, 0);
  }

  /**
   * Parks a thread that has an event loop: `wake` is called once, in a later turn, when it is rung, and the parking ends
   * with that. While parked, nothing here keeps the process alive. Parking when parked already replaces `wake`.
   * @returns false, and the thread is not parked, when `ready()` is true after the flag is set or the bell rings
   *   meanwhile: the caller goes on by itself, `wake` is not called
   */
  park(ready: () => boolean, wake: () => void): boolean {
    Atomics.store(this.#words, PARKED_WORD, 1);
    if (ready() || !this.#listen()) {
      this.unpark();
      return false;
    }
    this.#wake = wake;
    return true;
  }

  /**
   * Takes back `park`: `wake` is not called any more, and producers no longer notify. One atomic store; the pending
   * `waitAsync` stays and serves the next `park`. Does nothing when not parked.
   */
  unpark(): void {
    this.#wake = null;
    Atomics.store(this.#words, PARKED_WORD, 0);
  }

  /** Sees to it that `#notified` runs after the next ring. Returns false when the bell rang since the flag was set. */
  #listen(): boolean {
    // Invariant: while #listening, either a waiter is in the list, or #notified is queued and will look at the flag.
    if (this.#listening) return true;
    const waiting = Atomics.waitAsync(this.#words, PARKED_WORD, 1);
    if (!waiting.async) return false;
    this.#listening = true;
    void waiting.value.then(this.#onNotified);
    return true;
  }

  #notified(): void {
    this.#listening = false;
    const wake = this.#wake;
    if (wake === null) return;
    if (Atomics.load(this.#words, PARKED_WORD) === 1 && this.#listen()) return;
    this.#wake = null;
    wake();
  }
}
