/**
 * Time as the simulation has it: a queue of what happens when, and clocks that run at rates of their own.
 *
 *     true time   ├────┼────┼────┼────┼────▶   events run in this order, those of one moment in the order they were made
 *     a clock     ├──┼──┼──┼────┼────┼────▶    rate 1.5, later 1.0: never back
 */
import { assert } from '../../src/core/assert.ts';

interface Event {
  readonly atMs: number;
  readonly sequence: number;
  readonly action: () => void;
}

export class VirtualTime {
  nowMs = 0;
  /** A binary heap, the earliest first. */
  readonly #events: Event[] = [];
  #sequence = 0;

  after(delayMs: number, action: () => void): void {
    assert(delayMs >= 0, 'simulator: nothing happens in the past');
    const event = { atMs: this.nowMs + delayMs, sequence: this.#sequence++, action };
    const heap = this.#events;
    let slot = heap.length;
    heap.push(event);
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (!isBefore(event, heap[parent] as Event)) break;
      heap[slot] = heap[parent] as Event;
      slot = parent;
    }
    heap[slot] = event;
  }

  /** Runs the next event. False: there is none. */
  step(): boolean {
    const heap = this.#events;
    const first = heap[0];
    if (first === undefined) return false;
    const last = heap.pop() as Event;
    if (heap.length > 0) this.#sink(last);
    this.nowMs = first.atMs;
    first.action();
    return true;
  }

  #sink(event: Event): void {
    const heap = this.#events;
    let slot = 0;
    for (;;) {
      let child = slot * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!isBefore(heap[child] as Event, event)) break;
      heap[slot] = heap[child] as Event;
      slot = child;
    }
    heap[slot] = event;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}

/** A monotonic clock of one node: it counts `rate` milliseconds in a true one. */
export class DriftingClock {
  readonly #time: VirtualTime;
  #rate = 1;
  #readAtMs: number;
  #readingMs = 0;

  constructor(time: VirtualTime) {
    this.#time = time;
    this.#readAtMs = time.nowMs;
  }

  get nowMs(): number {
    return this.#readingMs + (this.#time.nowMs - this.#readAtMs) * this.#rate;
  }

  setRate(rate: number): void {
    this.#readingMs = this.nowMs;
    this.#readAtMs = this.#time.nowMs;
    this.#rate = rate;
  }

  /** Forward only: a monotonic clock does not go back. */
  jump(byMs: number): void {
    assert(byMs >= 0, 'simulator: a monotonic clock does not go back');
    this.#readingMs += byMs;
  }

  /** In how much true time it will show `readingMs`, if its rate stays. */
  trueMsUntil(readingMs: number): number {
    return Math.max(0, (readingMs - this.nowMs) / this.#rate);
  }
}
