/**
 * Entries that somebody outside of the data path asked for — membership changes, operations on the catalog — and who
 * waits to hear what became of them. They are rare and repeatable: a refusal goes straight back to the asker.
 */
import type { LogIndex, Term } from '../src/core/brands.ts';
import type { CatalogResult } from '../src/core/catalog/types.ts';
import type { Entry } from '../src/core/raft/types.ts';
import {
  REFUSED_CONF_INVALID,
  REFUSED_CONF_PENDING,
  REFUSED_LEARNER_BEHIND,
  REFUSED_NOT_LEADER,
  REFUSED_TERM_NOT_COMMITTED,
  REFUSED_TRANSFERRING,
} from '../src/core/raft/types.ts';
import { NOT_LEADER, UNKNOWN_RESULT } from './replies.ts';

/** Called once: with an error's text, or null and what the catalog answered, if it was asked. */
export type AskedCallback = (error: string | null, answer: CatalogResult | null) => void;

interface Asked {
  readonly index: LogIndex;
  readonly term: Term;
  readonly enteredAtMs: number;
  readonly done: AskedCallback;
}

export class AskedEntries {
  /** Of an earlier leadership too, whose entries this log may have lost and others not. */
  #inLog: Asked[] = [];

  get isEmpty(): boolean {
    return this.#inLog.length === 0;
  }

  /** `proposed`: what the core answered, an index or a refusal; `term`: the leader's; `nowMs`: Unix milliseconds. */
  add(proposed: number, term: Term, nowMs: number, done: AskedCallback): void {
    if (proposed < 0) done(refusal(proposed), null);
    else this.#inLog.push({ index: proposed as LogIndex, term, enteredAtMs: nowMs, done });
  }

  /** This committed entry was applied: it did nothing and why, or what the catalog answered. */
  applied(entry: Entry, error: string | null, answer: CatalogResult | null): void {
    if (this.#inLog.length === 0) return;
    const ended = this.#inLog.filter(({ index }) => index === entry.index);
    this.#inLog = this.#inLog.filter(({ index }) => index !== entry.index);
    for (const { term, done } of ended) {
      if (term === entry.term) done(error, answer);
      else done(NOT_LEADER, null);
    }
  }

  /** What entered the log before `timeMs` may still be applied; nobody waits for it any longer. */
  giveUpBefore(timeMs: number): void {
    const late = this.#inLog.filter(({ enteredAtMs }) => enteredAtMs < timeMs);
    if (late.length === 0) return;
    this.#inLog = this.#inLog.filter(({ enteredAtMs }) => enteredAtMs >= timeMs);
    for (const { done } of late) done(UNKNOWN_RESULT, null);
  }

  /** Nothing of this log will be applied here any more. */
  abandon(): void {
    this.giveUpBefore(Infinity);
  }
}

function refusal(refused: number): string {
  switch (refused) {
    case REFUSED_NOT_LEADER:
      return NOT_LEADER;
    case REFUSED_TRANSFERRING:
      return 'ERR leadership of the range is being handed over; try again';
    case REFUSED_CONF_PENDING:
    case REFUSED_TERM_NOT_COMMITTED:
      return 'ERR another membership change of the range is under way; try again when it is done';
    case REFUSED_LEARNER_BEHIND:
      return 'ERR the change needs a voter that has not caught up; try again when the members have';
    case REFUSED_CONF_INVALID:
      return 'ERR the change makes no sense for the members that the range has now; look at them and try again';
    default:
      return 'OVERLOADED too much of the range waits to be replicated; nothing was done, try again';
  }
}
