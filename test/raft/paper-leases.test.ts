/** The leader's lease and what it rests on: check-quorum, the promises of voters. Raft thesis §4.2.3, §6.2, §6.4.1. */
import test from 'ava';
import { confOf } from '../../src/core/raft/configuration.ts';
import type { Raft } from '../../src/core/raft/raft.ts';
import {
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_PRE_VOTE,
  MSG_PRE_VOTE_RESPONSE,
  MSG_TIMEOUT_NOW,
  MSG_VOTE,
  ROLE_FOLLOWER,
  ROLE_LEADER,
  ROLE_PRE_CANDIDATE,
} from '../../src/core/raft/types.ts';
import { NOBODY } from '../../src/core/raft/state.ts';
import type { MemberOptions } from '../support/raft-member.ts';
import {
  acknowledge,
  answer,
  answers,
  brief,
  createMember,
  drain,
  elect,
  ELECTION_TICKS,
  member,
  members,
  message,
  seen,
  sent,
  tickUntilCampaign,
} from '../support/raft-member.ts';

const FORCED = 1;

/** A leader of three whose first entry is committed and applied, by the acknowledgement of member 2. */
function leader(options: MemberOptions = {}): Raft {
  const raft = createMember({ preVote: false, ...options });
  elect(raft);
  for (const append of sent(raft, MSG_APPEND)) if (append.to === 2) raft.step(acknowledge(append));
  drain(raft);
  return raft;
}

/** Member 2 answers the latest heartbeat. */
function answerHeartbeat(raft: Raft): void {
  const heartbeat = sent(raft, MSG_HEARTBEAT).findLast(({ to }) => to === 2);
  if (heartbeat === undefined) throw new Error('no heartbeat was sent');
  raft.step(message(MSG_HEARTBEAT_RESPONSE, 2, { term: heartbeat.term, context: heartbeat.context }));
}

test('a leader that hears from no majority within an election timeout steps down', (t) => {
  const raft = leader();
  raft.tick(ELECTION_TICKS);
  t.is(raft.role, ROLE_LEADER, 'member 2 answered within the first');
  raft.tick(ELECTION_TICKS);
  t.is(raft.role, ROLE_FOLLOWER);
  t.is(seen(raft).leader, 0);
});

test('a leader that hears from a majority keeps its office', (t) => {
  const raft = leader();
  for (let i = 0; i < 100; i++) {
    raft.tick();
    answerHeartbeat(raft);
  }
  t.is(raft.role, ROLE_LEADER);
});

test('without check-quorum a leader stays, and never has a lease', (t) => {
  const raft = leader({ checkQuorum: false });
  t.false(raft.leaseValid());
  raft.tick(10 * ELECTION_TICKS);
  t.is(raft.role, ROLE_LEADER);
});

test('the only voter needs nobody for its lease: from its first entry on it is valid for ever', (t) => {
  for (const checkQuorum of [true, false]) {
    const raft = createMember({ conf: confOf(members(1), members(2)), checkQuorum });
    t.true(raft.campaign());
    t.false(raft.leaseValid());
    drain(raft);
    raft.tick(5 * ELECTION_TICKS);
    t.true(raft.leaseValid());
  }
});

test('a lease begins when a majority has answered, and the first entry of the term is applied', (t) => {
  const raft = createMember({ preVote: false });
  elect(raft);
  const [append] = sent(raft, MSG_APPEND);
  t.false(raft.leaseValid(), 'nobody has answered');
  if (append !== undefined) raft.step(acknowledge(append));
  t.false(raft.leaseValid(), 'what earlier leaders acknowledged is not yet applied');
  drain(raft);
  t.true(raft.leaseValid());
});

test('a lease is counted from when the answered message was sent, and ends before an election timeout, less the drift', (t) => {
  for (const [clockDriftMax, leaseTicks] of [
    [0, 8],
    [0.05, 7],
    [0.2, 6],
  ] as const) {
    const raft = leader({ clockDriftMax });
    for (let tick = 1; tick <= leaseTicks; tick++) {
      t.true(raft.leaseValid());
      raft.tick();
    }
    t.true(raft.leaseValid(), `after ${leaseTicks} ticks, with drift ${clockDriftMax}`);
    raft.tick();
    t.false(raft.leaseValid(), `after ${leaseTicks + 1} ticks, with drift ${clockDriftMax}`);
    t.is(raft.role, ROLE_LEADER, 'it still leads, and asks for every read');
  }
});

test('an answer that was long on its way renews the lease only from when its question left', (t) => {
  const raft = leader();
  raft.tick();
  const early = sent(raft, MSG_HEARTBEAT).find(({ to }) => to === 2);
  raft.tick(7);
  t.false(raft.leaseValid());
  raft.step(message(MSG_HEARTBEAT_RESPONSE, 2, { term: raft.term, context: early?.context ?? 0 }));
  t.true(raft.leaseValid());
  raft.tick();
  t.false(raft.leaseValid());
});

test('an answer that comes after a later one takes nothing of the lease away', (t) => {
  const raft = leader();
  raft.tick();
  const early = sent(raft, MSG_HEARTBEAT).find(({ to }) => to === 2);
  raft.tick(6);
  answerHeartbeat(raft);
  raft.step(message(MSG_HEARTBEAT_RESPONSE, 2, { term: raft.term, context: early?.context ?? 0 }));
  raft.tick(7);
  t.true(raft.leaseValid());
});

test('a member that is elected again has a lease again, whatever it gave up as leader before', (t) => {
  const raft = leader();
  raft.transferLeadership(member(2));
  raft.step(message(MSG_APPEND_RESPONSE, 3, { term: raft.term + 1 }));
  elect(raft);
  for (const append of sent(raft, MSG_APPEND)) if (append.to === 2) raft.step(acknowledge(append));
  drain(raft);
  t.true(raft.leaseValid());
});

test('answers of learners renew no lease', (t) => {
  const raft = leader({ conf: confOf(members(1, 2, 3), members(4)) });
  raft.tick(8);
  t.false(raft.leaseValid());
  const heartbeat = sent(raft, MSG_HEARTBEAT).findLast(({ to }) => to === 4);
  raft.step(message(MSG_HEARTBEAT_RESPONSE, 4, { term: raft.term, context: heartbeat?.context ?? 0 }));
  t.false(raft.leaseValid());
});

test('a leader that steps down has no lease', (t) => {
  const raft = leader();
  t.true(raft.leaseValid());
  raft.step(message(MSG_APPEND_RESPONSE, 3, { term: raft.term + 1 }));
  t.false(raft.leaseValid());
});

test('a member that hears from a leader answers no request for a vote, and keeps its term', (t) => {
  for (const type of [MSG_VOTE, MSG_PRE_VOTE] as const) {
    const raft = createMember({ term: 3 });
    raft.tick(ELECTION_TICKS);
    raft.step(message(MSG_HEARTBEAT, 2, { term: 3 }));
    raft.tick(ELECTION_TICKS - 1);
    t.deepEqual(answers(raft, message(type, 3, { term: 4 })), []);
    t.is(seen(raft).term, 3);
    raft.tick();
    t.is(answers(raft, message(type, 3, { term: 4 })).length, 1);
  }
});

test('a leader answers no request for a vote while a majority answers it', (t) => {
  const raft = leader();
  t.deepEqual(answers(raft, message(MSG_VOTE, 3, { term: 9, index: 100, logTerm: 8 })), []);
  t.is(raft.role, ROLE_LEADER);
});

test('the promise to a leader holds in a later term too', (t) => {
  // The follower answers leader 2, whose lease rests on it, and then learns of term 9 from a late message.
  const raft = createMember({ term: 3 });
  raft.step(message(MSG_HEARTBEAT, 2, { term: 3 }));
  raft.step(message(MSG_APPEND_RESPONSE, 3, { term: 9 }));
  t.is(seen(raft).term, 9);
  t.deepEqual(answers(raft, message(MSG_VOTE, 3, { term: 9, index: 5, logTerm: 3 })), []);
  t.is(seen(raft).vote, 0);
  t.false(raft.campaign(), 'nor does it vote for itself');
  raft.tick(ELECTION_TICKS);
  t.false(answer(raft, message(MSG_VOTE, 3, { term: 9, index: 5, logTerm: 3 })).reject);
});

test('a member that restarts keeps the promise of its former life', (t) => {
  const raft = createMember({ term: 3, vote: 2 });
  t.deepEqual(answers(raft, message(MSG_VOTE, 3, { term: 4 })), []);
  t.false(raft.campaign());
  raft.tick(ELECTION_TICKS);
  t.is(answers(raft, message(MSG_VOTE, 3, { term: 4 })).length, 1);
});

test('a leader that names a successor gives up its lease for the rest of its term', (t) => {
  const raft = leader();
  t.true(raft.transferLeadership(member(2)));
  t.is(sent(raft, MSG_TIMEOUT_NOW).length, 1);
  t.false(raft.leaseValid());
  // Even when the transfer failed: the message may arrive at any later time.
  for (let i = 0; i < 3 * ELECTION_TICKS; i++) {
    raft.tick();
    answerHeartbeat(raft);
  }
  t.is(raft.status().transferee, NOBODY);
  t.is(raft.role, ROLE_LEADER);
  t.false(raft.leaseValid());
});

test('a leader that waits for its successor to catch up keeps its lease until it names it', (t) => {
  const raft = leader();
  raft.propose(Buffer.from('a'));
  raft.transferLeadership(member(2));
  const appends = sent(raft);
  t.true(appends.every(({ type }) => type !== MSG_TIMEOUT_NOW));
  t.true(raft.leaseValid());
});

test('thesis §3.10: voters answer the request of a named successor although they hear from the leader', (t) => {
  const raft = createMember({ term: 3 });
  raft.step(message(MSG_HEARTBEAT, 2, { term: 3 }));
  const vote = answer(raft, message(MSG_VOTE, 3, { term: 4, context: FORCED }));
  t.false(vote.reject);
  t.is(seen(raft).term, 4);
});

test('thesis §9.6: a member that cannot win does not disturb: its term is no later when it comes back', (t) => {
  const raft = createMember({ log: [1, 1] });
  raft.tick(50 * ELECTION_TICKS);
  t.is(raft.role, ROLE_PRE_CANDIDATE);
  t.is(seen(raft).term, 1);
  raft.step(message(MSG_HEARTBEAT, 2, { term: 1 }));
  t.is(raft.role, ROLE_FOLLOWER);
});

test('thesis §9.6: a pre-vote is granted in the name of the next term, and changes neither term nor vote', (t) => {
  const raft = createMember({ log: [1, 1], term: 3 });
  raft.tick(ELECTION_TICKS);
  const grant = answer(raft, message(MSG_PRE_VOTE, 2, { term: 4, index: 2, logTerm: 1 }));
  t.is(brief(grant).term, 4);
  t.false(grant.reject);
  t.like(seen(raft), { term: 3, vote: 0 });
  t.false(answer(raft, message(MSG_PRE_VOTE, 3, { term: 4, index: 2, logTerm: 1 })).reject, 'to as many as ask');
  t.true(answer(raft, message(MSG_PRE_VOTE, 3, { term: 4, index: 1, logTerm: 1 })).reject, 'whose log would do');
});

test('thesis §9.6: a majority of pre-votes begins the election proper', (t) => {
  const raft = createMember({ log: [1, 1], term: 3 });
  tickUntilCampaign(raft);
  drain(raft);
  raft.step(message(MSG_PRE_VOTE_RESPONSE, 2, { term: 4 }));
  t.like(seen(raft), { term: 4, vote: 1 });
  t.is(sent(raft, MSG_VOTE).length, 2);
});

test('thesis §9.6: pre-votes for another term do not count, nor do they as votes', (t) => {
  const raft = createMember({ log: [1, 1], term: 3 });
  tickUntilCampaign(raft);
  raft.step(message(MSG_PRE_VOTE_RESPONSE, 2, { term: 5 }));
  raft.step(message(MSG_PRE_VOTE_RESPONSE, 2, { term: 3 }));
  t.is(raft.role, ROLE_PRE_CANDIDATE);
  raft.step(message(MSG_PRE_VOTE_RESPONSE, 2, { term: 4 }));
  raft.step(message(MSG_PRE_VOTE_RESPONSE, 3, { term: 4 }));
  t.not(raft.role, ROLE_LEADER);
});

test('thesis §9.6: a pre-candidate learns of a later term from a refusal', (t) => {
  const raft = createMember({ log: [1, 1], term: 3 });
  tickUntilCampaign(raft);
  raft.step(message(MSG_PRE_VOTE_RESPONSE, 2, { term: 8, reject: true }));
  t.is(raft.role, ROLE_FOLLOWER);
  t.is(seen(raft).term, 8);
});

test('a member with a later term and a shorter log can come back: the leader learns of the term from its answer', (t) => {
  const raft = createMember({ log: [1], term: 7 });
  const reply = answer(raft, message(MSG_HEARTBEAT, 2, { term: 3 }));
  t.is(reply.type, MSG_APPEND_RESPONSE);
  t.is(brief(reply).term, 7);
  t.true(
    answer(raft, message(MSG_PRE_VOTE, 2, { term: 4, index: 5, logTerm: 3 })).reject,
    'and so does a pre-candidate',
  );
});
