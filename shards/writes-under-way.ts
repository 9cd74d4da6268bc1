/**
 * Readys on their way to the disk, in the order in which the ranges made them:
 *
 *     push ─▶ │ waits for room in the ring │ in the ring, submitted │ ─▶ durable: taken out, oldest first
 *
 * All ranges of the worker share one FIFO, so the order of a group's hard states and entries is kept, and whatever is taken out
 * speaks for everything that was pushed before it.
 */
import type { RangeId } from '../src/core/brands.ts';
import type { Ready } from '../src/core/raft/types.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';
import type { LogAppender } from './host-ports.ts';
import type { Replica } from './replica.ts';

export interface LogWrite {
  readonly rangeId: RangeId;
  /** Null: of a member that waits for its state (joining.ts). */
  readonly replica: Replica | null;
  readonly ready: Ready;
  /** What is to be done when it is durable, before anything rests on it. */
  readonly onDurable: (() => void) | null;
  /** Ring position behind it; -1 while it waits for room. */
  end: number;
  /** Monotonic milliseconds. */
  readonly sinceMs: number;
}

export interface WritePorts {
  readonly log: LogAppender;
  readonly metrics: MetricsWriter;
  readonly monotonicMs: () => number;
}

export class WritesUnderWay {
  readonly #ports: WritePorts;
  /** In order: first those in the ring, then those that wait for room. */
  readonly #writes: LogWrite[] = [];
  /** How many of #writes are in the ring. */
  #submitted = 0;
  /** What was durable before the ring was found full; what becomes durable later makes room. */
  #durableWhenFull = 0;

  constructor(ports: WritePorts) {
    this.#ports = ports;
  }

  push(rangeId: RangeId, replica: Replica | null, ready: Ready, onDurable: (() => void) | null): void {
    this.#writes.push({ rangeId, replica, ready, onDurable, end: -1, sinceMs: this.#ports.monotonicMs() });
    this.pump();
  }

  /** Moves waiting writes into the ring, in order, as far as there is room. */
  pump(): void {
    const { log, metrics } = this.#ports;
    while (this.#submitted < this.#writes.length) {
      const write = this.#writes[this.#submitted] as LogWrite;
      const durable = log.durable();
      if (write.ready.mustSync && !log.append(write.rangeId, write.ready)) {
        this.#durableWhenFull = durable;
        metrics.add(slots.walRingFull, 1);
        return;
      }
      write.end = log.position;
      this.#submitted++;
    }
  }

  /** Whether some wait for room in the ring: what is written beside them would stand before them in the log. */
  get isWaiting(): boolean {
    return this.#submitted < this.#writes.length;
  }

  /** Whether takeDurable() would find something, or pump() more room than it had. Cheap. */
  get hasNews(): boolean {
    const first = this.#writes[0];
    if (first === undefined) return false;
    const durable = this.#ports.log.durable();
    if (first.end >= 0 && first.end <= durable) return true;
    return this.isWaiting && durable > this.#durableWhenFull;
  }

  /** Since when the oldest one waits, monotonic milliseconds; null: there is none. */
  get oldestSinceMs(): number | null {
    return this.#writes[0]?.sinceMs ?? null;
  }

  /** Hands out what became durable, oldest first; `noticedMs`: when that was seen. */
  takeDurable(done: (write: LogWrite, noticedMs: number) => void): void {
    const durable = this.#ports.log.durable();
    let taken = 0;
    let noticedMs = 0;
    while (taken < this.#submitted) {
      const write = this.#writes[taken] as LogWrite;
      if (write.end > durable) break;
      if (taken++ === 0) noticedMs = this.#ports.monotonicMs();
      done(write, noticedMs);
    }
    if (taken === 0) return;
    this.#writes.splice(0, taken);
    this.#submitted -= taken;
  }
}
