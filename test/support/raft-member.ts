/**
 * One Raft member under the hands of a test: built from a log that is written as a list of terms, fed message by message,
 * and drained of everything it has to say. For whole groups see raft-network.ts.
 */
import type { LogIndex, MemberId, Term } from '../../src/core/brands.ts';
import { createPrng } from '../../src/core/prng.ts';
import { confOf } from '../../src/core/raft/configuration.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import type { ConfState, Entry, Message, MessageType, RaftOptions, Ready } from '../../src/core/raft/types.ts';
import { ENTRY_DATA, MSG_APPEND, MSG_APPEND_RESPONSE, MSG_VOTE_RESPONSE } from '../../src/core/raft/types.ts';

export const ELECTION_TICKS = 10;
/** No timeout that a member draws is longer than so many ticks. */
export const LONGEST_TIMEOUT_TICKS = 2 * ELECTION_TICKS;

export const index = (value: number): LogIndex => value as LogIndex;
export const term = (value: number): Term => value as Term;
export const member = (value: number): MemberId => value as MemberId;
export const members = (...values: readonly number[]): MemberId[] => values.map(member);

/** Entries of these terms, the first one at `first`. */
export function entriesOf(terms: readonly number[], first = 1): Entry[] {
  return terms.map((value, i): Entry => {
    return { index: index(first + i), term: term(value), type: ENTRY_DATA, data: Buffer.from(`${first + i}@${value}`) };
  });
}

export interface MemberOptions extends Partial<Omit<RaftOptions, 'id' | 'log' | 'prng'>> {
  readonly id?: number;
  /** Default: voters 1, 2, 3. */
  readonly conf?: ConfState;
  /** The terms of the entries in its log, the first one at snapshotIndex + 1. */
  readonly log?: readonly number[];
  readonly entries?: readonly Entry[];
  readonly term?: number;
  readonly vote?: number;
  readonly commit?: number;
  readonly snapshotIndex?: number;
  readonly snapshotTerm?: number;
  readonly seed?: number;
}

/** A member whose log a test can see. */
export class OpenRaft extends Raft {
  /** The terms of the entries in memory. */
  get logTerms(): number[] {
    const { log } = this.state;
    return termsOf(log.range(log.firstIndex, log.lastIndex));
  }
}

/** A member as it comes up from its disk. Its term is, unless said otherwise, that of its last entry. */
export function createMember(options: MemberOptions = {}): OpenRaft {
  const { id = 1, log = [], vote = 0, commit = 0, snapshotIndex = 0, snapshotTerm = 0, seed = 1, ...rest } = options;
  const entries = options.entries ?? entriesOf(log, snapshotIndex + 1);
  return new OpenRaft({
    ...rest,
    id: member(id),
    prng: createPrng(seed),
    log: {
      snapshotIndex: index(snapshotIndex),
      snapshotTerm: term(snapshotTerm),
      conf: options.conf ?? confOf(members(1, 2, 3)),
      entries,
      hardState: {
        term: term(options.term ?? entries.at(-1)?.term ?? snapshotTerm),
        vote: member(vote),
        commit: index(commit),
      },
      applied: index(snapshotIndex),
    },
  });
}

export interface MessageParts {
  readonly to?: number;
  readonly term: number;
  readonly index?: number;
  readonly logTerm?: number;
  readonly commit?: number;
  readonly context?: number;
  readonly hint?: number;
  readonly reject?: boolean;
  readonly entries?: readonly Entry[];
  readonly snapshot?: Message['snapshot'];
}

/** A message to member 1, unless said otherwise. */
export function message(type: MessageType, from: number, parts: MessageParts): Message {
  return {
    type,
    from: member(from),
    to: member(parts.to ?? 1),
    term: term(parts.term),
    index: index(parts.index ?? 0),
    logTerm: term(parts.logTerm ?? 0),
    commit: index(parts.commit ?? 0),
    context: parts.context ?? 0,
    hint: index(parts.hint ?? 0),
    reject: parts.reject ?? false,
    entries: parts.entries ?? [],
    snapshot: parts.snapshot ?? null,
  };
}

/** All Readys that there are, one after the other, each durable and applied before the next is taken. */
export function drain(raft: Raft): Ready[] {
  const readys: Ready[] = [];
  while (raft.hasReady()) {
    const ready = raft.ready();
    readys.push(ready);
    raft.persisted(ready.number);
    if (ready.snapshot !== null) raft.applied(ready.snapshot.index);
    const last = ready.committed.at(-1);
    if (last !== undefined) raft.applied(last.index);
  }
  return readys;
}

/** Everything it has to send, with all its writes durable at once. */
export function sent(raft: Raft, type?: MessageType): Message[] {
  const all = drain(raft).flatMap((ready) => [...ready.messages, ...ready.messagesAfterPersist]);
  return type === undefined ? all : all.filter((one) => one.type === type);
}

/** Steps a message and returns what the member answers. */
export function answers(raft: Raft, input: Message): Message[] {
  drain(raft);
  raft.step(input);
  return sent(raft);
}

/** The only message that the member answers with. */
export function answer(raft: Raft, input: Message): Message {
  const [first, ...others] = answers(raft, input);
  if (first === undefined || others.length > 0) throw new Error(`one answer expected, not ${others.length + 1}`);
  return first;
}

/** Ticks until it asks for votes: its election timeout has passed. Returns how many ticks that took. */
export function tickUntilCampaign(raft: Raft): number {
  const { term: before, role } = raft;
  for (let ticks = 1; ticks <= LONGEST_TIMEOUT_TICKS; ticks++) {
    raft.tick();
    if (raft.role !== role || raft.term !== before) return ticks;
  }
  throw new Error('no election timeout');
}

/** Makes a member leader of the next term by the votes of `voters`, with pre-vote off. Its first messages are left in it. */
export function elect(raft: Raft, voters: readonly number[] = [2]): void {
  tickUntilCampaign(raft);
  drain(raft);
  for (const from of voters) raft.step(message(MSG_VOTE_RESPONSE, from, { term: raft.term, to: raft.id }));
}

/** What a follower answers to an append that it took. */
export function acknowledge(append: Message): Message {
  if (append.type !== MSG_APPEND) throw new Error('only an append is acknowledged so');
  return message(MSG_APPEND_RESPONSE, append.to, {
    to: append.from,
    term: append.term,
    index: append.index + append.entries.length,
    context: append.context,
  });
}

/** What a follower answers to an append that does not fit: `hint` and `logTerm` say where the logs may meet. */
export function refuse(append: Message, hint: number, logTerm: number): Message {
  const { index: rejected, context } = append;
  const parts = { to: append.from, term: append.term, index: rejected, reject: true, hint, logTerm, context };
  return message(MSG_APPEND_RESPONSE, append.to, parts);
}

/** What a member knows of itself, in plain numbers. */
export function seen(
  raft: Raft,
): Record<'term' | 'vote' | 'leader' | 'lastIndex' | 'commitIndex' | 'persisted', number> {
  const { term, vote, leader, lastIndex, commit: commitIndex, persisted } = raft.status();
  return { term, vote, leader, lastIndex, commitIndex, persisted };
}

export type BriefMessage = Partial<Record<Exclude<keyof Message, 'reject' | 'entries' | 'snapshot'>, number>> & {
  readonly reject?: true;
  /** Terms of the entries. */
  readonly entries?: readonly number[];
  readonly snapshot?: number;
};

/** A message in plain numbers, without what is 0 or empty and without its stamp. */
export function brief({ entries, snapshot, reject, ...numbers }: Message): BriefMessage {
  return {
    ...Object.fromEntries(Object.entries(numbers).filter(([key, value]) => value !== 0 && key !== 'context')),
    ...(reject && { reject: true as const }),
    ...(entries.length > 0 && { entries: termsOf(entries) }),
    ...(snapshot !== null && { snapshot: snapshot.index }),
  };
}

function termsOf(entries: readonly Entry[]): number[] {
  return entries.map((entry) => entry.term);
}
