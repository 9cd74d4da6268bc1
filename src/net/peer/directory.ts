/** Where the other nodes are, and who is not to be talked to: what the control plane last said of them. */
import type { NodeId } from '../../core/brands.ts';
import type { PeerAddress, PeerDirectory } from './types.ts';

/** One node of the cluster. */
export interface NodePlace {
  readonly nodeId: number;
  readonly storeId: string;
  readonly host: string;
  /** By worker; empty while the node is not known to listen. */
  readonly peerPorts: readonly number[];
}

export class NodeDirectory implements PeerDirectory {
  #nodes = new Map<number, NodePlace>();
  #removed = new Set<number>();

  update(nodes: readonly NodePlace[], removed: readonly number[]): void {
    this.#nodes = new Map(nodes.map((node) => [node.nodeId, node]));
    this.#removed = new Set(removed);
  }

  workersOf(nodeId: NodeId): number {
    return this.#nodes.get(nodeId)?.peerPorts.length ?? 0;
  }

  addressOf(nodeId: NodeId, workerIndex: number): PeerAddress | null {
    const node = this.#nodes.get(nodeId);
    const port = node?.peerPorts[workerIndex];
    return node === undefined || port === undefined ? null : { host: node.host, port };
  }

  /** Why this node is not to be talked to; null when it is welcome. One that nobody has told of yet is. */
  refusal(nodeId: NodeId, storeId: string): string | null {
    if (this.#removed.has(nodeId)) {
      return `node ${nodeId} was removed from the cluster; start it with an empty data folder to join again as a new node`;
    }
    const known = this.#nodes.get(nodeId);
    if (known === undefined || known.storeId === '' || known.storeId === storeId) return null;
    return (
      `node ${nodeId} of this cluster has another store than the one that asks: its data folder was lost or replaced; ` +
      'remove the node and join as a new one'
    );
  }
}
