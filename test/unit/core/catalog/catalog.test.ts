import test from 'ava';
import { array, assert as check, constantFrom, integer, oneof, property, record, string } from 'fast-check';
import { decodeCatalog, decodeCatalogOp, encodeCatalog, encodeCatalogOp } from '../../../../src/codec/catalog.ts';
import type { NodeId, RangeId } from '../../../../src/core/brands.ts';
import { applyCatalogOp, EMPTY_CATALOG, nodeRecord, refusalOfNode } from '../../../../src/core/catalog/catalog.ts';
import type { CatalogOp, CatalogState, NodeProfile } from '../../../../src/core/catalog/types.ts';
import { nodeStates } from '../../../../src/core/catalog/types.ts';

const profile = (name: string, fields: Partial<NodeProfile> = {}): NodeProfile => ({
  storeId: `store-${name}`,
  incarnation: 1,
  bootId: 'boot',
  name,
  addresses: {
    host: '127.0.0.1',
    controlPort: 7380,
    peerPorts: [7381],
    workerPorts: [7001],
    nativePort: 7370,
    respPort: 7379,
    httpPort: 7371,
  },
  workers: 1,
  locality: [{ tier: 'dc', value: 'ams' }],
  ...fields,
});

const creation: CatalogOp = {
  type: 'create',
  clusterId: 'c1',
  settings: { replicationFactor: 3 },
  node: profile('n1'),
  nodeId: 1 as NodeId,
  nextRangeId: 2 as RangeId,
};

function run(ops: readonly CatalogOp[], from: CatalogState = EMPTY_CATALOG): CatalogState {
  return ops.reduce((state, op) => applyCatalogOp(state, op).state, from);
}

const cluster = (): CatalogState => run([creation]);

const names = ['n1', 'n2', 'n3', 'n4'];
const anyProfile = record({
  name: constantFrom(...names, '', 'bad name'),
  store: constantFrom('a', 'b', 'c', 'd', ''),
  incarnation: integer({ min: -1, max: 3 }),
  bootId: constantFrom('x', 'y'),
  workers: integer({ min: 0, max: 4 }),
}).map(({ name, store, ...fields }) => profile(name, { storeId: store, ...fields }));
const anyNodeId = integer({ min: 0, max: 6 }).map((id) => id as NodeId);
const anyOp = oneof(
  anyProfile.map((node): CatalogOp => ({ type: 'joinNode', node })),
  record({ nodeId: anyNodeId, node: anyProfile }).map((fields): CatalogOp => ({ type: 'announceNode', ...fields })),
  constantFrom(...names).map((name): CatalogOp => ({ type: 'expectNode', name })),
  record({ nodeId: anyNodeId, state: constantFrom(...nodeStates) }).map((fields): CatalogOp => ({
    type: 'setNodeState',
    ...fields,
  })),
  integer({ min: -1, max: 9 }).map((value): CatalogOp => ({ type: 'setReplicationFactor', replicationFactor: value })),
  integer({ min: 0, max: 5 }).map((count): CatalogOp => ({ type: 'reserveRangeIds', count })),
  string().map((clusterId): CatalogOp => ({ ...creation, clusterId })),
);

test('a cluster begins with one node that is ACTIVE, and is made once', (t) => {
  const state = cluster();
  t.is(state.revision, 1);
  t.like(state.nodes[0], { nodeId: 1 as NodeId, name: 'n1', state: 'ACTIVE' });
  const again = applyCatalogOp(state, creation);
  t.like(again.result, { ok: false, code: 'KV_STATE' });
  t.is(again.state, state);
});

test('nothing but its making happens to a cluster that is not there', (t) => {
  t.like(applyCatalogOp(EMPTY_CATALOG, { type: 'joinNode', node: profile('n2') }).result, { ok: false });
});

test('a node joins, is JOINING until it announces itself, and is the same node when it asks twice', (t) => {
  const first = applyCatalogOp(cluster(), { type: 'joinNode', node: profile('n2') });
  t.deepEqual(first.result, { ok: true, revision: 2, value: 2 });
  t.is(nodeRecord(first.state, 2)?.state, 'JOINING');
  const second = applyCatalogOp(first.state, { type: 'joinNode', node: profile('n2') });
  t.deepEqual(second.result, { ok: true, revision: 2, value: 2 });
  const state = run([{ type: 'announceNode', nodeId: 2 as NodeId, node: profile('n2', { workers: 4 }) }], second.state);
  t.like(nodeRecord(state, 2), { state: 'ACTIVE', workers: 4 });
});

test('a node that starts again without a word on its name or its place keeps both', (t) => {
  const place = { locality: [{ tier: 'dc', value: 'ams' }] };
  const nodeId = 2 as NodeId;
  const silent = profile('n2', { name: '', locality: [] });
  const state = run([
    creation,
    { type: 'joinNode', node: profile('n2', place) },
    { type: 'announceNode', nodeId, node: silent },
  ]);
  t.like(nodeRecord(state, 2), { state: 'ACTIVE', name: 'n2', ...place });
  const moved = { locality: [{ tier: 'dc', value: 'fra' }] };
  const after = run([{ type: 'announceNode', nodeId, node: profile('n2', { name: 'n7', ...moved }) }], state);
  t.like(nodeRecord(after, 2), { name: 'n7', ...moved });
  t.like(applyCatalogOp(state, { type: 'joinNode', node: { ...silent, storeId: 'new' } }).result, { ok: false });
});

test('a node that was expected takes the id that was kept for its name', (t) => {
  const state = run([
    creation,
    { type: 'expectNode', name: 'n2' },
    { type: 'joinNode', node: profile('n3') },
    { type: 'joinNode', node: profile('n2') },
  ]);
  t.deepEqual(
    state.nodes.map(({ nodeId, name, state: nodeState }) => [nodeId as number, name, nodeState]),
    [
      [1, 'n1', 'ACTIVE'],
      [2, 'n2', 'JOINING'],
      [3, 'n3', 'JOINING'],
    ],
  );
});

test('a lost disk under an old id, an old copy of a folder and a removed node are refused (FAILURES 17)', (t) => {
  const state = run([
    creation,
    { type: 'joinNode', node: profile('n2', { incarnation: 3 }) },
    { type: 'joinNode', node: profile('n3') },
    { type: 'setNodeState', nodeId: 3 as NodeId, state: 'INACTIVE' },
  ]);
  const refusal = (nodeId: number, storeId: string, incarnation: number, bootId = 'boot'): string | null =>
    refusalOfNode(state, nodeId, { storeId, incarnation, bootId });
  t.is(refusal(2, 'store-n2', 3), null);
  t.is(refusal(2, 'store-n2', 4, 'next'), null);
  t.regex(String(refusal(2, 'another', 4)), /lost its disk/);
  t.regex(String(refusal(2, 'store-n2', 2)), /old copy/);
  t.regex(String(refusal(2, 'store-n2', 3, 'the copy')), /old copy/);
  t.regex(String(refusal(3, 'store-n3', 1)), /removed from the cluster/);
  t.regex(String(refusal(9, 'store-n9', 1)), /no node 9/);
  const announced = applyCatalogOp(state, { type: 'announceNode', nodeId: 3 as NodeId, node: profile('n3') });
  t.like(announced.result, { ok: false, code: 'KV_CONFLICT' });
});

test('the last ACTIVE node can be neither drained nor removed', (t) => {
  for (const state of ['LEAVING', 'INACTIVE'] as const) {
    const { result } = applyCatalogOp(cluster(), { type: 'setNodeState', nodeId: 1 as NodeId, state });
    t.like(result, { ok: false, code: 'KV_STATE' });
  }
});

test('range ids are given once', (t) => {
  const first = applyCatalogOp(cluster(), { type: 'reserveRangeIds', count: 10 });
  const second = applyCatalogOp(first.state, { type: 'reserveRangeIds', count: 1 });
  t.deepEqual(
    [first.result, second.result].map((result) => (result.ok ? result.value : null)),
    [2, 12],
  );
});

test('whatever is asked for: ids are unique and grow, INACTIVE is for good, names are unique, a refusal changes nothing', (t) => {
  check(
    property(array(anyOp, { maxLength: 40 }), (ops) => {
      let state = cluster();
      for (const op of ops) {
        const before = state;
        const { state: after, result } = applyCatalogOp(before, op);
        if (!result.ok) t.is(after, before);
        t.is(after.revision, result.revision);
        t.true(after.nextNodeId >= before.nextNodeId && after.nextRangeId >= before.nextRangeId);
        t.true(after.nodes.every(({ nodeId }, i) => nodeId === i + 1));
        const living = after.nodes.filter((node) => node.state !== 'INACTIVE').map(({ name }) => name);
        t.is(new Set(living).size, living.length);
        t.true(after.nodes.some((node) => node.state === 'ACTIVE'));
        for (const node of before.nodes) {
          if (node.state === 'INACTIVE') t.deepEqual(nodeRecord(after, node.nodeId), node);
        }
        state = after;
      }
    }),
  );
});

test('a catalog read back from a checkpoint goes on like one that was replayed from the log', (t) => {
  check(
    property(array(anyOp, { maxLength: 30 }), integer({ min: 0, max: 30 }), (ops, cut) => {
      const replayed = run(ops, cluster());
      const restored = decodeCatalog(encodeCatalog(run(ops.slice(0, cut), cluster())));
      const afterLog = ops.slice(cut).map((op) => decodeCatalogOp(encodeCatalogOp(op)));
      t.deepEqual(run(afterLog, restored), replayed);
      t.deepEqual(decodeCatalog(encodeCatalog(replayed)), replayed);
    }),
  );
});
