/**
 * The catalog as a state machine: a pure function from a state and a change to the next state and the proposer's answer.
 * Every replica of range 1 runs it over the same entries and comes to the same state.
 */
import { unreachable } from '../assert.ts';
import type { NodeId, RangeId } from '../brands.ts';
import { NODE_ID_MAX, WORKERS_MAX } from '../member.ts';
import type {
  CatalogOp,
  CatalogRefusal,
  CatalogResult,
  CatalogState,
  NodeAddresses,
  NodeLife,
  NodeProfile,
  NodeRecord,
  NodeState,
} from './types.ts';

const REPLICATION_FACTOR_DEFAULT = 3;
const REPLICATION_FACTOR_MAX = 7;
const RANGE_IDS_MAX = 100_000;
const NAME_LENGTH_MAX = 64;

/** Before the cluster is made. */
export const EMPTY_CATALOG: CatalogState = {
  revision: 0,
  clusterId: '',
  settings: { replicationFactor: REPLICATION_FACTOR_DEFAULT },
  nodes: [],
  nextNodeId: 1 as NodeId,
  nextRangeId: 1 as RangeId,
};

/** Of a node that does not listen yet. */
export const NO_ADDRESSES: NodeAddresses = {
  host: '',
  controlPort: 0,
  peerPorts: [],
  workerPorts: [],
  nativePort: 0,
  respPort: 0,
  httpPort: 0,
};

const nextStates: Readonly<Record<NodeState, readonly NodeState[]>> = {
  INIT: ['JOINING', 'INACTIVE'],
  JOINING: ['ACTIVE', 'INACTIVE'],
  ACTIVE: ['LEAVING', 'INACTIVE'],
  LEAVING: ['ACTIVE', 'INACTIVE'],
  INACTIVE: [],
};

export interface CatalogOutcome {
  readonly state: CatalogState;
  readonly result: CatalogResult;
}

/** Applies one change. Refusals are results, and leave the state as it is. */
export function applyCatalogOp(state: CatalogState, op: CatalogOp): CatalogOutcome {
  if (op.type === 'create') return create(state, op);
  if (state.revision === 0) return refused(state, 'KV_STATE', 'there is no cluster yet');
  switch (op.type) {
    case 'expectNode':
      return expectNode(state, op.name);
    case 'joinNode':
      return joinNode(state, op.node);
    case 'announceNode':
      return announceNode(state, op.nodeId, op.node);
    case 'setNodeState':
      return setNodeState(state, op.nodeId, op.state);
    case 'setReplicationFactor':
      return setReplicationFactor(state, op.replicationFactor);
    case 'reserveRangeIds':
      return reserveRangeIds(state, op.count);
    default:
      return unreachable(op);
  }
}

/** Why this replication factor cannot be, in words; null when it can. */
function wrongReplicationFactor(value: number): string | null {
  const isGood = Number.isInteger(value) && value >= 1 && value <= REPLICATION_FACTOR_MAX && value % 2 === 1;
  return isGood
    ? null
    : `the replication factor is an odd number from 1 to ${REPLICATION_FACTOR_MAX}, and not ${value}`;
}

export function nodeRecord(state: CatalogState, nodeId: number): NodeRecord | undefined {
  return state.nodes.find((node) => node.nodeId === nodeId);
}

function create(state: CatalogState, op: Extract<CatalogOp, { type: 'create' }>): CatalogOutcome {
  if (state.revision > 0) return refused(state, 'KV_STATE', `the cluster ${state.clusterId} exists already`);
  const wrong =
    wrongReplicationFactor(op.settings.replicationFactor) ??
    wrongProfile(op.node) ??
    (op.clusterId === '' ? 'a cluster has an id' : null) ??
    (isNodeId(op.nodeId) ? null : `${op.nodeId} is no node id`);
  if (wrong !== null) return refused(state, 'KV_INVALID', wrong);
  return changed(
    state,
    {
      clusterId: op.clusterId,
      settings: op.settings,
      nodes: [{ ...op.node, nodeId: op.nodeId, state: 'ACTIVE' }],
      nextNodeId: (op.nodeId + 1) as NodeId,
      nextRangeId: op.nextRangeId,
    },
    op.nodeId,
  );
}

function expectNode(state: CatalogState, name: string): CatalogOutcome {
  const wrong = wrongName(name);
  if (wrong !== null) return refused(state, 'KV_INVALID', wrong);
  const namesake = nodeNamed(state, name);
  if (namesake !== undefined) return nameTaken(state, namesake);
  if (!isNodeId(state.nextNodeId)) return refused(state, 'KV_STATE', 'all node ids have been used');
  const profile: NodeProfile = {
    storeId: '',
    incarnation: 0,
    bootId: '',
    name,
    addresses: NO_ADDRESSES,
    workers: 0,
    locality: [],
  };
  return withNewNode(state, profile, 'INIT');
}

function joinNode(state: CatalogState, node: NodeProfile): CatalogOutcome {
  const wrong = wrongProfile(node);
  if (wrong !== null) return refused(state, 'KV_INVALID', wrong);
  const known = state.nodes.find(({ storeId }) => storeId === node.storeId);
  if (known !== undefined) {
    if (known.state === 'JOINING') return unchanged(state, known.nodeId);
    return refused(state, 'KV_STATE', `this data folder is node ${known.nodeId} already, which is ${known.state}`);
  }
  const namesake = nodeNamed(state, node.name);
  if (namesake?.state === 'INIT') {
    const record: NodeRecord = { ...node, nodeId: namesake.nodeId, state: 'JOINING' };
    return changed(state, { nodes: replaced(state, record) }, record.nodeId);
  }
  if (namesake !== undefined) return nameTaken(state, namesake);
  if (!isNodeId(state.nextNodeId)) return refused(state, 'KV_STATE', 'all node ids have been used');
  return withNewNode(state, node, 'JOINING');
}

function announceNode(state: CatalogState, nodeId: NodeId, said: NodeProfile): CatalogOutcome {
  const refusal = refusalOfNode(state, nodeId, said);
  if (refusal !== null) return refused(state, 'KV_CONFLICT', refusal);
  const before = nodeRecord(state, nodeId) as NodeRecord;
  // What a start does not say stays as it was.
  const name = said.name === '' ? before.name : said.name;
  const locality = said.locality.length === 0 ? before.locality : said.locality;
  const node: NodeProfile = { ...said, name, locality };
  const wrong = wrongProfile(node);
  if (wrong !== null) return refused(state, 'KV_INVALID', wrong);
  const namesake = nodeNamed(state, node.name);
  if (namesake !== undefined && namesake.nodeId !== nodeId) return nameTaken(state, namesake);
  const record: NodeRecord = { ...node, nodeId, state: before.state === 'JOINING' ? 'ACTIVE' : before.state };
  return changed(state, { nodes: replaced(state, record) }, nodeId);
}

/**
 * Why a node that says it is this one is not let in, in words; null when it is. What it says of itself is compared with
 * the catalog: an id that was never given, a node that was removed, a lost disk under an old id, an old copy of a folder.
 */
export function refusalOfNode(
  state: CatalogState,
  nodeId: number,
  { storeId, incarnation, bootId }: NodeLife,
): string | null {
  const record = nodeRecord(state, nodeId);
  if (record === undefined) return `there is no node ${nodeId} in the cluster ${state.clusterId}`;
  if (record.state === 'INACTIVE') {
    return `node ${nodeId} was removed from the cluster, for good: start with an empty data folder and --join to come back as a new node`;
  }
  if (record.storeId !== storeId) {
    return `node ${nodeId} has its data in the store ${record.storeId}, and this is the store ${storeId}: a node that has lost its disk is removed (skerry node remove ${nodeId}) and joins as a new one`;
  }
  if (incarnation < record.incarnation || (incarnation === record.incarnation && bootId !== record.bootId)) {
    return `node ${nodeId} has been started since this data folder was copied from it: it is an old copy`;
  }
  return null;
}

function setNodeState(state: CatalogState, nodeId: NodeId, next: NodeState): CatalogOutcome {
  const record = nodeRecord(state, nodeId);
  if (record === undefined) return refused(state, 'KV_INVALID', `there is no node ${nodeId}`);
  if (record.state === next) return unchanged(state, nodeId);
  if (!nextStates[record.state].includes(next)) {
    return refused(state, 'KV_STATE', `node ${nodeId} is ${record.state} and cannot become ${next}`);
  }
  const isLast = record.state === 'ACTIVE' && state.nodes.filter((node) => node.state === 'ACTIVE').length === 1;
  if (isLast) return refused(state, 'KV_STATE', `node ${nodeId} is the only ACTIVE one: its data have nowhere to go`);
  return changed(state, { nodes: replaced(state, { ...record, state: next }) }, nodeId);
}

function setReplicationFactor(state: CatalogState, replicationFactor: number): CatalogOutcome {
  const wrong = wrongReplicationFactor(replicationFactor);
  if (wrong !== null) return refused(state, 'KV_INVALID', wrong);
  return changed(state, { settings: { ...state.settings, replicationFactor } }, replicationFactor);
}

function reserveRangeIds(state: CatalogState, count: number): CatalogOutcome {
  if (!Number.isInteger(count) || count < 1 || count > RANGE_IDS_MAX) {
    return refused(state, 'KV_INVALID', `from 1 to ${RANGE_IDS_MAX} range ids at a time, and not ${count}`);
  }
  return changed(state, { nextRangeId: (state.nextRangeId + count) as RangeId }, state.nextRangeId);
}

function withNewNode(state: CatalogState, node: NodeProfile, nodeState: NodeState): CatalogOutcome {
  const nodeId = state.nextNodeId;
  const record: NodeRecord = { ...node, nodeId, state: nodeState };
  return changed(state, { nodes: [...state.nodes, record], nextNodeId: (nodeId + 1) as NodeId }, nodeId);
}

const replaced = (state: CatalogState, record: NodeRecord): NodeRecord[] =>
  state.nodes.map((node) => (node.nodeId === record.nodeId ? record : node));

const nodeNamed = (state: CatalogState, name: string): NodeRecord | undefined =>
  state.nodes.find((node) => node.name === name && node.state !== 'INACTIVE');

const isNodeId = (id: number): boolean => Number.isInteger(id) && id >= 1 && id <= NODE_ID_MAX;

function nameTaken(state: CatalogState, { name, nodeId }: NodeRecord): CatalogOutcome {
  return refused(state, 'KV_CONFLICT', `node ${nodeId} has the name ${name}: give this one another --node-name`);
}

function wrongName(name: string): string | null {
  const isGood = name.length <= NAME_LENGTH_MAX && /^[A-Za-z0-9][\w.-]*$/.test(name);
  return isGood ? null : `a node's name is up to ${NAME_LENGTH_MAX} letters, digits, dots and dashes`;
}

function wrongProfile({ storeId, incarnation, name, workers }: NodeProfile): string | null {
  if (storeId === '') return 'a node has a store id';
  if (!Number.isSafeInteger(incarnation) || incarnation < 0) return `${incarnation} is no incarnation`;
  if (!Number.isInteger(workers) || workers < 1 || workers > WORKERS_MAX) return `${workers} workers are not possible`;
  return wrongName(name);
}

function changed(state: CatalogState, change: Partial<CatalogState>, value: number): CatalogOutcome {
  const next = { ...state, ...change, revision: state.revision + 1 };
  return { state: next, result: { ok: true, revision: next.revision, value } };
}

function unchanged(state: CatalogState, value: number): CatalogOutcome {
  return { state, result: { ok: true, revision: state.revision, value } };
}

function refused(state: CatalogState, code: CatalogRefusal, message: string): CatalogOutcome {
  return { state, result: { ok: false, revision: state.revision, code, message } };
}
