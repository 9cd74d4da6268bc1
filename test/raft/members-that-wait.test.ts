/** Members that wait to be told of their configuration: when they have no say, and when they vote. docs/adr/0011-voters-without-a-state.md */
import test from 'ava';
import { confOf } from '../../src/core/raft/configuration.ts';
import {
  MSG_APPEND,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_PRE_VOTE,
  MSG_VOTE,
  MSG_VOTE_RESPONSE,
  ROLE_FOLLOWER,
} from '../../src/core/raft/types.ts';
import {
  answer,
  brief,
  createMember,
  drain,
  entriesOf,
  index,
  member,
  message,
  seen,
  term,
} from '../support/raft-member.ts';

test('a member that waits to be told has no say: it grants no vote and never campaigns', (t) => {
  const raft = createMember({ conf: confOf([]) });
  t.true(answer(raft, message(MSG_PRE_VOTE, 2, { term: 1, index: 9, logTerm: 1 })).reject);
  t.true(answer(raft, message(MSG_VOTE, 2, { term: 1, index: 9, logTerm: 1 })).reject);
  raft.tick(100);
  t.is(raft.role, ROLE_FOLLOWER);
  t.false(raft.campaign());
  // It answers heartbeats, so that it is not left alone, and says that its answer promises nothing.
  t.like(brief(answer(raft, message(MSG_HEARTBEAT, 2, { term: 1 }))), { type: MSG_HEARTBEAT_RESPONSE, reject: true });
  // And it is told by the log.
  raft.step(message(MSG_APPEND, 2, { term: 1, entries: entriesOf([1]) }));
  drain(raft);
  t.is(seen(raft).lastIndex, 1);
});

test('a member that waits to be told and whose votes are all remembered votes once a term, for anybody, and promises nothing else', (t) => {
  const waiting = { conf: confOf([]), keepsVotes: true };
  const raft = createMember(waiting);
  t.false(answer(raft, message(MSG_PRE_VOTE, 2, { term: 2, index: 1, logTerm: 1 })).reject);
  t.is(raft.term, term(0), 'asking costs no term');
  raft.step(message(MSG_VOTE, 2, { term: 2, index: 1, logTerm: 1 }));
  const ready = raft.ready();
  t.deepEqual(ready.messages, []);
  t.deepEqual(ready.hardState, { term: term(2), vote: member(2), commit: index(0) });
  t.like(ready.messagesAfterPersist[0], { type: MSG_VOTE_RESPONSE, reject: false, term: 2 });
  raft.persisted(ready.number);
  // Another one of that term, here and after a restart.
  t.true(answer(raft, message(MSG_VOTE, 3, { term: 2, index: 9, logTerm: 1 })).reject);
  const again = createMember({ ...waiting, term: 2, vote: 2 });
  t.true(answer(again, message(MSG_VOTE, 3, { term: 2, index: 9, logTerm: 1 })).reject);
  t.false(answer(again, message(MSG_VOTE, 2, { term: 2, index: 1, logTerm: 1 })).reject);
  // Leaders count on nothing that it answers, so it keeps no promise to them.
  t.true(answer(raft, message(MSG_HEARTBEAT, 2, { term: 2 })).reject);
  t.false(answer(raft, message(MSG_VOTE, 3, { term: 3, index: 1, logTerm: 1 })).reject);
  raft.tick(100);
  t.false(raft.campaign());
  t.is(raft.role, ROLE_FOLLOWER);
});

test('a member that goes on from one without a state keeps its term and vote, and stores them before it says anything', (t) => {
  const born = { snapshotIndex: 1, snapshotTerm: 1, isNewborn: true };
  const raft = createMember(born);
  raft.inherit(term(5), member(2));
  raft.step(message(MSG_VOTE, 3, { term: 5, index: 1, logTerm: 1 }));
  const ready = raft.ready();
  t.deepEqual(ready.hardState, { term: term(5), vote: member(2), commit: index(1) });
  t.deepEqual(ready.messages, []);
  t.like(ready.messagesAfterPersist[0], { type: MSG_VOTE_RESPONSE, reject: true });
  // One that had not voted takes nothing back.
  const other = createMember({ ...born, term: 5, vote: 2 });
  other.inherit(term(3), member(3));
  t.like(seen(other), { term: 5, vote: 2 });
});
