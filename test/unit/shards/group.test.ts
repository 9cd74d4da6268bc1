import test from 'ava';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../../src/core/brands.ts';
import type { ReplyTarget } from '../../../src/core/kv/reply.ts';
import { discardReply } from '../../../src/core/kv/reply.ts';
import { CONSISTENCY_LINEARIZABLE } from '../../../src/core/kv/spec.ts';
import { createValueRef } from '../../../src/core/kv/store.ts';
import { requireCommand, withConsistency } from '../../../src/core/kv/table.ts';
import { memberId } from '../../../src/core/member.ts';
import { MSG_HEARTBEAT_RESPONSE, MSG_VOTE } from '../../../src/core/raft/types.ts';
import { RouteTable } from '../../../src/gateway/router/route-table.ts';
import type { Replica } from '../../../shards/replica.ts';
import { argsOf } from '../../support/kv-machine.ts';
import { ShardCluster, TICK_MS } from '../../support/shard-cluster.ts';

const value = (i: number): string => String(i % 10).repeat(20 + (i % 50));
const member = (nodeId: number, incarnation: number): ReturnType<typeof memberId> =>
  memberId(nodeId as NodeId, 0, incarnation);

test('three replicas elect a leader, and a write is answered when a majority has it', async (t) => {
  const cluster = new ShardCluster(3, 3);
  t.is(await cluster.run('SET', 'a', '1'), '+OK');
  t.is(await cluster.run('GET', 'a'), '1');
  await cluster.pass(200);
  for (const { replica } of cluster.nodes) t.is(replica?.store.keyCount, 1);
});

test('a write that no majority has is not answered, and told to be unknown in time', async (t) => {
  const cluster = new ShardCluster(3, 3);
  const leader = await cluster.leader();
  for (const { nodeId } of cluster.nodes) if (nodeId !== leader.nodeId) cluster.stopped.add(nodeId);
  const write = leader.start('SET', 'a', '1');
  await cluster.pass(1000);
  t.is(write.value, undefined);
  t.false(leader.replica?.isLeader, 'a leader without a majority steps down');
  await cluster.pass(6000);
  t.regex(String(write.value), /^-UNKNOWNRESULT /);
});

test('a leader that has lost its followers does not name itself any more', async (t) => {
  const cluster = new ShardCluster(3, 3);
  const leader = await cluster.leader();
  const table = new RouteTable();
  table.update(leader.shard.routes);
  t.is(table.routes[0]?.leader, leader.replica?.raft.id);
  for (const { nodeId } of cluster.nodes) if (nodeId !== leader.nodeId) cluster.stopped.add(nodeId);
  await cluster.pass(1000);
  table.update(leader.shard.routes);
  t.is(Number(table.routes[0]?.leader), 0);
});

test('a follower sends commands to whoever leads', async (t) => {
  const cluster = new ShardCluster(3, 3);
  const leader = await cluster.leader();
  const follower = cluster.nodes.find(({ nodeId }) => nodeId !== leader.nodeId);
  follower?.start('SET', 'a', '1');
  follower?.start('GET', 'a');
  t.is(follower?.awaiting, 2);
});

test('a read that waits for the others’ word is answered before what came after it is applied', async (t) => {
  const cluster = new ShardCluster(3, 3);
  t.is(await cluster.run('SET', 'a', 'before'), '+OK');
  const leader = await cluster.leader();
  cluster.passes = (_from, _to, { type }) => type !== MSG_HEARTBEAT_RESPONSE;
  const read = leader.explain(withConsistency(requireCommand('GET'), CONSISTENCY_LINEARIZABLE), 'a');
  const write = leader.start('SET', 'a', 'after');
  await cluster.settle();
  t.is(write.value, '+OK');
  cluster.passes = () => true;
  await cluster.until(() => read.value !== undefined);
  t.is(read.value, 'before');
});

test('what has not entered the log when leadership goes comes back, in its order, to those who find the leader themselves', async (t) => {
  const cluster = new ShardCluster(3, 3);
  const leader = await cluster.leader();
  const heir = cluster.nodes.find(({ nodeId }) => nodeId !== leader.nodeId);
  const came: number[] = [];
  const target: ReplyTarget = {
    protocol: 2,
    open: true,
    writesInFlight: 1,
    begin: () => discardReply,
    finish: () => t.fail('nothing was done'),
    raw: () => t.fail('nothing was done'),
    notLeader: (slot) => void came.push(slot),
  };
  t.true(leader.replica?.transferLeadership(member(heir?.nodeId ?? 0, 1)));
  for (const [slot, name] of ['SET', 'GET', 'SET'].entries()) {
    leader.replica?.submit(requireCommand(name), argsOf(name === 'SET' ? ['a', '1'] : ['a']), target, slot, null, 0);
  }
  await cluster.until(() => came.length === 3);
  t.deepEqual(came, [0, 1, 2]);
  t.is(leader.awaiting, 0);
});

test('the others elect a leader when one is gone, with all that was acknowledged', async (t) => {
  const cluster = new ShardCluster(3, 3);
  for (let i = 0; i < 20; i++) t.is(await cluster.run('SET', `key ${i}`, String(i)), '+OK');
  const first = await cluster.leader();
  cluster.stopped.add(first.nodeId);
  const second = await cluster.leader();
  t.not(second.nodeId, first.nodeId);
  for (let i = 0; i < 20; i++) t.is(await cluster.run('GET', `key ${i}`), String(i));
});

test('FAILURES 2: a leader that was stopped past its lease answers no read from its state', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'old');
  const paused = await cluster.leader();
  cluster.stopped.add(paused.nodeId);
  t.is(await cluster.run('SET', 'a', 'new'), '+OK');
  // It wakes up, and the read is the first thing that it sees: no turn, no message before it.
  cluster.stopped.delete(paused.nodeId);
  const read = paused.start('GET', 'a');
  t.is(read.value, undefined);
  await cluster.pass(200);
  t.is(read.value, undefined, 'it was sent on to whoever leads now');
  t.is(paused.awaiting, 1);
});

test('FAILURES 2: two members that vote again while the leader sleeps, and its lease is over to the tick', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'old');
  const leader = await cluster.leader();
  // Answered without asking anybody: the lease holds.
  t.is(leader.start('GET', 'a').value, 'old');
  for (const { nodeId } of cluster.nodes) if (nodeId !== leader.nodeId) cluster.stopped.add(nodeId);
  cluster.nowMs += 9 * TICK_MS;
  t.is(leader.start('GET', 'a').value, undefined);
});

test('FAILURES 2: a leader that was stopped past its lease knows it also where election timeouts are many ticks long', async (t) => {
  const electionTicks = 1100;
  const cluster = new ShardCluster(3, 3, electionTicks);
  // Nobody votes while a leader of its former life may count on it.
  await cluster.pass(2 * electionTicks * TICK_MS);
  t.is(await cluster.run('SET', 'a', 'old'), '+OK');
  const leader = await cluster.leader();
  t.is(leader.start('GET', 'a').value, 'old');
  cluster.nowMs += 3_600_000;
  t.is(leader.start('GET', 'a').value, undefined);
});

test('what a deposed leader had put into its log and nobody took is refused: it never happened', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', '1');
  const old = await cluster.leader();
  cluster.passes = (from, to) => from !== old.nodeId && to !== old.nodeId;
  const lost = old.start('SET', 'a', 'lost');
  old.shard.turn(cluster.nowMs);
  await cluster.until(() => cluster.nodes.some((node) => node !== old && node.replica?.isLeader === true));
  cluster.passes = () => true;
  await cluster.until(() => lost.value !== undefined);
  t.regex(String(lost.value), /^-NOTLEADER /);
  t.is(await cluster.run('GET', 'a'), '1');
});

test('a new member gets a snapshot, catches up as a learner, and votes when it is promoted', async (t) => {
  const cluster = new ShardCluster(4, 3);
  for (let i = 0; i < 50; i++) await cluster.run('SET', `key ${i}`, String(i));
  t.is(await cluster.change({ type: 'addLearner', id: member(4, 2) }), null);
  await cluster.until(() => cluster.node(4).replica?.store.keyCount === 50);
  t.is(cluster.snapshotsSent, 1);
  t.is(await cluster.change({ type: 'addVoter', id: member(4, 2) }), null);
  await cluster.run('SET', 'more', '1');
  await cluster.pass(100);
  for (const { replica } of cluster.nodes) {
    t.is(replica?.store.keyCount, 51);
    t.is(replica?.descriptor.replicas.length, 4);
    t.is(replica?.descriptor.epoch.confVersion, 3);
  }
});

test('a checkpoint that is damaged while the node runs is sent once, found out, and made anew from memory (FAILURES 15)', async (t) => {
  const cluster = new ShardCluster(4, 3);
  for (let i = 0; i < 50; i++) await cluster.run('SET', `key ${i}`, String(i));
  const leader = await cluster.leader();
  cluster.stopped.add(cluster.node(4).nodeId);
  t.is(await cluster.change({ type: 'addLearner', id: member(4, 2) }), null);
  leader.shard.holdBack([1 as never]);
  await cluster.pass(200);
  const [checkpoint] = leader.folder.newest();
  leader.disk.flipBit(checkpoint?.file as string, 200, 3);
  cluster.stopped.delete(cluster.node(4).nodeId);
  await cluster.until(() => cluster.node(4).replica?.store.keyCount === 50);
  t.true(cluster.node(4).snapshotsRefused > 0);
  t.is(leader.damages.length, 1);
});

test('FAILURES 6: a member that is removed and added again is another one; its former life is over for good', async (t) => {
  const cluster = new ShardCluster(4, 4);
  await cluster.run('SET', 'a', '1');
  const leader = await cluster.leader();
  const gone = cluster.nodes.find(({ nodeId }) => nodeId !== leader.nodeId) ?? leader;
  // It is cut off and never hears of its removal.
  cluster.stopped.add(gone.nodeId);
  t.is(await cluster.change({ type: 'remove', id: member(gone.nodeId, 1) }), null);
  await cluster.run('SET', 'b', '2');
  t.is(await cluster.change({ type: 'addLearner', id: member(gone.nodeId, 3) }), null);
  cluster.stopped.delete(gone.nodeId);
  await cluster.until(() => gone.replica?.raft.id === member(gone.nodeId, 3) && gone.replica.store.keyCount === 2);
  t.is(gone.folder.find()[0]?.tombstone, member(gone.nodeId, 1));
  await cluster.run('SET', 'c', '3');
  await cluster.until(() => gone.replica?.store.keyCount === 3);
});

test('the leader can be removed: another one takes over, and the removed one destroys what it has', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', '1');
  const old = await cluster.leader();
  t.is(await cluster.change({ type: 'remove', id: member(old.nodeId, 1) }), null);
  await cluster.until(() => old.replica === undefined);
  t.is(old.folder.find()[0]?.tombstone, member(old.nodeId, 1));
  t.is(await cluster.run('GET', 'a'), '1');
  t.not((await cluster.leader()).nodeId, old.nodeId);
});

test('leadership is handed over to the member that is named', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', '1');
  const old = await cluster.leader();
  const heir = cluster.nodes.find(({ nodeId }) => nodeId !== old.nodeId) ?? old;
  let answer: string | null | undefined;
  old.shard.admin.transferLeader(1 as never, member(heir.nodeId, 1), (error) => (answer = error));
  await cluster.until(() => answer !== undefined);
  t.is(answer, null);
  t.is((await cluster.leader()).nodeId, heir.nodeId);
});

test('FAILURES 29: a range is cut on all its members, and the right half is led at once where the left one is', async (t) => {
  const cluster = new ShardCluster(3, 3);
  for (const key of ['a', 'b', 'x', 'y']) await cluster.run('SET', key, key);
  const leader = await cluster.leader();
  let answer: string | null | undefined;
  leader.shard.split(Buffer.from('m'), 2 as never, (error) => (answer = error));
  await cluster.until(() => answer !== undefined);
  t.is(answer, null);
  await cluster.pass(300);
  for (const { shard } of cluster.nodes) {
    t.deepEqual(
      [...shard.host.replicas.values()].map(({ store }) => store.keyCount),
      [2, 2],
    );
  }
  t.true(leader.shard.host.replicas.get(2 as never)?.isLeader);
});

test('a split costs no sync of its own: what waits goes with it, and the right half answers writes after one more', async (t) => {
  const cluster = new ShardCluster(1, 1);
  await cluster.run('SET', 'a', '1');
  const leader = await cluster.leader();
  const { log, shard } = leader;
  const sync = async (): Promise<void> => {
    log.isStuck = false;
    log.publish();
    log.isStuck = true;
    await cluster.settle();
  };
  log.isStuck = true;
  const first = leader.start('SET', 'a', '2');
  await cluster.settle();
  const waiting = ['b', 'z'].map((key) => leader.start('SET', key, '3'));
  let answer: string | null | undefined;
  shard.split(Buffer.from('m'), 2 as never, (error) => (answer = error));
  await cluster.settle();
  t.is(first.value, undefined);
  await sync();
  t.is(answer, null);
  t.deepEqual(
    [first, ...waiting].map(({ value: reply }) => reply),
    ['+OK', '+OK', '+OK'],
  );
  t.deepEqual(
    [...shard.host.replicas.values()].map(({ store }) => store.keyCount),
    [2, 1],
  );
  const right = shard.host.replicas.get(2 as never);
  right?.submitInternal(requireCommand('SET'), argsOf(['zz', '4']));
  await cluster.settle();
  t.is(right?.store.keyCount, 1);
  await sync();
  t.is(right?.store.keyCount, 2);
});

test('FAILURES 10: a leader alone in its group answers a write only when its own disk has it', async (t) => {
  const cluster = new ShardCluster(1, 1);
  await cluster.run('SET', 'a', '1');
  const leader = await cluster.leader();
  leader.log.isStuck = true;
  const write = leader.start('SET', 'a', '2');
  await cluster.pass(1000);
  t.is(write.value, undefined);
  leader.log.isStuck = false;
  await cluster.until(() => write.value !== undefined);
  t.is(write.value, '+OK');
});

test('writes that a leader alone and a leader with a new member take in turns reach that member whole', async (t) => {
  const cluster = new ShardCluster(2, 1);
  const leader = await cluster.leader();
  const joined = cluster.change({ type: 'addLearner', id: member(2, 2) });
  for (let i = 0; i < 200; i++) {
    // Several at a time, so that entries differ in length and some are on their way while the member comes.
    const writes = [0, 1, 2].slice(0, 1 + (i % 3)).map((k) => leader.start('SET', `key ${i} ${k}`, value(i + k)));
    await cluster.until(() => writes.every((write) => write.value !== undefined));
    t.true(writes.every((write) => write.value === '+OK'));
  }
  t.is(await joined, null);
  const count = leader.replica?.store.keyCount;
  await cluster.until(() => cluster.node(2).replica?.store.keyCount === count);
  const found = createValueRef();
  for (const { replica } of cluster.nodes) {
    for (let i = 0; i < 200; i++) {
      const key = Buffer.from(`key ${i} 0`);
      t.true(replica?.store.get(key, 0, key.length, found));
      t.is(found.buffer.toString('latin1', found.start, found.end), value(i));
    }
  }
});

test('FAILURES 32: a leader whose disk does not come back from a sync hands its leadership over', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', '1');
  const slow = await cluster.leader();
  slow.log.isStuck = true;
  // The others' disks are enough for an answer, and it is given; but it is the last one that this node leads.
  const write = slow.start('SET', 'a', '2');
  await cluster.until(() => slow.replica?.isLeader === false);
  t.is(write.value, '+OK');
  t.not((await cluster.leader()).nodeId, slow.nodeId);
  t.is(await cluster.run('GET', 'a'), '2');
});

test('a leader that is alone in its group leads again after a late message of a member that is gone took its office', async (t) => {
  const cluster = new ShardCluster(2, 2);
  await cluster.run('SET', 'a', '1');
  const leader = await cluster.leader();
  const gone = cluster.nodes.find((node) => node !== leader)?.replica?.raft.id as MemberId;
  t.is(await cluster.change({ type: 'remove', id: gone }), null);
  const { raft } = leader.replica as Replica;
  t.false(leader.shard.host.needsTicks);
  // It was told to take over long ago, and tries to.
  const [index, hint] = [0, 0] as LogIndex[] as [LogIndex, LogIndex];
  const late = {
    from: gone,
    to: raft.id,
    term: (raft.term + 1) as Term,
    index,
    hint,
    logTerm: 0 as Term,
    commit: index,
  };
  leader.shard.host.receive(1 as RangeId, {
    ...late,
    type: MSG_VOTE,
    context: 1,
    reject: false,
    entries: [],
    snapshot: null,
  });
  t.false(leader.replica?.isLeader);
  await cluster.pass(2000);
  t.true(leader.replica?.isLeader);
  t.is(await cluster.run('GET', 'a'), '1');
});
