/**
 * Reads that may not be answered from the applied state at once, because the lease does not hold: they wait for a
 * ReadIndex round (Ongaro's thesis, §6.4) and for its index to be applied. One round serves all reads that came before it.
 *
 *     park() ─▶ parked ─ askFor round ─▶ rounds[context] ─ confirmed(context, index) ─▶ due once applied ≥ index
 *
 * A write of this leadership that was proposed after a read came, and is committed, proves the same: the read is due before it is
 * applied. So no read sees what its own connection has written behind it.
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

interface Parked {
  readonly read: ParkedRead;
  /** The end of the log when it came. */
  readonly lastIndex: LogIndex;
}

export class ParkedReads {
  #parked: Parked[] = [];
  readonly #rounds = new Map<number, Parked[]>();
  #confirmed: { readonly index: LogIndex; readonly parked: Parked[] }[] = [];
  #nextContext = 1;

  /** `lastIndex`: the end of the log. */
  park(read: ParkedRead, lastIndex: LogIndex): void {
    this.#parked.push({ read, lastIndex });
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
    const parked = this.#rounds.get(context);
    if (parked === undefined) return;
    this.#rounds.delete(context);
    this.#confirmed.push({ index, parked });
  }

  /** Takes out the reads that may run now. */
  takeDue(applied: LogIndex): ParkedRead[] {
    if (this.#confirmed.length === 0) return [];
    const due = this.#confirmed.filter((round) => round.index <= applied);
    this.#confirmed = this.#confirmed.filter((round) => round.index > applied);
    return due.flatMap((round) => round.parked.map(({ read }) => read));
  }

  /** Takes out the reads that came before the log had the entry at `index`. */
  takeBefore(index: LogIndex): ParkedRead[] {
    if (this.isEmpty) return [];
    const taken: ParkedRead[] = [];
    const rest = (parked: readonly Parked[]): Parked[] =>
      parked.filter(({ read, lastIndex }) => lastIndex >= index || taken.push(read) === 0);
    this.#confirmed = this.#confirmed.map((round) => ({ ...round, parked: rest(round.parked) }));
    for (const [context, parked] of this.#rounds) this.#rounds.set(context, rest(parked));
    this.#parked = rest(this.#parked);
    return taken;
  }

  /** Takes out all that wait, in whatever state: leadership is lost, or the boundaries have changed. */
  takeAll(): ParkedRead[] {
    const all = [...this.#confirmed.flatMap((round) => round.parked), ...this.#rounds.values(), this.#parked].flat();
    this.#confirmed = [];
    this.#rounds.clear();
    this.#parked = [];
    return all.map(({ read }) => read);
  }
}
