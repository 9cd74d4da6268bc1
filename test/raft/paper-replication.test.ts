/** Raft paper, figure 2 and §5.3, §5.5: appends, conflicts, what leaders know of followers. One test per sentence. */
import test from 'ava';
import type { Message } from '../../src/core/raft/types.ts';
import {
  ENTRY_DATA,
  ENTRY_NOOP,
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  REFUSED_NOT_LEADER,
  REFUSED_OVERLOADED,
} from '../../src/core/raft/types.ts';
import type { MemberOptions, OpenRaft } from '../support/raft-member.ts';
import {
  acknowledge,
  answer,
  brief,
  createMember,
  drain,
  elect,
  entriesOf,
  member,
  message,
  refuse,
  seen,
  sent,
  term,
} from '../support/raft-member.ts';

const plain = { preVote: false, checkQuorum: false } as const;

/** An append of member 2, leader of term 4. */
function append(index: number, logTerm: number, terms: readonly number[] = [], commit = 0): Message {
  return message(MSG_APPEND, 2, { term: 4, index, logTerm, commit, entries: entriesOf(terms, index + 1) });
}

function leader(options: MemberOptions = {}): OpenRaft {
  const raft = createMember({ ...plain, ...options });
  elect(raft);
  return raft;
}

function appendTo(to: number, messages: readonly Message[]): Message {
  const found = messages.filter((one) => one.type === MSG_APPEND && one.to === to);
  if (found[0] === undefined || found.length > 1) throw new Error(`one append expected, not ${found.length}`);
  return found[0];
}

/** A leader that streams to member 2, everything acknowledged. */
function streamingLeader(options: MemberOptions = {}): OpenRaft {
  const raft = leader(options);
  for (const one of sent(raft, MSG_APPEND)) if (one.to === 2) raft.step(acknowledge(one));
  drain(raft);
  return raft;
}

test('figure 2: an append is refused when the log has no entry at its previous index with its previous term', (t) => {
  for (const [index, logTerm] of [
    [4, 3],
    [3, 2],
    [2, 2],
  ] as const) {
    const raft = createMember({ log: [1, 1, 3] });
    const refusal = answer(raft, append(index, logTerm, [4]));
    t.like(brief(refusal), { type: MSG_APPEND_RESPONSE, reject: true, index });
    t.deepEqual(raft.logTerms, [1, 1, 3]);
  }
});

test('figure 2: an entry that conflicts with a new one is deleted, with all that follow it', (t) => {
  const raft = createMember({ log: [1, 1, 2, 2, 3] });
  t.like(brief(answer(raft, append(2, 1, [3]))), { index: 3 });
  t.deepEqual(raft.logTerms, [1, 1, 3]);
});

test('figure 2: entries that are not in the log are appended', (t) => {
  const raft = createMember({ log: [1, 1] });
  t.like(brief(answer(raft, append(1, 1, [1, 4, 4]))), { index: 4 });
  t.deepEqual(raft.logTerms, [1, 1, 4, 4]);
});

test('§5.5: an append that arrives again, or late, takes nothing away', (t) => {
  const raft = createMember({ log: [1, 1] });
  answer(raft, append(2, 1, [4, 4, 4]));
  t.like(brief(answer(raft, append(2, 1, [4]))), { index: 3 }, 'it speaks only for what it carries');
  t.like(brief(answer(raft, append(1, 1))), { index: 1 });
  t.deepEqual(raft.logTerms, [1, 1, 4, 4, 4]);
});

test('figure 2: a follower commits what the leader has committed, up to the last entry that it got from it', (t) => {
  const raft = createMember({ log: [1, 1, 1, 1] });
  answer(raft, append(1, 1, [1], 9));
  t.is(seen(raft).commitIndex, 2, 'what lies behind may not be in the log of the leader');
  answer(raft, append(4, 1, [4], 3));
  t.is(seen(raft).commitIndex, 3);
});

test('figure 2: a commit index never falls', (t) => {
  const raft = createMember({ log: [1, 1, 1] });
  answer(raft, append(3, 1, [], 3));
  answer(raft, append(3, 1, [], 1));
  answer(raft, message(MSG_HEARTBEAT, 2, { term: 4, commit: 2 }));
  t.is(seen(raft).commitIndex, 3);
});

test('figure 2: what is committed is applied in the order of the log, each entry once', (t) => {
  const raft = createMember();
  raft.step(append(0, 0, [1, 2, 4], 2));
  t.deepEqual(
    drain(raft).flatMap(({ committed }) => committed.map(({ index }) => Number(index))),
    [1, 2],
  );
  raft.step(append(3, 4, [4], 4));
  t.deepEqual(
    drain(raft).flatMap(({ committed }) => committed.map(({ index }) => Number(index))),
    [3, 4],
  );
  raft.step(append(3, 4, [4], 4));
  t.deepEqual(
    drain(raft).flatMap(({ committed }) => committed),
    [],
  );
});

test('§5.3: a committed entry is never overwritten, whoever says so', (t) => {
  const raft = createMember({ log: [1, 1, 1], commit: 2 });
  // Only a broken leader would say so: its log must hold what is committed.
  answer(raft, append(1, 1, [4]));
  t.deepEqual(raft.logTerms, [1, 1, 1]);
});

test('figure 2: an append is acknowledged when its entries are durable, not before', (t) => {
  const raft = createMember({ log: [1], term: 4 });
  raft.step(append(1, 1, [4, 4]));
  const ready = raft.ready();
  t.deepEqual(
    ready.entries.map((entry) => Number(entry.index)),
    [2, 3],
  );
  t.true(ready.mustSync);
  t.deepEqual(ready.messages, []);
  t.like(brief(ready.messagesAfterPersist[0] as Message), { type: MSG_APPEND_RESPONSE, index: 3 });
});

test('an append that brings nothing new is acknowledged only when what it confirms is durable', (t) => {
  const raft = createMember({ log: [1], term: 4 });
  raft.step(append(1, 1, [4]));
  raft.ready();
  raft.step(append(1, 1, [4]));
  const again = raft.ready();
  t.false(again.mustSync);
  t.deepEqual(again.messages, []);
  t.is(again.messagesAfterPersist.length, 1, 'it waits for the Ready before');
});

test('a late append is answered with what is committed, when that is durable here', (t) => {
  const raft = createMember({ log: [1], term: 4 });
  raft.step(append(1, 1, [4, 4], 3));
  raft.ready();
  raft.step(append(1, 1, [4], 3));
  const ready = raft.ready();
  t.deepEqual(ready.messages, []);
  t.like(brief(ready.messagesAfterPersist[0] as Message), { type: MSG_APPEND_RESPONSE, index: 3 });
});

test('a Ready that overwrites says so', (t) => {
  const raft = createMember({ log: [1, 2, 2] });
  raft.step(append(3, 2, [4]));
  t.false(raft.ready().truncated);
  const other = createMember({ log: [1, 2, 2] });
  other.step(append(1, 1, [4]));
  t.true(other.ready().truncated);
});

test('§5.3: a leader appends a command to its log and sends it to all others, before its own disk has it', (t) => {
  const raft = streamingLeader();
  const index = raft.propose(Buffer.from('x'));
  t.is(index, 2);
  const ready = raft.ready();
  t.deepEqual(
    ready.entries.map(({ type }) => type),
    [ENTRY_DATA],
  );
  t.like(brief(appendTo(2, ready.messages)), { index: 1, logTerm: 1, entries: [1] });
});

test('§5.1: entries carry the term in which the leader took them', (t) => {
  const raft = streamingLeader({ log: [1, 3], term: 6 });
  raft.propose(Buffer.from('x'));
  t.is(seen(raft).term, 7);
  t.deepEqual(raft.logTerms, [1, 3, 7, 7]);
});

test('only a leader takes commands', (t) => {
  t.is(createMember().propose(Buffer.from('x')), REFUSED_NOT_LEADER);
});

test('a leader never overwrites or deletes entries of its log: it only appends', (t) => {
  const raft = leader({ log: [1, 2, 2] });
  t.deepEqual(raft.logTerms, [1, 2, 2, 3]);
  raft.step(refuse(appendTo(2, sent(raft)), 1, 1));
  drain(raft);
  t.deepEqual(raft.logTerms, [1, 2, 2, 3]);
});

test('figure 2: a new leader begins with each follower after its own last entry, and knows of no match', (t) => {
  const raft = leader({ log: [1, 2, 2] });
  const first = sent(raft, MSG_APPEND);
  t.deepEqual(
    first.map((one) => brief(one).index),
    [3, 3],
  );
  for (const { id, match } of raft.status().progress) if (id !== raft.id) t.is(Number(match), 0);
});

test('figure 2: a leader sends what its log has from the next index of the follower on', (t) => {
  const raft = streamingLeader();
  for (const value of ['a', 'b', 'c']) raft.propose(Buffer.from(value));
  t.like(brief(appendTo(2, sent(raft))), { index: 1, entries: [1, 1, 1] }, 'one append for all of a turn');
});

test('figure 2: after a success the leader moves next and match index of the follower on', (t) => {
  const raft = streamingLeader();
  raft.propose(Buffer.from('a'));
  raft.step(acknowledge(appendTo(2, sent(raft))));
  const progress = raft.status().progress.find(({ id }) => id === member(2));
  t.like(progress, { state: 'replicate', match: 2 as never, next: 3 as never });
});

test('figure 2: after a refusal the leader goes back and tries again, until the logs meet', (t) => {
  const raft = leader({ log: [1, 2, 2, 2], term: 5 });
  const follower = createMember({ ...plain, id: 2, log: [1] });
  let rounds = 0;
  for (let pending = [appendTo(2, sent(raft))]; pending.length > 0; rounds++) {
    for (const one of pending) follower.step(one);
    for (const reply of sent(follower)) raft.step(reply);
    pending = sent(raft, MSG_APPEND).filter(({ to }) => to === 2);
    t.true(rounds < 10);
  }
  t.deepEqual(follower.logTerms, [1, 2, 2, 2, 6]);
});

test('§5.3: a follower that refuses names the conflict, so that one round skips a whole term', (t) => {
  // Figure 7: the follower has many entries of terms that the leader never saw.
  const raft = createMember({ log: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3] });
  const refusal = answer(raft, append(10, 1, [4]));
  t.like(brief(refusal), { reject: true, index: 10, hint: 3, logTerm: 1 }, 'terms after 1 cannot match');
});

test('§5.3: a leader skips what the follower says it cannot have', (t) => {
  const raft = leader({ log: [1, 1, 4, 4, 4, 4], term: 4 });
  raft.step(refuse(appendTo(2, sent(raft)), 6, 3));
  t.like(brief(appendTo(2, sent(raft))), { index: 2, logTerm: 1 }, 'terms up to 3 end at index 2 here');
});

test('a refusal that is late moves nothing back', (t) => {
  const raft = leader({ log: [1, 1, 1, 1] });
  const first = appendTo(2, sent(raft));
  raft.step(refuse(first, 2, 1));
  const second = appendTo(2, sent(raft));
  const before = raft.status().progress;
  raft.step(refuse(first, 2, 1));
  t.deepEqual(raft.status().progress, before, 'while it probes');
  t.deepEqual(sent(raft), []);
  raft.step(acknowledge(second));
  const after = raft.status().progress;
  raft.step(refuse(first, 2, 1));
  t.deepEqual(raft.status().progress, after, 'while it streams');
});

test('§5.3: a leader repeats appends that may be lost, for ever', (t) => {
  const raft = leader();
  const lost = appendTo(3, sent(raft));
  for (let i = 0; i < 5; i++) {
    raft.tick();
    const beat = sent(raft, MSG_HEARTBEAT).find(({ to }) => to === member(3));
    raft.step(message(MSG_HEARTBEAT_RESPONSE, 3, { term: 1, context: beat?.context ?? 0 }));
    t.deepEqual(brief(appendTo(3, sent(raft))), brief(lost));
  }
});

test('a streamed append that was lost is noticed at the next heartbeat', (t) => {
  const raft = streamingLeader();
  raft.propose(Buffer.from('lost'));
  drain(raft);
  raft.tick();
  const beat = sent(raft, MSG_HEARTBEAT).find(({ to }) => to === member(2));
  raft.step(message(MSG_HEARTBEAT_RESPONSE, 2, { term: 1, context: beat?.context ?? 0 }));
  const probe = appendTo(2, sent(raft));
  t.like(brief(probe), { index: 2 });
  raft.step(refuse(probe, 1, 1));
  t.like(brief(appendTo(2, sent(raft))), { index: 1, entries: [1] });
});

test('a follower that was out of reach is probed, and streamed to again when it acknowledges what it had already', (t) => {
  const raft = streamingLeader();
  const stateOf2 = (): unknown => raft.status().progress.find(({ id }) => id === member(2))?.state;
  raft.reportUnreachable(member(2));
  t.is(stateOf2(), 'probe');
  raft.propose(Buffer.from('x'));
  const probe = appendTo(2, sent(raft));
  raft.propose(Buffer.from('y'));
  t.deepEqual(
    sent(raft, MSG_APPEND).filter(({ to }) => to === 2),
    [],
    'one append at a time',
  );
  raft.step(acknowledge({ ...probe, entries: [] }));
  t.is(stateOf2(), 'replicate');
  t.like(brief(appendTo(2, sent(raft))), { index: 1, entries: [1, 1] });
});

test('appends that overtake each other begin one new stream, not one for each refusal', (t) => {
  const raft = streamingLeader();
  const stream = ['a', 'b', 'c', 'd'].map((value) => {
    raft.propose(Buffer.from(value));
    return appendTo(2, sent(raft));
  });
  const [first, second, third, fourth] = stream as [Message, Message, Message, Message];
  raft.step(refuse(third, 1, 1));
  const probe = appendTo(2, sent(raft));
  t.like(brief(probe), { index: 1 });
  raft.step(acknowledge(first));
  const again = appendTo(2, sent(raft));
  t.like(brief(again), { index: 2, entries: [1, 1, 1] });
  raft.step(refuse(fourth, 1, 1));
  raft.step(refuse(second, 1, 1));
  t.deepEqual(sent(raft), [], 'refusals of the first stream');
  raft.propose(Buffer.from('e'));
  const fifth = appendTo(2, sent(raft));
  raft.step(refuse(fifth, 2, 1));
  t.like(brief(appendTo(2, sent(raft))), { index: 2 }, 'one of this stream counts');
});

test('a full window does not keep a loss from being noticed', (t) => {
  const raft = streamingLeader({ maxInflightMessages: 1 });
  raft.propose(Buffer.from('lost'));
  drain(raft);
  raft.propose(Buffer.from('waits'));
  t.deepEqual(
    sent(raft, MSG_APPEND).filter(({ to }) => to === 2),
    [],
  );
  raft.tick();
  const beat = sent(raft, MSG_HEARTBEAT).find(({ to }) => to === member(2));
  raft.step(message(MSG_HEARTBEAT_RESPONSE, 2, { term: 1, context: beat?.context ?? 0 }));
  const probe = appendTo(2, sent(raft));
  t.like(brief(probe), { index: 2 });
  raft.step(refuse(probe, 1, 1));
  t.deepEqual(brief(appendTo(2, sent(raft))).entries, [1, 1]);
});

test('a stream of appends is acknowledged without an empty append for each', (t) => {
  const raft = streamingLeader();
  const stream = ['a', 'b', 'c'].map((value) => {
    raft.propose(Buffer.from(value));
    return appendTo(2, sent(raft));
  });
  const [first, second, third] = stream.map(acknowledge);
  raft.step(first as Message);
  t.like(brief(appendTo(2, sent(raft))), { index: 4, commit: 2 }, 'only because there is a commit index to tell');
  // Not news: already acknowledged.
  raft.step(first as Message);
  t.deepEqual(sent(raft), []);
  raft.step(second as Message);
  raft.step(third as Message);
  t.is(sent(raft, MSG_APPEND).filter(({ to }) => to === member(2)).length, 1);
});

test('appends under way to one follower are bounded in number; an acknowledgement lets the next go', (t) => {
  const raft = streamingLeader({ maxInflightMessages: 2 });
  const stream: Message[] = [];
  for (let i = 0; i < 5; i++) {
    raft.propose(Buffer.from('x'));
    stream.push(...sent(raft, MSG_APPEND).filter(({ to }) => to === member(2)));
  }
  t.deepEqual(
    stream.map((one) => one.entries.length),
    [1, 1],
  );
  raft.step(acknowledge(stream[0] as Message));
  t.deepEqual(brief(appendTo(2, sent(raft))).entries, [1, 1, 1], 'all that waited in one');
});

test('appends are bounded in bytes, but one entry always goes', (t) => {
  const raft = streamingLeader({ maxBytesPerAppend: 100 });
  for (const bytes of [60, 40, 1, 500]) raft.propose(Buffer.alloc(bytes));
  const appends = sent(raft, MSG_APPEND).filter(({ to }) => to === member(2));
  t.deepEqual(
    appends.map(({ entries }) => entries.map(({ data }) => data.length)),
    [[60, 40], [1], [500]],
  );
});

test('a leader refuses commands beyond what may be uncommitted, but never the only one', (t) => {
  const raft = streamingLeader({ maxUncommittedBytes: 100 });
  t.is(raft.propose(Buffer.alloc(500)), 2);
  t.is(raft.propose(Buffer.alloc(1)), REFUSED_OVERLOADED);
  raft.step(acknowledge(appendTo(2, sent(raft))));
  t.is(raft.propose(Buffer.alloc(1)), 3);
});

test('§8: a new leader begins with an entry of its own term that does nothing', (t) => {
  const raft = leader({ log: [1, 1] });
  const [ready] = drain(raft);
  t.like(ready?.entries[0], { type: ENTRY_NOOP, term: term(2) });
});
