import test from 'ava';
import type { LogIndex, NodeId, RangeId } from '../../src/core/brands.ts';
import { memberId } from '../../src/core/member.ts';
import { createPrng } from '../../src/core/prng.ts';
import { requireCommand } from '../../src/core/kv/table.ts';
import type { ConfChangeStep } from '../../src/core/raft/types.ts';
import { SEGMENT_BYTES_MIN } from '../../src/storage/wal/format.ts';
import { FIRST_INDEX } from '../../shards/entry.ts';
import { CALM_DISK } from './core-disk.ts';
import { Coverage } from './coverage.ts';
import { Invariants } from './invariants.ts';
import { argsOf } from '../support/kv-machine.ts';
import type { ClientReply } from './node.ts';
import { OneCommand } from './one-command.ts';
import { ShardNode } from './shard-node.ts';
import type { ShardNodeOptions } from './shard-node.ts';
import type { ShardPacket } from './shard-packet.ts';
import { World } from './world.ts';

/** Nodes that do what the test says. The store begins on node 1. */
class Script {
  readonly world: World<ShardPacket, ShardNode>;
  readonly coverage = new Coverage();
  readonly #invariants = new Map<RangeId, Invariants>();

  constructor(nodes: number, seed: number, options: Partial<ShardNodeOptions> = {}) {
    const all = {
      maxRecoverySeconds: 10,
      checkpointMs: 1,
      snapshotTimeoutMs: 500,
      restAfterTicks: 20,
      segmentBytes: SEGMENT_BYTES_MIN,
      mayRot: false,
      ...options,
    };
    this.world = new World(createPrng(seed), nodes, (surroundings) => {
      return new ShardNode(
        surroundings,
        (id) => this.#invariantsOf(id),
        all,
        surroundings.nodeNumber === 1,
        this.coverage,
      );
    });
    for (const host of this.world.hosts) host.start();
  }

  #invariantsOf(rangeId: RangeId): Invariants {
    const invariants = this.#invariants.get(rangeId) ?? new Invariants(FIRST_INDEX as LogIndex, () => undefined);
    this.#invariants.set(rangeId, invariants);
    return invariants;
  }

  node(number: number): ShardNode {
    return this.world.nodes[number - 1] as ShardNode;
  }

  on(number: number, action: (node: ShardNode) => void): void {
    this.world.hosts[number - 1]?.run(() => action(this.node(number)));
  }

  async pass(ms: number): Promise<void> {
    const untilMs = this.world.time.nowMs + ms;
    while (this.world.time.nowMs < untilMs) {
      this.world.time.step();
      await new Promise(setImmediate);
    }
  }

  async ask(number: number, kind: 'read' | 'write', key: string, value = ''): Promise<ClientReply | null> {
    let reply: ClientReply | null = null;
    this.on(number, (node) => node.submit({ kind, key, value, consistency: 'lease' }, (answer) => (reply = answer)));
    for (let waitedMs = 0; reply === null && waitedMs < 3000; waitedMs += 10) await this.pass(10);
    return reply;
  }

  async change(number: number, rangeId: number, ...changes: ConfChangeStep[]): Promise<string | null | undefined> {
    const id = rangeId as RangeId;
    const confVersion = this.node(number).replicas.get(id)?.descriptor.epoch.confVersion ?? 0;
    let outcome: string | null | undefined;
    this.on(number, ({ shard }) => {
      const request = { rangeId: id, confVersion, changes, isJoint: false };
      shard?.admin.changeMembers(request, (error) => (outcome = error));
    });
    for (let waitedMs = 0; outcome === undefined && waitedMs < 3000; waitedMs += 10) await this.pass(10);
    return outcome;
  }

  async split(number: number, key: string, rangeId: number): Promise<string | null | undefined> {
    let outcome: string | null | undefined;
    this.on(number, (node) => node.shard?.split(Buffer.from(key), rangeId as RangeId, (error) => (outcome = error)));
    for (let waitedMs = 0; outcome === undefined && waitedMs < 3000; waitedMs += 10) await this.pass(10);
    return outcome;
  }

  restart(number: number): void {
    const host = this.world.hosts[number - 1];
    host?.crash();
    host?.start();
  }
}

const read = (value: string | null): ClientReply => ({ outcome: 'ok', value });

test('a follower that was away while more was written than memory keeps catches up from the log, without a snapshot', async (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const script = new Script(2, seed);
    t.deepEqual(await script.ask(1, 'write', 'k', 'first'), read(null));
    t.is(await script.change(1, 1, { type: 'addLearner', id: memberId(2 as NodeId, 0, 2) }), null);
    await script.pass(500);
    const snapshots = script.coverage.counts.get('snapshots sent');
    script.world.hosts[1]?.crash();
    // Long enough that the leader keeps nothing for it in memory.
    await script.pass(300);
    for (let i = 0; i < 30; i++) t.deepEqual(await script.ask(1, 'write', `k${i}`, `v${i}`), read(null));
    script.world.hosts[1]?.start();
    await script.pass(1000);
    const [leader, learner] = [1, 2].map((number) => script.node(number).replicas.get(1 as RangeId));
    t.is(learner?.raft.appliedIndex, leader?.raft.appliedIndex, `seed ${seed}`);
    t.is(learner?.store.keyCount, 31);
    t.true((script.coverage.counts.get('log read back') ?? 0) > 0);
    t.is(script.coverage.counts.get('snapshots sent'), snapshots);
  }
});

test('half of a split lives by the log of the other half until it has a checkpoint of its own, restarts or not', async (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const script = new Script(1, seed, { checkpointMs: 100 });
    for (let i = 0; i < 10; i++) t.deepEqual(await script.ask(1, 'write', `k${i}`, `v${i}`), read(null));
    t.is(await script.split(1, 'k5', 2), null);
    script.restart(1);
    // Somebody needs a new checkpoint of the left half at once; the right one has none yet.
    script.on(1, (node) => node.shard?.holdBack([1 as RangeId]));
    await script.pass(20 * seed);
    script.restart(1);
    await script.pass(500);
    script.restart(1);
    for (let i = 0; i < 10; i++) t.deepEqual(await script.ask(1, 'read', `k${i}`), read(`v${i}`), `seed ${seed}`);
  }
});

test('a learner of a group of one takes nothing for committed that its leader may have lost (FAILURES 10)', async (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const script = new Script(2, seed);
    t.deepEqual(await script.ask(1, 'write', 'k', 'old'), read(null));
    t.is(await script.change(1, 1, { type: 'addLearner', id: memberId(2 as NodeId, 0, 2) }), null);
    await script.pass(300);
    t.is(script.node(2).replicas.size, 1);
    // The leader sends the entry before its own disk has it, and dies; the learner's disk is faster.
    script.node(1).faults = { ...CALM_DISK, syncMs: 100_000 };
    script.on(1, (node) =>
      node.submit({ kind: 'write', key: 'k', value: 'new', consistency: 'lease' }, () => undefined),
    );
    await script.pass(100);
    script.node(1).faults = CALM_DISK;
    script.restart(1);
    script.restart(2);
    t.deepEqual(await script.ask(1, 'write', 'other', 'value'), read(null));
    await script.pass(300);
    const [leader, learner] = [1, 2].map((number) => script.node(number).replicas.get(1 as RangeId));
    t.is(learner?.raft.appliedIndex, leader?.raft.appliedIndex);
    t.is(learner?.store.keyCount, leader?.store.keyCount);
  }
});

test('FAILURES 12: after all nodes were killed nobody answers from a state that is still being replayed', async (t) => {
  for (let seed = 1; seed <= 5; seed++) {
    const script = new Script(1, seed);
    for (let i = 0; i < 20; i++) t.deepEqual(await script.ask(1, 'write', 'k', `v${i}`), read(null));
    script.world.hosts[0]?.crash();
    const replies: ClientReply[] = [];
    script.world.hosts[0]?.start();
    // The very first thing that the node hears.
    const request = { kind: 'read', key: 'k', value: '', consistency: 'lease' } as const;
    for (let i = 0; i < 20; i++) {
      script.on(1, (node) => node.submit(request, (reply) => replies.push(reply)));
      await script.pass(1);
    }
    await script.pass(100);
    t.true(replies.length > 0);
    for (const reply of replies) if (reply.outcome === 'ok') t.is(reply.value, 'v19');
    t.deepEqual(await script.ask(1, 'read', 'k'), read('v19'));
  }
});

test('FAILURES 14: a crash while a checkpoint is being written leaves the one before it', async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const script = new Script(1, seed, { checkpointMs: 50 });
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 4; i++) t.deepEqual(await script.ask(1, 'write', `k${i}`, `${round} ${i}`), read(null));
      script.on(1, (node) => node.shard?.holdBack([1 as RangeId]));
      await script.pass(5);
      script.restart(1);
    }
    for (let i = 0; i < 4; i++) t.deepEqual(await script.ask(1, 'read', `k${i}`), read(`3 ${i}`), `seed ${seed}`);
  }
});

test('FAILURES 26: a read that waited for its round while its range was cut is answered by the half that has its key, or not at all', async (t) => {
  const script = new Script(3, 1);
  for (let i = 0; i < 10; i++) await script.ask(1, 'write', `k${i}`, `v${i}`);
  for (const number of [2, 3]) {
    const id = memberId(
      number as NodeId,
      0,
      script.node(1).replicas.get(1 as RangeId)!.descriptor.epoch.confVersion + 1,
    );
    t.is(await script.change(1, 1, { type: 'addLearner', id }), null);
    await script.pass(500);
    t.is(await script.change(1, 1, { type: 'addVoter', id }), null);
  }
  const replies: ClientReply[] = [];
  script.on(1, (node) => node.shard?.split(Buffer.from('k5'), 2 as RangeId, () => undefined));
  // Until the split is applied and beyond: some of the rounds begin before it and end after it.
  for (let asked = 0; asked < 60; asked++) {
    const i = asked % 10;
    const request = { kind: 'read', key: `k${i}`, value: '', consistency: 'linearizable' } as const;
    script.on(1, (node) => {
      node.submit(request, (reply) => {
        replies.push(reply.outcome === 'ok' ? { ...reply, value: `${i} ${reply.value}` } : reply);
      });
    });
    await script.pass(0.1);
  }
  await script.pass(1000);
  t.is(script.node(1).replicas.size, 2);
  t.is(replies.length, 60);
  for (const reply of replies) if (reply.outcome === 'ok') t.regex(String(reply.value), /^(\d) v\1$/);
});

test('FAILURES 11: the applied index and the data are saved as one: no crash applies a command twice, or leaves one out', async (t) => {
  const append = requireCommand('APPEND');
  for (let seed = 1; seed <= 15; seed++) {
    const script = new Script(1, seed, { checkpointMs: 10 });
    await script.pass(50);
    for (let round = 1; round <= 12; round++) {
      let reply: ClientReply | null = null;
      const target = new OneCommand((answer) => (reply = answer), new Coverage());
      script.on(1, (node) => node.replicaOf(Buffer.from('k'))?.submit(append, argsOf(['k', 'x']), target, 0, null, 0));
      for (let waitedMs = 0; reply === null && waitedMs < 1000; waitedMs += 5) await script.pass(5);
      t.is((reply as ClientReply | null)?.outcome, 'ok');
      // Before, while or after the state is written down; and then it is, of whatever the restart has made of it.
      script.on(1, (node) => node.shard?.holdBack([1 as RangeId]));
      await script.pass((seed * round) % 25);
      script.restart(1);
      t.deepEqual(await script.ask(1, 'read', 'k'), read('x'.repeat(round)), `seed ${seed}, round ${round}`);
    }
  }
});
