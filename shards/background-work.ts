/**
 * Work of a worker that nobody is in a hurry for, such as loading a snapshot: a little in a turn of the loop, and then a pause
 * that leaves most of the time to commands and to the other threads of the machine. Alone it would take a whole core.
 *
 *     turn ▐███▌························ pause: seven times as long, or longer ·····························▐███▌ next
 */

/** How much longer than a turn's work the pause behind it is. */
const PAUSE_FACTOR = 7;

export interface BackgroundOptions {
  /** What a turn spends at most, but for its last step. */
  readonly turnMs: number;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
}

export class BackgroundWork {
  readonly #options: BackgroundOptions;
  /** When the next step may be taken. */
  #nextMs = 0;

  constructor(options: BackgroundOptions) {
    this.#options = options;
  }

  /**
   * Takes steps for a while, unless there is a pause. `step` gets the time, and returns false when there is nothing to do;
   * `leastPauseMs`: of the pause behind them, given how long they took. Returns in how many milliseconds to come again; null =
   * there is nothing to do.
   */
  turn(step: (nowMs: number) => boolean, leastPauseMs: (spentMs: number) => number = () => 0): number | null {
    const { turnMs, monotonicMs } = this.#options;
    const startMs = monotonicMs();
    if (startMs < this.#nextMs) return this.#nextMs - startMs;
    let nowMs = startMs;
    while (nowMs < startMs + turnMs) {
      if (!step(nowMs)) return null;
      nowMs = monotonicMs();
    }
    const spentMs = nowMs - startMs;
    const pauseMs = Math.max(spentMs * PAUSE_FACTOR, leastPauseMs(spentMs));
    this.#nextMs = nowMs + pauseMs;
    return pauseMs;
  }
}
