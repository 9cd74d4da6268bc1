/** Ranges on nodes as the placement sees them, and what its steps do to them: a cluster without anything inside. */
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../src/core/brands.ts';
import { NO_ADDRESSES } from '../../src/core/catalog/catalog.ts';
import type { CatalogState, LocalityTier, NodeState } from '../../src/core/catalog/types.ts';
import { memberId, nodeOf } from '../../src/core/member.ts';
import type { PlacementStep } from '../../src/core/placement/options.ts';
import type { DamagedReplica, RangeReport } from '../../src/core/placement/report.ts';
import type { RangeReplica } from '../../src/core/range.ts';

export interface WorldNode {
  readonly nodeId: NodeId;
  state: NodeState;
  /** A dead node was last heard of long ago, a silent one a little while ago. */
  health: 'alive' | 'silent' | 'dead';
  readonly locality: readonly LocalityTier[];
}

export interface WorldRange {
  readonly rangeId: RangeId;
  replicas: RangeReplica[];
  confVersion: number;
  leader: MemberId;
  readonly caughtUp: Set<MemberId>;
  bytes: number;
}

const NOW_MS = 1_000_000;
const ages = { alive: 0, silent: 5000, dead: 500_000 } as const;

export class PlacementWorld {
  readonly nodes: WorldNode[];
  readonly ranges: WorldRange[] = [];
  replicationFactor = 3;
  readonly nowMs = NOW_MS;
  /** Members that have fallen silent for good, on nodes that are alive. */
  readonly damaged: DamagedReplica[] = [];

  constructor(nodes: WorldNode[]) {
    this.nodes = nodes;
  }

  /** Adds a range with voters on these nodes; the first one that is alive leads. */
  addRange(nodeIds: readonly number[]): WorldRange {
    const members = nodeIds.map((nodeId) => memberId(nodeId as NodeId, 0, 1));
    const range: WorldRange = {
      rangeId: (this.ranges.length + 1) as RangeId,
      replicas: members.map((id) => ({ memberId: id, role: 'voter' })),
      confVersion: 1,
      leader: members.find((id) => this.isAlive(id)) ?? (0 as MemberId),
      caughtUp: new Set(members),
      bytes: 100,
    };
    this.ranges.push(range);
    return range;
  }

  get catalog(): CatalogState {
    return {
      revision: 1,
      clusterId: 'world',
      settings: { replicationFactor: this.replicationFactor },
      nodes: this.nodes.map(({ nodeId, state, locality }) => ({
        nodeId,
        state,
        locality,
        storeId: `store-${nodeId}`,
        incarnation: 1,
        bootId: 'boot',
        name: `n${nodeId}`,
        addresses: NO_ADDRESSES,
        workers: 2,
      })),
      nextNodeId: (this.nodes.length + 1) as NodeId,
      nextRangeId: (this.ranges.length + 1) as RangeId,
    };
  }

  get heardMs(): Map<number, number> {
    return new Map(this.nodes.map(({ nodeId, health }) => [nodeId, NOW_MS - ages[health]]));
  }

  node(nodeId: number): WorldNode | undefined {
    return this.nodes.find((node) => node.nodeId === nodeId);
  }

  /** The range's replica on this node loses what it stored. */
  damage({ rangeId, replicas }: WorldRange, nodeId: number): void {
    const lost = replicas.find((replica) => nodeOf(replica.memberId) === nodeId);
    if (lost !== undefined) this.damaged.push({ rangeId, memberId: lost.memberId, what: 'a flipped bit', sinceMs: 1 });
  }

  isAlive(id: MemberId): boolean {
    if (this.damaged.some(({ memberId: lost }) => lost === id)) return false;
    return this.node(nodeOf(id))?.health === 'alive';
  }

  voters(range: WorldRange): MemberId[] {
    return range.replicas.filter(({ role }) => role === 'voter').map((replica) => replica.memberId);
  }

  hasQuorum(range: WorldRange): boolean {
    const voters = this.voters(range);
    return voters.filter((id) => this.isAlive(id)).length * 2 > voters.length;
  }

  /** What the nodes that are alive report; ranges without a quorum have no leader. */
  reports(): Map<NodeId, RangeReport[]> {
    const reports = new Map<NodeId, RangeReport[]>();
    for (const { nodeId, health } of this.nodes) if (health === 'alive') reports.set(nodeId, []);
    for (const [i, range] of this.ranges.entries()) {
      const leader = this.hasQuorum(range) ? range.leader : (0 as MemberId);
      for (const { memberId: id } of range.replicas) {
        if (this.damaged.some(({ memberId: lost }) => lost === id)) continue;
        reports.get(nodeOf(id))?.push({
          descriptor: {
            rangeId: range.rangeId,
            startKey: i === 0 ? Buffer.alloc(0) : Buffer.of(i),
            endKey: i === this.ranges.length - 1 ? null : Buffer.of(i + 1),
            epoch: { confVersion: range.confVersion, version: 1 },
            replicas: range.replicas,
          },
          memberId: id,
          leader,
          term: 5 as Term,
          appliedIndex: 10 as LogIndex,
          lastIndex: 10 as LogIndex,
          lastTerm: 5 as Term,
          isChanging: false,
          members:
            id === leader
              ? range.replicas.map((replica) => ({
                  memberId: replica.memberId,
                  matchIndex: 10 as LogIndex,
                  isActive: this.isAlive(replica.memberId),
                  isCaughtUp: this.isAlive(replica.memberId) && range.caughtUp.has(replica.memberId),
                }))
              : [],
          bytes: range.bytes,
        });
      }
    }
    return reports;
  }

  /** Learners catch up, those of one range at a time when `isSlow`. Says whether any has. */
  pass(isSlow = false): boolean {
    let hasAny = false;
    for (const { replicas, caughtUp } of this.ranges) {
      for (const { memberId: id } of replicas) {
        if (!this.isAlive(id) || caughtUp.has(id)) continue;
        caughtUp.add(id);
        hasAny = true;
        if (isSlow) return true;
      }
    }
    return hasAny;
  }

  /** Does what a step asks for. Returns why that must not be, or null. */
  apply(step: PlacementStep): string | null {
    if (step.type === 'setNodeState') {
      const node = this.node(step.nodeId);
      if (node?.state !== 'LEAVING') return `node ${step.nodeId} does not leave`;
      const isUsed = this.ranges.some(({ replicas }) => replicas.some((r) => nodeOf(r.memberId) === step.nodeId));
      node.state = step.state;
      return isUsed ? `node ${step.nodeId} still has replicas` : null;
    }
    if (step.type === 'dropReplica') {
      const at = this.damaged.findIndex(({ memberId: lost }) => lost === step.memberId);
      this.damaged.splice(at, 1);
      const isUsed = this.ranges.some(({ replicas }) => replicas.some((r) => r.memberId === step.memberId));
      return at < 0 || isUsed ? 'only what is damaged is to be dropped, when its range is rid of it' : null;
    }
    const range = this.ranges.find(({ rangeId }) => rangeId === step.rangeId);
    if (range === undefined || range.leader !== step.leader) return 'the leader is asked';
    if (step.type === 'transferLeader') {
      const canLead = this.voters(range).includes(step.to) && this.isAlive(step.to) && range.caughtUp.has(step.to);
      range.leader = step.to;
      return canLead ? null : 'leadership goes to a voter that is alive and caught up';
    }
    return this.#change(range, step);
  }

  #change(range: WorldRange, step: Extract<PlacementStep, { type: 'changeMembers' }>): string | null {
    if (step.confVersion !== range.confVersion) return 'the change is for this configuration';
    for (const { type, id } of step.changes) {
      range.replicas = range.replicas.filter((replica) => replica.memberId !== id);
      if (type === 'addVoter' && !range.caughtUp.has(id)) return 'voters have caught up';
      if (type !== 'remove') range.replicas.push({ memberId: id, role: type === 'addVoter' ? 'voter' : 'learner' });
    }
    range.confVersion += step.isJoint ? 2 : 1;
    if (!this.voters(range).includes(range.leader)) return 'the leader stays a voter';
    if (!this.hasQuorum(range)) return 'a majority of voters is alive';
    const nodes = range.replicas.map((replica) => nodeOf(replica.memberId));
    return new Set(nodes).size === nodes.length ? null : 'no node has two replicas of a range';
  }
}
