/** Replicas that their range knows nothing of any more. */
import { incarnationOf } from '../member.ts';
import type { PlacementStep } from './options.ts';
import type { DamagedReplica, RangeView } from './report.ts';

/**
 * Replicas to be destroyed: the leader's configuration is of their time or later, and they are not in it. They did not
 * apply their own removal, since they were away when it happened, or are damaged.
 */
export function strayReplicas(views: readonly RangeView[], damaged: readonly DamagedReplica[]): PlacementStep[] {
  return views.flatMap(({ rangeId, report, replicas }) => {
    if (report === null || report.isChanging) return [];
    const { confVersion } = report.descriptor.epoch;
    const members = new Set(report.descriptor.replicas.map(({ memberId }) => memberId));
    return [...replicas, ...damaged.filter((replica) => replica.rangeId === rangeId)]
      .filter(({ memberId }) => !members.has(memberId) && incarnationOf(memberId) <= confVersion)
      .map(({ memberId }): PlacementStep => ({ type: 'dropReplica', rangeId, memberId, confVersion }));
  });
}
