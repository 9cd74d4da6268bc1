/**
 * The shard workers of a whole cluster as their main threads see them: one catalog, ranges whose changes commit at once, and
 * reports. What is tested with it is the control plane, over real connections.
 */
import { decodeCatalogOp, encodeCatalog } from '../../src/codec/catalog.ts';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../src/core/brands.ts';
import { applyCatalogOp } from '../../src/core/catalog/catalog.ts';
import type { CatalogState } from '../../src/core/catalog/types.ts';
import { memberId, nodeOf } from '../../src/core/member.ts';
import type { RangeReport } from '../../src/core/placement/report.ts';
import type { RangeDescriptor } from '../../src/core/range.ts';
import type { Cluster } from '../../src/server/cluster/cluster.ts';
import type { ToWorkerInCluster } from '../../shards/messages.ts';

interface FakeRange {
  descriptor: RangeDescriptor;
  leader: MemberId;
  term: number;
}

type ChangeMembers = Extract<ToWorkerInCluster, { type: 'changeMembers' }>;

export class FakeShards {
  catalog: CatalogState;
  readonly ranges = new Map<RangeId, FakeRange>();
  readonly #nodes = new Map<NodeId, Cluster>();

  /** All ranges have one replica, on node 1. */
  constructor(catalog: CatalogState, rangeCount: number) {
    this.catalog = catalog;
    for (let i = 0; i < rangeCount; i++) {
      const rangeId = (i + 1) as RangeId;
      const first = memberId(1 as NodeId, 0, 1);
      const descriptor: RangeDescriptor = {
        rangeId,
        startKey: i === 0 ? Buffer.alloc(0) : Buffer.of(i),
        endKey: i === rangeCount - 1 ? null : Buffer.of(i + 1),
        epoch: { confVersion: 1, version: 1 },
        replicas: [{ memberId: first, role: 'voter' }],
      };
      this.ranges.set(rangeId, { descriptor, leader: first, term: 1 });
    }
  }

  start(cluster: Cluster): void {
    this.#nodes.set(cluster.self.nodeId, cluster);
    this.#say();
  }

  /** The node is gone; ranges that it led are led by another voter, if a majority is left. */
  stop(nodeId: NodeId): void {
    this.#nodes.delete(nodeId);
    for (const range of this.ranges.values()) {
      if (nodeOf(range.leader) !== nodeId) continue;
      const voters = range.descriptor.replicas
        .filter(({ role }) => role === 'voter')
        .map((replica) => replica.memberId);
      const alive = voters.filter((id) => this.#nodes.has(nodeOf(id)));
      range.leader = alive.length * 2 > voters.length ? (alive[0] as MemberId) : (0 as MemberId);
      range.term++;
    }
    this.#say();
  }

  voters(rangeId: number): number[] {
    const { replicas } = (this.ranges.get(rangeId as RangeId) as FakeRange).descriptor;
    return replicas
      .filter(({ role }) => role === 'voter')
      .map((replica) => nodeOf(replica.memberId) as number)
      .toSorted((a, b) => a - b);
  }

  leader(rangeId: number): number {
    return nodeOf((this.ranges.get(rangeId as RangeId) as FakeRange).leader);
  }

  /** What the main thread of `nodeId` tells a worker. */
  tell(nodeId: NodeId, message: ToWorkerInCluster): void {
    const answer = this.#do(nodeId, message);
    if (answer === null) return;
    queueMicrotask(() => {
      this.#nodes.get(nodeId)?.onMessage(0, answer);
      this.#say();
    });
  }

  #do(nodeId: NodeId, message: ToWorkerInCluster): Parameters<Cluster['onMessage']>[1] | null {
    const range = 'rangeId' in message ? this.ranges.get(message.rangeId) : this.ranges.get(1 as RangeId);
    const leads = range !== undefined && nodeOf(range.leader) === nodeId;
    if (message.type === 'proposeCatalog') {
      const { id } = message;
      if (!leads) return { type: 'catalogDone', id, result: null, error: 'NOTLEADER' };
      const { state, result } = applyCatalogOp(this.catalog, decodeCatalogOp(message.op));
      this.catalog = state;
      return { type: 'catalogDone', id, result, error: null };
    }
    if (message.type === 'changeMembers') {
      const { id } = message;
      const isCurrent = range?.descriptor.epoch.confVersion === message.confVersion;
      if (range === undefined || !leads || !isCurrent) return { type: 'changeDone', id, error: 'NOTLEADER' };
      range.descriptor = changed(range.descriptor, message);
      return { type: 'changeDone', id, error: null };
    }
    if (message.type === 'transferLeader') {
      const { id } = message;
      if (range === undefined || !leads) return { type: 'changeDone', id, error: 'NOTLEADER' };
      range.leader = message.to;
      range.term++;
      return { type: 'changeDone', id, error: null };
    }
    return null;
  }

  /** All workers report, and pass the catalog on. */
  #say(): void {
    for (const [nodeId, cluster] of this.#nodes) {
      const replicas = [...this.ranges.values()].flatMap((range) => this.#report(nodeId, range) ?? []);
      if (replicas.some(({ descriptor }) => descriptor.rangeId === 1)) {
        const bytes = encodeCatalog(this.catalog);
        cluster.onMessage(0, { type: 'catalog', revision: this.catalog.revision, bytes });
      }
      cluster.onMessage(0, { type: 'report', ranges: replicas, damaged: [], peers: [] });
    }
  }

  #report(nodeId: NodeId, { descriptor, leader, term }: FakeRange): RangeReport | null {
    const own = descriptor.replicas.find((replica) => nodeOf(replica.memberId) === nodeId);
    if (own === undefined) return null;
    const members = descriptor.replicas.map((replica) => {
      const isActive = this.#nodes.has(nodeOf(replica.memberId));
      return { memberId: replica.memberId, matchIndex: 9 as LogIndex, isActive, isCaughtUp: isActive };
    });
    return {
      descriptor,
      memberId: own.memberId,
      leader,
      term: term as Term,
      lastIndex: 10 as LogIndex,
      lastTerm: 1 as Term,
      appliedIndex: 9 as LogIndex,
      isChanging: false,
      members: own.memberId === leader ? members : [],
      bytes: 0,
    };
  }
}

function changed(descriptor: RangeDescriptor, { changes, isJoint }: ChangeMembers): RangeDescriptor {
  const replicas = new Map(descriptor.replicas.map((replica) => [replica.memberId, replica]));
  for (const { type, id } of changes) {
    if (type === 'remove') replicas.delete(id);
    else replicas.set(id, { memberId: id, role: type === 'addVoter' ? 'voter' : 'learner' });
  }
  const { confVersion, version } = descriptor.epoch;
  return {
    ...descriptor,
    epoch: { version, confVersion: confVersion + (isJoint ? 2 : 1) },
    replicas: [...replicas.values()],
  };
}
