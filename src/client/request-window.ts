/**
 * The two counters behind a client's writes: the sequence that the next one gets, and the floor, below which every write
 * has settled, so that the store may forget their replies.
 *
 *     settled │ open   settled  open │ not given out
 *             ^floor                  ^next
 */
export class RequestWindow {
  #next = 1;
  #floor = 1;
  /** Settled sequences above the floor. */
  readonly #settled = new Set<number>();

  /** The smallest sequence that may still be sent (again). */
  get floor(): number {
    return this.#floor;
  }

  /** How far the store has to remember. */
  get width(): number {
    return this.#next - this.#floor;
  }

  take(): number {
    return this.#next++;
  }

  settle(sequence: number): void {
    if (sequence !== this.#floor) {
      this.#settled.add(sequence);
      return;
    }
    this.#floor++;
    while (this.#settled.size > 0 && this.#settled.delete(this.#floor)) this.#floor++;
  }
}
