// Timing of wake-ups between two threads, of which each rings only when the other has had time to fall asleep.
//
//   this thread   ring t1 ── parks ──────────────── awake t4
//   the other     asleep ──── awake t2, settles, ring t3 ── parks
//
// A round trip is (t2 - t1) + (t4 - t3). Without settling, an answer mostly comes before the asker has parked: its re-check
// finds it, and nobody is woken.
import type { Doorbell } from '../index.ts';

export const WAKING_BYTES = 24;
const SETTLE_NS = 200_000;

/** The monotonic clock in nanoseconds: the same for all threads, as `performance.now()` is not. */
function nowNs(): number {
  return Number(process.hrtime.bigint());
}

export function settle(): void {
  const untilNs = nowNs() + SETTLE_NS;
  while (nowNs() < untilNs);
}

/** The words that both threads share: a counter of half rounds (odd: the answerer's turn) and two times. */
export class Waking {
  readonly #turns: Int32Array<SharedArrayBuffer>;
  readonly #timesNs: Float64Array<SharedArrayBuffer>;

  constructor(shared: SharedArrayBuffer) {
    this.#turns = new Int32Array(shared, 0, 1);
    this.#timesNs = new Float64Array(shared, 8);
  }

  readonly isAskersTurn = (): boolean => (Atomics.load(this.#turns, 0) & 1) === 0;
  readonly isAnswerersTurn = (): boolean => !this.isAskersTurn();

  /** Asker: returns the time of the ring, t1. */
  ask(other: Doorbell): number {
    const rungNs = nowNs();
    Atomics.add(this.#turns, 0, 1);
    other.ring();
    return rungNs;
  }

  /** Answerer, just awake. */
  answer(other: Doorbell): void {
    this.#timesNs[0] = nowNs();
    settle();
    this.#timesNs[1] = nowNs();
    Atomics.add(this.#turns, 0, 1);
    other.ring();
  }

  /** Asker, just awake: the microseconds of the round trip that began with a ring at `rungNs`. */
  roundTripUs(rungNs: number): number {
    const awakeNs = nowNs();
    const [answererAwakeNs = Number.NaN, answererRungNs = Number.NaN] = this.#timesNs;
    return (answererAwakeNs - rungNs + awakeNs - answererRungNs) / 1000;
  }
}
