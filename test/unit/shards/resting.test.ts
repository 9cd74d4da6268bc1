/** Groups at rest (docs/adr/0010-groups-at-rest.md): three real hosts, and messages that a test can lose or bring late. */
import test from 'ava';
import type { MemberId, NodeId, RangeId } from '../../../src/core/brands.ts';
import { workerId } from '../../../src/core/member.ts';
import type { Message } from '../../../src/core/raft/types.ts';
import { MSG_HEARTBEAT } from '../../../src/core/raft/types.ts';
import type { ShardNode } from '../../support/shard-cluster.ts';
import { ShardCluster, TICK_MS } from '../../support/shard-cluster.ts';

/** Two seconds without a command, more than it takes to rest. */
const A_WHILE_MS = 2000;
const ELECTION_TICKS = 10;

const isResting = ({ replica }: ShardNode): boolean => replica?.raft.isResting === true;

async function atRest(): Promise<{ cluster: ShardCluster; leader: ShardNode; followers: ShardNode[] }> {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'old');
  await cluster.until(() => cluster.nodes.every(isResting));
  const leader = await cluster.leader();
  return { cluster, leader, followers: cluster.nodes.filter((node) => node !== leader) };
}

/** Whether the leader would answer a read by its lease at this moment. */
function hasLease({ shard, replica }: ShardNode): boolean {
  if (replica === undefined) return false;
  shard.host.settle(replica);
  return replica.raft.leaseValid();
}

test('a group that nobody asks anything of sends no messages, however long, and its leader keeps its lease', async (t) => {
  const { cluster, leader } = await atRest();
  const messages: Message[] = [];
  cluster.passes = (_from, _to, message) => messages.push(message) > 0;
  for (let i = 0; i < 100; i++) {
    await cluster.pass(300);
    t.is(leader.start('GET', 'a').value, 'old', 'answered at once');
  }
  t.deepEqual(messages, []);
  t.true(cluster.nodes.every(isResting), 'a read by the lease wakes nobody');
});

test('a write wakes the group and is answered as ever; then it rests again', async (t) => {
  const { cluster, leader } = await atRest();
  const write = leader.start('SET', 'a', 'new');
  await cluster.settle();
  t.is(write.value, '+OK', 'no time has passed');
  t.false(cluster.nodes.some(isResting));
  await cluster.until(() => cluster.nodes.every(isResting));
  t.is(leader.start('GET', 'a').value, 'new');
});

test('followers at rest elect another leader as soon as others would when the worker of theirs is no longer heard of', async (t) => {
  const { cluster, leader } = await atRest();
  cluster.stopped.add(leader.nodeId);
  const fromMs = cluster.nowMs;
  const second = await cluster.leader();
  t.not(second.nodeId, leader.nodeId);
  const ticks = (cluster.nowMs - fromMs) / TICK_MS;
  t.true(ticks >= ELECTION_TICKS - 2 && ticks <= 3 * ELECTION_TICKS, `${ticks} ticks`);
  t.is(await cluster.run('GET', 'a'), 'old');
});

test('FAILURES 1: a leader at rest that nobody answers any more has no lease when another is elected', async (t) => {
  const { cluster, leader } = await atRest();
  const isWithLeader = (from: NodeId, to: NodeId): boolean => from === leader.nodeId || to === leader.nodeId;
  cluster.passes = (from, to) => !isWithLeader(from, to);
  cluster.passesBeat = (from, to) => !isWithLeader(from, to);
  await cluster.until(() => cluster.nodes.some((node) => node !== leader && node.replica?.isLeader === true));
  t.false(hasLease(leader));
  await cluster.pass(A_WHILE_MS);
  t.false(leader.replica?.isLeader, 'it steps down');
});

test('FAILURES 2: a worker that was stopped finds no lease of its leaders at rest', async (t) => {
  const { cluster, leader } = await atRest();
  t.true(hasLease(leader));
  for (const { nodeId } of cluster.nodes) if (nodeId !== leader.nodeId) cluster.stopped.add(nodeId);
  cluster.nowMs += 9 * TICK_MS;
  t.is(leader.start('GET', 'a').value, undefined);
});

test('FAILURES 2: a beat of the leader’s former life that comes late takes no follower out of its rest unnoticed', async (t) => {
  const { cluster, leader, followers } = await atRest();
  // Its messages get away, what others send does not arrive; beats do.
  cluster.passes = (_from, to) => to !== leader.nodeId;
  const late = { isAnswer: false, session: 1, peerSession: 1, tick: 1, rests: [] };
  for (const { shard } of followers) shard.host.receiveBeat(workerId(leader.nodeId, 0), late);
  const isAnother = (): boolean => followers.some(({ replica }) => replica?.isLeader === true);
  for (let ms = 0; ms < A_WHILE_MS; ms += TICK_MS) {
    await cluster.pass(TICK_MS);
    t.false(isAnother() && hasLease(leader), 'another one leads, and this one would answer');
  }
  cluster.passes = () => true;
  t.is(await cluster.run('GET', 'a'), 'old');
});

test('beats that are heard in one direction only keep nothing at rest', async (t) => {
  for (const isMute of [true, false]) {
    const { cluster, leader, followers } = await atRest();
    const cut = (from: NodeId, to: NodeId): boolean => (isMute ? from : to) === leader.nodeId;
    cluster.passes = (from, to) => !cut(from, to);
    cluster.passesBeat = (from, to) => !cut(from, to);
    await cluster.until(() => followers.some(({ replica }) => replica?.isLeader === true));
    t.false(hasLease(leader));
  }
});

test('a group rests although a member’s node is gone, and wakes when it is back', async (t) => {
  const { cluster, leader, followers } = await atRest();
  const [gone, there] = followers as [ShardNode, ShardNode];
  cluster.stopped.add(gone.nodeId);
  await cluster.run('SET', 'a', 'new');
  await cluster.until(() => isResting(leader) && isResting(there));
  const messages: Message[] = [];
  cluster.passes = (_from, _to, message) => messages.push(message) > 0;
  await cluster.pass(A_WHILE_MS);
  t.deepEqual(messages, [], 'nobody looks for it but the workers');
  t.true(hasLease(leader));
  cluster.stopped.delete(gone.nodeId);
  await cluster.until(() => gone.replica?.raft.lastIndex === leader.replica?.raft.lastIndex);
  await cluster.until(() => cluster.nodes.every(isResting));
  t.true(hasLease(leader));
});

test('a group whose quorum is gone does not rest on what is left', async (t) => {
  const { cluster, leader, followers } = await atRest();
  for (const { nodeId } of followers) cluster.stopped.add(nodeId);
  await cluster.pass(A_WHILE_MS);
  t.false(isResting(leader));
  t.false(leader.replica?.isLeader);
});

test('a follower that does not hear the offer keeps its group awake', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'old');
  const leader = await cluster.leader();
  const deaf = cluster.nodes.find((node) => node !== leader) as ShardNode;
  cluster.passesBeat = (_from, to, { rests }) => to !== deaf.nodeId || rests.length === 0;
  let restedMs = 0;
  for (let ms = 0; ms < 10_000; ms += TICK_MS) {
    await cluster.pass(TICK_MS);
    if (isResting(leader)) restedMs += TICK_MS;
    t.true(hasLease(leader));
  }
  t.true(restedMs < 5000, `${restedMs} ms of 10 s: it tries, and gives up`);
  t.is((await cluster.leader()).nodeId, leader.nodeId, 'nobody stands for election meanwhile');
});

test('a follower that a late message wakes is not answered for any longer', async (t) => {
  const cluster = new ShardCluster(3, 3);
  const heartbeats: Message[] = [];
  cluster.passes = (_from, _to, message) => {
    if (message.type === MSG_HEARTBEAT) heartbeats.push(message);
    return true;
  };
  await cluster.run('SET', 'a', 'old');
  await cluster.until(() => cluster.nodes.every(isResting));
  const leader = await cluster.leader();
  const late = heartbeats.at(-1) as Message;
  const follower = cluster.nodes.find(({ replica }) => replica?.raft.id === late.to) as ShardNode;
  follower.shard.host.receive(1 as RangeId, late);
  t.false(isResting(follower));
  await cluster.pass(3 * TICK_MS);
  t.false(isResting(leader), 'it has heard of it');
  await cluster.until(() => cluster.nodes.every(isResting));
  t.is((await cluster.leader()).nodeId, leader.nodeId);
});

test('a candidate that cannot hear the leader wakes the group that is at rest', async (t) => {
  const { cluster, leader, followers } = await atRest();
  const [deaf, other] = followers as [ShardNode, ShardNode];
  cluster.passes = (from, to) => !(from === leader.nodeId && to === deaf.nodeId);
  cluster.passesBeat = (from, to) => !(from === leader.nodeId && to === deaf.nodeId);
  await cluster.until(() => !isResting(deaf) && !isResting(other));
  await cluster.pass(A_WHILE_MS);
  t.true(hasLease(leader), 'it stays in office: the other one hears from it');
});

test('a change of members wakes the group, and the new ones rest with it', async (t) => {
  const { cluster, leader, followers } = await atRest();
  const gone = followers[0] as ShardNode;
  const id = gone.replica?.raft.id as MemberId;
  t.is(await cluster.change({ type: 'remove', id }), null);
  gone.shard.drop(1 as RangeId, id);
  await cluster.until(() => cluster.nodes.filter(isResting).length === 2);
  t.true(hasLease(leader));
});
