/** Whether the other side is whom it should be: asked by the dialler of the listener, and by the listener of the dialler. */
import type { PeerIdentity } from '../../codec/peer/handshake.ts';
import type { NodeId } from '../../core/brands.ts';
import type { PeerMeshOptions } from './types.ts';

/** Why this node does not talk to `other`; null when it does. */
export function refusalText({ self, refusePeer }: PeerMeshOptions, other: PeerIdentity): string | null {
  if (other.clusterId !== self.clusterId) {
    return `node ${other.nodeId} belongs to cluster ${other.clusterId} and node ${self.nodeId} to cluster ${self.clusterId}; one of them has the wrong address or the wrong data folder`;
  }
  if (other.nodeId === self.nodeId) {
    return other.storeId === self.storeId
      ? `node ${self.nodeId} was led to itself; its address is recorded for another node`
      : `another node says that it is node ${self.nodeId} too, with store ${other.storeId} instead of ${self.storeId}; a node id belongs to one data folder`;
  }
  return refusePeer(other.nodeId, other.storeId);
}

/** As refusalText(), of who answered at the address of a worker. */
export function strangerText(
  options: PeerMeshOptions,
  listener: PeerIdentity,
  nodeId: NodeId,
  workerIndex: number,
): string | null {
  const refused = refusalText(options, listener);
  if (refused !== null) return refused;
  if (listener.nodeId === nodeId && listener.workerIndex === workerIndex) return null;
  return `at the address of worker ${workerIndex} of node ${nodeId} worker ${listener.workerIndex} of node ${listener.nodeId} answers`;
}
