/** A member that is out of its group, and whose files must stay while the other half of a split lives by its log. */
import test from 'ava';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../../src/core/brands.ts';
import { memberId } from '../../../src/core/member.ts';
import type { Message } from '../../../src/core/raft/types.ts';
import { MSG_SNAPSHOT } from '../../../src/core/raft/types.ts';
import { readCheckpointInfo } from '../../../src/storage/checkpoint/index.ts';
import { GoneMembers } from '../../../shards/gone-members.ts';
import type { Replica } from '../../../shards/replica.ts';
import { ShardCluster } from '../../support/shard-cluster.ts';
import type { ShardNode } from '../../support/shard-cluster.ts';

const LEFT = 1 as RangeId;
const RIGHT = 2 as RangeId;
const NOTHING_ELSE = {
  index: 0 as LogIndex,
  logTerm: 0 as Term,
  commit: 0 as LogIndex,
  context: 0,
  hint: 0 as LogIndex,
  reject: false,
  entries: [],
};

test('what a member wrote comes before the word that it is gone, also when the log had no room for it', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'a');
  const leader = await cluster.leader();
  const { log, shard } = cluster.nodes.find((other) => other !== leader) as ShardNode;
  log.isFull = true;
  t.is(await cluster.run('SET', 'a', 'b'), '+OK');
  shard.drop(LEFT, (shard.host.replicas.get(LEFT) as Replica).raft.id);
  await cluster.settle();
  t.false(log.toldGone.has(LEFT), 'its entries wait for room');
  log.isFull = false;
  await cluster.settle();
  t.true(log.toldGone.has(LEFT));
});

test('a leader’s message that was long on its way does not make a member anew that is out of its group', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'a');
  const leader = await cluster.leader();
  const node = cluster.nodes.find((other) => other !== leader) as ShardNode;
  const { shard } = node;
  const disk = Promise.withResolvers<void>();
  node.mayCheckpoint = disk.promise;
  leader.shard.split(Buffer.from('m'), RIGHT, () => undefined);
  await cluster.until(() => shard.host.replicas.has(RIGHT));
  const { raft } = shard.host.replicas.get(LEFT) as Replica;
  shard.drop(LEFT, raft.id);
  // What it said before is delivered.
  await cluster.settle();
  const answers: Message[] = [];
  // The leader has not heard of it, and goes on.
  cluster.passes = (_from, _to, message, rangeId) => {
    if (rangeId === LEFT && message.from === raft.id) answers.push(message);
    return true;
  };
  await cluster.pass(500);
  t.deepEqual(answers, []);
  t.false(shard.host.replicas.has(LEFT));
  const isBuried = (): boolean =>
    node.folder.find().some(({ rangeId, tombstone }) => rangeId === LEFT && tombstone === raft.id);
  t.false(isBuried());
  disk.resolve();
  await cluster.until(isBuried);
  t.true(shard.host.replicas.has(RIGHT));
});

/** Node 3's member of range 1 misses that it was taken out; its next one is to live on another worker of that node. */
async function comeBackElsewhere(): Promise<{
  cluster: ShardCluster;
  node: ShardNode;
  worker: ShardNode;
  earlier: MemberId;
  later: MemberId;
}> {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'a');
  const node = cluster.node(3);
  const earlier = memberId(node.nodeId, 0, 1);
  cluster.stopped.add(node.nodeId);
  await cluster.change({ type: 'remove', id: earlier });
  const worker = cluster.addWorker(3, 1);
  const { replica } = await cluster.leader();
  const later = memberId(node.nodeId, 1, (replica as Replica).descriptor.epoch.confVersion + 1);
  cluster.stopped.delete(node.nodeId);
  node.log.isStuck = true;
  await cluster.change({ type: 'addLearner', id: later });
  return { cluster, node, worker, earlier, later };
}

test('a member on another worker takes a state when the end of the one before it is durable in the log', async (t) => {
  const { cluster, node, worker, earlier, later } = await comeBackElsewhere();
  await cluster.pass(3000);
  t.true(cluster.snapshotsSent > 0);
  t.false(node.shard.host.replicas.has(LEFT), 'the earlier one is told that it is out');
  t.is(node.log.records.at(-1), 'gone');
  t.false(worker.shard.host.replicas.has(LEFT), 'its end is not durable');
  node.log.isStuck = false;
  await cluster.until(() => worker.replica !== undefined);
  // The control plane has seen the earlier one, and is late.
  cluster.drop(LEFT, earlier);
  await cluster.pass(1000);
  const [files] = node.folder.find();
  t.like(files, { tombstone: earlier, member: { memberId: later, hasCheckpoint: true } });
  t.not(files?.checkpoint, null);
  t.deepEqual(node.folder.membersOf(LEFT), [later]);
});

test('a member leaves a node whose disk is full, which goes on, and is buried when there is room', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'a');
  const leader = await cluster.leader();
  const node = cluster.nodes.find((other) => other !== leader) as ShardNode;
  const { id } = (node.replica as Replica).raft;
  node.disk.faults = { budgetBytes: 1 };
  await cluster.change({ type: 'remove', id });
  cluster.drop(LEFT, id);
  await cluster.pass(3000);
  t.is(node.replica, undefined);
  t.false(node.log.records.includes('gone'));
  t.deepEqual(node.folder.membersOf(LEFT), [id]);
  node.disk.faults = {};
  await cluster.pass(3000);
  t.is(node.log.records.at(-1), 'gone');
  t.like(node.folder.find(), [{ tombstone: id }]);
  t.deepEqual(node.folder.membersOf(LEFT), []);
});

test('a checkpoint that the log has not heard of before the end of its member is not told to it behind that', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', 'a');
  const leader = await cluster.leader();
  const { log, shard, folder } = cluster.nodes.find((other) => other !== leader) as ShardNode;
  const { id } = (shard.host.replicas.get(LEFT) as Replica).raft;
  log.checkpointed = () => false;
  shard.holdBack([LEFT]);
  await cluster.until(() => folder.newest().length > 0);
  shard.drop(LEFT, id);
  await cluster.settle();
  t.is(log.records.at(-1), 'gone');
  let told = 0;
  log.checkpointed = () => ++told > 0;
  await cluster.pass(200);
  t.is(told, 0);
});

test('a range is not written down past a split before the log has the cut of a snapshot of the other half', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'x', 'x');
  const leader = await cluster.leader();
  const node = cluster.nodes.find((other) => other !== leader) as ShardNode;
  const disk = Promise.withResolvers<void>();
  node.mayCheckpoint = disk.promise;
  leader.shard.split(Buffer.from('m'), RIGHT, () => undefined);
  // It has the right half, and hears no more of it.
  cluster.passes = (_from, to, _message, rangeId) => rangeId !== RIGHT || to !== node.nodeId;
  const rightOf = ({ shard }: ShardNode): Replica | undefined => shard.host.replicas.get(RIGHT);
  await cluster.until(() => rightOf(node) !== undefined && rightOf(leader)?.isLeader === true);
  await cluster.until(() => (rightOf(leader)?.raft.appliedIndex ?? 0) > 1);
  const made = (): string => leader.folder.newest().find(({ rangeId }) => rangeId === RIGHT)?.file ?? '';
  await cluster.until(() => {
    leader.shard.holdBack([RIGHT]);
    return made() !== '' && readCheckpointInfo(leader.disk, made()).appliedIndex > 1;
  });
  const { raft, conf } = rightOf(leader) as Replica;
  const to = (rightOf(node) as Replica).raft.id;
  const { appliedIndex: index, appliedTerm: term } = readCheckpointInfo(leader.disk, made());
  node.log.isStuck = true;
  const message: Message = {
    ...NOTHING_ELSE,
    type: MSG_SNAPSHOT,
    from: raft.id,
    to,
    term: raft.term,
    snapshot: { index, term, conf },
  };
  cluster.sendSnapshot(leader, RIGHT, message, made(), () => undefined);
  await cluster.until(() => rightOf(node)?.raft.appliedIndex === index);
  disk.resolve();
  node.shard.holdBack([LEFT]);
  await cluster.pass(1000);
  const isWritten = (rangeId: RangeId): boolean => node.folder.newest().some((file) => file.rangeId === rangeId);
  t.false(isWritten(LEFT));
  node.log.isStuck = false;
  await cluster.until(() => isWritten(LEFT) && isWritten(RIGHT));
});

test('a member of which there is no more than a name keeps no later one from having a state', async (t) => {
  const cluster = new ShardCluster(4, 3);
  await cluster.run('SET', 'a', 'a');
  const node = cluster.node(4);
  const [earlier, later] = [memberId(node.nodeId, 0, 1), memberId(node.nodeId, 0, 2)];
  // It was about to take a snapshot when the node stopped.
  node.folder.born(LEFT, earlier);
  await cluster.change({ type: 'addLearner', id: later });
  await cluster.until(() => node.replica !== undefined);
  t.deepEqual(node.folder.membersOf(LEFT), [later]);
});

test('a start tells the log once more of an end that it may not have heard of, and of no member that a later one follows', (t) => {
  const { log, folder } = new ShardCluster(1, 0).node(1);
  const [earlier, later] = [memberId(1 as NodeId, 0, 1), memberId(1 as NodeId, 1, 3)];
  const start = (): void => {
    const options = { tombstones: new Map([[LEFT, earlier]]), owns: () => true };
    const gone = new GoneMembers(options, {
      log,
      folder,
      buried: () => undefined,
      dropEarlier: () => t.fail(),
      monotonicMs: () => 0,
    });
    gone.turn(false);
    log.publish();
    gone.turn(false);
  };
  folder.stored(LEFT, earlier);
  folder.bury(LEFT, earlier);
  start();
  t.deepEqual([log.records, folder.membersOf(LEFT)], [['gone'], []]);
  start();
  t.is(log.records.length, 1, 'it has heard');
  folder.stored(LEFT, earlier);
  folder.stored(LEFT, later);
  start();
  t.deepEqual([log.records.length, folder.membersOf(LEFT)], [1, [later]]);
});

test('a half of a half is written down before the range that both live by, also when the half between them is gone', async (t) => {
  const [farRight, grandchild] = [4, 3] as RangeId[] as [RangeId, RangeId];
  const cluster = new ShardCluster(3, 3);
  const leader = await cluster.leader();
  const node = cluster.nodes.find((other) => other !== leader) as ShardNode;
  const { host } = node.shard;
  const disk = Promise.withResolvers<void>();
  node.mayCheckpoint = disk.promise;
  const split = async (key: string, rangeId: RangeId): Promise<void> => {
    leader.shard.split(Buffer.from(key), rangeId, () => undefined);
    await cluster.until(() => host.replicas.has(rangeId));
  };
  await split('x', farRight);
  // The disk is at that one's checkpoint; the left half is the next that somebody waits for.
  node.shard.holdBack([LEFT]);
  await split('m', RIGHT);
  await cluster.until(() => leader.shard.host.replicas.get(RIGHT)?.isLeader === true);
  await split('t', grandchild);
  node.shard.drop(RIGHT, (host.replicas.get(RIGHT) as Replica).raft.id);
  disk.resolve();
  await cluster.until(() => node.written.includes(LEFT));
  t.deepEqual(node.written, [farRight, grandchild, LEFT]);
});

test('a range is not written down past a split before the half that has left is buried, which takes room on the disk', async (t) => {
  const cluster = new ShardCluster(3, 3);
  const leader = await cluster.leader();
  const node = cluster.nodes.find((other) => other !== leader) as ShardNode;
  const { shard, folder, written } = node;
  const disk = Promise.withResolvers<void>();
  node.mayCheckpoint = disk.promise;
  let isFull = true;
  const bury = folder.bury.bind(folder);
  Object.defineProperty(folder, 'bury', {
    value: (...gone: Parameters<typeof bury>) => {
      if (isFull) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
      bury(...gone);
    },
  });
  leader.shard.split(Buffer.from('m'), RIGHT, () => undefined);
  await cluster.until(() => shard.host.replicas.has(RIGHT));
  shard.drop(RIGHT, (shard.host.replicas.get(RIGHT) as Replica).raft.id);
  shard.holdBack([LEFT]);
  disk.resolve();
  await cluster.pass(3000);
  t.false(written.includes(LEFT));
  isFull = false;
  await t.notThrowsAsync(cluster.until(() => written.includes(LEFT)));
});
