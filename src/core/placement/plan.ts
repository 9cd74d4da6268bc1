/**
 * Where replicas and leaders should be, and the next steps towards that. Level-triggered: it looks only at what is, so it may
 * be asked again at any time, by whoever leads range 1 now, and steps that were lost or refused are simply planned again.
 *
 * Of each range at most one step at a time, in this order of urgency:
 *
 *   1. leaders leave nodes that drain
 *   2. members that are damaged, and learners on nodes that are no good, are taken out
 *   3. voters that are missing, or sit on dead, leaving or removed nodes: learners come first; when all that are wanted have
 *      caught up, one joint change makes them voters and takes the others out
 *   4. voters too many are taken out
 *   5. a voter is exchanged for a better place: another locality first, then a node that carries less
 *   6. leaders move to nodes that lead fewer ranges
 *
 * Invariant: after each step a majority of the voters lives on nodes that are heard of and that the leader hears.
 */
import type { MemberId, NodeId, RangeId } from '../brands.ts';
import { nodeOf } from '../member.ts';
import { coverAllKeys } from '../range.ts';
import { PlacementNodes } from './nodes.ts';
import type { PlacementInput, PlacementOptions, PlacementStep } from './options.ts';
import { PLACEMENT_DEFAULTS } from './options.ts';
import { RangePlan } from './range-plan.ts';
import type { DamagedReplica, RangeView } from './report.ts';
import { strayReplicas } from './strays.ts';

const LEAST_WEIGHT = 1 / 16;

/** The next steps, the most urgent first. Not one of them depends on another. */
export function planNext(input: PlacementInput, options: PlacementOptions = PLACEMENT_DEFAULTS): PlacementStep[] {
  const nodes = new PlacementNodes(input, options);
  const wanted = votersWanted(input, nodes);
  const { replicationFactor } = input.catalog.settings;
  const plans = input.views
    .filter(({ rangeId, report }) => report !== null && !report.isChanging && !input.busy.has(rangeId))
    .map((view) => new RangePlan(view, nodes, wanted, replicationFactor, damagedOf(view, input.damaged)));
  const isMoving = ({ rangeId, report, range }: RangeView): boolean =>
    report?.isChanging === true || input.busy.has(rangeId) || range.replicas.some(({ role }) => role === 'learner');
  const weights = new Map(input.views.map((view) => [view.rangeId, weightOf(view, options)]));
  const weightIn = (rangeId: RangeId): number => weights.get(rangeId) ?? 1;
  let moving = 0;
  for (const view of input.views) if (isMoving(view)) moving += weightIn(view.rangeId);

  const steps: PlacementStep[] = [];
  const planned = new Set<RangeId>();
  const take = (next: (plan: RangePlan) => PlacementStep | null, order = plans): void => {
    for (const plan of order) {
      if (steps.length >= options.stepsMax) return;
      if (planned.has(plan.rangeId)) continue;
      const mayBegin = moving < options.movesMax || plan.hasLearners;
      plan.mayAdd = mayBegin;
      const step = next(plan);
      if (step === null) continue;
      steps.push(step);
      planned.add(plan.rangeId);
      if (!plan.hasLearners && step.type === 'changeMembers') moving += weightIn(plan.rangeId);
    }
  };
  take((plan) => plan.leaveLeadership());
  take((plan) => plan.dropDamaged());
  take((plan) => plan.dropLearner());
  take((plan) => plan.repair());
  take((plan) => plan.shrink());
  take((plan) => plan.improve());
  // The coordinator goes where range 1 leads, and begins anew there: that one moves last.
  take((plan) => plan.spreadLeaders(), plans.toReversed());
  return [...steps, ...strayReplicas(input.views, input.damaged), ...leftNodes(input)];
}

/** How much of the room for moves a range takes: what its copy costs the disk and the network. */
function weightOf({ report }: RangeView, { moveBytes }: PlacementOptions): number {
  return report === null ? 1 : Math.min(1, Math.max(LEAST_WEIGHT, report.bytes / moveBytes));
}

function damagedOf({ rangeId }: RangeView, damaged: readonly DamagedReplica[]): ReadonlySet<MemberId> {
  return new Set(damaged.filter((replica) => replica.rangeId === rangeId).map(({ memberId }) => memberId));
}

/** The setting, as far as there are nodes for it: an odd number, because an even one survives no more failures. */
function votersWanted({ catalog }: PlacementInput, nodes: PlacementNodes): number {
  const active = nodes.active.length;
  const odd = active % 2 === 1 ? active : active - 1;
  return Math.max(1, Math.min(catalog.settings.replicationFactor, odd));
}

/** Nodes that have drained: everything is known, and nothing of it is on them. */
function leftNodes({ catalog, views }: PlacementInput): PlacementStep[] {
  const leaving = catalog.nodes.filter(({ state }) => state === 'LEAVING');
  if (leaving.length === 0 || !isEverythingKnown(views)) return [];
  const used = new Set<NodeId>();
  for (const { range, replicas } of views) {
    for (const { memberId } of [...range.replicas, ...replicas]) used.add(nodeOf(memberId));
  }
  return leaving
    .filter(({ nodeId }) => !used.has(nodeId))
    .map(({ nodeId }) => ({ type: 'setNodeState', nodeId, state: 'INACTIVE' }));
}

/** Whether ranges whose leaders have reported cover all keys. */
function isEverythingKnown(views: readonly RangeView[]): boolean {
  if (views.some(({ report }) => report === null || report.isChanging)) return false;
  const ranges = views.map(({ range }) => range).sort((a, b) => Buffer.compare(a.startKey, b.startKey));
  return coverAllKeys(ranges);
}
