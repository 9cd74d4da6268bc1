/** Raft paper, figure 2 and §5.1, §5.2, §5.4.1: terms, votes, timeouts. One test per sentence. */
import test from 'ava';
import { confOf } from '../../src/core/raft/configuration.ts';
import type { Raft } from '../../src/core/raft/raft.ts';
import type { MessageType } from '../../src/core/raft/types.ts';
import {
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_PRE_VOTE,
  MSG_VOTE,
  MSG_VOTE_RESPONSE,
  ROLE_CANDIDATE,
  ROLE_FOLLOWER,
  ROLE_LEADER,
} from '../../src/core/raft/types.ts';
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

/** The paper's own algorithm: no pre-vote, no leases. */
const plain = { preVote: false, checkQuorum: false } as const;
const voteFrom2 = (term: number, index = 0, logTerm = 0) => message(MSG_VOTE, 2, { term, index, logTerm });

function leader(options: MemberOptions = {}): Raft {
  const raft = createMember({ ...plain, ...options });
  elect(raft);
  return raft;
}

test('§5.2: a member begins as a follower', (t) => {
  t.is(createMember(plain).role, ROLE_FOLLOWER);
  t.is(createMember({ ...plain, term: 7, vote: 1, log: [7] }).role, ROLE_FOLLOWER);
});

test('§5.1: a member that sees a larger term takes it on and becomes a follower, whatever the message', (t) => {
  const types: MessageType[] = [
    MSG_VOTE,
    MSG_VOTE_RESPONSE,
    MSG_APPEND,
    MSG_APPEND_RESPONSE,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESPONSE,
  ];
  for (const type of types) {
    const candidate = createMember(plain);
    tickUntilCampaign(candidate);
    for (const raft of [createMember(plain), candidate, leader()]) {
      raft.step(message(type, 2, { term: 9 }));
      t.is(seen(raft).term, 9);
      t.is(raft.role, ROLE_FOLLOWER);
    }
  }
});

test('§5.1: a request for a vote of an earlier term is not granted', (t) => {
  const raft = createMember({ ...plain, term: 5 });
  t.deepEqual(answers(raft, voteFrom2(4, 100, 4)), []);
  t.is(seen(raft).vote, 0);
});

test('§5.1: an append of an earlier term is refused with the current term, and changes nothing', (t) => {
  const raft = createMember({ preVote: false, log: [1, 1], term: 5 });
  const refusal = answer(raft, message(MSG_APPEND, 2, { term: 4, index: 1, logTerm: 1, commit: 2 }));
  t.is(brief(refusal).term, 5);
  t.is(seen(raft).lastIndex, 2);
  t.is(seen(raft).commitIndex, 0);
  t.is(seen(raft).leader, 0);
});

test('§5.1: a leader that learns of a later term from the refusal of its append steps down', (t) => {
  const raft = leader();
  raft.step(message(MSG_APPEND_RESPONSE, 2, { term: raft.term + 3 }));
  t.is(raft.role, ROLE_FOLLOWER);
});

test('§5.2: a follower that hears nothing for an election timeout becomes a candidate', (t) => {
  const raft = createMember(plain);
  tickUntilCampaign(raft);
  t.is(raft.role, ROLE_CANDIDATE);
});

test('§5.2: a follower that hears from its leader within every election timeout stays one', (t) => {
  for (const type of [MSG_APPEND, MSG_HEARTBEAT] as const) {
    const raft = createMember({ ...plain, term: 3 });
    for (let i = 0; i < 20; i++) {
      raft.tick(ELECTION_TICKS - 1);
      raft.step(message(type, 2, { term: 3 }));
    }
    t.is(raft.role, ROLE_FOLLOWER);
    t.is(seen(raft).leader, 2);
  }
});

test('figure 2: granting a vote puts off the own election', (t) => {
  const raft = createMember(plain);
  for (let term = 1; term <= 20; term++) {
    raft.tick(ELECTION_TICKS - 1);
    t.false(answer(raft, voteFrom2(term)).reject);
  }
  t.is(raft.role, ROLE_FOLLOWER);
});

test('figure 2: refusing a vote does not put off the own election', (t) => {
  const raft = createMember({ ...plain, log: [1, 1] });
  const timeoutTicks = tickUntilCampaign(createMember({ ...plain, log: [1, 1] }));
  for (let tick = 1; tick < timeoutTicks; tick++) {
    raft.tick();
    // A candidate whose log is behind, in term after term.
    t.true(answer(raft, voteFrom2(tick + 1, 1, 1)).reject);
    t.is(raft.role, ROLE_FOLLOWER);
  }
  raft.tick();
  t.is(raft.role, ROLE_CANDIDATE);
});

test('figure 2: a stale append does not put off the election', (t) => {
  const raft = createMember({ preVote: false, term: 5 });
  const timeoutTicks = tickUntilCampaign(createMember({ preVote: false, term: 5 }));
  for (let tick = 1; tick <= timeoutTicks; tick++) {
    raft.step(message(MSG_APPEND, 2, { term: 4 }));
    raft.tick();
  }
  t.is(raft.role, ROLE_CANDIDATE);
});

test('§5.2: election timeouts are random, from one to two election timeouts, and drawn anew for each election', (t) => {
  const raft = createMember(plain);
  const drawn = new Set<number>();
  for (let i = 0; i < 200; i++) drawn.add(tickUntilCampaign(raft));
  t.deepEqual(
    [...drawn].toSorted((a, b) => a - b),
    [10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
  );
});

test('§5.2: a candidate enters the next term, votes for itself and asks all others for their votes', (t) => {
  const raft = createMember({ ...plain, log: [1, 1, 2], term: 4 });
  tickUntilCampaign(raft);
  t.is(seen(raft).term, 5);
  t.is(seen(raft).vote, 1);
  const requests = sent(raft);
  t.deepEqual(requests.map(brief), [
    { type: MSG_VOTE, from: 1, to: 2, term: 5, index: 3, logTerm: 2 },
    { type: MSG_VOTE, from: 1, to: 3, term: 5, index: 3, logTerm: 2 },
  ]);
});

test('§5.2: a candidate asks for no vote before its own is durable', (t) => {
  const raft = createMember(plain);
  tickUntilCampaign(raft);
  const ready = raft.ready();
  t.like(ready.hardState, { term: 1, vote: 1 });
  t.true(ready.mustSync);
  t.deepEqual(ready.messages, []);
  t.is(ready.messagesAfterPersist.length, 2);
});

test('§5.2: votes of a majority of the cluster in one term make a leader, fewer do not', (t) => {
  for (const size of [3, 4, 5, 7]) {
    const conf = confOf(members(...Array.from({ length: size }, (_, i) => i + 1)));
    const raft = createMember({ ...plain, conf });
    tickUntilCampaign(raft);
    drain(raft);
    for (let votes = 2, from = 2; from <= size && votes <= Math.floor(size / 2) + 1; from++, votes++) {
      t.is(raft.role, ROLE_CANDIDATE, `${votes - 1} of ${size}`);
      raft.step(message(MSG_VOTE_RESPONSE, from, { term: 1 }));
    }
    t.is(raft.role, ROLE_LEADER, `majority of ${size}`);
  }
});

test('§5.2: a voter counts once, however often its vote arrives', (t) => {
  const raft = createMember({ ...plain, conf: confOf(members(1, 2, 3, 4, 5)) });
  tickUntilCampaign(raft);
  for (let i = 0; i < 5; i++) raft.step(message(MSG_VOTE_RESPONSE, 2, { term: 1 }));
  t.is(raft.role, ROLE_CANDIDATE);
});

test('§5.2: of two answers of one voter in one election the first one counts', (t) => {
  const raft = createMember(plain);
  tickUntilCampaign(raft);
  raft.step(message(MSG_VOTE_RESPONSE, 2, { term: 1, reject: true }));
  raft.step(message(MSG_VOTE_RESPONSE, 2, { term: 1 }));
  t.is(raft.role, ROLE_CANDIDATE);
});

test('§5.2: votes of an earlier term do not count', (t) => {
  const raft = createMember(plain);
  tickUntilCampaign(raft);
  tickUntilCampaign(raft);
  t.is(seen(raft).term, 2);
  for (const from of [2, 3]) raft.step(message(MSG_VOTE_RESPONSE, from, { term: 1 }));
  t.is(raft.role, ROLE_CANDIDATE);
});

test('§5.2: a member votes for at most one candidate in a term, first come first served', (t) => {
  const raft = createMember(plain);
  t.false(answer(raft, voteFrom2(1)).reject);
  t.true(answer(raft, message(MSG_VOTE, 3, { term: 1 })).reject);
  t.false(answer(raft, voteFrom2(1)).reject, 'the same candidate is granted its vote again');
  t.false(answer(raft, message(MSG_VOTE, 3, { term: 2 })).reject, 'another term, another vote');
});

test('§5.2: a member that has a leader in this term votes for nobody else in it', (t) => {
  const raft = createMember(plain);
  raft.step(message(MSG_HEARTBEAT, 3, { term: 2 }));
  t.true(answer(raft, voteFrom2(2)).reject);
});

test('figure 2: a vote is durable before it is answered', (t) => {
  const raft = createMember(plain);
  raft.step(voteFrom2(4));
  const ready = raft.ready();
  t.like(ready.hardState, { term: 4, vote: 2 });
  t.deepEqual(ready.messages, []);
  t.is(ready.messagesAfterPersist[0]?.type, MSG_VOTE_RESPONSE);
});

test('figure 2: a member that restarts keeps its vote', (t) => {
  const raft = createMember({ ...plain, term: 4, vote: 2 });
  t.true(answer(raft, message(MSG_VOTE, 3, { term: 4 })).reject);
  t.false(answer(raft, voteFrom2(4)).reject);
});

test('§5.2: no message of a term leaves before the term is durable', (t) => {
  const raft = createMember({ ...plain, term: 1 });
  raft.step(message(MSG_HEARTBEAT, 2, { term: 6 }));
  const ready = raft.ready();
  t.deepEqual(ready.messages, []);
  t.is(ready.messagesAfterPersist[0]?.type, MSG_HEARTBEAT_RESPONSE);
  // And later ones wait behind it.
  raft.step(message(MSG_HEARTBEAT, 2, { term: 6 }));
  const next = raft.ready();
  t.deepEqual(next.messages, []);
  raft.persisted(next.number);
  raft.step(message(MSG_HEARTBEAT, 2, { term: 6 }));
  t.is(raft.ready().messages.length, 1);
});

test('thesis §9.6: a pre-vote about the term that a member is in is granted as a vote in it would be', (t) => {
  const raft = createMember({ ...plain, term: 4, vote: 2 });
  t.true(answer(raft, message(MSG_PRE_VOTE, 3, { term: 4 })).reject, 'it voted for another');
  t.false(answer(raft, message(MSG_PRE_VOTE, 2, { term: 4 })).reject);
  t.false(answer(raft, message(MSG_PRE_VOTE, 3, { term: 5 })).reject);
});

test('§5.4.1: of two logs the one whose last entry has the later term is more up-to-date', (t) => {
  const raft = createMember({ ...plain, log: [1, 1, 2], term: 3 });
  t.true(answer(raft, voteFrom2(4, 100, 1)).reject);
  t.false(answer(raft, voteFrom2(5, 1, 3)).reject);
});

test('§5.4.1: of two logs that end with the same term the longer one is more up-to-date', (t) => {
  const raft = createMember({ ...plain, log: [1, 1, 2], term: 3 });
  t.true(answer(raft, voteFrom2(4, 2, 2)).reject);
  t.false(answer(raft, voteFrom2(5, 3, 2)).reject);
  t.false(answer(raft, voteFrom2(6, 4, 2)).reject);
});

test('§5.4.1: a compacted log is as up-to-date as its checkpoint', (t) => {
  const raft = createMember({ ...plain, snapshotIndex: 10, snapshotTerm: 3, term: 3 });
  t.true(answer(raft, voteFrom2(4, 9, 3)).reject);
  t.true(answer(raft, voteFrom2(5, 20, 2)).reject);
  t.false(answer(raft, voteFrom2(6, 10, 3)).reject);
});

test('§5.2: a candidate that hears from a leader of its term, or of a later one, becomes its follower', (t) => {
  for (const later of [0, 3]) {
    for (const type of [MSG_APPEND, MSG_HEARTBEAT] as const) {
      const raft = createMember(plain);
      tickUntilCampaign(raft);
      raft.step(message(type, 3, { term: raft.term + later }));
      t.is(raft.role, ROLE_FOLLOWER);
      t.is(seen(raft).leader, 3);
    }
  }
});

test('§5.2: a candidate that hears from a leader of an earlier term goes on', (t) => {
  const raft = createMember({ ...plain, term: 3 });
  tickUntilCampaign(raft);
  raft.step(message(MSG_APPEND, 3, { term: 3 }));
  t.is(raft.role, ROLE_CANDIDATE);
});

test('§5.2: a candidate that is neither elected nor hears of a leader begins a new election after its timeout', (t) => {
  const raft = createMember(plain);
  tickUntilCampaign(raft);
  drain(raft);
  tickUntilCampaign(raft);
  t.is(seen(raft).term, 2);
  t.is(sent(raft, MSG_VOTE).length, 2);
});

test('§5.2: a candidate that a majority refuses waits as a follower', (t) => {
  const raft = createMember(plain);
  tickUntilCampaign(raft);
  raft.step(message(MSG_VOTE_RESPONSE, 2, { term: 1, reject: true }));
  t.is(raft.role, ROLE_CANDIDATE);
  raft.step(message(MSG_VOTE_RESPONSE, 3, { term: 1, reject: true }));
  t.is(raft.role, ROLE_FOLLOWER);
});

test('§5.2: a new leader makes itself known to all others at once', (t) => {
  const raft = leader();
  const first = sent(raft, MSG_APPEND);
  t.deepEqual(
    first.map(({ to }) => to),
    members(2, 3),
  );
  t.true(first.every((append) => append.term === raft.term));
});

test('§5.2: a leader sends heartbeats while idle, often enough that nobody times out', (t) => {
  const raft = leader();
  for (const append of sent(raft, MSG_APPEND)) raft.step(acknowledge(append));
  drain(raft);
  for (let tick = 0; tick < 50; tick++) {
    raft.tick();
    t.deepEqual(
      sent(raft).map(({ type, to }) => [type, to]),
      [
        [MSG_HEARTBEAT, member(2)],
        [MSG_HEARTBEAT, member(3)],
      ],
    );
  }
});

test('§5.2: there are heartbeats every heartbeatTicks', (t) => {
  const raft = leader({ heartbeatTicks: 3 });
  drain(raft);
  const counts = Array.from({ length: 6 }, () => {
    raft.tick();
    return sent(raft, MSG_HEARTBEAT).length;
  });
  t.deepEqual(counts, [0, 0, 2, 0, 0, 2]);
});

test('thesis §9.6: with pre-vote a member asks first whether it could win, and changes neither its term nor its vote', (t) => {
  const raft = createMember({ log: [1, 1], term: 4 });
  tickUntilCampaign(raft);
  const ready = raft.ready();
  t.is(ready.hardState, null);
  t.deepEqual(ready.messages.map(brief), [
    { type: MSG_PRE_VOTE, from: 1, to: 2, term: 5, index: 2, logTerm: 1 },
    { type: MSG_PRE_VOTE, from: 1, to: 3, term: 5, index: 2, logTerm: 1 },
  ]);
  t.is(seen(raft).term, 4);
  t.is(seen(raft).vote, 0);
});

test('time that passed in one go makes one round of heartbeats, or one campaign', (t) => {
  const raft = leader({ checkQuorum: false });
  drain(raft);
  raft.tick(500);
  t.is(sent(raft, MSG_HEARTBEAT).length, 2);
  const stopped = createMember(plain);
  stopped.tick(500);
  t.is(seen(stopped).term, 1);
  t.is(sent(stopped, MSG_VOTE).length, 2);
});
