import test from 'ava';
import type { LogIndex, RangeId } from '../../src/core/brands.ts';
import { createPrng } from '../../src/core/prng.ts';
import { FIRST_INDEX } from '../../shards/entry.ts';
import { Invariants } from './invariants.ts';
import type { ClientReply } from './node.ts';
import { ShardNode } from './shard-node.ts';
import type { ShardNodeOptions, ShardPacket } from './shard-node.ts';
import { World } from './world.ts';

/** Nodes that do what the test says. The store begins on node 1. */
class Script {
  readonly world: World<ShardPacket, ShardNode>;
  readonly #invariants = new Map<RangeId, Invariants>();

  constructor(nodes: number, seed: number, options: Partial<ShardNodeOptions> = {}) {
    const all = { maxRecoverySeconds: 10, checkpointMs: 1, snapshotTimeoutMs: 500, ...options };
    this.world = new World(createPrng(seed), nodes, (surroundings) => {
      return new ShardNode(surroundings, (id) => this.#invariantsOf(id), all, surroundings.nodeNumber === 1);
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
