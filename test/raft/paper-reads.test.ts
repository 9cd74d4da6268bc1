/** Linearizable reads without a log entry: ReadIndex. Raft paper §8, thesis §6.4. One test per sentence. */
import test from 'ava';
import type { Message } from '../../src/core/raft/types.ts';
import {
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  REFUSED_NOT_LEADER,
  REFUSED_TERM_NOT_COMMITTED,
  ROLE_FOLLOWER,
} from '../../src/core/raft/types.ts';
import type { MemberOptions, OpenRaft } from '../support/raft-member.ts';
import { acknowledge, createMember, drain, elect, member, members, message, sent } from '../support/raft-member.ts';
import { RaftNetwork } from '../support/raft-network.ts';
import { confOf } from '../../src/core/raft/configuration.ts';

/** A leader of three, or of `conf`, whose first entry is committed by the acknowledgement of member 2. */
function leader(options: MemberOptions = {}): OpenRaft {
  const raft = createMember({ preVote: false, ...options });
  elect(raft, [2, 3]);
  for (const append of sent(raft, MSG_APPEND)) if (append.to <= 3) raft.step(acknowledge(append));
  drain(raft);
  return raft;
}

/** The contexts of the reads that the member lets go now. */
function confirmed(raft: OpenRaft): number[] {
  return drain(raft).flatMap(({ readStates }) => readStates.map(({ context }) => context));
}

function heartbeatTo(to: number, messages: readonly Message[]): Message {
  const heartbeat = messages.find((one) => one.type === MSG_HEARTBEAT && one.to === to);
  if (heartbeat === undefined) throw new Error('a heartbeat expected');
  return heartbeat;
}

function reply({ to, from, term, context }: Message): Message {
  return message(MSG_HEARTBEAT_RESPONSE, to, { to: from, term, context });
}

test('only a leader can say what a read must see', (t) => {
  t.is(createMember().readIndex(1), REFUSED_NOT_LEADER);
});

test('thesis §6.4: before an entry of its term is committed a leader does not know the commit index, and refuses', (t) => {
  const raft = createMember({ preVote: false, log: [1, 1] });
  elect(raft);
  t.is(raft.readIndex(1), REFUSED_TERM_NOT_COMMITTED);
  for (const append of sent(raft, MSG_APPEND)) raft.step(acknowledge(append));
  t.is(raft.readIndex(1), 0);
});

test('thesis §6.4: a read waits for one round of heartbeats that a majority answers', (t) => {
  const raft = leader({ conf: confOf(members(1, 2, 3, 4, 5)) });
  t.is(raft.readIndex(7), 0);
  const round = sent(raft);
  t.deepEqual(
    round.map(({ type }) => type),
    [MSG_HEARTBEAT, MSG_HEARTBEAT, MSG_HEARTBEAT, MSG_HEARTBEAT],
  );
  raft.step(reply(heartbeatTo(2, round)));
  t.deepEqual(confirmed(raft), [], 'two of five');
  raft.step(reply(heartbeatTo(2, round)));
  t.deepEqual(confirmed(raft), [], 'the same again');
  raft.step(reply(heartbeatTo(3, round)));
  t.deepEqual(confirmed(raft), [7]);
});

test('thesis §6.4: a read sees everything that was committed before it arrived', (t) => {
  const raft = leader();
  raft.propose(Buffer.from('x'));
  for (const append of sent(raft, MSG_APPEND)) raft.step(acknowledge(append));
  raft.readIndex(1);
  raft.step(reply(heartbeatTo(2, sent(raft))));
  t.deepEqual(
    drain(raft).flatMap(({ readStates }) => readStates),
    [{ context: 1, index: 2 as never }],
  );
});

test('answers to heartbeats from before the read arrived do not confirm it', (t) => {
  const raft = leader();
  raft.tick();
  const early = sent(raft);
  raft.readIndex(1);
  const round = sent(raft);
  raft.step(reply(heartbeatTo(2, early)));
  raft.step(reply(heartbeatTo(3, early)));
  t.deepEqual(confirmed(raft), []);
  raft.step(reply(heartbeatTo(3, round)));
  t.deepEqual(confirmed(raft), [1]);
});

test('answers that arrive before the round of a read has begun do not confirm it', (t) => {
  const raft = leader();
  raft.tick();
  const early = sent(raft);
  raft.readIndex(1);
  raft.step(reply(heartbeatTo(2, early)));
  t.deepEqual(confirmed(raft), []);
});

test('the round of one read does not confirm a later one, whatever order the answers come in', (t) => {
  const raft = leader();
  raft.readIndex(1);
  const first = sent(raft);
  raft.readIndex(2);
  const second = sent(raft);
  raft.step(reply(heartbeatTo(2, first)));
  t.deepEqual(confirmed(raft), [1]);
  raft.step(reply(heartbeatTo(3, first)));
  t.deepEqual(confirmed(raft), []);
  raft.step(reply(heartbeatTo(3, second)));
  t.deepEqual(confirmed(raft), [2]);
});

test('the round of a later read confirms the earlier ones too', (t) => {
  const raft = leader();
  raft.readIndex(1);
  drain(raft);
  raft.readIndex(2);
  raft.step(reply(heartbeatTo(2, sent(raft))));
  t.deepEqual(confirmed(raft), [1, 2]);
});

test('reads that arrive in one turn share one round', (t) => {
  const raft = leader();
  for (const context of [1, 2, 3]) raft.readIndex(context);
  const round = sent(raft);
  t.is(round.length, 2);
  raft.step(reply(heartbeatTo(2, round)));
  t.deepEqual(confirmed(raft), [1, 2, 3]);
});

test('the acknowledgement of an append that was sent after the read arrived confirms it as well', (t) => {
  const raft = leader();
  raft.readIndex(1);
  raft.propose(Buffer.from('x'));
  const append = sent(raft, MSG_APPEND).find(({ to }) => to === member(2)) as Message;
  raft.step(acknowledge(append));
  t.deepEqual(confirmed(raft), [1]);
});

test('answers of learners confirm no read', (t) => {
  const raft = leader({ conf: confOf(members(1, 2, 3), members(4, 5)) });
  raft.readIndex(1);
  const round = sent(raft);
  for (const id of [4, 5]) raft.step(reply(heartbeatTo(id, round)));
  t.deepEqual(confirmed(raft), []);
});

test('thesis §6.4: a leader that steps down answers none of the reads that wait', (t) => {
  const raft = leader();
  raft.readIndex(1);
  const round = sent(raft);
  raft.step(message(MSG_APPEND_RESPONSE, 3, { term: raft.term + 1 }));
  raft.step(reply(heartbeatTo(2, round)));
  t.deepEqual(confirmed(raft), []);
  // Nor does it when it leads again.
  elect(raft, [2]);
  for (const append of sent(raft, MSG_APPEND)) raft.step(acknowledge(append));
  t.deepEqual(confirmed(raft), []);
});

test('an answer in the name of an earlier term confirms no read of this one', (t) => {
  const raft = leader();
  raft.readIndex(1);
  const old = reply(heartbeatTo(2, sent(raft)));
  raft.step(message(MSG_APPEND_RESPONSE, 3, { term: raft.term + 1 }));
  elect(raft, [3]);
  for (const append of sent(raft, MSG_APPEND)) if (append.to === 3) raft.step(acknowledge(append));
  t.is(raft.readIndex(2), 0);
  drain(raft);
  raft.step(old);
  t.deepEqual(confirmed(raft), []);
});

test('a group of one voter confirms a read at once', (t) => {
  const raft = createMember({ conf: confOf(members(1), members(2)) });
  raft.campaign();
  drain(raft);
  t.is(raft.readIndex(5), 0);
  t.deepEqual(confirmed(raft), [5]);
});

test('reads that wait are let go when the group shrinks to one voter, for nobody is left to answer', (t) => {
  const group = new RaftNetwork([1, 2]);
  group.elect(1);
  group.isolate(2);
  t.is(group.raft(1).readIndex(5), 0);
  group.settle();
  t.is(group.node(1).reads.size, 0);
  t.true(group.raft(1).proposeConfChange({ changes: [{ type: 'remove', id: member(2) }] }) > 0);
  group.settle();
  t.true(group.node(1).reads.has(5));
});

test('a read on a leader that was replaced without knowing it is not confirmed', (t) => {
  const group = new RaftNetwork([1, 2, 3]);
  group.elect(1);
  group.isolate(1);
  group.elect(2);
  group.propose(2, 'new');
  group.settle();
  t.is(group.raft(1).readIndex(5), 0, 'it believes that it leads');
  group.settle();
  t.is(group.node(1).reads.size, 0);
  group.heal();
  group.run(1);
  t.is(group.raft(1).role, ROLE_FOLLOWER);
  t.is(group.node(1).reads.size, 0);
});
