/**
 * Reads that may not be answered from the applied state at once, because the lease does not hold: they wait for a
 * ReadIndex round (Ongaro's thesis, §6.4) and for its index to be applied. One round serves all reads that came before it.
 *
 *     park() ─▶ parked ─ askFor round ─▶ rounds[context] ─ confirmed(context, index) ─▶ due once applied ≥ index
 */
import type { LogIndex } from '../src/core/brands.ts';
import type { Args } from '../src/core/kv/args.ts';
import type { ReplyTarget } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import type { ReadTimes } from './read-times.ts';

export interface ParkedRead {
  readonly spec: CommandSpec;
  /** In bytes of their own. */
  readonly args: Args;
  readonly target: ReplyTarget;
  readonly slot: number;
  readonly scopeVersion: number;
  /** Of a read that is to be explained. */
  readonly times: ReadTimes | null;
}

export class ParkedReads {
  #parked: ParkedRead[] = [];
  readonly #rounds = new Map<number, ParkedRead[]>();
  #confirmed: { readonly index: LogIndex; readonly reads: ParkedRead[] }[] = [];
  #nextContext = 1;

  park(read: ParkedRead): void {
    this.#parked.push(read);
  }

  /** Whether a read has no round yet. */
  get isWaiting(): boolean {
    return this.#parked.length > 0;
  }

  get isEmpty(): boolean {
    return this.#parked.length === 0 && this.#rounds.size === 0 && this.#confirmed.length === 0;
  }

  /** Starts a round for all parked reads. `ask` passes the context to Raft and says whether it took it. */
  startRound(ask: (context: number) => boolean): void {
    if (this.#parked.length === 0 || !ask(this.#nextContext)) return;
    this.#rounds.set(this.#nextContext++, this.#parked);
    this.#parked = [];
  }

  confirmed(context: number, index: LogIndex): void {
    const reads = this.#rounds.get(context);
    if (reads === undefined) return;
    this.#rounds.delete(context);
    this.#confirmed.push({ index, reads });
  }

  /** Takes out the reads that may run now. */
  takeDue(applied: LogIndex): ParkedRead[] {
    if (this.#confirmed.length === 0) return [];
    const due = this.#confirmed.filter((round) => round.index <= applied);
    this.#confirmed = this.#confirmed.filter((round) => round.index > applied);
    return due.flatMap((round) => round.reads);
  }

  /** Takes out all that wait, in whatever state: leadership is lost, or the boundaries have changed. */
  takeAll(): ParkedRead[] {
    const all = [...this.#confirmed.flatMap((round) => round.reads), ...this.#rounds.values()].flat();
    all.push(...this.#parked);
    this.#confirmed = [];
    this.#rounds.clear();
    this.#parked = [];
    return all;
  }
}
