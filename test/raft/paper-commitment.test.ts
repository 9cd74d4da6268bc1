/** Raft paper, figure 2 and §5.3, §5.4: what is committed, when, and what that means. One test per sentence. */
import test from 'ava';
import { confOf } from '../../src/core/raft/configuration.ts';
import type { Message } from '../../src/core/raft/types.ts';
import { ENTRY_NOOP, MSG_APPEND, MSG_APPEND_RESPONSE, ROLE_LEADER } from '../../src/core/raft/types.ts';
import type { MemberOptions, OpenRaft } from '../support/raft-member.ts';
import {
  acknowledge,
  createMember,
  drain,
  elect,
  ELECTION_TICKS,
  member,
  members,
  message,
  seen,
  sent,
} from '../support/raft-member.ts';
import { RaftNetwork } from '../support/raft-network.ts';

const plain = { preVote: false, checkQuorum: false } as const;

/** A leader of five. */
function leader(options: MemberOptions = {}): OpenRaft {
  const raft = createMember({ ...plain, conf: confOf(members(1, 2, 3, 4, 5)), ...options });
  elect(raft, [2, 3]);
  return raft;
}

/** Followers `ids` acknowledge what the leader sends to them now. */
function replicateTo(raft: OpenRaft, ...ids: readonly number[]): void {
  const appends = sent(raft, MSG_APPEND);
  for (const append of appends) if (ids.includes(append.to)) raft.step(acknowledge(append));
}

test('§5.3: an entry is committed when a majority has it', (t) => {
  const raft = leader();
  const appends = sent(raft, MSG_APPEND);
  raft.step(acknowledge(appends[0] as Message));
  t.is(seen(raft).commitIndex, 0, 'two of five');
  raft.step(acknowledge(appends[1] as Message));
  t.is(seen(raft).commitIndex, 1, 'three of five');
});

test('§5.3: an acknowledgement that arrives twice counts once', (t) => {
  const raft = leader();
  const [append] = sent(raft, MSG_APPEND);
  for (let i = 0; i < 4; i++) raft.step(acknowledge(append as Message));
  t.is(seen(raft).commitIndex, 0);
});

test('§5.3: committing an entry commits all before it', (t) => {
  const raft = leader();
  for (const value of ['a', 'b', 'c']) raft.propose(Buffer.from(value));
  replicateTo(raft, 2, 3);
  t.is(seen(raft).commitIndex, 4);
});

test('§5.3: followers learn of a commit index from the next append or heartbeat', (t) => {
  const group = new RaftNetwork([1, 2, 3]);
  group.elect(1);
  group.loses = ({ type, to }) => type === MSG_APPEND && to === 3;
  group.propose(1, 'x');
  group.settle();
  t.deepEqual(group.values(2), ['x']);
  group.heal();
  t.deepEqual(group.values(3), []);
  group.run(2);
  t.deepEqual(group.values(3), ['x']);
});

test('§5.4.2: a leader commits no entry of an earlier term by counting its copies', (t) => {
  const raft = leader({ log: [1, 2], term: 2 });
  t.is(seen(raft).term, 3);
  drain(raft);
  // A majority has the entry of term 2, and nobody the one of term 3.
  for (const from of [2, 3, 4, 5])
    raft.step(message(MSG_APPEND_RESPONSE, from, { term: 3, index: 2, context: 2 ** 40 }));
  t.is(seen(raft).commitIndex, 0);
});

test('§5.4.2: an entry of its own term commits the earlier ones with it', (t) => {
  const raft = leader({ log: [1, 2], term: 2 });
  replicateTo(raft, 2, 3);
  t.is(seen(raft).commitIndex, 3);
});

test('figure 8: an entry of an earlier term on a majority can be overwritten, so it was not committed', (t) => {
  // One entry per append, so that one can be lost behind another.
  const group = new RaftNetwork([1, 2, 3, 4, 5], { maxBytesPerAppend: 1 });
  // (a) member 1 leads and has an entry at index 2 on itself and on member 2 only.
  group.elect(1);
  group.isolate(1, 2);
  group.propose(1, 'of 1');
  group.settle();
  const termOf1 = group.raft(1).term;
  // (b) member 1 crashes; member 5 is elected by 3, 4 and itself, and takes another entry at index 2.
  group.crash(1);
  group.heal();
  group.isolate(5, 3, 4);
  group.loses = ({ type }) => type === MSG_APPEND;
  group.elect(5);
  group.propose(5, 'of 5');
  group.settle();
  t.true(group.raft(5).term > termOf1);
  // (c) member 5 crashes; member 1 is elected again and brings its entry to member 3: a majority has it now.
  group.crash(5);
  group.heal();
  group.restart(1);
  group.loses = (append) => {
    if (append.type !== MSG_APPEND) return false;
    return append.to === 4 || (isNoop(append) && append.to === 3 && group.storedTerms(3).length === 2);
  };
  group.elect(1);
  for (const id of [1, 2, 3]) t.deepEqual(group.storedTerms(id).slice(0, 2), [termOf1, termOf1].map(Number));
  t.deepEqual(group.storedTerms(3).length, 2);
  t.true(group.raft(1).commitIndex < 2, 'and still it is not committed');
  // (d) member 1 crashes; member 5 can be elected by 3, 4 and itself, and overwrites the entry everywhere.
  group.crash(1);
  group.heal();
  group.restart(5);
  group.isolate(5, 3, 4);
  group.elect(5);
  t.deepEqual(group.values(3), ['of 5']);
  group.heal();
  group.restart(1);
  group.run(3 * ELECTION_TICKS);
  for (const id of [1, 2, 3, 4, 5]) t.deepEqual(group.values(id), ['of 5']);
});

test('figure 3, leader completeness: a member that lacks a committed entry is not elected', (t) => {
  const group = new RaftNetwork([1, 2, 3]);
  group.elect(1);
  group.isolate(3);
  group.propose(1, 'x');
  group.settle();
  t.deepEqual(group.values(2), ['x']);
  group.crash(1);
  group.heal();
  group.tick(ELECTION_TICKS, 2);
  for (let i = 0; i < 10 * ELECTION_TICKS; i++) {
    group.tick(1, 3);
    group.settle();
    t.not(group.raft(3).role, ROLE_LEADER);
  }
  group.elect(2);
  t.deepEqual(group.values(3), ['x']);
});

test('a leader counts itself only for what its own disk has', (t) => {
  const raft = createMember({ ...plain });
  elect(raft);
  const ready = raft.ready();
  const append = ready.messages.find(({ to }) => to === member(2)) as Message;
  raft.step(acknowledge(append));
  t.is(seen(raft).commitIndex, 0, 'one of three has it');
  raft.persisted(ready.number);
  t.is(seen(raft).commitIndex, 1);
});

test('an entry that a quorum of others has is committed before the disk of the leader has it', (t) => {
  const raft = createMember({ ...plain });
  elect(raft);
  const ready = raft.ready();
  for (const append of ready.messages) raft.step(acknowledge(append));
  t.like(seen(raft), { commitIndex: 1, persisted: 0 });
  const next = raft.ready();
  t.is(next.committed.length, 1);
  t.is(Number(next.commit), 0, 'and is not stored as committed where it is not stored itself');
});

test('a commit index is stored only as far as the entries below it are', (t) => {
  // The log of term 1 is overwritten by what leader 2 of term 4 has committed already.
  const raft = createMember({ log: [1, 1, 1] });
  raft.step(message(MSG_APPEND, 2, { term: 4, index: 1, logTerm: 1, commit: 3, entries: createEntries() }));
  const ready = raft.ready();
  t.is(ready.committed.length, 3);
  t.like(ready.hardState, { term: 4, commit: 1 }, 'index 2 and 3 are those of term 1 until the entries are stored');
  t.is(Number(ready.commit), 1);
  raft.persisted(ready.number);
  raft.step(message(MSG_APPEND, 2, { term: 5, index: 3, logTerm: 4, commit: 3 }));
  t.like(raft.ready().hardState, { term: 5, commit: 3 });
});

function isNoop({ entries }: Message): boolean {
  return entries.some(({ type }) => type === ENTRY_NOOP);
}

function createEntries(): Message['entries'] {
  return [2, 3].map((index) => ({ index, term: 4, type: 0, data: Buffer.from('new') })) as never;
}

test('completions of writes may come late: a completion says nothing of entries that were overwritten since', (t) => {
  const raft = createMember({ log: [1] });
  raft.step(message(MSG_APPEND, 2, { term: 2, index: 1, logTerm: 1, entries: entries(2, [2, 2, 2]) }));
  const first = raft.ready();
  raft.step(message(MSG_APPEND, 3, { term: 3, index: 1, logTerm: 1, entries: entries(2, [3, 3, 3]) }));
  const second = raft.ready();
  raft.persisted(first.number);
  t.is(seen(raft).persisted, 1);
  raft.persisted(second.number);
  t.is(seen(raft).persisted, 4);
  raft.persisted(first.number);
  t.is(seen(raft).persisted, 4, 'and one that comes after a later one changes nothing');
});

test('a completion says nothing of the same entry overwritten and written again', (t) => {
  const raft = createMember({ log: [1] });
  const leaders: readonly (readonly [number, readonly number[]])[] = [
    [2, [2, 2]],
    [3, [3]],
    [4, [2, 2]],
  ];
  const numbers = leaders.map(([term, terms]) => {
    raft.step(message(MSG_APPEND, term, { term, index: 1, logTerm: 1, entries: entries(2, terms) }));
    return raft.ready().number;
  });
  t.deepEqual(raft.logTerms, [1, 2, 2]);
  raft.persisted(numbers[0] as number);
  t.is(seen(raft).persisted, 1);
  raft.persisted(numbers[2] as number);
  t.is(seen(raft).persisted, 3);
});

function entries(first: number, terms: readonly number[]): Message['entries'] {
  return terms.map((term, i) => ({ index: first + i, term, type: 0, data: Buffer.from(`${term}`) })) as never;
}
