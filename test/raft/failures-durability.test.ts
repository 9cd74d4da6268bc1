/** What went wrong in other systems: lost disks, snapshots, joint configurations left behind, elections without end. */
import test from 'ava';
import { AssertionFailed } from '../../src/core/assert.ts';
import { confOf } from '../../src/core/raft/configuration.ts';
import type { ConfChangeStep, Message } from '../../src/core/raft/types.ts';
import {
  MSG_APPEND,
  MSG_HEARTBEAT,
  MSG_PRE_VOTE,
  MSG_SNAPSHOT,
  MSG_VOTE,
  REFUSED_CONF_PENDING,
  ROLE_LEADER,
} from '../../src/core/raft/types.ts';
import {
  answer,
  createMember,
  ELECTION_TICKS,
  entriesOf,
  index,
  member,
  members,
  message,
  seen,
  term,
} from '../support/raft-member.ts';
import { RaftNetwork } from '../support/raft-network.ts';

const step = (type: ConfChangeStep['type'], id: number): ConfChangeStep => ({ type, id: member(id) });
const conf = confOf(members(1, 2, 3));

function ledBy1(voters: readonly number[], learners: readonly number[] = []): RaftNetwork {
  const group = new RaftNetwork(voters, { learners });
  group.elect(1);
  return group;
}

function snapshot(at: number, ofTerm: number): Message {
  return message(MSG_SNAPSHOT, 2, { term: 4, snapshot: { index: index(at), term: term(ofTerm), conf } });
}

test('FAILURES 7: two reconfigurations at once: the second is refused, and no joint configuration is left behind', (t) => {
  const group = ledBy1([1, 2, 3], [4, 5]);
  const first = group.raft(1).proposeConfChange({ changes: [step('addVoter', 4), step('remove', 2)] });
  t.true(first > 0);
  const second = { changes: [step('addVoter', 5), step('remove', 3)] };
  t.is(group.raft(1).proposeConfChange(second), REFUSED_CONF_PENDING);
  group.settle();
  t.deepEqual(group.raft(1).status().conf, confOf(members(1, 3, 4), members(5)));
  t.true(group.raft(1).proposeConfChange(second) > 0);
  group.settle();
  for (const id of [1, 4, 5]) t.deepEqual(group.raft(id).status().conf, confOf(members(1, 4, 5)));
});

test('FAILURES 7: of two simple changes at once, which need no joint configuration, the second is refused as well', (t) => {
  const group = ledBy1([1, 2, 3, 4]);
  t.true(group.raft(1).proposeConfChange({ changes: [step('remove', 4)] }) > 0);
  const second = { changes: [step('remove', 3)] };
  t.is(group.raft(1).proposeConfChange(second), REFUSED_CONF_PENDING);
  group.settle();
  t.deepEqual(group.raft(1).status().conf, confOf(members(1, 2, 3)));
  t.true(group.raft(1).proposeConfChange(second) > 0);
});

test('FAILURES 7: a joint configuration is left whoever crashes at whatever moment', (t) => {
  for (let moment = 0; moment < 12; moment++) {
    const group = ledBy1([1, 2, 3], [4]);
    group.raft(1).proposeConfChange({ changes: [step('addVoter', 4), step('remove', 3)] });
    for (let i = 0; i < moment; i++) {
      group.drainAll();
      const next = group.inFlight.shift();
      if (next !== undefined) group.deliver(next);
    }
    group.crash(1);
    group.run(10 * ELECTION_TICKS);
    group.restart(1);
    group.run(10 * ELECTION_TICKS);
    const { leader } = group;
    t.not(leader, 0, `after ${moment} messages`);
    t.deepEqual(group.raft(leader).status().conf.votersOutgoing, [], `after ${moment} messages`);
    group.propose(leader, 'x');
    group.settle();
    t.deepEqual(group.values(leader), ['x']);
  }
});

test('FAILURES 8: a healthy group has a leader after a few election timeouts, from whatever race it comes', (t) => {
  for (let seed = 0; seed < 200; seed++) {
    const group = new RaftNetwork([1, 2, 3, 4, 5], { preVote: seed % 2 === 0 });
    // All ask for votes at the same moment, of each other, in other terms each.
    for (const id of [1, 2, 3, 4, 5]) group.tick(2 * ELECTION_TICKS + ((seed * id) % 17), id);
    let timeouts = 0;
    for (; group.leader === 0 && timeouts < 30; timeouts++) group.run(ELECTION_TICKS);
    t.true(timeouts < 30, `seed ${seed}`);
    group.run(2);
    t.true([1, 2, 3, 4, 5].every((id) => Number(group.raft(id).leader) === group.leader));
  }
});

test('FAILURES 8: members whose logs are behind do not keep the only one that can win from trying', (t) => {
  for (const preVote of [true, false]) {
    const group = new RaftNetwork([1, 2, 3, 4, 5], { preVote });
    group.elect(1);
    group.isolate(1, 2, 3);
    group.propose(1, 'x');
    group.settle();
    group.heal();
    // Only 3 has what is committed, of those that are left.
    group.crash(1);
    group.crash(2);
    group.run(30 * ELECTION_TICKS);
    t.is(group.leader, 3);
    group.run(2);
    for (const id of [3, 4, 5]) t.deepEqual(group.values(id), ['x']);
  }
});

test('FAILURES 8: a member that is terms behind helps to elect as soon as it is back', (t) => {
  for (const preVote of [true, false]) {
    const group = new RaftNetwork([1, 2, 3, 4], { preVote });
    group.elect(1);
    group.crash(2);
    group.elect(3);
    group.elect(4);
    group.elect(1);
    group.crash(1);
    group.run(10 * ELECTION_TICKS);
    t.is(group.leader, 0, 'two of four');
    group.restart(2);
    group.run(10 * ELECTION_TICKS);
    t.true([3, 4].includes(group.leader));
    t.is(Number(group.raft(2).leader), group.leader);
  }
});

test('FAILURES 10: a group of one voter reports nothing as committed before its own disk has it (etcd#14370)', (t) => {
  const raft = createMember({ conf: confOf(members(1), members(2)) });
  raft.campaign();
  const elected = raft.ready();
  raft.propose(Buffer.from('x'));
  const written = raft.ready();
  t.deepEqual([...elected.committed, ...written.committed], []);
  t.is(seen(raft).commitIndex, 0);
  raft.persisted(elected.number);
  t.is(seen(raft).commitIndex, 1, 'as far as that write went');
  raft.persisted(written.number);
  t.is(seen(raft).commitIndex, 2);
});

test('FAILURES 13: a snapshot whose last entry is not the one in the log replaces the log, with no gap and no stop', (t) => {
  for (const [at, ofTerm] of [
    [3, 3],
    [5, 4],
    [9, 2],
  ] as const) {
    const raft = createMember({ log: [1, 1, 1, 2, 2], commit: 1 });
    t.is(brief(answer(raft, snapshot(at, ofTerm))), at);
    t.like(seen(raft), { lastIndex: at, commitIndex: at });
    raft.step(message(MSG_APPEND, 2, { term: 4, index: at, logTerm: ofTerm, entries: entriesOf([4], at + 1) }));
    t.is(seen(raft).lastIndex, at + 1);
  }
});

function brief({ index: at, reject }: Message): number {
  return reject ? -1 : at;
}

test('FAILURES 13: a start with a log that does not fit its checkpoint drops the log; with a gap it refuses', (t) => {
  // The snapshot was installed, the old log not yet removed.
  const other = createMember({ snapshotIndex: 3, snapshotTerm: 4, entries: entriesOf([1, 1, 1, 2, 2]) });
  t.like(seen(other), { lastIndex: 3, commitIndex: 3 });
  // The entry at the checkpoint's index is another one, although what follows it is of a later term.
  const later = createMember({ snapshotIndex: 3, snapshotTerm: 3, entries: entriesOf([1, 1, 2, 4, 4]), term: 5 });
  t.like(seen(later), { lastIndex: 3 });
  // The checkpoint covers the beginning of the log.
  const same = createMember({ snapshotIndex: 3, snapshotTerm: 1, entries: entriesOf([1, 1, 1, 2, 2]) });
  t.like(seen(same), { lastIndex: 5, commitIndex: 3 });
  // All of it is older.
  const older = createMember({ snapshotIndex: 9, snapshotTerm: 3, entries: entriesOf([1, 1]) });
  t.like(seen(older), { lastIndex: 9 });
  // What follows the checkpoint is of an earlier term: it belongs to the log that the snapshot replaced.
  const behind = createMember({ snapshotIndex: 3, snapshotTerm: 4, entries: entriesOf([2, 2], 4), term: 4 });
  t.like(seen(behind), { lastIndex: 3 });
  const error = t.throws(() => createMember({ snapshotIndex: 3, snapshotTerm: 1, entries: entriesOf([2, 2], 6) }), {
    instanceOf: AssertionFailed,
  });
  t.regex(error?.message ?? '', /missing/);
});

test('a log that is ahead of the hard state, as a checkpoint of a later leader can be, brings its term without a vote', (t) => {
  t.like(seen(createMember({ log: [1, 3], term: 1, vote: 2 })), { term: 3, vote: 0 });
  t.like(seen(createMember({ snapshotIndex: 9, snapshotTerm: 6, term: 1, vote: 2 })), { term: 6, vote: 0 });
  t.like(seen(createMember({ log: [1, 3], term: 3, vote: 2 })), { term: 3, vote: 2 });
});

test('FAILURES 17: a replacement with the id of a member whose disk is lost, and an empty log, grants no vote', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.isolate(3);
  group.propose(1, 'acknowledged');
  group.settle();
  t.deepEqual(group.values(1), ['acknowledged']);
  // Member 2 loses its disk, member 1 crashes: 3 lacks the entry, and must not win by the vote of an amnesiac.
  group.crash(1);
  group.add(2);
  group.heal();
  group.run(20 * ELECTION_TICKS);
  t.is(group.leader, 0);
  t.true(answer(group.raft(2) as never, message(MSG_VOTE, 3, { to: 2, term: 99, index: 1, logTerm: 1 })).reject);
  t.true(answer(group.raft(2) as never, message(MSG_PRE_VOTE, 3, { to: 2, term: 100, index: 1, logTerm: 1 })).reject);
  group.restart(1);
  group.run(20 * ELECTION_TICKS);
  for (const id of [1, 3]) t.deepEqual(group.values(id), ['acknowledged']);
});

test('FAILURES 17: a member that lost what it has acknowledged stops when its leader speaks of it', (t) => {
  const lost = createMember({ conf: confOf([]) });
  lost.step(message(MSG_HEARTBEAT, 2, { term: 4 }));
  t.throws(() => lost.step(message(MSG_HEARTBEAT, 2, { term: 4, commit: 7 })), { instanceOf: AssertionFailed });
});

test('FAILURES 17: a replacement under a new id takes the place of the lost member', (t) => {
  const group = ledBy1([1, 2, 3]);
  group.propose(1, 'x');
  group.settle();
  group.crash(3);
  group.add(4);
  t.true(group.raft(1).proposeConfChange({ changes: [step('addLearner', 4)] }) > 0);
  group.run(2);
  t.true(group.raft(1).proposeConfChange({ changes: [step('addVoter', 4), step('remove', 3)] }) > 0);
  group.run(2);
  group.crash(2);
  group.propose(1, 'y');
  group.settle();
  t.deepEqual(group.values(4), ['x', 'y']);
  t.deepEqual(group.values(1), ['x', 'y']);
});

test('FAILURES 18: of two snapshots received in a short time the later one counts, in whatever order they end', (t) => {
  const raft = createMember({ log: [1, 1], term: 4 });
  raft.step(snapshot(5, 3));
  const first = raft.ready();
  raft.step(snapshot(9, 4));
  raft.step(message(MSG_APPEND, 2, { term: 4, index: 9, logTerm: 4, commit: 10, entries: entriesOf([4], 10) }));
  const second = raft.ready();
  t.is(second.snapshot?.index, index(9));
  t.deepEqual(
    second.entries.map((entry) => Number(entry.index)),
    [10],
  );
  raft.persisted(first.number);
  raft.applied(index(5));
  t.is(seen(raft).persisted, 5);
  t.false(raft.hasReady(), 'nothing to apply: what is committed follows the second snapshot');
  raft.persisted(second.number);
  raft.applied(index(9));
  t.deepEqual(
    raft.ready().committed.map((entry) => Number(entry.index)),
    [10],
  );
  raft.persisted(first.number);
  t.like(seen(raft), { persisted: 10, lastIndex: 10 });
});

test('FAILURES 18: two snapshots before the host takes the first: only the later one is installed', (t) => {
  const raft = createMember({ term: 4 });
  raft.step(snapshot(5, 3));
  raft.step(snapshot(9, 4));
  const ready = raft.ready();
  t.is(ready.snapshot?.index, index(9));
  raft.persisted(ready.number);
  raft.applied(index(9));
  t.like(seen(raft), { persisted: 9, lastIndex: 9, commitIndex: 9 });
  t.false(raft.hasReady());
});

test('FAILURES 18: an older snapshot that arrives after a newer one changes nothing', (t) => {
  const raft = createMember({ term: 4 });
  answer(raft, snapshot(9, 4));
  t.is(brief(answer(raft, snapshot(5, 3))), 9);
  t.like(seen(raft), { lastIndex: 9, commitIndex: 9 });
});

test('FAILURES 18: a snapshot while the member compacts its own log', (t) => {
  const raft = createMember({ log: [1, 1, 1, 1], commit: 3, term: 4 });
  const committed = raft.ready();
  raft.applied(index(3));
  raft.step(snapshot(9, 4));
  t.is(Number(raft.compact(index(3))), 9, 'its log begins behind the snapshot already');
  const ready = raft.ready();
  raft.persisted(committed.number);
  raft.persisted(ready.number);
  raft.applied(index(9));
  t.is(Number(raft.compact(index(9))), 9);
  t.is(raft.role === ROLE_LEADER, false);
});
