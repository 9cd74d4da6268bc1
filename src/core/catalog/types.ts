/**
 * What a cluster knows about itself: who it is, its settings, its nodes, and the ids it has given away. Kept by the
 * replicas of range 1, changed only by Raft entries of that range (catalog.ts), copied to every node.
 *
 *     INIT ──▶ JOINING ──▶ ACTIVE ◀──▶ LEAVING ──▶ INACTIVE
 *      │          │           └──────────────────────▲
 *      └──────────┴──────────────────────────────────┘
 *
 *     INIT      an operator expects a node of this name; it has an id and has not come yet
 *     JOINING   it has come: its id is written in its data folder, its servers start
 *     ACTIVE    it serves, and takes replicas
 *     LEAVING   its replicas and leaderships move away
 *     INACTIVE  it is out for good: its id is never used again, and whoever comes with it is refused
 */
import type { NodeId, RangeId } from '../brands.ts';

export const nodeStates = ['INIT', 'JOINING', 'ACTIVE', 'LEAVING', 'INACTIVE'] as const;
export type NodeState = (typeof nodeStates)[number];

/** How the other nodes and clients reach a node. Ports that do not listen (yet) are 0 or missing. */
export interface NodeAddresses {
  /** Host name or address, as others dial it. */
  readonly host: string;
  /** The main thread's control server. */
  readonly controlPort: number;
  /** By worker: where it listens for the workers of other nodes. */
  readonly peerPorts: readonly number[];
  /** By worker: the native port that only it listens on. */
  readonly workerPorts: readonly number[];
  readonly nativePort: number;
  readonly respPort: number;
  readonly httpPort: number;
}

/** One level of where a node stands, such as { tier: 'dc', value: 'ams' }. */
export interface LocalityTier {
  readonly tier: string;
  readonly value: string;
}

/** Tells a node's present life from its former ones, and from copies of its data folder. */
export interface NodeLife {
  /** A random name made with the data folder: another folder under the same node id is another store. */
  readonly storeId: string;
  /** Starts of the node that the catalog has taken notice of, this one included: an old copy of the folder is behind. */
  readonly incarnation: number;
  /** Random, of this start: a copy that is not behind is another start all the same. Empty: not started yet. */
  readonly bootId: string;
}

/** What a node says of itself each time it starts. An empty name, an empty locality: as before. */
export interface NodeProfile extends NodeLife {
  /** Unique among the nodes that are not INACTIVE. */
  readonly name: string;
  readonly addresses: NodeAddresses;
  readonly workers: number;
  /** From the widest to the narrowest. */
  readonly locality: readonly LocalityTier[];
}

export interface NodeRecord extends NodeProfile {
  readonly nodeId: NodeId;
  readonly state: NodeState;
}

export interface CatalogSettings {
  /** Voters that a range should have, once there are nodes for them. Odd. */
  readonly replicationFactor: number;
}

export interface CatalogState {
  /** Counts the changes. 0: there is no cluster yet. */
  readonly revision: number;
  readonly clusterId: string;
  readonly settings: CatalogSettings;
  /** By node id, in its order; INACTIVE ones stay. */
  readonly nodes: readonly NodeRecord[];
  readonly nextNodeId: NodeId;
  readonly nextRangeId: RangeId;
}

/** A change, as it stands in an entry of range 1. */
export type CatalogOp =
  /** Makes the cluster, with its first node, which is ACTIVE at once. */
  | {
      readonly type: 'create';
      readonly clusterId: string;
      readonly settings: CatalogSettings;
      readonly node: NodeProfile;
      readonly nodeId: NodeId;
      readonly nextRangeId: RangeId;
    }
  /** A node of this name will come: gives it an id, INIT. Value: the id. */
  | { readonly type: 'expectNode'; readonly name: string }
  /**
   * A store without an id asks to be a node: JOINING. It takes the record of an INIT node of its name, else a new one.
   * Asked again by the same store it gets the same id. Value: the id.
   */
  | { readonly type: 'joinNode'; readonly node: NodeProfile }
  /** A node of this cluster has started: its profile is replaced. A JOINING one becomes ACTIVE. Value: its id. */
  | { readonly type: 'announceNode'; readonly nodeId: NodeId; readonly node: NodeProfile }
  | { readonly type: 'setNodeState'; readonly nodeId: NodeId; readonly state: NodeState }
  | { readonly type: 'setReplicationFactor'; readonly replicationFactor: number }
  /** Value: the first of `count` ids that nobody else gets. */
  | { readonly type: 'reserveRangeIds'; readonly count: number };

/** What the proposer is told. A refused change has changed nothing. */
export type CatalogResult =
  | { readonly ok: true; readonly revision: number; readonly value: number }
  | { readonly ok: false; readonly revision: number; readonly code: CatalogRefusal; readonly message: string };

export type CatalogRefusal = 'KV_STATE' | 'KV_INVALID' | 'KV_CONFLICT';
