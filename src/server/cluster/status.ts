/** The cluster and its ranges as /status and the command line show them: plain data. */
import { nodeOf, workerOf } from '../../core/member.ts';
import type { DamagedReplica } from '../../core/placement/report.ts';
import type { Route } from '../../core/range.ts';
import type { ClusterStatus } from '../../codec/native/messages.ts';
import type { Cluster } from './cluster.ts';

export function describeCluster(cluster: Cluster): ClusterStatus {
  const { catalog, coordinator, silent, peers, self } = cluster;
  return {
    clusterId: catalog.clusterId,
    revision: catalog.revision,
    replicationFactor: catalog.settings.replicationFactor,
    /** Where range 1 leads; 0: not known. */
    coordinator,
    nodes: catalog.nodes.map(({ nodeId, name, state, addresses, workers, locality }) => ({
      nodeId,
      name,
      state,
      addresses,
      workers,
      locality: locality.map(({ tier, value }) => `${tier}=${value}`).join(','),
      isSilent: silent.includes(nodeId),
      peer: peers.viewOf(nodeId, self.nodeId),
    })),
    damaged: describeDamaged(cluster.damaged),
  };
}

export function describeRanges(routes: readonly Route[]): object[] {
  return routes.map(({ range, leader, term }) => ({
    rangeId: range.rangeId,
    startKey: range.startKey.toString('latin1'),
    endKey: range.endKey?.toString('latin1') ?? null,
    epoch: range.epoch,
    term,
    /** 0: nobody is known to lead. */
    leader: nodeOf(leader),
    leaderWorker: workerOf(leader),
    replicas: range.replicas.map(({ memberId, role }) => ({
      nodeId: nodeOf(memberId),
      worker: workerOf(memberId),
      role,
    })),
  }));
}

/** Replicas of this node that wait to be taken out of their groups. */
function describeDamaged(damaged: readonly DamagedReplica[]): ClusterStatus['damaged'] {
  return damaged.map(({ rangeId, what, sinceMs }) => ({ rangeId, what, since: new Date(sinceMs).toISOString() }));
}
