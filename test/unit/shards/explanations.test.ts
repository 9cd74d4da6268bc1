/** What replies say of where their time went, over real hosts and replicas and a clock that moves when it is told to. */
import test from 'ava';
import type { ReadExplanation, WriteExplanation } from '../../../src/core/kv/explanation.ts';
import { CONSISTENCY_LINEARIZABLE, CONSISTENCY_STALE } from '../../../src/core/kv/spec.ts';
import { requireCommand, withConsistency } from '../../../src/core/kv/table.ts';
import { ShardCluster } from '../../support/shard-cluster.ts';

const set = requireCommand('SET');
const get = requireCommand('GET');

test('a write says how long it waited for the log, for the sync and to be applied, and that adds up', async (t) => {
  const cluster = new ShardCluster(1, 1);
  const leader = await cluster.leader();
  await cluster.settle();
  leader.log.isStuck = true;
  const before = leader.start('SET', 'a', '0');
  await cluster.settle();
  // The first write is on its way to the disk: these two wait, and become one entry.
  const explained = leader.explain(set, 'a', '1');
  cluster.nowMs += 5;
  const beside = leader.start('SET', 'b', '1');
  await cluster.settle();
  leader.log.isStuck = false;
  leader.log.sync = { startedMs: cluster.nowMs + 1, endedMs: cluster.nowMs + 3 };
  cluster.nowMs += 7;
  leader.log.publish();
  leader.log.isStuck = true;
  await cluster.settle();
  t.is(before.value, '+OK');
  t.is(explained.value, undefined, 'the entry of the two is in the log now');
  const enteredMs = cluster.nowMs;
  leader.log.isStuck = false;
  leader.log.publish();
  leader.log.sync = { startedMs: enteredMs + 2, endedMs: enteredMs + 6 };
  cluster.nowMs += 10;
  await cluster.settle();
  t.is(explained.value, '+OK');
  t.is(beside.value, '+OK');
  t.is(beside.explanation, undefined, 'nobody asked');
  t.like(explained.explanation, {
    kind: 'write',
    rangeId: 1,
    nodeId: 1,
    worker: 0,
    batchCommands: 2,
    queueMs: 12,
    walWaitMs: 2,
    fsyncMs: 4,
    noticeMs: 4,
    replicationMs: null,
    applyMs: 0,
    totalMs: 22,
  });
});

test('a write of several voters says how long the others took beyond the disk here', async (t) => {
  const cluster = new ShardCluster(3, 3);
  const leader = await cluster.leader();
  await cluster.pass(100);
  const others = cluster.nodes.filter((node) => node !== leader);
  for (const { log } of others) log.isStuck = true;
  const sinceMs = cluster.nowMs;
  leader.log.sync = { startedMs: sinceMs, endedMs: sinceMs };
  const reply = leader.explain(set, 'a', '1');
  await cluster.settle();
  t.is(reply.value, undefined, 'a majority does not have it');
  cluster.nowMs += 30;
  for (const { log } of others) log.isStuck = false;
  await cluster.until(() => reply.value !== undefined);
  const explanation = reply.explanation as WriteExplanation;
  t.is(explanation.fsyncMs, 0);
  t.true((explanation.replicationMs as number) >= 30);
  t.is(explanation.totalMs, cluster.nowMs - sinceMs);
});

test('a write that a majority had before the disk here was done does not blame that disk', async (t) => {
  const cluster = new ShardCluster(3, 3);
  const leader = await cluster.leader();
  await cluster.pass(100);
  leader.log.isStuck = true;
  const reply = leader.explain(set, 'a', '1');
  await cluster.until(() => reply.value !== undefined);
  t.like(reply.explanation, { kind: 'write', walWaitMs: null, fsyncMs: null, noticeMs: null });
  const { queueMs, replicationMs, applyMs, totalMs } = reply.explanation as WriteExplanation;
  t.is(queueMs + (replicationMs as number) + applyMs, totalMs);
});

test('a read says what it rests on', async (t) => {
  const cluster = new ShardCluster(3, 3);
  await cluster.run('SET', 'a', '1');
  const leader = await cluster.leader();
  await cluster.pass(100);
  const leased = leader.explain(get, 'a');
  t.like(leased.explanation, { kind: 'read', restsOn: 'lease', readIndexMs: null, nodeId: leader.nodeId });

  cluster.passes = () => false;
  const asked = leader.explain(withConsistency(get, CONSISTENCY_LINEARIZABLE), 'a');
  await cluster.settle();
  t.is(asked.value, undefined);
  cluster.nowMs += 20;
  cluster.passes = () => true;
  await cluster.until(() => asked.value !== undefined);
  t.is(asked.value, '1');
  const explanation = asked.explanation as ReadExplanation;
  t.is(explanation.restsOn, 'readIndex');
  t.true((explanation.readIndexMs as number) >= 20);

  const follower = cluster.nodes.find((node) => node !== leader);
  const stale = follower?.explain(withConsistency(get, CONSISTENCY_STALE), 'a');
  t.like(stale?.explanation, { restsOn: 'stale', nodeId: follower?.nodeId });
});
