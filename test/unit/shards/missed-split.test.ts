/** A member of a range that a snapshot took past a split: it votes in the right half before it has anything of it. */
import test from 'ava';
import type { LogIndex, MemberId, RangeId, Term } from '../../../src/core/brands.ts';
import { memberId } from '../../../src/core/member.ts';
import type { Message } from '../../../src/core/raft/types.ts';
import { MSG_HEARTBEAT, MSG_PRE_VOTE, MSG_VOTE, MSG_VOTE_RESPONSE } from '../../../src/core/raft/types.ts';
import type { Replica } from '../../../shards/replica.ts';
import { ShardCluster, TICK_MS } from '../../support/shard-cluster.ts';
import type { ShardNode } from '../../support/shard-cluster.ts';

const RIGHT = 2 as RangeId;
const PATIENCE_MS = 10 * TICK_MS;

const rightOf = ({ shard }: ShardNode): Replica | undefined => shard.host.replicas.get(RIGHT);

/** Three nodes; the range was cut while the one that `away` names heard nothing, and the third one has gone for good since. */
async function cutWithoutOne(): Promise<{ cluster: ShardCluster; leader: ShardNode; away: ShardNode }> {
  const cluster = new ShardCluster(3, 3);
  for (const key of ['a', 'b', 'x', 'y']) await cluster.run('SET', key, key);
  const leader = await cluster.leader();
  const [away, third] = cluster.nodes.filter((node) => node !== leader) as [ShardNode, ShardNode];
  cluster.stopped.add(away.nodeId);
  // Longer than the leader keeps anything for it.
  await cluster.pass(2000);
  let cut: string | null | undefined;
  leader.shard.split(Buffer.from('m'), RIGHT, (error) => (cut = error));
  await cluster.until(() => cut !== undefined && rightOf(third) !== undefined);
  await cluster.run('SET', 'c', 'c');
  cluster.stopped.add(third.nodeId);
  await cluster.pass(2000);
  return { cluster, leader, away };
}

test('a right half that a majority of its voters missed, or are gone, elects a leader, which brings those who missed it their state', async (t) => {
  const { cluster, leader, away } = await cutWithoutOne();
  cluster.stopped.delete(away.nodeId);
  await cluster.until(() => away.replica?.descriptor.epoch.version === 2);
  t.true(cluster.snapshotsSent > 0, 'the left half came past the split, as a snapshot');
  await cluster.until(() => rightOf(leader)?.isLeader === true && rightOf(away)?.store.keyCount === 2);
  await cluster.until(() => rightOf(leader)?.raft.leaseValid() === true);
  t.deepEqual(rightOf(away)?.conf, rightOf(leader)?.conf);
  t.is(rightOf(away)?.raft.commitIndex, rightOf(leader)?.raft.commitIndex);
});

/** A node that is asked for votes in a range that it knows nothing of, and what it sends. */
class Asked {
  readonly answers: Message[] = [];
  readonly cluster: ShardCluster;
  readonly leader: ShardNode;
  readonly node: ShardNode;

  /** A follower of the range that could be cut. */
  static async follower(): Promise<Asked> {
    const cluster = new ShardCluster(3, 3);
    const leader = await cluster.leader();
    return new Asked(cluster, leader, cluster.nodes.find((node) => node !== leader) as ShardNode);
  }

  private constructor(cluster: ShardCluster, leader: ShardNode, node: ShardNode) {
    this.cluster = cluster;
    this.leader = leader;
    this.node = node;
    // Whoever asks is not there.
    this.cluster.passes = (_from, to, message) => {
      const isThere = to <= this.cluster.nodes.length;
      if (!isThere && message.type === MSG_VOTE_RESPONSE) this.answers.push(message);
      return isThere;
    };
  }

  member(incarnation = 1): MemberId {
    return memberId(this.node.nodeId, 0, incarnation);
  }

  async ask(type: Message['type'], candidate: MemberId, term: number, incarnation = 1): Promise<void> {
    this.node.shard.host.receive(RIGHT, {
      type,
      from: candidate,
      to: this.member(incarnation),
      term: term as Term,
      index: 1 as LogIndex,
      logTerm: 1 as Term,
      commit: 0 as LogIndex,
      context: 0,
      hint: 0 as LogIndex,
      reject: false,
      entries: [],
      snapshot: null,
    });
    await this.cluster.settle();
  }

  /** Of this node's members of the right half that may have spoken. */
  get named(): MemberId | undefined {
    return this.node.folder.find().find(({ rangeId }) => rangeId === RIGHT)?.member?.memberId;
  }
}

const [TWO, THREE] = [8, 9].map((nodeId) => memberId(nodeId as never, 0, 1)) as [MemberId, MemberId];

test('a request for a vote is put down to a split that is about to be applied here, until it comes again', async (t) => {
  const asked = await Asked.follower();
  await asked.ask(MSG_VOTE, TWO, 100);
  await asked.cluster.pass(PATIENCE_MS);
  t.deepEqual([asked.answers, asked.named], [[], undefined]);
  await asked.ask(MSG_VOTE, TWO, 101);
  t.like(asked.answers, [{ from: asked.member(), to: TWO, term: 101, reject: false }]);
  t.is(asked.named, asked.member(), 'a member that has voted has a name');
});

test('a vote without a state is given once a term, and when it is durable', async (t) => {
  const asked = await Asked.follower();
  await asked.ask(MSG_PRE_VOTE, TWO, 100);
  await asked.cluster.pass(PATIENCE_MS);
  await asked.ask(MSG_PRE_VOTE, TWO, 100);
  t.is(asked.named, undefined, 'who is only asked beforehand promises nothing');
  asked.node.log.isStuck = true;
  await asked.ask(MSG_VOTE, TWO, 100);
  t.deepEqual(asked.answers, []);
  asked.node.log.isStuck = false;
  await asked.cluster.pass(TICK_MS);
  t.like(asked.answers, [{ to: TWO, term: 100, reject: false }]);
  await asked.ask(MSG_VOTE, THREE, 100);
  t.like(asked.answers[1], { to: THREE, term: 100, reject: true });
  await asked.ask(MSG_VOTE, THREE, 101);
  t.like(asked.answers[2], { to: THREE, term: 101, reject: false });
});

test('a replica that a split makes after all goes on with the term and the vote that its member gave without a state', async (t) => {
  const asked = await Asked.follower();
  await asked.ask(MSG_VOTE, TWO, 100);
  await asked.cluster.pass(PATIENCE_MS);
  await asked.ask(MSG_VOTE, TWO, 100);
  asked.leader.shard.split(Buffer.from('m'), RIGHT, () => undefined);
  await asked.cluster.until(() => rightOf(asked.node) !== undefined);
  t.like(rightOf(asked.node)?.raft.status(), { id: asked.member(), term: 100, vote: TWO });
  await asked.ask(MSG_VOTE, THREE, 100);
  t.like(asked.answers.at(-1), { to: THREE, term: 100, reject: true });
  await asked.cluster.until(() => asked.cluster.nodes.some((node) => rightOf(node)?.isLeader === true));
});

test('no member without a state votes where one of the range may have spoken before (FAILURES 6, 17)', async (t) => {
  const asked = await Asked.follower();
  asked.node.folder.bury(RIGHT, asked.member());
  // Its successor may wait for a snapshot, and is asked for votes by nobody who knows better.
  await asked.ask(MSG_HEARTBEAT, TWO, 100, 2);
  for (let times = 0; times < 3; times++) {
    await asked.ask(MSG_VOTE, TWO, 101, 2);
    await asked.cluster.pass(PATIENCE_MS);
  }
  t.deepEqual(asked.answers, []);
  t.is(asked.named, undefined);
});

test('a member that waits without a state gives no vote once a later one, on another worker, may have spoken', async (t) => {
  const asked = await Asked.follower();
  await asked.ask(MSG_HEARTBEAT, TWO, 100);
  const later = memberId(asked.node.nodeId, 1, 3);
  asked.node.folder.born(RIGHT, later);
  for (let times = 0; times < 3; times++) {
    await asked.ask(MSG_VOTE, TWO, 101);
    await asked.cluster.pass(PATIENCE_MS);
  }
  t.deepEqual(asked.answers, []);
  t.deepEqual(asked.node.folder.membersOf(RIGHT), [later]);
});

test('a member that voted without a state and is out of its group is buried, and does not come back', async (t) => {
  const asked = await Asked.follower();
  await asked.ask(MSG_VOTE, TWO, 100);
  await asked.cluster.pass(PATIENCE_MS);
  await asked.ask(MSG_VOTE, TWO, 100);
  asked.node.shard.drop(RIGHT, asked.member());
  await asked.cluster.settle();
  t.is(asked.node.folder.find().find(({ rangeId }) => rangeId === RIGHT)?.tombstone, asked.member());
  await asked.cluster.pass(PATIENCE_MS);
  await asked.ask(MSG_VOTE, THREE, 101);
  t.is(asked.answers.length, 1);
});
