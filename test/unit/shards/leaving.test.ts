/** A member that is out of its group, and whose files must stay while the other half of a split lives by its log. */
import test from 'ava';
import type { RangeId } from '../../../src/core/brands.ts';
import type { Message } from '../../../src/core/raft/types.ts';
import type { Replica } from '../../../shards/replica.ts';
import { ShardCluster } from '../../support/shard-cluster.ts';
import type { ShardNode } from '../../support/shard-cluster.ts';

const LEFT = 1 as RangeId;
const RIGHT = 2 as RangeId;

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
