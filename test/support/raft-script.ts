/**
 * Transcripts: a Raft group that does what a script says, and everything that happens written down message by message.
 *
 *     # a comment                         kept as it is
 *     > propose 1 a                       a command: who does what
 *       1: appends 2@1                    what happened: written by the run, and compared
 *       1→2 APPEND term 1 after 1@1 [2@1] commit 1
 *       2: appends 2@1
 *       ✗ 1→3 APPEND …                    it did not arrive
 *
 * 3@1 is the entry at index 3, of term 1. Everything that a member hands out is durable and applied at once.
 */
import { assert, unreachable } from '../../src/core/assert.ts';
import { decodeConfEntry } from '../../src/core/raft/configuration.ts';
import type { ConfChangeStep, ConfState, Entry, Message, Ready } from '../../src/core/raft/types.ts';
import {
  ENTRY_CONFIG,
  ENTRY_DATA,
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_PRE_VOTE,
  MSG_PRE_VOTE_RESPONSE,
  MSG_SNAPSHOT,
  MSG_TIMEOUT_NOW,
  MSG_VOTE,
  MSG_VOTE_RESPONSE,
} from '../../src/core/raft/types.ts';
import { member } from './raft-member.ts';
import { RaftNetwork } from './raft-network.ts';

const ROLES = ['follows', 'asks for pre-votes', 'asks for votes', 'leads'];

/** The script with what happens now in place of what it says that happened. */
export function runScript(text: string): string {
  const run = new ScriptRun();
  const lines: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('> ')) lines.push(line, ...run.command(line.slice(2)));
    else if (!line.startsWith('  ')) lines.push(line);
  }
  return lines.join('\n');
}

class ScriptRun {
  #group = new RaftNetwork([]);
  #lines: string[] = [];

  /** What follows from a command, as lines. */
  command(command: string): string[] {
    this.#lines = [];
    const [verb = '', ...words] = command.split(' ');
    const handler = this.#verbs[verb];
    assert(handler !== undefined, `a verb of the transcripts: ${verb}`);
    handler(words, words.map(Number));
    return this.#lines;
  }

  readonly #verbs: Record<string, (words: string[], numbers: number[]) => void> = {
    /** group 1 2 3 [learners 4 …]; an append carries one entry with data at most. */
    group: (words) => {
      const at = words.indexOf('learners');
      const voters = words.slice(0, at < 0 ? words.length : at).map(Number);
      const learners = at < 0 ? [] : words.slice(at + 1).map(Number);
      this.#group = new RaftNetwork(voters, { learners, maxBytesPerAppend: 1 });
      this.#group.onReady = (id, ready) => this.#handedOut(id, ready);
    },
    /** A member that waits to be told. */
    add: (_words, [id = 0]) => void this.#group.add(id),
    /** It asks for votes as if its leader had named it; nothing is delivered. */
    nominate: (_words, [id = 0]) => this.#group.nominate(id),
    /** The same, and everything that follows. */
    elect: (_words, [id = 0]) => {
      this.#group.nominate(id);
      this.#settle();
    },
    propose: ([, value = ''], [id = 0]) => this.#answered(this.#group.propose(id, value)),
    /** change 1 +4 -3 ~2: add voter, remove, add learner or demote; `joint` or `explicit` first, if wanted. */
    change: ([id, ...words]) => {
      const transition = words.find((word) => word === 'joint' || word === 'explicit') ?? 'auto';
      const changes = words.filter((word) => word !== transition).map(changeStep);
      this.#answered(this.#group.raft(Number(id)).proposeConfChange({ changes, transition }));
    },
    transfer: (_words, [from = 0, to = 0]) => {
      this.#answered(this.#group.raft(from).transferLeadership(member(to)) ? 0 : -1);
    },
    read: (_words, [id = 0, context = 0]) => this.#answered(this.#group.raft(id).readIndex(context)),
    /** tick N [ids]: time passes; nothing is delivered. */
    tick: (_words, [count = 0, ...ids]) => this.#group.tick(count, ...ids),
    /** run N: N times a tick for all, and everything delivered. */
    run: (_words, [count = 0]) => {
      for (let i = 0; i < count; i++) {
        this.#group.tick(1);
        this.#settle();
      }
    },
    /** Everything that is under way is delivered, and what follows from it. */
    settle: () => this.#settle(),
    /** deliver N: the oldest messages. */
    deliver: (_words, [count = 0]) => {
      this.#group.drainAll();
      for (let i = 0; i < count; i++) this.#deliverOne();
    },
    /** Appends of this member are lost until the network heals. */
    mute: (_words, [id]) => {
      this.#group.loses = ({ type, from }) => type === MSG_APPEND && from === id;
    },
    isolate: (_words, ids) => this.#group.isolate(...ids),
    heal: () => this.#group.heal(),
    crash: (_words, [id = 0]) => this.#group.crash(id),
    restart: (_words, [id = 0]) => void this.#group.restart(id),
    checkpoint: (_words, [id = 0]) => this.#group.checkpoint(id),
    /** Says how members stand. */
    status: (_words, ids) => {
      for (const id of ids) {
        const { term, leader, commit, conf } = this.#group.raft(id).status();
        const { snapshot, entries } = this.#group.node(id).disk;
        const from = snapshot.index > 0 ? `snapshot ${snapshot.index}@${snapshot.term}, ` : '';
        const log = entries.map((entry) => entry.term).join(' ');
        this.#lines.push(
          `  ${id}: term ${term}, leader ${leader}, ${from}log ${log}, commit ${commit}, ${confText(conf)}`,
        );
      }
    },
  };

  #answered(result: number): void {
    if (result < 0) this.#lines.push(`  refused: ${result}`);
  }

  #settle(): void {
    this.#group.drainAll();
    for (let count = 0; this.#group.inFlight.length > 0; count++) {
      assert(count < 10_000, 'the group talks without end');
      this.#deliverOne();
    }
  }

  #deliverOne(): void {
    const message = this.#group.inFlight.shift();
    if (message === undefined) return;
    const at = this.#lines.push('') - 1;
    const arrived = this.#group.deliver(message);
    this.#lines[at] = `  ${arrived ? '' : '✗ '}${message.from}→${message.to} ${messageText(message)}`;
    this.#group.drainAll();
  }

  #handedOut(id: number, ready: Ready): void {
    const { softState, hardState, snapshot, entries, truncated, committed, readStates, snapshotRequests } = ready;
    const say = (text: string): void => void this.#lines.push(`  ${id}: ${text}`);
    if (softState !== null) {
      const whom = ROLES[softState.role] === 'follows' ? ` ${softState.leader || 'nobody'}` : '';
      say(`${ROLES[softState.role]}${whom} in term ${softState.term}`);
    }
    if (hardState !== null && hardState.vote > 0) say(`votes for ${hardState.vote} in term ${hardState.term}`);
    if (snapshot !== null) say(`installs snapshot ${at(snapshot)}, ${confText(snapshot.conf)}`);
    if (entries.length > 0) say(`${truncated ? 'overwrites with' : 'appends'} ${entries.map(entryText).join(' ')}`);
    if (committed.length > 0) say(`applies ${committed.map(({ index }) => index).join(' ')}`);
    for (const { context, index } of readStates) say(`may answer read ${context} when ${index} is applied`);
    for (const to of snapshotRequests) say(`needs a snapshot for ${to}`);
  }
}

function changeStep(word: string): ConfChangeStep {
  const type = ({ '+': 'addVoter', '-': 'remove', '~': 'addLearner' } as const)[word[0] as '+' | '-' | '~'];
  return { type, id: member(Number(word.slice(1))) };
}

function at({ index, term }: { readonly index: number; readonly term: number }): string {
  return `${index}@${term}`;
}

function entryText(entry: Entry): string {
  if (entry.type === ENTRY_CONFIG) return `${at(entry)}:{${confText(decodeConfEntry(entry.data).conf)}}`;
  return entry.type === ENTRY_DATA ? `${at(entry)}:${Buffer.from(entry.data).toString()}` : at(entry);
}

function confText({ voters, votersOutgoing, learners, learnersNext }: ConfState): string {
  const outgoing = votersOutgoing.length > 0 ? ` & ${votersOutgoing.join(' ')}` : '';
  const allLearners = learners.length > 0 ? `, learners ${learners.join(' ')}` : '';
  const next = learnersNext.length > 0 ? `, learners to be ${learnersNext.join(' ')}` : '';
  return `voters ${voters.join(' ')}${outgoing}${allLearners}${next}`;
}

function messageText(message: Message): string {
  const { type, term, index, logTerm, commit, hint, reject, entries, snapshot, context } = message;
  const end = `term ${term}`;
  switch (type) {
    case MSG_PRE_VOTE:
      return `PRE_VOTE ${end}, log ends with ${at({ index, term: logTerm })}`;
    case MSG_VOTE:
      return `VOTE ${end}, log ends with ${at({ index, term: logTerm })}${context === 1 ? ', named by the leader' : ''}`;
    case MSG_PRE_VOTE_RESPONSE:
      return `${reject ? 'refuses' : 'grants'} PRE_VOTE, ${end}`;
    case MSG_VOTE_RESPONSE:
      return `${reject ? 'refuses' : 'grants'} VOTE, ${end}`;
    case MSG_APPEND:
      return `APPEND ${end}, after ${at({ index, term: logTerm })} [${entries.map(at).join(' ')}], commit ${commit}`;
    case MSG_APPEND_RESPONSE:
      if (index === 0 && !reject) return `is in ${end}`;
      return reject
        ? `refuses after ${index}, try ${at({ index: hint, term: logTerm })}, ${end}`
        : `has ${index}, ${end}`;
    case MSG_HEARTBEAT:
      return `HEARTBEAT ${end}, commit ${commit}`;
    case MSG_HEARTBEAT_RESPONSE:
      return `hears, ${end}`;
    case MSG_SNAPSHOT:
      return `SNAPSHOT ${end}, ${snapshot === null ? '' : at(snapshot)}`;
    case MSG_TIMEOUT_NOW:
      return `TIMEOUT_NOW ${end}`;
    default:
      return unreachable(type);
  }
}
