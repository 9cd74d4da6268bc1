/** Handing leadership over. Raft thesis §3.10. One test per sentence. */
import test from 'ava';
import { confOf } from '../../src/core/raft/configuration.ts';
import type { Message } from '../../src/core/raft/types.ts';
import {
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_TIMEOUT_NOW,
  MSG_VOTE,
  REFUSED_TRANSFERRING,
  ROLE_CANDIDATE,
  ROLE_FOLLOWER,
  ROLE_LEADER,
} from '../../src/core/raft/types.ts';
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

function ledBy1(options: ConstructorParameters<typeof RaftNetwork>[1] = {}): RaftNetwork {
  const group = new RaftNetwork([1, 2, 3], options);
  group.elect(1);
  return group;
}

test('§3.10: a successor whose log is up to date is told at once, and leads after one round of votes', (t) => {
  const group = ledBy1();
  t.true(group.raft(1).transferLeadership(member(2)));
  group.settle();
  t.is(group.raft(2).role, ROLE_LEADER);
  t.is(group.raft(1).role, ROLE_FOLLOWER);
  t.is(Number(group.raft(1).leader), 2);
  t.is(Number(group.raft(2).term), group.raft(1).term);
});

test('§3.10: a successor that lags is brought up to date first', (t) => {
  const group = ledBy1();
  group.isolate(2);
  for (const value of ['a', 'b', 'c']) group.propose(1, value);
  group.settle();
  group.heal();
  t.true(group.raft(1).transferLeadership(member(2)));
  group.settle();
  group.run(2);
  t.is(group.raft(2).role, ROLE_LEADER);
  t.deepEqual(group.values(2), ['a', 'b', 'c']);
});

test('§3.10: the leader takes no commands while it hands over', (t) => {
  const group = ledBy1();
  group.isolate(2);
  group.raft(1).transferLeadership(member(2));
  t.is(group.propose(1, 'x'), REFUSED_TRANSFERRING);
  t.is(group.raft(1).proposeConfChange({ changes: [{ type: 'remove', id: member(3) }] }), REFUSED_TRANSFERRING);
});

test('§3.10: a transfer that takes longer than an election timeout is given up, and commands are taken again', (t) => {
  const group = ledBy1();
  group.isolate(2);
  group.raft(1).transferLeadership(member(2));
  group.run(ELECTION_TICKS - 1);
  t.is(group.propose(1, 'x'), REFUSED_TRANSFERRING);
  group.run(1);
  t.true(group.propose(1, 'x') > 0);
  group.settle();
  t.deepEqual(group.values(3), ['x']);
});

test('a transfer to a member that the transport has lost is given up at once, and none begins before it is heard of again', (t) => {
  const group = ledBy1();
  group.isolate(2);
  const raft = group.raft(1);
  t.true(raft.transferLeadership(member(2)));
  t.is(group.propose(1, 'x'), REFUSED_TRANSFERRING);
  raft.reportUnreachable(member(2));
  t.true(group.propose(1, 'x') > 0);
  t.false(raft.transferLeadership(member(2)));
  group.settle();
  t.false(raft.leaseValid(), 'the order to take over may still arrive');
  group.heal();
  group.run(ELECTION_TICKS / 2);
  t.true(raft.transferLeadership(member(2)));
  group.run(2);
  t.is(group.raft(2).role, ROLE_LEADER);
  t.deepEqual(group.values(2), ['x']);
});

test('§3.10: the successor begins its election without waiting, and without pre-votes', (t) => {
  const raft = createMember({ id: 2, term: 3 });
  raft.step(message(MSG_HEARTBEAT, 1, { to: 2, term: 3 }));
  drain(raft);
  raft.step(message(MSG_TIMEOUT_NOW, 1, { to: 2, term: 3 }));
  t.is(raft.role, ROLE_CANDIDATE);
  t.deepEqual(
    sent(raft, MSG_VOTE).map(({ term, context }) => [Number(term), context]),
    [
      [4, 1],
      [4, 1],
    ],
  );
});

test('a late order to take over, of an earlier term, is ignored', (t) => {
  const raft = createMember({ id: 2, term: 3 });
  raft.step(message(MSG_TIMEOUT_NOW, 1, { to: 2, term: 2 }));
  t.is(raft.role, ROLE_FOLLOWER);
  t.is(seen(raft).term, 3);
});

test('leadership is handed only to another voter', (t) => {
  const group = ledBy1({ learners: [4] });
  for (const id of [1, 4, 9]) t.false(group.raft(1).transferLeadership(member(id)), String(id));
  t.false(group.raft(2).transferLeadership(member(3)), 'and only by the leader');
  t.true(group.raft(1).transferLeadership(member(3)));
});

test('a learner that is ordered to take over does not', (t) => {
  const raft = createMember({ id: 4, term: 3, conf: confOf(members(1, 2, 3), members(4)) });
  raft.step(message(MSG_TIMEOUT_NOW, 1, { to: 4, term: 3 }));
  t.is(raft.role, ROLE_FOLLOWER);
  t.is(seen(raft).term, 3);
});

test('another successor can be named while the first one does not answer', (t) => {
  const group = ledBy1();
  group.isolate(2);
  group.raft(1).transferLeadership(member(2));
  group.settle();
  t.true(group.raft(1).transferLeadership(member(3)));
  group.settle();
  t.is(group.raft(3).role, ROLE_LEADER);
});

test('a transfer to the same successor again does not prolong it', (t) => {
  const group = ledBy1();
  group.isolate(2);
  for (let tick = 0; tick < ELECTION_TICKS; tick++) {
    group.raft(1).transferLeadership(member(2));
    group.run(1);
  }
  t.true(group.propose(1, 'x') > 0);
});

test('a transfer has a whole election timeout, whenever it begins', (t) => {
  const group = ledBy1();
  group.run(ELECTION_TICKS - 1);
  group.isolate(2);
  group.raft(1).transferLeadership(member(2));
  group.run(ELECTION_TICKS - 1);
  t.is(group.propose(1, 'x'), REFUSED_TRANSFERRING);
});

test('a member that is elected again remembers nothing of a transfer, nor of what was not committed', (t) => {
  const raft = createMember({ preVote: false, maxUncommittedBytes: 10 });
  elect(raft);
  raft.propose(Buffer.alloc(10));
  raft.transferLeadership(member(2));
  t.is(raft.propose(Buffer.alloc(1)), REFUSED_TRANSFERRING);
  raft.step(message(MSG_APPEND_RESPONSE, 3, { term: raft.term + 1 }));
  elect(raft);
  t.true(raft.propose(Buffer.alloc(1)) > 0);
});

test('a successor that is refused leaves the group with a leader in the end', (t) => {
  const group = ledBy1();
  // The others never get its requests.
  group.loses = ({ type, from }) => type === MSG_VOTE && from === 2;
  group.raft(1).transferLeadership(member(2));
  group.settle();
  group.run(5 * ELECTION_TICKS);
  t.not(group.leader, 0);
  group.propose(group.leader, 'x');
  group.run(1);
  for (const id of [1, 2, 3]) t.deepEqual(group.values(id), ['x']);
});

test('a leader that has more in its log than its successor waits until that has all of it', (t) => {
  const raft = createMember({ preVote: false });
  elect(raft);
  const appends = sent(raft, MSG_APPEND);
  raft.propose(Buffer.from('x'));
  t.true(raft.transferLeadership(member(2)));
  raft.step(acknowledge(appends.find(({ to }) => to === member(2)) as Message));
  const next = sent(raft);
  t.false(next.some(({ type }) => type === MSG_TIMEOUT_NOW));
  raft.step(acknowledge(next.find(({ to, type }) => to === member(2) && type === MSG_APPEND) as Message));
  t.true(sent(raft).some(({ type, to }) => type === MSG_TIMEOUT_NOW && to === member(2)));
});
