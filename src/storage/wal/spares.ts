/**
 * The spares of a log: files prepared by other I/O threads that the writer turns into segments, and what it means when no
 * more can be made.
 *
 *     wanted = reserve + spareCount
 *     ├──────── reserve ────────┤─ spareCount ─┤─ recycled ─┤
 *     what is in the rings must    to be had when    kept, never
 *     find room, always            a segment is full made
 *
 * "Full" begins when a spare cannot be made and no more than the reserve is left; it ends when one more is there.
 */
import type { WalEvent } from './messages.ts';

/** Files kept beyond what is wanted: a steady load then recycles its segments instead of filling new ones with zeros. */
const RECYCLED_MAX = 4;

export interface SparesOptions {
  readonly reserveCount: number;
  readonly spareCount: number;
  readonly retryMs: number;
  /** Number of the next spare; no file has it. */
  readonly nextNumber: number;
  readonly send: (event: WalEvent) => void;
}

export class Spares {
  readonly #options: SparesOptions;
  readonly #names: string[];
  #nextNumber: number;
  #asked = 0;
  #isDiskFull = false;
  #retryAtMs = Infinity;

  constructor(names: readonly string[], options: SparesOptions) {
    this.#names = [...names];
    this.#options = options;
    this.#nextNumber = options.nextNumber;
  }

  get count(): number {
    return this.#names.length;
  }

  /** New writes must be refused. */
  get isFull(): boolean {
    return this.#isDiskFull && this.#names.length <= this.#options.reserveCount;
  }

  /** When retry() is due, on performance.now()'s clock; Infinity when it is not. */
  get retryAtMs(): number {
    return this.#retryAtMs;
  }

  take(): string | undefined {
    return this.#names.shift();
  }

  /** One that was asked for is ready. */
  added(name: string): void {
    this.#asked -= 1;
    this.#names.push(name);
    this.#isDiskFull = false;
    this.#retryAtMs = Infinity;
    this.ask();
  }

  /** One that was asked for did not come. */
  missed(isDiskFull: boolean): void {
    this.#asked -= 1;
    if (isDiskFull) this.noSpace();
    else this.ask();
  }

  /** The disk has no room; ask again later. */
  noSpace(): void {
    this.#isDiskFull = true;
    this.#retryAtMs = performance.now() + this.#options.retryMs;
  }

  /** Asks for what was refused, when its time has come. */
  retry(): void {
    if (performance.now() < this.#retryAtMs) return;
    this.#retryAtMs = Infinity;
    this.ask();
  }

  /** Asks for as many as are missing. */
  ask(): void {
    if (this.#retryAtMs !== Infinity) return;
    while (this.#comingCount < this.#wantedCount) {
      this.#asked += 1;
      this.#options.send({ type: 'prepare', number: this.#nextNumber++ });
    }
  }

  /** Has a segment's file made a spare, or deleted when there are enough. */
  reuse(segmentId: number): void {
    if (this.#comingCount >= this.#wantedCount + RECYCLED_MAX) {
      this.#options.send({ type: 'delete', segmentId });
      return;
    }
    this.#asked += 1;
    this.#options.send({ type: 'recycle', segmentId, number: this.#nextNumber++ });
  }

  get #comingCount(): number {
    return this.#names.length + this.#asked;
  }

  get #wantedCount(): number {
    return this.#options.reserveCount + this.#options.spareCount;
  }
}
