/** What went wrong in other systems of this kind, caused here in the Raft core. The numbers are those of our list of failures. */
import test from 'ava';
import { memberId } from '../../src/core/member.ts';
import type { NodeId } from '../../src/core/brands.ts';
import { confOf, encodeConfEntry } from '../../src/core/raft/configuration.ts';
import type { ConfChangeStep, Entry, Message } from '../../src/core/raft/types.ts';
import {
  ENTRY_CONFIG,
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_VOTE,
  MSG_VOTE_RESPONSE,
  REFUSED_CONF_PENDING,
  ROLE_CANDIDATE,
  ROLE_FOLLOWER,
  ROLE_LEADER,
} from '../../src/core/raft/types.ts';
import {
  acknowledge,
  answers,
  createMember,
  drain,
  elect,
  ELECTION_TICKS,
  entriesOf,
  member,
  members,
  message,
  sent,
  tickUntilCampaign,
} from '../support/raft-member.ts';
import { RaftNetwork } from '../support/raft-network.ts';

const step = (type: ConfChangeStep['type'], id: number): ConfChangeStep => ({ type, id: member(id) });

function ledBy1(voters: readonly number[], learners: readonly number[] = []): RaftNetwork {
  const group = new RaftNetwork(voters, { learners });
  group.elect(1);
  return group;
}

/** Lets time pass for some members only, and everything that follows from it happen. */
function runOnly(group: RaftNetwork, ticks: number, ...ids: readonly number[]): void {
  for (let i = 0; i < ticks; i++) {
    group.tick(1, ...ids);
    group.settle();
  }
}

test('FAILURES 1: a deposed leader answers no read from its own state: its lease ends before another can be elected', (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const group = ledBy1([1, 2, 3]);
    for (let i = 0; i < seed; i++) group.run(1);
    group.isolate(1);
    for (let tick = 0; tick < 3 * ELECTION_TICKS; tick++) {
      // The others' clocks run as far ahead as they may.
      group.run(1);
      const successor = [2, 3].find((id) => group.raft(id).role === ROLE_LEADER);
      t.false(successor !== undefined && group.raft(1).leaseValid(), `tick ${tick} after ${seed}`);
    }
    t.true([2, 3].includes(group.leader));
  }
});

test('FAILURES 1: a deposed leader confirms no read by ReadIndex', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.isolate(1);
  runOnly(group, 3 * ELECTION_TICKS, 2, 3);
  const successor = [2, 3].find((id) => group.raft(id).role === ROLE_LEADER) ?? 0;
  group.propose(successor, 'new');
  group.settle();
  t.is(group.raft(1).readIndex(1), 0, 'it believes that it leads');
  group.settle();
  group.heal();
  group.run(2);
  t.is(group.node(1).reads.size, 0);
  t.is(group.raft(1).role, ROLE_FOLLOWER);
});

test('FAILURES 2: a leader that was stopped past its lease pays its ticks first, and then trusts neither lease nor office', (t) => {
  const group = ledBy1([1, 2, 3]);
  t.true(group.raft(1).leaseValid());
  group.isolate(1);
  runOnly(group, 3 * ELECTION_TICKS, 2, 3);
  t.true([2, 3].some((id) => group.raft(id).role === ROLE_LEADER));
  group.tick(3 * ELECTION_TICKS, 1);
  t.false(group.raft(1).leaseValid());
  t.not(group.raft(1).role, ROLE_LEADER);
});

test('FAILURES 2: answers that arrived while a leader was stopped do not renew its lease from now', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.tick(1, 1);
  group.drain(1);
  for (const one of group.inFlight.splice(0)) group.deliver(one);
  for (const id of [2, 3]) group.drain(id);
  // They lie in its socket buffer for a while, then the leader goes on: time first, input second.
  const buffered = group.inFlight.splice(0);
  group.tick(ELECTION_TICKS - 1, 1);
  for (const one of buffered) group.deliver(one);
  t.false(group.raft(1).leaseValid());
});

test('FAILURES 2: a ReadIndex round that races a leader change is not confirmed by answers of the later term', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.raft(1).readIndex(7);
  group.drain(1);
  const round = group.inFlight.splice(0).filter(({ type }) => type === MSG_HEARTBEAT);
  t.is(round.length, 2);
  // The heartbeats are on their way while another leader is elected.
  group.isolate(1);
  group.elect(2);
  group.heal();
  for (const heartbeat of round) group.deliver(heartbeat);
  group.settle();
  t.is(group.node(1).reads.size, 0);
});

test('FAILURES 2: a voter that waits to be told renews no lease and confirms no read: it could be made anew and elect another', (t) => {
  // The right half of a split on a member that has not got to the split: it answers, and knows nothing of it afterwards.
  const raft = createMember({ preVote: false, snapshotIndex: 1, snapshotTerm: 1 });
  elect(raft);
  for (const append of sent(raft, MSG_APPEND)) if (append.to === 2) raft.step(acknowledge(append));
  drain(raft);
  raft.tick(ELECTION_TICKS - 1);
  t.false(raft.leaseValid());
  t.is(raft.readIndex(7), 0);
  const round = sent(raft, MSG_HEARTBEAT).findLast(({ to }) => to === 3) as Message;
  const waiting = createMember({ id: 3, conf: confOf([]) });
  const [reply] = answers(waiting, round);
  t.is(reply?.type, MSG_HEARTBEAT_RESPONSE);
  raft.step(reply as Message);
  t.deepEqual(
    drain(raft).flatMap(({ readStates }) => readStates),
    [],
  );
  t.false(raft.leaseValid());
  raft.step({ ...(reply as Message), reject: false });
  t.is(drain(raft).flatMap(({ readStates }) => readStates).length, 1);
  t.true(raft.leaseValid());
});

test('FAILURES 2: a member whose log says that its group has shrunk to it keeps the promise to who led it, until that one knows', (t) => {
  const shrunk = { ...entriesOf([1, 1])[1], type: ENTRY_CONFIG, data: encodeConfEntry(confOf(members(2))) } as Entry;
  const entries = [...entriesOf([1]), shrunk];
  const conf = confOf(members(1, 2));
  const raft = createMember({ id: 2, conf, entries, commit: 1 });
  t.false(raft.campaign(), 'member 1 may lead, and have a lease that rests on this one');
  raft.tick(ELECTION_TICKS);
  t.true(raft.campaign());
  t.is(raft.role, ROLE_LEADER);
  t.true(createMember({ id: 2, conf, entries, commit: 2 }).campaign(), 'who led it has known, and stepped down');
});

test('FAILURES 3: only ticks count for a lease, and their drift is bounded by an option', (t) => {
  // A follower whose clock runs faster than the leader's by the drift may elect another only after the lease is over.
  for (const drift of [0, 0.05, 0.2, 0.5]) {
    for (let offset = 0; offset < 10; offset++) {
      const group = new RaftNetwork([1, 2, 3], { clockDriftMax: drift, electionTicks: 20, preVote: false });
      group.elect(1);
      group.run(offset);
      group.isolate(1);
      let followerTicks = 0;
      for (let leaderTick = 0; leaderTick < 50; leaderTick++) {
        group.tick(1, 1);
        for (; followerTicks < (leaderTick + 1) * (1 + drift); followerTicks++) runOnly(group, 1, 2, 3);
        const isReplaced = [2, 3].some((id) => group.raft(id).role === ROLE_LEADER);
        t.false(isReplaced && group.raft(1).leaseValid(), `drift ${drift}, tick ${leaderTick}`);
      }
    }
  }
});

test('FAILURES 4: votes of removed members, of learners and of strangers do not count', (t) => {
  const raft = createMember({ preVote: false, conf: confOf(members(1, 2, 3), members(4)) });
  tickUntilCampaign(raft);
  drain(raft);
  for (const from of [4, 5, 6, 7]) raft.step(message(MSG_VOTE_RESPONSE, from, { term: 1 }));
  t.is(raft.role, ROLE_CANDIDATE);
  raft.step(message(MSG_VOTE_RESPONSE, 3, { term: 1 }));
  t.is(raft.role, ROLE_LEADER);
});

test('FAILURES 4: acknowledgements of removed members do not count', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.raft(1).proposeConfChange({ changes: [step('remove', 3)] });
  group.settle();
  group.isolate(2);
  const at = group.propose(1, 'x');
  group.drain(1);
  const late = { term: group.raft(1).term, to: 1, index: at, context: Number.MAX_SAFE_INTEGER };
  group.raft(1).step(message(MSG_APPEND_RESPONSE, 3, late));
  group.settle();
  t.deepEqual(group.values(1), []);
});

test('FAILURES 4: acknowledgements of learners do not count, however many they are', (t) => {
  const group = ledBy1([1, 2, 3], [4, 5, 6]);
  group.isolate(1, 4, 5, 6);
  group.propose(1, 'x');
  group.settle();
  t.deepEqual(group.values(1), []);
  group.heal();
  group.run(2);
  t.deepEqual(group.values(1), ['x']);
});

test('FAILURES 4: the new half of a joint configuration elects nobody without the old one', (t) => {
  const group = ledBy1([1, 2, 3], [4, 5]);
  group.isolate(1, 4, 5);
  const change = { changes: [step('addVoter', 4), step('addVoter', 5), step('remove', 2), step('remove', 3)] };
  t.true(group.raft(1).proposeConfChange(change) > 0);
  group.settle();
  for (const id of [1, 4, 5]) t.deepEqual(group.raft(id).status().conf.votersOutgoing, members(1, 2, 3));
  group.run(10 * ELECTION_TICKS);
  t.true([2, 3].includes(group.leader), 'those who know of no change are a majority of what they know');
  for (const id of [1, 4, 5]) t.not(group.raft(id).role, ROLE_LEADER);
});

test('FAILURES 4: a leader and the removed part of its group are never both elected', (t) => {
  const group = ledBy1([1, 2, 3, 4]);
  group.isolate(4);
  group.raft(1).proposeConfChange({ changes: [step('remove', 4)] });
  group.settle();
  // Members 3 and 4 are cut off together: half of what 4 believes the group to be.
  group.heal();
  group.isolate(3, 4);
  group.run(10 * ELECTION_TICKS);
  t.is(group.leader, 1);
  t.not(group.raft(3).role, ROLE_LEADER);
  t.not(group.raft(4).role, ROLE_LEADER);
});

test('FAILURES 5: a single-server change across a leader change makes no disjoint majorities (raft-dev 2015)', (t) => {
  // Voters 1 to 4. Leader 1 adds 5, and only 1 and 5 have it. Then leader 2 would remove 1, without an entry of its own
  // term: {1, 4, 5} could be a majority of five and {2, 3} one of three.
  const group = ledBy1([1, 2, 3, 4], [5]);
  group.isolate(1, 5);
  group.raft(1).proposeConfChange({ changes: [step('addVoter', 5)] });
  group.settle();
  group.loses = ({ type }) => type === MSG_APPEND;
  group.elect(2);
  t.is(group.raft(2).proposeConfChange({ changes: [step('remove', 1)] }), REFUSED_CONF_PENDING);
  // When it may, its term's first entry is on a majority of four: {2, 3, 4}, and 1 cannot win any more.
  group.heal();
  group.isolate(1, 5);
  group.run(2);
  t.true(group.raft(2).proposeConfChange({ changes: [step('remove', 1)] }) > 0);
  group.settle();
  group.heal();
  group.isolate(2, 3);
  group.run(10 * ELECTION_TICKS);
  t.false([1, 4, 5].includes(group.leader), 'member 4 refuses 1, whose log is behind');
});

test('FAILURES 6: a member that is removed while its leader is cut off leaves one group in the end', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.isolate(1);
  group.raft(1).proposeConfChange({ changes: [step('remove', 3)] });
  group.propose(1, 'lost');
  group.settle();
  group.elect(2);
  group.propose(2, 'kept');
  group.settle();
  group.heal();
  group.run(3 * ELECTION_TICKS);
  for (const id of [1, 2, 3]) {
    t.deepEqual(group.values(id), ['kept']);
    t.deepEqual(group.raft(id).status().conf, confOf(members(1, 2, 3)));
  }
});

test('FAILURES 6: a leader that is removed while cut off from half of the group hands over to the other half', (t) => {
  const group = ledBy1([1, 2, 3, 4, 5]);
  group.isolate(4, 5);
  group.raft(1).proposeConfChange({ changes: [step('remove', 1)] });
  group.settle();
  t.is(group.raft(1).role, ROLE_LEADER, 'two of {2, 3, 4, 5} are no majority');
  group.cut(1, 2);
  group.cut(1, 3);
  group.run(4 * ELECTION_TICKS);
  t.is(group.leader, 0);
  group.heal();
  group.run(10 * ELECTION_TICKS);
  t.true([2, 3, 4, 5].includes(group.leader));
  group.propose(group.leader, 'x');
  group.settle();
  for (const id of [2, 3, 4, 5]) t.deepEqual(group.values(id), ['x']);
});

test('FAILURES 6: a node that is removed and added again is another member: what its former life says counts for nothing', (t) => {
  const nodes = [1, 2, 3] as NodeId[];
  const [one, two, former] = nodes.map((node) => memberId(node, 0, 1)) as [never, never, never];
  const again = memberId(3 as NodeId, 0, 7);
  const group = new RaftNetwork([one, two, former]);
  group.elect(one);
  group.isolate(former);
  group.raft(one).proposeConfChange({ changes: [{ type: 'remove', id: former }] });
  group.settle();
  group.add(again, confOf([]));
  group.isolate(again);
  group.raft(one).proposeConfChange({ changes: [{ type: 'addLearner', id: again }] });
  group.settle();
  // The former life comes back with its log and its id, and acknowledges for the new one.
  const at = group.raft(one).lastIndex;
  const context = Number.MAX_SAFE_INTEGER;
  group
    .raft(one)
    .step(message(MSG_APPEND_RESPONSE, former, { term: group.raft(one).term, to: one, index: at, context }));
  const progress = group
    .raft(one)
    .status()
    .progress.find(({ id }) => id === again);
  t.is(Number(progress?.match), 0);
  // Nor does the new one answer for the former.
  group.heal();
  const { term } = group.raft(again);
  group.raft(again).step(message(MSG_VOTE, two, { term: 99, to: former, index: 50, logTerm: 50 }));
  t.is(group.raft(again).term, term);
});

test('FAILURES 6: with the same id too, answers from before a member was added again are told apart by their stamp', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.propose(1, 'x');
  group.drain(1);
  const forMember3 = group.inFlight.filter(({ to }) => to === 3);
  for (const one of group.inFlight.splice(0)) group.deliver(one);
  group.drain(3);
  const late = group.inFlight.splice(0).filter(({ from }) => from === 3);
  t.true(forMember3.length > 0 && late.length > 0);
  group.settle();
  for (const one of [step('remove', 3), step('addLearner', 3)]) {
    group.isolate(3);
    t.true(group.raft(1).proposeConfChange({ changes: [one] }) > 0);
    group.run(1);
  }
  for (const one of late) group.raft(1).step(one);
  t.is(
    Number(
      group
        .raft(1)
        .status()
        .progress.find(({ id }) => id === member(3))?.match,
    ),
    0,
  );
});
