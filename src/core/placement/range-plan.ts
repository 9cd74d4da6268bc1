/** The next step of one range; plan.ts says in which order its methods are asked. */
import { assert } from '../assert.ts';
import type { MemberId, NodeId, RangeId } from '../brands.ts';
import { memberId, nodeOf } from '../member.ts';
import type { ConfChangeStep } from '../raft/types.ts';
import type { PlacementNodes, Standing } from './nodes.ts';
import type { PlacementStep } from './options.ts';
import type { MemberProgress, RangeReport, RangeView } from './report.ts';

/** Two voters are no more available than one, but they are not thinned out to one: they lose nothing when one is lost. */
const COPIES_KEPT = 2;

interface Exchange {
  readonly from: MemberId;
  /** How much closer together the voters would stand; negative is better. */
  readonly closer: number;
  /** Replicas that the one node has more than the other. */
  readonly excess: number;
}

export class RangePlan {
  readonly rangeId: RangeId;
  /** Whether the range may be given a replica now. */
  mayAdd = true;
  readonly #report: RangeReport;
  readonly #nodes: PlacementNodes;
  readonly #wanted: number;
  readonly #replicationFactor: number;
  readonly #voters: readonly MemberId[];
  readonly #learners: readonly MemberId[];
  readonly #damaged: ReadonlySet<MemberId>;

  /** `view` with a leader's report. `wanted`: the voters it should have. */
  constructor(
    view: RangeView,
    nodes: PlacementNodes,
    wanted: number,
    replicationFactor: number,
    damaged: ReadonlySet<MemberId>,
  ) {
    assert(view.report !== null, 'placement: the leader has reported');
    this.rangeId = view.rangeId;
    this.#report = view.report;
    this.#nodes = nodes;
    this.#wanted = wanted;
    this.#damaged = damaged;
    this.#replicationFactor = replicationFactor;
    const { replicas } = view.report.descriptor;
    this.#voters = replicas.filter(({ role }) => role === 'voter').map((replica) => replica.memberId);
    this.#learners = replicas.filter(({ role }) => role === 'learner').map((replica) => replica.memberId);
  }

  get hasLearners(): boolean {
    return this.#learners.length > 0;
  }

  /** Hands leadership over when the leader's node drains or was removed. */
  leaveLeadership(): PlacementStep | null {
    if (!['leaving', 'gone'].includes(this.#standing(this.#report.leader))) return null;
    return this.#transfer('its node leaves the cluster');
  }

  /** Takes out a member that will never speak again, so that its node can have a new one. */
  dropDamaged(): PlacementStep | null {
    const lost = [...this.#voters, ...this.#learners].find((id) => this.#damaged.has(id));
    return lost === undefined ? null : this.#change([{ type: 'remove', id: lost }], 'a replica is damaged');
  }

  /** Takes out a learner that will never be a voter. */
  dropLearner(): PlacementStep | null {
    const lost = this.#learners.find((id) => !['good', 'silent'].includes(this.#standing(id)));
    return lost === undefined ? null : this.#change([{ type: 'remove', id: lost }], 'a learner’s node is gone');
  }

  /** Brings in voters that are missing, and takes out those on nodes that are dead, leaving or gone. */
  repair(): PlacementStep | null {
    const staying = this.#staying;
    const incoming = this.#incoming;
    if (incoming === 0) return this.#thinOut(staying.length);
    if (this.#learners.length < incoming) {
      return this.#addLearner(this.#candidates, staying, 'it has too few replicas on good nodes');
    }
    const ready = this.#learners.filter((id) => this.#isReady(id)).slice(0, incoming);
    return ready.length < incoming ? null : this.#replace(ready);
  }

  /** Takes out a voter when there are more than wanted. */
  shrink(): PlacementStep | null {
    const least = Math.max(this.#wanted, Math.min(COPIES_KEPT, this.#replicationFactor, this.#nodes.active.length));
    if (this.#staying.length < this.#voters.length || this.#voters.length <= least) return null;
    const surplus = this.#voters
      .map((id) => ({ id, closeness: this.#nodes.closeness(this.#nodesWithout(id)), load: this.#load(id) }))
      .sort((a, b) => a.closeness - b.closeness || b.load - a.load || a.id - b.id);
    for (const { id } of surplus) {
      const step = this.#change([{ type: 'remove', id }], 'it has too many replicas');
      if (step !== null && id === this.#report.leader) return this.#transfer('its replica is one too many', nodeOf(id));
      if (step !== null) return step;
    }
    return null;
  }

  /** Exchanges a voter for a better place: the learner there, or a new one. */
  improve(): PlacementStep | null {
    if (this.#staying.length < this.#voters.length || this.#incoming > 0) return null;
    const [learner, surplus] = this.#learners;
    if (surplus !== undefined) return this.#change([{ type: 'remove', id: surplus }], 'a learner that is not needed');
    // A lone voter waits for company, and does not move about meanwhile.
    const mayMove = this.#voters.length > 1 || this.#replicationFactor === 1;
    if (learner === undefined) return mayMove && this.mayAdd ? this.#beginExchange() : null;
    // The learner counts as a replica of its node already.
    const exchange = mayMove ? this.#bestExchange(nodeOf(learner), 1) : null;
    if (exchange === null) return this.#change([{ type: 'remove', id: learner }], 'a learner that is not needed');
    if (!this.#isReady(learner)) return null;
    const { leader } = this.#report;
    if (exchange.from === leader && this.#voters.length > 1) {
      return this.#transfer('its replica moves to another node', nodeOf(leader));
    }
    // A lone voter leads: the other one joins it first, and then takes over as of two that are one too many.
    if (exchange.from === leader) return this.#change([{ type: 'addVoter', id: learner }], 'its replica moves');
    return this.#change(
      [
        { type: 'addVoter', id: learner },
        { type: 'remove', id: exchange.from },
      ],
      'a better place for a replica',
    );
  }

  /** Moves leadership to a node that leads fewer ranges. */
  spreadLeaders(): PlacementStep | null {
    const { leader } = this.#report;
    const nodes = this.#nodes;
    const idlest = this.#followers.sort((a, b) => nodes.leaders(nodeOf(a)) - nodes.leaders(nodeOf(b)) || a - b)[0];
    if (idlest === undefined || nodes.leaders(nodeOf(leader)) < nodes.leaders(nodeOf(idlest)) + 2) return null;
    return this.#transferTo(idlest, 'its node leads more ranges than others');
  }

  /** Without anybody to take their place: voters on nodes that are not coming back. */
  #thinOut(staying: number): PlacementStep | null {
    const bad = this.#voters.filter((id) => id !== this.#report.leader);
    const of = (standing: Standing): MemberId[] => bad.filter((id) => this.#standing(id) === standing);
    const hasHope = this.#nodes.active.some((nodeId) => !this.#has(nodeId));
    const isEnough = staying >= this.#wanted;
    const removable = isEnough ? [...of('gone'), ...of('leaving'), ...of('dead')] : [...of('gone'), ...of('leaving')];
    const [first] = removable;
    if (first === undefined || (!isEnough && hasHope)) return null;
    return this.#change([{ type: 'remove', id: first }], 'a replica’s node is no longer there');
  }

  /** Makes learners voters, and takes out as many voters on bad nodes as keep a majority alive. */
  #replace(ready: readonly MemberId[]): PlacementStep | null {
    const of = (...standings: Standing[]): MemberId[] =>
      this.#voters.filter((id) => id !== this.#report.leader && standings.includes(this.#standing(id)));
    const added = ready.map((id): ConfChangeStep => ({ type: 'addVoter', id }));
    // A dead node may come back: its voter goes only when another one takes its place.
    const outgoing = [...of('gone', 'leaving'), ...of('dead').slice(0, ready.length)];
    for (let count = outgoing.length; count >= 0; count--) {
      const removed = outgoing.slice(0, count).map((id): ConfChangeStep => ({ type: 'remove', id }));
      const step = this.#change([...added, ...removed], 'replicas on good nodes take over');
      if (step !== null) return step;
    }
    return null;
  }

  #beginExchange(): PlacementStep | null {
    let best: { readonly nodeId: NodeId; readonly exchange: Exchange } | null = null;
    for (const nodeId of this.#nodes.good) {
      if (this.#has(nodeId)) continue;
      const exchange = this.#bestExchange(nodeId, 2);
      if (exchange !== null && (best === null || isBetter(exchange, best.exchange))) best = { nodeId, exchange };
    }
    return best === null ? null : this.#addLearner([best.nodeId], [], 'a better place for a replica');
  }

  /** Which voter to exchange for one on `nodeId`; `excessMin` is how much less that node must carry. */
  #bestExchange(nodeId: NodeId, excessMin: number): Exchange | null {
    let best: Exchange | null = null;
    const closeness = this.#nodes.closeness(this.#voters.map(nodeOf));
    for (const from of this.#voters) {
      const closer = this.#nodes.closeness([...this.#nodesWithout(from), nodeId]) - closeness;
      const excess = this.#load(from) - this.#nodes.replicas(nodeId);
      const exchange = { from, closer, excess };
      const isWorthIt = closer < 0 || (closer === 0 && excess >= excessMin);
      if (isWorthIt && (best === null || isBetter(exchange, best))) best = exchange;
    }
    return best;
  }

  #addLearner(candidates: readonly NodeId[], staying: readonly MemberId[], reason: string): PlacementStep | null {
    if (!this.mayAdd) return null;
    const company = [...staying, ...this.#learners].map(nodeOf);
    const nodes = this.#nodes;
    const [best] = candidates
      .map((nodeId) => ({ nodeId, closeness: nodes.closeness([...company, nodeId]), load: nodes.replicas(nodeId) }))
      .sort((a, b) => a.closeness - b.closeness || a.load - b.load || a.nodeId - b.nodeId);
    if (best === undefined) return null;
    const { confVersion } = this.#report.descriptor.epoch;
    const id = memberId(best.nodeId, nodes.idlestWorker(best.nodeId), confVersion + 1);
    nodes.addReplica(id);
    return this.#change([{ type: 'addLearner', id }], reason);
  }

  #transfer(reason: string, away?: NodeId): PlacementStep | null {
    const [to] = this.#followers
      .filter((id) => nodeOf(id) !== away)
      .sort((a, b) => this.#nodes.leaders(nodeOf(a)) - this.#nodes.leaders(nodeOf(b)) || a - b);
    return to === undefined ? null : this.#transferTo(to, reason);
  }

  #transferTo(to: MemberId, reason: string): PlacementStep {
    const { leader } = this.#report;
    this.#nodes.addLeader(nodeOf(leader), -1);
    this.#nodes.addLeader(nodeOf(to), 1);
    return { type: 'transferLeader', rangeId: this.rangeId, leader, to, reason };
  }

  /** The step, unless it would leave no majority of voters alive. */
  #change(changes: readonly ConfChangeStep[], reason: string): PlacementStep | null {
    const changed = new Set(changes.map(({ id }) => id));
    const added = changes.filter(({ type }) => type === 'addVoter').map(({ id }) => id);
    const voters = [...this.#voters.filter((id) => !changed.has(id)), ...added];
    if (voters.filter((id) => this.#isAlive(id)).length * 2 <= voters.length) return null;
    const { leader, descriptor } = this.#report;
    return {
      type: 'changeMembers',
      rangeId: this.rangeId,
      leader,
      confVersion: descriptor.epoch.confVersion,
      changes,
      isJoint: changes.length > 1,
      reason,
    };
  }

  /** How many voters are to be added: as many as are missing and can be had, but not to an even number of them. */
  get #incoming(): number {
    const staying = this.#staying.length;
    const missing = Math.max(0, this.#wanted - staying);
    const incoming = Math.min(missing, this.#learners.length + this.#candidates.length);
    const isEvenGrowth = (staying + incoming) % 2 === 0 && staying + incoming > this.#voters.length;
    return isEvenGrowth && incoming > 0 ? incoming - 1 : incoming;
  }

  /** Nodes that a new replica may be put on. */
  get #candidates(): NodeId[] {
    return this.#nodes.good.filter((nodeId) => !this.#has(nodeId));
  }

  /** Voters that may lead instead of the leader. */
  get #followers(): MemberId[] {
    return this.#voters.filter(
      (id) => id !== this.#report.leader && this.#standing(id) === 'good' && this.#isReady(id),
    );
  }

  /** Voters that need not be replaced. */
  get #staying(): MemberId[] {
    return this.#voters.filter((id) => ['good', 'silent'].includes(this.#standing(id)));
  }

  #nodesWithout(voter: MemberId): NodeId[] {
    return this.#voters.filter((id) => id !== voter).map(nodeOf);
  }

  #standing(id: MemberId): Standing {
    return this.#damaged.has(id) ? 'gone' : this.#nodes.standing(nodeOf(id));
  }

  #load(id: MemberId): number {
    return this.#nodes.replicas(nodeOf(id));
  }

  #has(nodeId: NodeId): boolean {
    return [...this.#voters, ...this.#learners].some((id) => nodeOf(id) === nodeId);
  }

  #isAlive(id: MemberId): boolean {
    if (this.#damaged.has(id)) return false;
    return this.#nodes.isAlive(nodeOf(id)) && (this.#progress(id)?.isActive ?? false);
  }

  #isReady(id: MemberId): boolean {
    return this.#isAlive(id) && (this.#progress(id)?.isCaughtUp ?? false);
  }

  #progress(id: MemberId): MemberProgress | undefined {
    return this.#report.members.find((member) => member.memberId === id);
  }
}

const isBetter = (a: Exchange, b: Exchange): boolean =>
  a.closer !== b.closer ? a.closer < b.closer : a.excess > b.excess;
