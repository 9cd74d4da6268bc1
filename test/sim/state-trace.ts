/**
 * A trace of what the members do, line by line, in the form of etcd/raft's state_trace.go: what its TLA+ specification of Raft
 * (tla/Traceetcdraft.tla) reads to see whether an implementation takes only steps that the specification has.
 *
 *     {"tag":"trace","event":{"name":"BecomeLeader","nid":"2","state":{"term":2,"vote":"2","commit":3},"role":"StateLeader", …}}
 *
 * The specification begins with one configuration entry of term 1 for each voter. Here the first configuration stands before
 * the log, in term 0: so terms are shown one higher, and indexes higher by the number of the first voters.
 */
import type { LogIndex, MemberId, Term } from '../../src/core/brands.ts';
import type { ConfState, Message, Ready, Role } from '../../src/core/raft/types.ts';
import {
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_SNAPSHOT,
  MSG_VOTE,
  MSG_VOTE_RESPONSE,
  ROLE_CANDIDATE,
  ROLE_LEADER,
} from '../../src/core/raft/types.ts';
import { WatchedRaft } from './watched-raft.ts';

interface TracedMessage {
  readonly type: string;
  readonly term: number;
  readonly from: string;
  readonly to: string;
  readonly entries: number;
  readonly logTerm: number;
  readonly index: number;
  readonly commit: number;
  readonly vote: string;
  readonly reject: boolean;
  readonly rejectHint: number;
}

export interface TracedEvent {
  readonly name: string;
  readonly nid: string;
  readonly state: { readonly term: number; readonly vote: string; readonly commit: number };
  readonly role: string;
  readonly log: number;
  readonly applied: number;
  readonly conf: readonly [readonly string[], readonly string[]];
  readonly msg?: TracedMessage;
  readonly prop?: Readonly<Record<string, unknown>>;
}

const MESSAGES: Readonly<Record<number, readonly [type: string, event: string]>> = {
  [MSG_APPEND]: ['MsgApp', 'AppendEntriesRequest'],
  [MSG_HEARTBEAT]: ['MsgHeartbeat', 'AppendEntriesRequest'],
  [MSG_SNAPSHOT]: ['MsgSnap', 'AppendEntriesRequest'],
  [MSG_APPEND_RESPONSE]: ['MsgAppResp', 'AppendEntriesResponse'],
  [MSG_HEARTBEAT_RESPONSE]: ['MsgHeartbeatResp', 'AppendEntriesResponse'],
  [MSG_VOTE]: ['MsgVote', 'RequestVoteRequest'],
  [MSG_VOTE_RESPONSE]: ['MsgVoteResp', 'RequestVoteResponse'],
};

/**
 * Faults that the specification has no steps for: it changes configurations when they are applied, not when they are appended,
 * and it knows of no log that a crash cut.
 */
export const UNTRACEABLE = {
  membershipEveryMs: Infinity,
  crashEveryMs: Infinity,
  crashAllEveryMs: Infinity,
  leaderDeathEveryMs: Infinity,
} as const;

const TERM_SHIFT = 1;
const NOTHING = { entries: 0, logTerm: 0, index: 0, commit: 0, vote: '0', reject: false, rejectHint: 0 };

export class StateTrace {
  readonly lines: string[] = [];
  readonly #indexShift: number;
  readonly #begun = new Set<MemberId>();

  constructor(firstVoters: number) {
    this.#indexShift = firstVoters;
  }

  /** A member came up: for the first time with the first configuration as entries of its log, as the specification wants it. */
  started(raft: WatchedRaft): void {
    const { voters } = raft.status().conf;
    if (this.#begun.has(raft.id) || voters.length === 0) {
      this.event('InitState', raft);
      return;
    }
    this.#begun.add(raft.id);
    const first = { name: 'InitState', nid: String(raft.id), role: 'StateFollower', log: 0, applied: 0 };
    this.#write({ ...first, state: { term: 0, vote: '0', commit: 0 }, conf: [[], []] });
    const state = { term: TERM_SHIFT, vote: '0', commit: voters.length };
    voters.forEach((_, i) => {
      const cc = { newconf: voters.slice(0, i + 1).map(String) };
      const conf = [voters.slice(0, i).map(String), []] as const;
      this.#write({ ...first, name: 'ApplyConfChange', log: voters.length, state, conf, prop: { cc } });
    });
    this.#write({ ...first, name: 'Bootstrap', log: voters.length, state, conf: [voters.map(String), []] });
  }

  event(name: string, raft: WatchedRaft, msg?: TracedMessage): void {
    this.#write(this.#eventOf(name, raft, msg));
  }

  /** The same, as it stood before the last entry of its log was there. */
  eventBeforeLast(name: string, raft: WatchedRaft): void {
    const event = this.#eventOf(name, raft, undefined);
    this.#write({ ...event, log: event.log - 1 });
  }

  /** An entry came into the leader's log, and the leader answers itself for it. */
  replicated(raft: WatchedRaft): void {
    this.eventBeforeLast('Replicate', raft);
    this.toItself('Send', raft, 'MsgAppResp', raft.lastIndex);
  }

  /** `name`: Send or Receive; messages that the specification does not know are left out. */
  message(name: 'Send' | 'Receive', raft: WatchedRaft, message: Message): void {
    const [type, event] = MESSAGES[message.type] ?? [];
    if (type === undefined) return;
    const { snapshot, index, entries, logTerm } = message;
    const isAboutLog = message.type === MSG_APPEND || message.type === MSG_VOTE;
    this.event(`${name}${event}`, raft, {
      ...NOTHING,
      type,
      term: message.term + TERM_SHIFT,
      from: String(message.from),
      to: String(message.to),
      entries: snapshot === null ? entries.length : snapshot.index + this.#indexShift,
      logTerm: isAboutLog ? logTerm + TERM_SHIFT : 0,
      index: isAboutLog || message.type === MSG_APPEND_RESPONSE ? index + this.#indexShift : 0,
      commit: message.type === MSG_APPEND || message.type === MSG_HEARTBEAT ? message.commit + this.#indexShift : 0,
      reject: message.reject,
      rejectHint: message.reject ? message.hint + this.#indexShift : 0,
    });
  }

  /** A member answers itself: a candidate its own vote, a leader its own entries up to `index`. */
  toItself(name: 'Send' | 'Receive', raft: WatchedRaft, type: 'MsgVoteResp' | 'MsgAppResp', index: LogIndex): void {
    const [from, term] = [String(raft.id), raft.term + TERM_SHIFT];
    const event = type === 'MsgVoteResp' ? 'RequestVoteResponse' : 'AppendEntriesResponse';
    const at = type === 'MsgVoteResp' ? 0 : index + this.#indexShift;
    this.event(`${name}${event}`, raft, { ...NOTHING, type, term, from, to: from, index: at });
  }

  #eventOf(name: string, raft: WatchedRaft, msg: TracedMessage | undefined): TracedEvent {
    const { term, vote, commit, conf, lastIndex, applied } = raft.status();
    const isLeader = raft.role === ROLE_LEADER;
    return {
      name,
      nid: String(raft.id),
      state: { term: term + TERM_SHIFT, vote: String(vote), commit: commit + this.#indexShift },
      role: isLeader ? 'StateLeader' : raft.role === ROLE_CANDIDATE ? 'StateCandidate' : 'StateFollower',
      log: lastIndex + this.#indexShift,
      applied: applied + this.#indexShift,
      conf: confOf(conf),
      ...(msg !== undefined && { msg }),
    };
  }

  #write(event: TracedEvent): void {
    this.lines.push(JSON.stringify({ tag: 'trace', event }));
  }
}

function confOf({ voters, votersOutgoing }: ConfState): readonly [string[], string[]] {
  return [voters.map(String), votersOutgoing.map(String)];
}

/** The core, telling a trace of each of its steps. Its configuration does not change: the specification changes it elsewhere. */
export class TracedRaft extends WatchedRaft {
  readonly #trace: StateTrace;
  #role = this.role;
  #term = this.term;
  #commit = this.commitIndex;
  #votedInTerm = 0 as Term;

  constructor(options: ConstructorParameters<typeof WatchedRaft>[0], trace: StateTrace) {
    super(options);
    this.#trace = trace;
    trace.started(this);
  }

  override step(message: Message): void {
    this.#trace.message('Receive', this, message);
    super.step(message);
    this.#changed();
  }

  override tick(count?: number): void {
    super.tick(count);
    this.#changed();
  }

  override propose(data: Uint8Array): number {
    const index = super.propose(data);
    if (index > 0) this.#trace.replicated(this);
    return index;
  }

  override ready(): Ready {
    const ready = super.ready();
    for (const message of [...ready.messages, ...ready.messagesAfterPersist])
      this.#trace.message('Send', this, message);
    this.#trace.event('Ready', this);
    return ready;
  }

  override persisted(readyNumber: number): void {
    const before = this.status().persisted;
    super.persisted(readyNumber);
    const after = this.status().persisted;
    if (this.role === ROLE_CANDIDATE && this.#votedInTerm < this.term) {
      this.#votedInTerm = this.term;
      this.#trace.toItself('Receive', this, 'MsgVoteResp', 0 as LogIndex);
    } else if (this.role === ROLE_LEADER && after > before) {
      this.#trace.toItself('Receive', this, 'MsgAppResp', after);
    }
    this.#changed();
  }

  #changed(): void {
    const [role, term] = [this.#role, this.#term];
    this.#role = this.role;
    this.#term = this.term;
    if (this.role !== role || this.term !== term) this.#becameAnother(role, term);
    if (this.role === ROLE_LEADER && this.commitIndex > this.#commit) this.#trace.event('Commit', this);
    this.#commit = this.commitIndex;
  }

  #becameAnother(role: Role, term: Term): void {
    const trace = this.#trace;
    if (this.role === ROLE_CANDIDATE) {
      trace.event('BecomeCandidate', this);
      trace.toItself('Send', this, 'MsgVoteResp', 0 as LogIndex);
    } else if (this.role === ROLE_LEADER) {
      trace.eventBeforeLast('BecomeLeader', this);
      trace.replicated(this);
    } else if (role === ROLE_CANDIDATE || role === ROLE_LEADER || this.term !== term) {
      trace.event('BecomeFollower', this);
    }
  }
}
