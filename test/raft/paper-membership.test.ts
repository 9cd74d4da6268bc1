/** Changing members, one at a time and jointly. Raft paper §6, thesis §4; Ongaro, raft-dev 2015. One test per sentence. */
import test from 'ava';
import { confOf, decodeConfEntry, encodeConfEntry } from '../../src/core/raft/configuration.ts';
import type { ConfChange, ConfChangeStep, ConfState, Entry, Message } from '../../src/core/raft/types.ts';
import {
  ENTRY_CONFIG,
  MSG_APPEND,
  MSG_VOTE,
  REFUSED_CONF_INVALID,
  REFUSED_CONF_PENDING,
  REFUSED_LEARNER_BEHIND,
  REFUSED_NOT_LEADER,
  ROLE_FOLLOWER,
  ROLE_LEADER,
  ROLE_PRE_CANDIDATE,
} from '../../src/core/raft/types.ts';
import {
  answer,
  createMember,
  drain,
  ELECTION_TICKS,
  index,
  LONGEST_TIMEOUT_TICKS,
  member,
  members,
  message,
  seen,
  term,
} from '../support/raft-member.ts';
import { RaftNetwork } from '../support/raft-network.ts';

const step = (type: ConfChangeStep['type'], id: number): ConfChangeStep => ({ type, id: member(id) });
const change = (...changes: readonly ConfChangeStep[]): ConfChange => ({ changes });

/** Proposes a change that must be taken, and lets it happen. */
function changed(group: RaftNetwork, leader: number, request: ConfChange): number {
  const index = group.raft(leader).proposeConfChange(request);
  if (index < 0) throw new Error(`the change was refused with ${index}`);
  group.settle();
  return index;
}

/** The configuration that a member goes by, in plain numbers. */
function confAt(group: RaftNetwork, id: number): Partial<Record<keyof ConfState, unknown>> {
  const { voters, votersOutgoing, learners, learnersNext } = group.raft(id).status().conf;
  return {
    voters,
    ...(votersOutgoing.length > 0 && { votersOutgoing }),
    ...(learners.length > 0 && { learners }),
    ...(learnersNext.length > 0 && { learnersNext }),
  };
}

function ledBy1(voters: readonly number[], learners: readonly number[] = []): RaftNetwork {
  const group = new RaftNetwork(voters, { learners });
  group.elect(1);
  return group;
}

test('thesis §4.2.1: a new member joins as a learner: it gets the log, does not vote and does not count', (t) => {
  const group = ledBy1([1, 2]);
  group.propose(1, 'x');
  group.add(3);
  changed(group, 1, change(step('addLearner', 3)));
  t.deepEqual(group.values(3), ['x']);
  for (const id of [1, 2, 3]) t.deepEqual(confAt(group, id), { voters: [1, 2], learners: [3] });
  group.isolate(2);
  group.propose(1, 'y');
  group.settle();
  t.deepEqual(group.values(1), ['x'], 'the learner has it, the other voter does not');
});

test('a new member is written to at once', (t) => {
  const group = ledBy1([1, 2]);
  group.add(3);
  group.raft(1).proposeConfChange(change(step('addLearner', 3)));
  group.drain(1);
  t.is(group.inFlight.filter(({ type, to }) => type === MSG_APPEND && to === 3).length, 1);
});

test('a learner never campaigns', (t) => {
  const raft = createMember({ id: 4, conf: confOf(members(1, 2, 3), members(4)), term: 1 });
  raft.tick(100);
  t.false(raft.campaign());
  t.like(seen(raft), { term: 1 });
  t.is(raft.role, ROLE_FOLLOWER);
});

test('a learner grants votes: it may have been promoted without knowing it yet', (t) => {
  const raft = createMember({ conf: confOf(members(2, 3, 4), members(1)) });
  t.false(answer(raft, message(MSG_VOTE, 2, { term: 1 })).reject);
});

test('a learner that has caught up is promoted by one change', (t) => {
  const group = ledBy1([1, 2], [3]);
  changed(group, 1, change(step('addVoter', 3)));
  t.deepEqual(confAt(group, 3), { voters: [1, 2, 3] });
  t.true(
    group
      .raft(1)
      .status()
      .progress.every(({ learner }) => !learner),
  );
  group.isolate(2);
  group.propose(1, 'x');
  group.settle();
  t.deepEqual(group.values(1), ['x'], 'and counts from then on');
});

test('a learner that lags is not promoted, nor a member that never was one', (t) => {
  const group = ledBy1([1, 2]);
  group.add(3);
  t.is(group.raft(1).proposeConfChange(change(step('addVoter', 3))), REFUSED_LEARNER_BEHIND);
  group.isolate(3);
  changed(group, 1, change(step('addLearner', 3)));
  t.is(group.raft(1).proposeConfChange(change(step('addVoter', 3))), REFUSED_LEARNER_BEHIND);
  group.heal();
  group.run(2);
  t.true(group.raft(1).proposeConfChange(change(step('addVoter', 3))) > 0);
});

test('§6: a member goes by the latest configuration in its log, committed or not', (t) => {
  const group = ledBy1([1, 2, 3], [4]);
  group.isolate(1, 2);
  changed(group, 1, change(step('addVoter', 4)));
  t.true(group.raft(1).status().confIndex > group.raft(1).commitIndex);
  for (const id of [1, 2]) t.deepEqual(confAt(group, id), { voters: [1, 2, 3, 4] });
  t.deepEqual(confAt(group, 3), { voters: [1, 2, 3], learners: [4] });
});

test('§6: a configuration that is overwritten in the log is taken back', (t) => {
  const group = ledBy1([1, 2, 3], [4]);
  group.isolate(1);
  changed(group, 1, change(step('addVoter', 4)));
  group.elect(2);
  group.heal();
  group.run(2);
  t.is(group.raft(1).role, ROLE_FOLLOWER);
  t.deepEqual(confAt(group, 1), { voters: [1, 2, 3], learners: [4] });
});

test('thesis §4.1: one change at a time: the next is refused until the one before is committed', (t) => {
  const group = ledBy1([1, 2, 3], [4, 5]);
  group.isolate(1);
  changed(group, 1, change(step('addVoter', 4)));
  t.is(group.raft(1).proposeConfChange(change(step('addVoter', 5))), REFUSED_CONF_PENDING);
  group.heal();
  group.run(2);
  t.true(group.raft(1).proposeConfChange(change(step('addVoter', 5))) > 0);
});

test('raft-dev 2015: a leader changes members only when an entry of its own term is committed', (t) => {
  const group = ledBy1([1, 2, 3], [4]);
  group.loses = ({ type }) => type === MSG_APPEND;
  group.elect(2);
  t.is(group.raft(2).proposeConfChange(change(step('addVoter', 4))), REFUSED_CONF_PENDING);
  group.heal();
  group.run(2);
  t.true(group.raft(2).proposeConfChange(change(step('addVoter', 4))) > 0);
});

test('only a leader changes members', (t) => {
  t.is(
    ledBy1([1, 2])
      .raft(2)
      .proposeConfChange(change(step('remove', 1))),
    REFUSED_NOT_LEADER,
  );
});

test('changes that make no sense are refused', (t) => {
  const group = ledBy1([1, 2], [3]);
  const senseless: ConfChange[] = [
    change(),
    change(step('addVoter', 2)),
    change(step('addLearner', 3)),
    change(step('remove', 9)),
    change(step('remove', 1), step('remove', 2)),
    change(step('addLearner', 0)),
    change(step('addLearner', 1.5)),
  ];
  for (const request of senseless) t.is(group.raft(1).proposeConfChange(request), REFUSED_CONF_INVALID);
});

test('what comes with a change travels in its entry', (t) => {
  const group = ledBy1([1, 2]);
  changed(group, 1, { changes: [step('addLearner', 3)], context: Buffer.from('host:1') });
  const entry = group.node(2).applied.findLast(({ type }) => type === ENTRY_CONFIG);
  const { conf, context } = decodeConfEntry(entry?.data ?? Buffer.alloc(0));
  t.is(Buffer.from(context).toString(), 'host:1');
  t.deepEqual(conf, confOf(members(1, 2), members(3)));
});

test('§6: a change of several voters goes through a joint configuration, and leaves it by itself', (t) => {
  const group = ledBy1([1, 2, 3], [4, 5]);
  const request = change(step('addVoter', 4), step('addVoter', 5), step('remove', 2), step('remove', 3));
  group.raft(1).proposeConfChange(request);
  t.deepEqual(confAt(group, 1), { voters: [1, 4, 5], votersOutgoing: [1, 2, 3] });
  group.settle();
  for (const id of [1, 4, 5]) t.deepEqual(confAt(group, id), { voters: [1, 4, 5] });
  const made = group.node(1).applied.filter(({ type }) => type === ENTRY_CONFIG);
  t.is(made.length, 2, 'C_old,new and C_new');
});

test('§6: while joint, entries are committed by a majority of each half', (t) => {
  for (const [cut, isCommitted] of [
    [[2, 3], false],
    [[4, 5], false],
    [[2, 4], true],
    [[3, 5], true],
  ] as const) {
    const group = ledBy1([1, 2, 3], [4, 5]);
    const steps = [step('addVoter', 4), step('addVoter', 5), step('remove', 2), step('remove', 3)];
    changed(group, 1, { changes: steps, transition: 'explicit' });
    group.isolate(...cut);
    group.isolate(cut[0]);
    group.propose(1, 'x');
    group.settle();
    t.deepEqual(group.values(1), isCommitted ? ['x'] : [], `without ${cut.join(' and ')}`);
  }
});

test('§6: while joint, a leader is elected by a majority of each half', (t) => {
  const steps = [step('addVoter', 4), step('addVoter', 5), step('remove', 2), step('remove', 3)];
  const group = ledBy1([1, 2, 3], [4, 5]);
  changed(group, 1, { changes: steps, transition: 'explicit' });
  group.crash(1);
  group.isolate(4, 5);
  group.run(10 * ELECTION_TICKS);
  t.is(group.leader, 0, '2 and 3 are a majority of the old half, 4 and 5 of the new one');
  group.heal();
  group.run(10 * ELECTION_TICKS);
  t.true([2, 3, 4, 5].includes(group.leader), 'a member of either half may lead');
});

test('a joint configuration that was entered explicitly is left when asked, and takes no other change', (t) => {
  const group = ledBy1([1, 2, 3], [4]);
  changed(group, 1, { changes: [step('addVoter', 4), step('remove', 3)], transition: 'explicit' });
  t.deepEqual(confAt(group, 1), { voters: [1, 2, 4], votersOutgoing: [1, 2, 3] });
  t.is(group.raft(1).proposeConfChange(change(step('remove', 2))), REFUSED_CONF_PENDING);
  changed(group, 1, change());
  t.deepEqual(confAt(group, 1), { voters: [1, 2, 4] });
});

test('a single change can be made jointly', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.raft(1).proposeConfChange({ changes: [step('remove', 3)], transition: 'joint' });
  t.deepEqual(confAt(group, 1), { voters: [1, 2], votersOutgoing: [1, 2, 3] });
  group.settle();
  t.deepEqual(confAt(group, 2), { voters: [1, 2] });
});

test('a voter that is demoted jointly votes in the old half until the joint configuration is left', (t) => {
  const group = ledBy1([1, 2, 3], [4]);
  const steps = [step('addVoter', 4), step('addLearner', 3)];
  changed(group, 1, { changes: steps, transition: 'explicit' });
  t.deepEqual(confAt(group, 1), { voters: [1, 2, 4], votersOutgoing: [1, 2, 3], learnersNext: [3] });
  changed(group, 1, change());
  t.deepEqual(confAt(group, 3), { voters: [1, 2, 4], learners: [3] });
});

test('§6: a new leader finishes a joint change that its predecessor began', (t) => {
  const group = ledBy1([1, 2, 3], [4]);
  // Both halves have C_old,new, and the leader is gone before it is committed.
  group.loses = ({ from, to, type }) => type === MSG_APPEND && from === 1 && to === 3;
  group.raft(1).proposeConfChange(change(step('addVoter', 4), step('remove', 3)));
  group.drain(1);
  for (const one of group.inFlight.splice(0)) group.deliver(one);
  group.crash(1);
  group.heal();
  group.run(10 * ELECTION_TICKS);
  t.true([2, 4].includes(group.leader));
  for (const id of [2, 4]) t.deepEqual(confAt(group, id), { voters: [1, 2, 4] });
});

test('§6: a leader that is not in C_new steps down when it is committed, and not before', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.isolate(1);
  group.raft(1).proposeConfChange(change(step('remove', 1)));
  group.settle();
  t.is(group.raft(1).role, ROLE_LEADER);
  group.heal();
  group.run(1);
  t.is(group.raft(1).role, ROLE_FOLLOWER);
  group.run(1);
  t.true([2, 3].includes(group.leader), 'it names a successor, so there is no wait');
});

test('§6: a leader that manages a group without itself does not count itself', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.isolate(1, 2);
  group.raft(1).proposeConfChange(change(step('remove', 1)));
  group.settle();
  t.is(Number(group.raft(1).commitIndex), 1, 'only one of 2 and 3 has it');
  group.heal();
  group.run(2);
  t.deepEqual(confAt(group, 2), { voters: [2, 3] });
});

test('thesis §4.2.2: a leader that leaves under load names a successor that has most of the log', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.raft(1).proposeConfChange(change(step('remove', 1)));
  group.drain(1);
  // While C_new is on its way, more comes in.
  group.propose(1, 'x');
  group.settle();
  t.true([2, 3].includes(group.leader));
  t.deepEqual(group.values(2), ['x']);
});

function followsCnewForVoters({ type, to, index, entries }: Message): boolean {
  return type === MSG_APPEND && to !== 4 && index >= 2 && entries.length > 0;
}

test('thesis §4.2.2: the successor that a leaving leader names is a voter, whatever a learner has', (t) => {
  const group = new RaftNetwork([1, 2, 3], { learners: [4], maxBytesPerAppend: 1 });
  group.elect(1);
  // The learner gets what follows C_new, the voters do not; member 3 is the last to get C_new.
  group.loses = followsCnewForVoters;
  group.isolate(3);
  group.raft(1).proposeConfChange(change(step('remove', 1)));
  group.propose(1, 'x');
  group.settle();
  t.is(Number(group.raft(4).lastIndex), 3);
  group.heal();
  group.loses = followsCnewForVoters;
  group.tick(1, 1);
  group.settle();
  t.is(group.raft(1).role, ROLE_FOLLOWER);
  t.true([2, 3].includes(group.leader));
});

test('a change leaves a majority that knows of the group: no voter is removed while another one has yet to hear of it', (t) => {
  const group = new RaftNetwork([1, 2, 3]);
  group.isolate(3);
  group.elect(1);
  changed(group, 1, change(step('addLearner', 4)));
  t.is(group.raft(1).proposeConfChange(change(step('remove', 2))), REFUSED_LEARNER_BEHIND, '1 and 3 would be left');
  t.true(group.raft(1).proposeConfChange(change(step('remove', 3))) > 0);
});

test('a joint change of nothing but learners leaves a group of one a group of one, restarts or not', (t) => {
  const conf = { ...confOf(members(1), members(2)), votersOutgoing: members(1), autoLeave: true };
  const entry: Entry = { index: index(1), term: term(1), type: ENTRY_CONFIG, data: encodeConfEntry(conf) };
  const raft = createMember({ id: 1, conf: confOf(members(1)), entries: [entry] });
  t.true(raft.campaign());
  t.is(raft.role, ROLE_LEADER);
});

test('thesis §4.2.2: a member that its own log leaves out still campaigns while that is not committed: it may be needed', (t) => {
  const group = ledBy1([1, 2]);
  group.isolate(1);
  group.raft(1).proposeConfChange(change(step('remove', 1)));
  group.settle();
  group.crash(1);
  group.heal();
  group.restart(1);
  t.deepEqual(confAt(group, 1), { voters: [2] });
  // Member 2 alone cannot win: its log is shorter. Member 1 wins by the vote of 2, and finishes its removal.
  group.run(10 * ELECTION_TICKS);
  t.is(group.leader, 2);
  t.deepEqual(confAt(group, 2), { voters: [2] });
  t.true(group.propose(2, 'x') > 0);
});

test('thesis §4.2.2: so does one that came and went in configurations of which none is known to be committed', (t) => {
  // It knows the commit index of before it became a voter; it led since, began its own demotion, and restarted.
  const confs = [
    confOf(members(2, 5)),
    { ...confOf(members(2)), votersOutgoing: members(2, 5), learnersNext: members(5), autoLeave: true },
    confOf(members(2), members(5)),
  ];
  const entries = confs.map((conf, i): Entry => {
    return { index: index(i + 1), term: term(1), type: ENTRY_CONFIG, data: encodeConfEntry(conf) };
  });
  const raft = createMember({ id: 5, conf: confOf(members(2), members(5)), entries });
  raft.tick(LONGEST_TIMEOUT_TICKS);
  t.is(raft.role, ROLE_PRE_CANDIDATE);
});

test('a member whose removal is committed does not campaign', (t) => {
  const group = ledBy1([1, 2, 3]);
  changed(group, 1, change(step('remove', 1)));
  group.run(1);
  t.is(group.raft(1).role, ROLE_FOLLOWER);
  const { term } = group.raft(1);
  group.tick(100, 1);
  t.is(group.raft(1).term, term);
  t.is(group.raft(1).role, ROLE_FOLLOWER);
  t.false(group.raft(1).campaign());
});

test('thesis §4.2.3: a removed member that does not know it disturbs nobody', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.isolate(3);
  changed(group, 1, change(step('remove', 3)));
  const { term } = group.raft(1);
  group.heal();
  group.run(10 * ELECTION_TICKS);
  t.is(group.leader, 1);
  t.is(group.raft(1).term, term);
});

test('a survivor that goes on without the others is the only voter, and what it has is committed', (t) => {
  const raft = createMember({ log: [1, 2, 2], commit: 1, vote: 3 });
  raft.becomeOnlyVoter();
  drain(raft);
  t.is(raft.role, ROLE_LEADER);
  t.true(raft.term > 2, 'nobody else was elected in its term with its help');
  t.deepEqual(raft.status().conf.voters, members(1));
  t.is(raft.commitIndex, index(5), 'its three entries, the configuration, and the noop of its term');
  t.deepEqual(raft.logTerms.slice(0, 3), [1, 2, 2]);
});
