/**
 * A range that has lost the majority of its voters for good: the operator lets one replica go on alone. What only the lost ones had
 * is lost, and if they come back, there are two ranges; so it is refused while there is any other way.
 */
import type { RangeId } from '../../core/brands.ts';
import type { RangeRecovery } from '../../codec/native/messages.ts';
import { SkerryError } from '../../core/errors.ts';
import { nodeOf } from '../../core/member.ts';
import type { RangeReport } from '../../core/placement/report.ts';
import type { Cluster } from './cluster.ts';

/** What there is of the range; with `isForced`, this node's replica goes on alone. Rejects with KV_STATE when that must not be. */
export async function recoverRange(cluster: Cluster, rangeId: RangeId, isForced: boolean): Promise<RangeRecovery> {
  const replicas = await cluster.replicasOf(rangeId);
  const own = replicas.find(({ memberId }) => nodeOf(memberId) === cluster.self.nodeId);
  if (own === undefined) {
    throw new SkerryError('KV_STATE', `This node has no whole replica of range ${rangeId}: ask one that has.`);
  }
  const roles = new Map(own.descriptor.replicas.map(({ memberId, role }) => [memberId, role]));
  const voters = [...roles].flatMap(([memberId, role]) => (role === 'voter' ? [memberId] : []));
  const members = replicas.filter(({ memberId }) => roles.has(memberId));
  const alive = members.filter(({ memberId }) => roles.get(memberId) === 'voter');
  const leader = members.find(({ memberId, leader: known }) => known === memberId)?.leader ?? own.leader;
  if (leader !== 0 && alive.some(({ memberId }) => memberId === leader)) {
    throw new SkerryError(
      'KV_STATE',
      `Range ${rangeId} is led by node ${nodeOf(leader)}: there is nothing to recover.`,
    );
  }
  if (alive.length * 2 > voters.length) {
    const nodes = alive.map(({ memberId }) => nodeOf(memberId)).join(', ');
    const message = `A majority of the voters of range ${rangeId} can be reached (nodes ${nodes}): it elects a leader by itself.`;
    throw new SkerryError('KV_STATE', message);
  }
  if (isForced) {
    const best = members.find((other) => hasMore(other, own));
    if (best !== undefined) {
      const message = `Node ${nodeOf(best.memberId)} has more of the log of range ${rangeId}: recover the range there, so that less is lost.`;
      throw new SkerryError('KV_STATE', message);
    }
    await cluster.recoverAlone(rangeId);
  }
  return {
    rangeId,
    voters: voters.map(nodeOf),
    survivors: members.map(({ memberId, lastIndex, lastTerm, appliedIndex }) => {
      return { nodeId: nodeOf(memberId), role: roles.get(memberId) ?? 'learner', lastIndex, lastTerm, appliedIndex };
    }),
    isRecovered: isForced,
  };
}

/** As Raft compares logs (§5.4.1). */
function hasMore(a: RangeReport, b: RangeReport): boolean {
  return a.lastTerm > b.lastTerm || (a.lastTerm === b.lastTerm && a.lastIndex > b.lastIndex);
}
