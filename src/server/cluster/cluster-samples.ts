/** The cluster as this node sees it, for Prometheus: who is in what state, and how far away. */
import type { ClusterNode } from '../../codec/native/messages.ts';
import type { Sample } from '../../observe/prometheus.ts';
import type { Cluster } from './cluster.ts';
import { describeCluster } from './status.ts';

type Family = Sample['family'];

/** In the order in which they are shown. */
export const clusterFamilies = {
  state: {
    name: 'skerry_node_state',
    type: 'gauge',
    help: 'Always 1; its labels say what state a node of the cluster is in, as far as this one knows.',
  },
  silent: {
    name: 'skerry_node_silent',
    type: 'gauge',
    help: '1 when the coordinator has not heard from the node for a while.',
  },
  up: {
    name: 'skerry_peer_up',
    type: 'gauge',
    help: '1 when this node is connected with the other one, 0 when a connection to it is lost or none was needed yet.',
  },
  latency: {
    name: 'skerry_peer_latency_seconds',
    type: 'gauge',
    help: 'The last round trip to the other node, the longest over all workers.',
  },
} as const satisfies Record<string, Family>;

/** Null: the node has no cluster yet. */
export function clusterSamples(cluster: Cluster | null): Sample[] {
  return cluster === null ? [] : nodeSamples(describeCluster(cluster).nodes);
}

export function nodeSamples(nodes: readonly ClusterNode[]): Sample[] {
  const { state, silent, up, latency } = clusterFamilies;
  const present = nodes.filter((node) => node.state !== 'INACTIVE');
  const others = present.filter(({ peer }) => peer.state !== 'self');
  return [
    ...present.map((node) => ({
      family: state,
      labels: { ...labelsOf(node), name: node.name, state: node.state },
      value: 1,
    })),
    ...present.map((node) => ({ family: silent, labels: labelsOf(node), value: node.isSilent ? 1 : 0 })),
    ...others.map((node) => ({ family: up, labels: labelsOf(node), value: node.peer.state === 'connected' ? 1 : 0 })),
    ...others
      .filter(({ peer }) => peer.roundTripMs !== null)
      .map((node) => ({ family: latency, labels: labelsOf(node), value: (node.peer.roundTripMs ?? 0) / 1000 })),
  ];
}

function labelsOf({ nodeId }: ClusterNode): { node: string } {
  return { node: String(nodeId) };
}
