import test from 'ava';
import { array, assert as check, boolean, constantFrom, integer, property, record, tuple } from 'fast-check';
import type { MemberId, NodeId, RangeId } from '../../../../src/core/brands.ts';
import type { LocalityTier } from '../../../../src/core/catalog/types.ts';
import { memberId, nodeOf } from '../../../../src/core/member.ts';
import type { PlacementStep } from '../../../../src/core/placement/options.ts';
import { PLACEMENT_DEFAULTS } from '../../../../src/core/placement/options.ts';
import { planNext } from '../../../../src/core/placement/plan.ts';
import { viewOf } from '../../../../src/core/placement/report.ts';
import { PlacementWorld } from '../../../support/placement-world.ts';
import type { WorldNode, WorldRange } from '../../../support/placement-world.ts';

const place = (dc: string, rack: string): LocalityTier[] => [
  { tier: 'dc', value: dc },
  { tier: 'rack', value: rack },
];

const node = (nodeId: number, fields: Partial<WorldNode> = {}): WorldNode => ({
  nodeId: nodeId as NodeId,
  state: 'ACTIVE',
  health: 'alive',
  locality: [],
  ...fields,
});

function plan(world: PlacementWorld, busy: ReadonlySet<RangeId> = new Set()): PlacementStep[] {
  const { catalog, heardMs, nowMs, damaged } = world;
  return planNext({ catalog, heardMs, views: viewOf(world.reports()), damaged, busy, nowMs });
}

/** Plans and applies until there is nothing to do. Returns what went wrong, or null. */
function settle(world: PlacementWorld, isSlow = false, roundsMax = 300): string | null {
  for (let round = 0; round < roundsMax; round++) {
    const steps = plan(world);
    for (const step of steps) {
      const wrong = world.apply(step);
      if (wrong !== null) return `${wrong}: ${JSON.stringify(step)}`;
    }
    // Nothing to do may mean that it waits for a learner.
    if (!world.pass(isSlow) && steps.length === 0) return null;
  }
  return `no end after ${roundsMax} rounds: ${JSON.stringify(plan(world))}`;
}

const nodesOf = (world: PlacementWorld, range: WorldRange): number[] =>
  world
    .voters(range)
    .map(nodeOf)
    .toSorted((a, b) => a - b);

test('the third node makes three replicas of one, in one change; the second alone makes none', (t) => {
  const world = new PlacementWorld([node(1), node(2)]);
  const range = world.addRange([1]);
  t.deepEqual(plan(world), []);
  world.nodes.push(node(3));
  const voterCounts: number[] = [];
  for (let steps = plan(world); steps.length > 0; steps = plan(world)) {
    for (const step of steps) t.is(world.apply(step), null);
    world.pass();
    voterCounts.push(world.voters(range).length);
  }
  t.deepEqual(voterCounts, [1, 1, 3]);
  t.deepEqual(nodesOf(world, range), [1, 2, 3]);
});

test('learners that do not catch up are waited for, and nothing else is done meanwhile', (t) => {
  const world = new PlacementWorld([node(1), node(2), node(3)]);
  const range = world.addRange([1]);
  for (const wanted of ['addLearner', 'addLearner'] as const) {
    const [step] = plan(world);
    t.like(step, { type: 'changeMembers', changes: [{ type: wanted }] });
    t.is(world.apply(step as PlacementStep), null);
  }
  t.deepEqual(plan(world), []);
  t.deepEqual(nodesOf(world, range), [1]);
});

test('five replicas where that is asked for and there are five nodes', (t) => {
  const world = new PlacementWorld([1, 2, 3, 4, 5].map((id) => node(id)));
  world.replicationFactor = 5;
  const range = world.addRange([1, 2, 3]);
  t.is(settle(world), null);
  t.is(world.voters(range).length, 5);
});

test('replicas are spread over data centers first, over racks next', (t) => {
  const world = new PlacementWorld([
    node(1, { locality: place('a', '1') }),
    node(2, { locality: place('a', '1') }),
    node(3, { locality: place('a', '2') }),
    node(4, { locality: place('b', '1') }),
  ]);
  const range = world.addRange([1, 2, 3]);
  t.is(settle(world), null);
  const nodes = nodesOf(world, range);
  t.true(nodes.includes(4) && nodes.includes(3), String(nodes));
});

test('a silent node is waited for, a dead one is replaced in one joint change', (t) => {
  const world = new PlacementWorld([node(1), node(2), node(3, { health: 'silent' }), node(4)]);
  const range = world.addRange([1, 2, 3]);
  t.is(settle(world), null);
  t.deepEqual(nodesOf(world, range), [1, 2, 3]);
  (world.nodes[2] as WorldNode).health = 'dead';
  const [first] = plan(world);
  t.like(first, { type: 'changeMembers', changes: [{ type: 'addLearner' }] });
  t.is(world.apply(first as PlacementStep), null);
  t.deepEqual(plan(world), [], 'it waits until the learner has caught up');
  world.pass();
  const [second] = plan(world);
  t.like(second, { type: 'changeMembers', isJoint: true });
  t.is(world.apply(second as PlacementStep), null);
  t.deepEqual(nodesOf(world, range), [1, 2, 4]);
});

test('a dead node that nobody can replace keeps its place', (t) => {
  const world = new PlacementWorld([node(1), node(2), node(3, { health: 'dead' })]);
  world.addRange([1, 2, 3]);
  t.deepEqual(plan(world), []);
});

test('a node that drains hands leadership over, gives its replicas away, and is INACTIVE at the end', (t) => {
  const world = new PlacementWorld([node(1, { state: 'LEAVING' }), node(2), node(3), node(4)]);
  const ranges = [world.addRange([1, 2, 3]), world.addRange([1, 2, 4]), world.addRange([2, 3, 4])];
  t.like(plan(world)[0], { type: 'transferLeader', rangeId: 1 as RangeId });
  t.is(settle(world), null);
  t.is(world.node(1)?.state, 'INACTIVE');
  for (const range of ranges) t.deepEqual(nodesOf(world, range), [2, 3, 4]);
});

test('a node of a cluster of two drains, and the other one keeps everything', (t) => {
  const world = new PlacementWorld([node(1, { state: 'LEAVING' }), node(2)]);
  const ranges = [world.addRange([1]), world.addRange([1])];
  t.is(settle(world), null);
  t.is(world.node(1)?.state, 'INACTIVE');
  for (const range of ranges) t.deepEqual(nodesOf(world, range), [2]);
});

test('of three nodes one drains: two copies are kept although two voters are no odd number', (t) => {
  const world = new PlacementWorld([node(1), node(2), node(3, { state: 'LEAVING' })]);
  const range = world.addRange([1, 2, 3]);
  t.is(settle(world), null);
  t.deepEqual(nodesOf(world, range), [1, 2]);
  t.is(world.node(3)?.state, 'INACTIVE');
});

test('a node is not out before everything is known: a range without a leader may still be on it', (t) => {
  const world = new PlacementWorld([node(1), node(2, { state: 'LEAVING', health: 'dead' })]);
  world.addRange([1]);
  world.addRange([1, 2]);
  t.deepEqual(plan(world), []);
});

test('a removed node is replaced at once, and thinned out when there is nobody for it', (t) => {
  const world = new PlacementWorld([node(1), node(2), node(3, { state: 'INACTIVE', health: 'dead' }), node(4)]);
  const range = world.addRange([1, 2, 3]);
  t.is(settle(world), null);
  t.deepEqual(nodesOf(world, range), [1, 2, 4]);
  const small = new PlacementWorld([node(1), node(2), node(3, { state: 'INACTIVE', health: 'dead' })]);
  const thinned = small.addRange([1, 2, 3]);
  t.is(settle(small), null);
  t.deepEqual(nodesOf(small, thinned), [1, 2]);
});

test('leaders and replicas are spread evenly when a node comes to carry its share', (t) => {
  const world = new PlacementWorld([1, 2, 3, 4].map((id) => node(id)));
  for (let i = 0; i < 12; i++) world.addRange([1, 2, 3]);
  t.is(settle(world), null);
  for (const { nodeId } of world.nodes) {
    const replicas = world.ranges.filter((range) => nodesOf(world, range).includes(nodeId)).length;
    const leaders = world.ranges.filter((range) => nodeOf(range.leader) === nodeId).length;
    t.true(replicas >= 8 && replicas <= 10, `node ${nodeId}: ${replicas} replicas`);
    t.true(leaders >= 2 && leaders <= 4, `node ${nodeId}: ${leaders} leaders`);
  }
});

test('replicas of a node are spread over its workers', (t) => {
  const world = new PlacementWorld([1, 2, 3].map((id) => node(id)));
  for (let i = 0; i < 4; i++) world.addRange([1]);
  t.is(settle(world), null);
  const onNode2 = world.ranges.flatMap((range) => world.voters(range)).filter((id) => nodeOf(id) === 2);
  const workers = onNode2.map((id) => Math.floor(id / 2 ** 24) % 256);
  t.deepEqual(workers.toSorted(), [0, 0, 1, 1]);
});

test('only so many ranges are moved at a time, and one step at a time for each', (t) => {
  const world = new PlacementWorld([1, 2, 3].map((id) => node(id)));
  for (let i = 0; i < 200; i++) world.addRange([1]).bytes = PLACEMENT_DEFAULTS.moveBytes;
  const steps = plan(world);
  t.is(steps.length, PLACEMENT_DEFAULTS.movesMax);
  t.deepEqual(plan(world, new Set(world.ranges.map(({ rangeId }) => rangeId))), []);
});

test('ranges with little in them move many at a time, and fewer beside a large one', (t) => {
  const world = new PlacementWorld([1, 2, 3].map((id) => node(id)));
  for (let i = 0; i < 200; i++) world.addRange([1]);
  t.is(plan(world).length, 16 * PLACEMENT_DEFAULTS.movesMax);
  const [first, second] = world.ranges;
  for (const range of [first, second]) if (range !== undefined) range.bytes = 10 * PLACEMENT_DEFAULTS.moveBytes;
  t.is(plan(world).length, 2 + 16 * (PLACEMENT_DEFAULTS.movesMax - 2));
});

test('a replica that its range no longer knows is dropped; one that is about to be added is not', (t) => {
  const world = new PlacementWorld([1, 2, 3, 4].map((id) => node(id)));
  const range = world.addRange([1, 2, 3]);
  range.confVersion = 7;
  const reports = world.reports();
  const [sample] = reports.get(2 as NodeId) ?? [];
  const stray = (incarnation: number) => ({
    ...(sample as NonNullable<typeof sample>),
    memberId: memberId(4 as NodeId, 0, incarnation),
    leader: 0 as MemberId,
  });
  const { catalog, heardMs, nowMs } = world;
  const steps = (incarnation: number): PlacementStep[] => {
    const views = viewOf(new Map([...reports, [4 as NodeId, [stray(incarnation)]]]));
    return planNext({ catalog, heardMs, views, damaged: [], busy: new Set(), nowMs });
  };
  t.deepEqual(steps(7), [
    { type: 'dropReplica', rangeId: 1 as RangeId, memberId: memberId(4 as NodeId, 0, 7), confVersion: 7 },
  ]);
  t.deepEqual(steps(8), []);
});

const anyNode = record({
  state: constantFrom('ACTIVE', 'ACTIVE', 'ACTIVE', 'LEAVING', 'INACTIVE', 'JOINING'),
  health: constantFrom('alive', 'alive', 'alive', 'silent', 'dead'),
  dc: constantFrom('a', 'b', 'c'),
  rack: constantFrom('1', '2'),
} as const);
const anyWorld = tuple(
  array(anyNode, { minLength: 1, maxLength: 7 }),
  array(array(integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 8 }),
  constantFrom(1, 3, 5),
).map(([nodes, ranges, replicationFactor]) => {
  const world = new PlacementWorld(
    nodes.map(({ state, health, dc, rack }, i) => node(i + 1, { state, health, locality: place(dc, rack) })),
  );
  world.replicationFactor = replicationFactor;
  for (const wanted of ranges) {
    const nodeIds = [...new Set(wanted.map((id) => ((id - 1) % nodes.length) + 1))];
    // A node that has not come yet has no replicas.
    const hosts = nodeIds.filter((id) => world.node(id)?.state !== 'JOINING');
    if (hosts.length > 0) world.addRange(hosts);
  }
  return world;
});

test('from any cluster the plan comes to an end, and no step on the way takes a majority away', (t) => {
  check(
    property(anyWorld, boolean(), (world, isSlow) => {
      t.is(settle(world, isSlow), null);
      const active = world.nodes.filter(({ state }) => state === 'ACTIVE');
      for (const range of world.ranges.filter((candidate) => world.hasQuorum(candidate))) {
        if (active.length === 0 || world.nodes.some(({ health }) => health !== 'alive')) continue;
        t.true(range.replicas.every(({ role }) => role === 'voter'));
        const voters = world.voters(range);
        const odd = active.length % 2 === 1 ? active.length : active.length - 1;
        const wanted = Math.max(1, Math.min(world.replicationFactor, odd));
        const copies = Math.max(wanted, Math.min(2, world.replicationFactor, active.length));
        t.true(voters.length >= wanted && voters.length <= copies, `${voters.length} voters, ${wanted} wanted`);
        t.true(voters.every((id) => world.node(nodeOf(id))?.state === 'ACTIVE'));
      }
    }),
    { numRuns: 2000 },
  );
});

test('a damaged replica is taken out at once, its node is told, and has a new one in the end (FAILURES 15)', (t) => {
  const world = new PlacementWorld([node(1), node(2), node(3)]);
  const range = world.addRange([1, 2, 3]);
  const [, , lost] = world.voters(range);
  world.damage(range, 3);
  const [step] = plan(world);
  t.like(step, { type: 'changeMembers', changes: [{ type: 'remove', id: lost }] });
  t.is(settle(world), null);
  t.deepEqual(world.damaged, []);
  t.deepEqual(nodesOf(world, range), [1, 2, 3]);
  t.false(world.voters(range).includes(lost as MemberId), 'it is another member');
});

test('a damaged replica stays in the range as long as a majority without it is not alive (FAILURES 15)', (t) => {
  const world = new PlacementWorld([node(1), node(2, { health: 'silent' }), node(3)]);
  const range = world.addRange([1, 2, 3]);
  world.damage(range, 3);
  t.deepEqual(plan(world), []);
  t.is(world.voters(range).length, 3);
});
