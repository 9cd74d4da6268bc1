import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { NodeId, RangeId } from '../../../../src/core/brands.ts';
import { applyCatalogOp, EMPTY_CATALOG, nodeRecord } from '../../../../src/core/catalog/catalog.ts';
import type { CatalogState, NodeProfile } from '../../../../src/core/catalog/types.ts';
import { SkerryError } from '../../../../src/core/errors.ts';
import { PLACEMENT_DEFAULTS } from '../../../../src/core/placement/options.ts';
import type { Route } from '../../../../src/core/range.ts';
import { createLogger } from '../../../../src/observe/log.ts';
import { Cluster } from '../../../../src/server/cluster/cluster.ts';
import { askToJoin } from '../../../../src/server/cluster/join.ts';
import { carryOut } from '../../../../src/server/cluster/orders.ts';
import { FakeShards } from '../../../support/fake-shards.ts';

const log = createLogger({ level: 'silent', format: 'text', thread: 'test' });
const HOST = '127.0.0.1';

const profile = (name: string, controlPort: number, fields: Partial<NodeProfile> = {}): NodeProfile => ({
  storeId: `store-${name}`,
  incarnation: 1,
  bootId: 'boot',
  name,
  addresses: {
    host: HOST,
    controlPort,
    peerPorts: [1],
    workerPorts: [1],
    nativePort: 1,
    respPort: 1,
    httpPort: 1,
  },
  workers: 1,
  locality: [],
  ...fields,
});

interface Node {
  readonly cluster: Cluster;
  readonly port: number;
  readonly saved: CatalogState[];
  readonly expelled: SkerryError[];
  readonly routes: Map<RangeId, Route>;
}

/** A cluster of control planes over one set of fake shards, and a way to wait for what becomes of it. */
class Lab {
  readonly shards: FakeShards;
  readonly nodes = new Map<number, Node>();
  readonly #t: ExecutionContext;
  readonly #clusters: Cluster[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(t: ExecutionContext, rangeCount = 3) {
    this.#t = t;
    const creation = applyCatalogOp(EMPTY_CATALOG, {
      type: 'create',
      clusterId: 'lab',
      settings: { replicationFactor: 3 },
      node: { ...profile('n1', 0), incarnation: 0 },
      nodeId: 1 as NodeId,
      nextRangeId: (rangeCount + 1) as RangeId,
    });
    this.shards = new FakeShards(creation.state, rangeCount);
    const beat = setInterval(() => this.changed(), 50);
    t.teardown(async () => {
      clearInterval(beat);
      for (const cluster of this.#clusters) await cluster.close();
    });
  }

  changed(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
    this.#t.pass();
  }

  /** Starts the control plane of a node that has its id. */
  async start(nodeId: number, catalog: CatalogState, fields: Partial<NodeProfile> = {}): Promise<Node> {
    const saved: CatalogState[] = [];
    const expelled: SkerryError[] = [];
    const routes = new Map<RangeId, Route>();
    const id = nodeId as NodeId;
    const name = `n${nodeId}`;
    const { incarnation = 1, bootId = 'boot' } = fields;
    const cluster = new Cluster(
      { clusterId: catalog.clusterId, nodeId: id, storeId: fields.storeId ?? `store-${name}`, incarnation, bootId },
      { ...PLACEMENT_DEFAULTS, replaceAfterMs: 3000 },
      {
        tell: (_, message) => this.shards.tell(id, message),
        tellAll: () => undefined,
        learnRoutes: (changed) => {
          for (const route of changed) routes.set(route.range.rangeId, route);
          this.changed();
        },
        leaderOf: (rangeId) => this.shards.leader(rangeId) as NodeId,
        splitHere: () => Promise.resolve(9 as RangeId),
        saveCatalog: (state) => {
          saved.push(state);
          this.changed();
        },
        expelled: (error) => {
          expelled.push(error);
          this.changed();
        },
        nowMs: () => performance.now(),
        log,
      },
    );
    this.#clusters.push(cluster);
    const port = await cluster.listen(HOST, 0);
    const node = { cluster, port, saved, expelled, routes };
    this.nodes.set(nodeId, node);
    cluster.adopt(catalog);
    this.shards.start(cluster);
    await cluster.announce(profile(name, port, fields), []);
    return node;
  }

  /** Starts a node that has never been in the cluster. */
  async join(nodeId: number, through: Node, fields: Partial<NodeProfile> = {}): Promise<Node> {
    const wanted = profile(`n${nodeId}`, 0, fields);
    const joined = await askToJoin([{ host: HOST, port: through.port }], wanted, log, () => false);
    this.#t.is(joined.nodeId, nodeId as NodeId);
    return this.start(nodeId, joined.catalog, fields);
  }

  stateOf(nodeId: number): string | undefined {
    return nodeRecord(this.shards.catalog, nodeId)?.state;
  }

  async threeNodes(): Promise<[Node, Node, Node]> {
    const first = await this.start(1, this.shards.catalog);
    const second = await this.join(2, first);
    return [first, second, await this.join(3, second)];
  }
}

test('three nodes become a cluster, each range gets three replicas, and every node knows who leads what', async (t) => {
  const lab = new Lab(t);
  const nodes = await lab.threeNodes();
  await lab.until(() => [1, 2, 3].every((rangeId) => lab.shards.voters(rangeId).length === 3));
  await lab.until(() => new Set([1, 2, 3].map((rangeId) => lab.shards.leader(rangeId))).size === 3);
  await lab.until(() =>
    nodes.every(
      ({ routes }) =>
        [...routes.values()].every(({ range, leader }) => {
          return lab.shards.ranges.get(range.rangeId)?.leader === leader;
        }) && routes.size === 3,
    ),
  );
  await lab.until(() => nodes.every(({ cluster }) => cluster.catalog.revision === lab.shards.catalog.revision));
  t.deepEqual(
    [1, 2, 3].map((nodeId) => lab.stateOf(nodeId)),
    ['ACTIVE', 'ACTIVE', 'ACTIVE'],
  );
  t.is(nodes[1].saved.at(-1)?.revision, lab.shards.catalog.revision);
});

test('a change asked of any node reaches the catalog, and range ids are never given twice', async (t) => {
  const lab = new Lab(t);
  const [first, second, third] = await lab.threeNodes();
  const result = await third.cluster.propose({ type: 'setReplicationFactor', replicationFactor: 5 });
  t.true(result.ok);
  t.is(lab.shards.catalog.settings.replicationFactor, 5);
  const ids = await Promise.all([first, second, third, third].map(({ cluster }) => cluster.nextRangeId()));
  t.is(new Set(ids).size, ids.length);
});

test('a node that drains gives everything away, is INACTIVE then, and is told to go', async (t) => {
  const lab = new Lab(t);
  const [first] = await lab.threeNodes();
  const fourth = await lab.join(4, first);
  await lab.until(() => [1, 2, 3].every((rangeId) => lab.shards.voters(rangeId).length === 3));
  await first.cluster.propose({ type: 'setNodeState', nodeId: 1 as NodeId, state: 'LEAVING' });
  await lab.until(() => lab.stateOf(1) === 'INACTIVE');
  for (const rangeId of [1, 2, 3]) t.deepEqual(lab.shards.voters(rangeId), [2, 3, 4]);
  await lab.until(() => first.expelled.length > 0);
  t.regex(String(first.expelled[0]?.message), /was removed/);
  t.deepEqual(fourth.expelled, []);
});

test('a node is not removed while a range would be left without a majority of voters that live, whoever asks', async (t) => {
  const lab = new Lab(t);
  const [, second, third] = await lab.threeNodes();
  await lab.until(() => [1, 2, 3].every((rangeId) => lab.shards.voters(rangeId).length === 3));
  await second.cluster.close();
  lab.shards.stop(2 as NodeId);
  await lab.until(() => third.cluster.silent.includes(2 as NodeId));
  const error = await t.throwsAsync(carryOut(third.cluster, ['remove', '1', 'force']), { code: 'KV_STATE' });
  t.regex(
    String(error?.message),
    /without it they would have no majority .* ranges 1, 2, 3\. .*skerry range recover 1/,
  );
  t.is(lab.stateOf(1), 'ACTIVE');
  // The dead one may go: two of three live.
  t.like(await carryOut(third.cluster, ['remove', '2']), { nodeId: 2, state: 'INACTIVE' });
  t.is(lab.stateOf(2), 'INACTIVE');
});

test('a node that dies is replaced after a while, also when it led range 1', async (t) => {
  const lab = new Lab(t);
  const [first] = await lab.threeNodes();
  await lab.join(4, first);
  await lab.until(() => [1, 2, 3].every((rangeId) => lab.shards.voters(rangeId).length === 3));
  const dead = lab.shards.leader(1);
  await lab.nodes.get(dead)?.cluster.close();
  lab.shards.stop(dead as NodeId);
  await lab.until(() => [1, 2, 3].every((rangeId) => !lab.shards.voters(rangeId).includes(dead)));
  await lab.until(() => [1, 2, 3].every((rangeId) => lab.shards.voters(rangeId).length === 3));
  t.is(lab.stateOf(dead), 'ACTIVE', 'it may come back');
});

test('who does not belong here is told why: another cluster, a lost disk, an old copy, a taken name (FAILURES 17)', async (t) => {
  const lab = new Lab(t);
  const [first, , third] = await lab.threeNodes();
  const refused = async (fields: Partial<NodeProfile>, pattern: RegExp, clusterId = 'lab'): Promise<void> => {
    const catalog = { ...lab.shards.catalog, clusterId };
    const error = await t.throwsAsync(lab.start(2, catalog, fields), { instanceOf: SkerryError });
    t.regex(error.message, pattern);
  };
  await refused({ storeId: 'an empty disk' }, /lost its disk/);
  await refused({ incarnation: 0 }, /old copy/);
  await refused({ bootId: 'a copy' }, /old copy/);
  await refused({ incarnation: 2 }, /belongs to the cluster lab, and not to other/, 'other');
  await t.throwsAsync(
    askToJoin([{ host: HOST, port: third.port }], profile('n1', 0, { storeId: 'x' }), log, () => false),
    {
      message: /node 1 has the name n1/,
    },
  );
  t.is(first.expelled.length, 0);
});

test('a node that comes back on another port is found again', async (t) => {
  const lab = new Lab(t);
  const [, second] = await lab.threeNodes();
  const { catalog } = second.cluster;
  await second.cluster.close();
  lab.shards.stop(2 as NodeId);
  const again = await lab.start(2, catalog, { incarnation: 2 });
  t.not(again.port, second.port);
  await lab.until(() => nodeRecord(lab.shards.catalog, 2)?.addresses.controlPort === again.port);
  await lab.until(() => again.routes.size === 3);
});
