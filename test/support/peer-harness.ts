/** Peer meshes in one process over loopback: what they received, and the ways between them, which a test may lead through proxies. */
import type { ExecutionContext } from 'ava';
import type { LogIndex, NodeId, RangeId, Term } from '../../src/core/brands.ts';
import { memberId } from '../../src/core/member.ts';
import { createPrng } from '../../src/core/prng.ts';
import type { Beat } from '../../src/core/beat.ts';
import type { Entry, Message } from '../../src/core/raft/types.ts';
import { ENTRY_DATA, MSG_APPEND } from '../../src/core/raft/types.ts';
import { PeerMesh } from '../../src/net/peer/mesh.ts';
import type { PeerAddress, PeerMeshOptions } from '../../src/net/peer/types.ts';
import { createPeerCounters } from '../../src/net/peer/types.ts';

export const CLUSTER = '5f0c1a52-0000-4000-8000-000000000001';

/** Milliseconds of silence after which a connection of the harness's meshes is given up: 6 ticks. */
export const TICK_MS = 50;

export interface PeerNode {
  readonly mesh: PeerMesh;
  readonly nodeId: NodeId;
  readonly workerIndex: number;
  readonly port: number;
  readonly received: { readonly rangeId: RangeId; readonly message: Message }[];
  /** By worker, as `node.worker`. */
  readonly beats: { readonly from: string; readonly beat: Beat }[];
  readonly unreachable: string[];
  readonly warnings: string[];
}

/** Addresses by `node.worker`; all nodes of a harness look here. */
export type Ways = Map<string, PeerAddress>;

export interface StartOptions {
  readonly workerIndex?: number;
  readonly storeId?: string;
  readonly clusterId?: string;
  readonly port?: number;
  /** Where this node finds the others; the harness's ways when absent. */
  readonly ways?: Ways;
  readonly mesh?: Partial<PeerMeshOptions>;
}

export function storeOf(nodeId: number): string {
  return `store-of-node-${nodeId}`;
}

/** A mesh that listens, flushes when it asks for a turn, and is closed with the test. */
export async function startNode(
  t: ExecutionContext,
  ways: Ways,
  nodeId: number,
  options: StartOptions = {},
): Promise<PeerNode> {
  const workerIndex = options.workerIndex ?? 0;
  const received: PeerNode['received'] = [];
  const beats: PeerNode['beats'] = [];
  const unreachable: string[] = [];
  const warnings: string[] = [];
  const prng = createPrng(nodeId);
  const mesh: PeerMesh = new PeerMesh({
    self: {
      clusterId: options.clusterId ?? CLUSTER,
      nodeId: nodeId as NodeId,
      workerIndex,
      storeId: options.storeId ?? storeOf(nodeId),
    },
    directory: {
      workersOf: () => 4,
      addressOf: (node, worker) => (options.ways ?? ways).get(`${node}.${worker}`) ?? null,
    },
    refusePeer: () => null,
    onMessage: (rangeId, message) => received.push({ rangeId, message }),
    onBeat: (node, worker, beat) => beats.push({ from: `${node}.${worker}`, beat }),
    onUnreachable: (node, worker) => unreachable.push(`${node}.${worker}`),
    onRequests: () => undefined,
    schedule: () => void setImmediate(() => mesh.flush()),
    random: () => prng.next(),
    warn: (text, { reason }) => warnings.push(`${text}: ${String(reason)}`),
    counters: createPeerCounters(),
    timings: { tickMs: TICK_MS, backoffMinMs: 10, backoffMaxMs: 40, refusedBackoffMs: 200 },
    ...options.mesh,
  });
  t.teardown(() => mesh.close());
  const port = await mesh.listen('127.0.0.1', options.port ?? 0);
  ways.set(`${nodeId}.${workerIndex}`, { host: '127.0.0.1', port });
  return { mesh, nodeId: nodeId as NodeId, workerIndex, port, received, beats, unreachable, warnings };
}

/** A message as a Raft leader sends it: number `n` of a stream, in its index. */
export function append(from: PeerNode, to: PeerNode | string, n: number, data: readonly Buffer[] = []): Message {
  const [node, worker] = typeof to === 'string' ? to.split('.').map(Number) : [to.nodeId, to.workerIndex];
  const entries = data.map((bytes, i): Entry => {
    return { index: (n + 1 + i) as LogIndex, term: 3 as Term, type: ENTRY_DATA, data: bytes };
  });
  return {
    type: MSG_APPEND,
    from: memberId(from.nodeId, from.workerIndex, 7),
    to: memberId(node as NodeId, worker as number, 9),
    term: 3 as Term,
    index: n as LogIndex,
    logTerm: 2 as Term,
    commit: 0 as LogIndex,
    context: 0,
    hint: 0 as LogIndex,
    reject: false,
    entries,
    snapshot: null,
  };
}

/** The indexes of the messages that a node has received. */
export function indexesOf(node: PeerNode): number[] {
  return node.received.map(({ message }) => message.index);
}

/** Turns of the loop, until the condition holds. The test's own time limit ends a wait for what does not come. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
