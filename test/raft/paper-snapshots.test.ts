/** Log compaction and InstallSnapshot. Raft paper §7, figure 13. One test per sentence. */
import test from 'ava';
import { confOf } from '../../src/core/raft/configuration.ts';
import type { Message, SnapshotMeta } from '../../src/core/raft/types.ts';
import {
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_SNAPSHOT,
  MSG_VOTE,
} from '../../src/core/raft/types.ts';
import {
  acknowledge,
  answer,
  answers,
  brief,
  createMember,
  drain,
  elect,
  ELECTION_TICKS,
  entriesOf,
  index,
  member,
  members,
  message,
  refuse,
  seen,
  sent,
  term,
} from '../support/raft-member.ts';
import { RaftNetwork } from '../support/raft-network.ts';

const conf = confOf(members(1, 2, 3));

/** A snapshot of leader 2, of term 4. */
function snapshot(at: number, ofTerm: number, meta: Partial<SnapshotMeta> = {}): Message {
  return message(MSG_SNAPSHOT, 2, { term: 4, snapshot: { index: index(at), term: term(ofTerm), conf, ...meta } });
}

test('figure 13: a snapshot of an earlier term is ignored', (t) => {
  const raft = createMember({ term: 5, log: [1] });
  t.deepEqual(answers(raft, snapshot(9, 3)), []);
  t.like(seen(raft), { lastIndex: 1, commitIndex: 0 });
});

test('figure 13: a snapshot replaces the whole log when the log does not have its last entry', (t) => {
  for (const log of [[], [1, 1], [1, 1, 1, 1, 1, 1, 1, 1]]) {
    const raft = createMember({ log, term: 1 });
    t.like(brief(answer(raft, snapshot(5, 3))), { type: MSG_APPEND_RESPONSE, index: 5 });
    t.like(seen(raft), { lastIndex: 5, commitIndex: 5, persisted: 5 });
    t.deepEqual(raft.logTerms, []);
    t.like(brief(answer(raft, message(MSG_APPEND, 2, { term: 4, index: 5, logTerm: 3, entries: entriesOf([4], 6) }))), {
      index: 6,
    });
  }
});

test('figure 13: a log that has the last entry of a snapshot keeps what follows it, and knows that it is committed', (t) => {
  const raft = createMember({ log: [1, 1, 3, 3, 3] });
  raft.step(snapshot(4, 3));
  const ready = raft.ready();
  t.is(ready.snapshot, null, 'nothing to install');
  t.deepEqual(
    ready.committed.map((entry) => Number(entry.index)),
    [1, 2, 3, 4],
  );
  t.deepEqual(raft.logTerms, [1, 1, 3, 3, 3]);
});

test('a snapshot that is older than what is committed changes nothing, and is answered with what is', (t) => {
  const raft = createMember({ log: [1, 1, 3, 3], commit: 3 });
  for (const at of [1, 2, 3]) {
    t.like(brief(answer(raft, snapshot(at, 1))), { type: MSG_APPEND_RESPONSE, index: 3 });
  }
  t.deepEqual(raft.logTerms, [1, 1, 3, 3]);
});

test('figure 13: a snapshot brings the configuration', (t) => {
  const raft = createMember({ conf: confOf([]) });
  answer(raft, snapshot(5, 3, { conf: confOf(members(1, 2), members(3)) }));
  t.deepEqual(raft.status().conf, confOf(members(1, 2), members(3)));
  raft.step(message(MSG_APPEND, 2, { term: 4, index: 5, logTerm: 3, entries: entriesOf([4], 6) }));
  t.deepEqual(raft.status().conf, confOf(members(1, 2), members(3)));
  t.is(Number(raft.status().confIndex), 5);
});

test('a snapshot is acknowledged when it is installed, and nothing is applied before that', (t) => {
  const raft = createMember({ term: 4 });
  raft.step(snapshot(5, 3));
  raft.step(message(MSG_APPEND, 2, { term: 4, index: 5, logTerm: 3, commit: 6, entries: entriesOf([4], 6) }));
  const ready = raft.ready();
  t.is(ready.snapshot?.index, index(5));
  t.true(ready.mustSync);
  t.deepEqual(ready.messages, []);
  t.is(ready.messagesAfterPersist.length, 2);
  t.deepEqual(ready.committed, []);
  t.false(raft.hasReady());
  raft.persisted(ready.number);
  raft.applied(index(5));
  t.true(raft.hasReady());
  t.deepEqual(
    raft.ready().committed.map((entry) => Number(entry.index)),
    [6],
  );
});

test('the vote of a member with a snapshot under way waits until it is installed', (t) => {
  const raft = createMember({ term: 4 });
  raft.step(snapshot(5, 3));
  const first = raft.ready();
  raft.tick(ELECTION_TICKS);
  raft.step(message(MSG_VOTE, 3, { term: 6, index: 5, logTerm: 3 }));
  const second = raft.ready();
  t.deepEqual(second.messages, []);
  raft.persisted(first.number);
  t.is(second.messagesAfterPersist.length, 1);
});

test('§7: a leader that has compacted what a follower needs asks its host for a snapshot, and sends nothing else meanwhile', (t) => {
  const raft = createMember({ preVote: false, snapshotIndex: 10, snapshotTerm: 1, term: 1 });
  elect(raft);
  const [append] = sent(raft, MSG_APPEND);
  raft.step(refuse(append as Message, 0, 0));
  const readys = drain(raft);
  t.deepEqual(
    readys.flatMap(({ snapshotRequests }) => snapshotRequests),
    [member(2)],
  );
  raft.propose(Buffer.from('x'));
  t.deepEqual(
    sent(raft).filter(({ to }) => to === 2),
    [],
  );
  raft.sendSnapshot(member(2), { index: index(10), term: term(1), conf });
  t.deepEqual(sent(raft).map(brief), [{ type: MSG_SNAPSHOT, from: 1, to: 2, term: 2, snapshot: 10 }]);
});

test('§7: after the snapshot the leader goes on with the entry behind it', (t) => {
  const raft = createMember({ preVote: false, snapshotIndex: 10, snapshotTerm: 1, term: 1 });
  elect(raft);
  const [append] = sent(raft, MSG_APPEND);
  raft.step(refuse(append as Message, 0, 0));
  drain(raft);
  raft.sendSnapshot(member(2), { index: index(10), term: term(1), conf });
  const [meta] = sent(raft);
  raft.reportSnapshot(member(2), true);
  t.deepEqual(sent(raft), [], 'delivered is not installed: its answer is awaited');
  raft.step(message(MSG_APPEND_RESPONSE, 2, { term: 2, index: 10, context: meta?.context ?? 0 }));
  t.like(brief(sent(raft, MSG_APPEND)[0] as Message), { index: 10, logTerm: 1, entries: [2] });
});

test('the stream goes on when the follower says that it has the snapshot, whatever the transport reports', (t) => {
  const raft = createMember({ preVote: false, snapshotIndex: 10, snapshotTerm: 1, term: 1 });
  const stateOf2 = (): unknown => raft.status().progress.find(({ id }) => id === member(2))?.state;
  elect(raft);
  const [append] = sent(raft, MSG_APPEND);
  raft.step(refuse(append as Message, 0, 0));
  drain(raft);
  const has = (at: number): void =>
    raft.step(message(MSG_APPEND_RESPONSE, 2, { term: 2, index: at, context: append?.context ?? 0 }));
  has(3);
  t.is(stateOf2(), 'snapshot', 'it is still to be made');
  raft.sendSnapshot(member(2), { index: index(10), term: term(1), conf });
  drain(raft);
  has(9);
  t.is(stateOf2(), 'snapshot', 'an older one');
  has(10);
  t.is(stateOf2(), 'replicate');
  t.like(brief(sent(raft, MSG_APPEND)[0] as Message), { index: 10, entries: [2] });
});

test('a snapshot that was lost is asked for again', (t) => {
  const raft = createMember({ preVote: false, snapshotIndex: 10, snapshotTerm: 1, term: 1 });
  elect(raft);
  const [append] = sent(raft, MSG_APPEND);
  raft.step(refuse(append as Message, 0, 0));
  drain(raft);
  raft.sendSnapshot(member(2), { index: index(10), term: term(1), conf });
  drain(raft);
  raft.reportSnapshot(member(2), false);
  t.deepEqual(
    drain(raft).flatMap(({ snapshotRequests }) => snapshotRequests),
    [member(2)],
  );
});

test('a snapshot that was delivered and then lost by the follower is noticed at the next heartbeat', (t) => {
  const raft = createMember({ preVote: false, snapshotIndex: 10, snapshotTerm: 1, term: 1 });
  elect(raft);
  const [append] = sent(raft, MSG_APPEND);
  raft.step(refuse(append as Message, 0, 0));
  drain(raft);
  raft.sendSnapshot(member(2), { index: index(10), term: term(1), conf });
  drain(raft);
  raft.reportSnapshot(member(2), true);
  raft.tick();
  const beat = sent(raft, MSG_HEARTBEAT).find(({ to }) => to === 2);
  raft.step(message(MSG_HEARTBEAT_RESPONSE, 2, { term: 2, context: beat?.context ?? 0 }));
  const [probe] = sent(raft, MSG_APPEND);
  t.like(brief(probe as Message), { index: 10 });
  raft.step(refuse(probe as Message, 0, 0));
  t.deepEqual(
    drain(raft).flatMap(({ snapshotRequests }) => snapshotRequests),
    [member(2)],
  );
});

test('no snapshot is made for a member that does not answer', (t) => {
  const raft = createMember({ preVote: false });
  elect(raft);
  for (const append of sent(raft, MSG_APPEND)) raft.step(acknowledge(append));
  // Member 3 is silent for an election timeout, and what it needs is dropped.
  for (let tick = 0; tick < 2 * ELECTION_TICKS; tick++) {
    raft.propose(Buffer.from('x'));
    raft.tick();
    for (const append of sent(raft, MSG_APPEND)) if (append.to === 2) raft.step(acknowledge(append));
  }
  drain(raft);
  t.true(raft.compact(raft.appliedIndex) > 1);
  raft.reportUnreachable(member(3));
  raft.propose(Buffer.from('x'));
  t.deepEqual(
    drain(raft).flatMap(({ snapshotRequests }) => snapshotRequests),
    [],
  );
  raft.tick();
  const beat = sent(raft, MSG_HEARTBEAT).find(({ to }) => to === 3);
  raft.step(message(MSG_HEARTBEAT_RESPONSE, 3, { term: raft.term, context: beat?.context ?? 0 }));
  t.deepEqual(
    drain(raft).flatMap(({ snapshotRequests }) => snapshotRequests),
    [member(3)],
  );
});

test('what was read back is not read once more for ten ticks, unless the follower refuses it or its connection breaks', (t) => {
  for (const isRefused of [false, true]) {
    const raft = createMember({ preVote: false, log: [1, 1, 1, 1, 1], maxRetainedBytes: 0 });
    elect(raft);
    const [probe, other] = sent(raft, MSG_APPEND) as [Message, Message];
    raft.step(acknowledge(probe));
    drain(raft);
    raft.step(refuse(other, 1, 1));
    raft.compact(raft.appliedIndex);
    const wanted = (): readonly number[] => drain(raft).flatMap(({ snapshotRequests }) => snapshotRequests.map(Number));
    t.deepEqual(wanted(), [Number(other.to)]);
    raft.sendReadBack(other.to, entriesOf([1, 1, 1]));
    const append = sent(raft, MSG_APPEND).find(({ to }) => to === other.to) as Message;
    t.like(brief(append), { index: 1 });
    t.is(append.entries.length, 2);
    if (isRefused) {
      raft.step(refuse(append, 0, 0));
      t.deepEqual(wanted(), [Number(other.to)]);
      continue;
    }
    const asked: number[] = [];
    for (let tick = 1; tick <= 10; tick++) {
      raft.tick();
      for (const beat of sent(raft, MSG_HEARTBEAT)) {
        raft.step(message(MSG_HEARTBEAT_RESPONSE, Number(beat.to), { term: raft.term, context: beat.context }));
      }
      asked.push(...wanted().map(() => tick));
    }
    t.deepEqual(asked, [10]);
    raft.sendReadBack(other.to, entriesOf([1, 1, 1]));
    raft.reportUnreachable(other.to);
    raft.step(message(MSG_HEARTBEAT_RESPONSE, Number(other.to), { term: raft.term, context: other.context }));
    t.deepEqual(wanted(), [Number(other.to)]);
  }
});

test('the log is kept for a member that was just added, until it had time to answer', (t) => {
  const raft = createMember({ conf: confOf(members(1)) });
  raft.campaign();
  for (let i = 0; i < 5; i++) raft.propose(Buffer.from('x'));
  drain(raft);
  t.true(raft.proposeConfChange({ changes: [{ type: 'addLearner', id: member(2) }] }) > 0);
  drain(raft);
  t.is(Number(raft.compact(raft.appliedIndex)), 0);
});

test('§7: a follower that comes back from afar gets the snapshot and then the log', (t) => {
  const group = new RaftNetwork([1, 2, 3]);
  group.elect(1);
  group.crash(3);
  for (let i = 0; i < 20; i++) group.propose(1, String(i));
  group.settle();
  group.run(3 * ELECTION_TICKS);
  group.checkpoint(1);
  group.checkpoint(2);
  group.restart(3);
  group.run(3);
  group.propose(1, 'after');
  group.settle();
  t.deepEqual(group.values(3), group.values(1));
  t.is(group.values(3).length, 21);
  t.deepEqual(group.storedTerms(3).length, 1, 'only what follows the snapshot');
});

test('a leader keeps in memory what a live follower still needs, up to a bound', (t) => {
  for (const [maxRetainedBytes, firstIndex] of [
    [1000, 2],
    [100, 12],
  ] as const) {
    const raft = createMember({ preVote: false, maxRetainedBytes });
    elect(raft);
    const appends = sent(raft, MSG_APPEND);
    for (const append of appends) raft.step(acknowledge(append));
    for (let i = 0; i < 10; i++) raft.propose(Buffer.alloc(20));
    const stream = sent(raft, MSG_APPEND).find(({ to }) => to === 2) as Message;
    raft.step(acknowledge(stream));
    drain(raft);
    raft.compact(index(11));
    t.is(Number(raft.status().firstIndex), firstIndex, `${maxRetainedBytes} bytes`);
  }
});

test('what a live follower needs is kept when the leader has just asked itself who is live', (t) => {
  const raft = createMember({ preVote: false });
  elect(raft);
  for (const append of sent(raft, MSG_APPEND)) raft.step(acknowledge(append));
  drain(raft);
  for (let tick = 0; tick < 4 * ELECTION_TICKS; tick++) {
    raft.propose(Buffer.from('x'));
    raft.tick();
    const messages = drain(raft).flatMap((ready) => ready.messages);
    t.is(Number(raft.compact(raft.appliedIndex)), 1, `after ${tick} ticks`);
    for (const each of messages) {
      // Member 3 answers, and has not stored what it was sent.
      if (each.type === MSG_APPEND && each.to === 2) raft.step(acknowledge(each));
      const answer = { term: raft.term, context: each.context };
      if (each.type === MSG_HEARTBEAT) raft.step(message(MSG_HEARTBEAT_RESPONSE, Number(each.to), answer));
    }
    drain(raft);
  }
  t.true(raft.appliedIndex > 2 * ELECTION_TICKS, 'the others went on');
});

test('only what is applied and durable is dropped from memory', (t) => {
  const raft = createMember({ log: [1, 1, 1], commit: 2 });
  const ready = raft.ready();
  t.is(Number(raft.compact(index(3))), 0, 'nothing is applied');
  raft.applied(ready.committed.at(-1)?.index ?? index(0));
  t.is(Number(raft.compact(index(3))), 2);
  t.deepEqual(raft.logTerms, [1]);
  // A quorum of others has it, and the own disk does not.
  const leader = createMember({ preVote: false });
  elect(leader);
  const write = leader.ready();
  for (const append of write.messages) leader.step(acknowledge(append));
  leader.applied(leader.ready().committed.at(-1)?.index ?? index(0));
  t.like(seen(leader), { commitIndex: 1, persisted: 0 });
  t.is(Number(leader.compact(index(1))), 0);
  leader.persisted(write.number);
  t.is(Number(leader.compact(index(1))), 1);
});
