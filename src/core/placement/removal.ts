/**
 * What becomes of the ranges when a node is removed for good. Unlike one that drains, it takes its voters with it at once: a range
 * whose other voters that live are no majority would have no leader, and no way to get other members, ever again.
 */
import type { MemberId, NodeId, RangeId } from '../brands.ts';
import { nodeOf } from '../member.ts';
import { coverAllKeys } from '../range.ts';
import type { RangeDescriptor } from '../range.ts';
import type { RangeView } from './report.ts';

export interface RemovalRisk {
  /** Ranges that would be left without a majority of voters that live. */
  readonly lost: readonly RangeId[];
  /** Ranges whose members are changing: they cannot be judged now. */
  readonly changing: readonly RangeId[];
  /** Whether ranges for all keys are known. */
  readonly isEverythingKnown: boolean;
}

/**
 * `known`: the latest of every range that was ever heard of; `views`: what nodes that live report, a replica that is damaged
 * or has no state yet left out.
 */
export function riskOfRemoval(
  nodeId: NodeId,
  known: readonly RangeDescriptor[],
  views: readonly RangeView[],
): RemovalRisk {
  const viewed = new Map(views.map((view) => [view.rangeId, view]));
  const lost: RangeId[] = [];
  const changing: RangeId[] = [];
  for (const { rangeId, replicas } of known) {
    const view = viewed.get(rangeId);
    const voters = (view?.range.replicas ?? replicas).filter(({ role }) => role === 'voter');
    if (!voters.some(({ memberId }) => nodeOf(memberId) === nodeId)) continue;
    const left = voters.filter(({ memberId }) => nodeOf(memberId) !== nodeId && lives(memberId, view));
    if (left.length * 2 <= voters.length) lost.push(rangeId);
    // Of a joint configuration each half needs a majority, and a descriptor has both in one.
    else if (view?.replicas.some(({ isChanging }) => isChanging) === true) changing.push(rangeId);
  }
  const ordered = known.map((range) => viewed.get(range.rangeId)?.range ?? range);
  ordered.sort((a, b) => Buffer.compare(a.startKey, b.startKey));
  return { lost, changing, isEverythingKnown: coverAllKeys(ordered) };
}

/** It reports, and if the range has a leader, that one hears it. */
function lives(member: MemberId, view: RangeView | undefined): boolean {
  if (view?.replicas.some(({ memberId }) => memberId === member) !== true) return false;
  return view.report?.members.find(({ memberId }) => memberId === member)?.isActive !== false;
}
