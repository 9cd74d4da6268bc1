/**
 * What the node does where range 1 leads: it hears of all nodes, tells them what is new, and asks for the placement's next steps.
 * All of it is soft state: whoever leads range 1 next begins anew and comes to the same.
 *
 *     node ◀── update ── coordinator   catalog, who leads what, who is silent: when they have changed
 *     node ◀── watch ─── coordinator   one always under way; its answers are the node's heartbeats and reports
 */
import type { NodeId, RangeId } from '../../core/brands.ts';
import type { CatalogResult, CatalogOp, CatalogState } from '../../core/catalog/types.ts';
import { SkerryError } from '../../core/errors.ts';
import { nodeOf } from '../../core/member.ts';
import type { PlacementOptions, PlacementStep } from '../../core/placement/options.ts';
import { planNext } from '../../core/placement/plan.ts';
import type { DamagedReplica, RangeReport, RangeView } from '../../core/placement/report.ts';
import { viewOf } from '../../core/placement/report.ts';
import { riskOfRemoval } from '../../core/placement/removal.ts';
import type { Route } from '../../core/range.ts';
import type { Logger } from '../../observe/log.ts';
import type { AnswerBody, RequestBody, RequestType } from './protocol.ts';

/** A node answers a watch at the latest after this: it is the interval of heartbeats. */
export const WATCH_MS = 500;
const WATCH_TIMEOUT_MS = 1500;
const REQUEST_TIMEOUT_MS = 5000;
/** Steps take longer: a change of members is answered when it is committed. */
const STEP_TIMEOUT_MS = 15_000;
const RETRY_MS = 200;
const PLAN_MS = 200;
/** Without news, whether nodes have become silent for too long is looked after so often. */
const PLAN_IDLE_MS = 2000;
/** A range rests after a step, until its leader's report tells of it; longer after one that failed. */
const REST_MS = 300;
const REST_FAILED_MS = 1000;

export interface CoordinatorPorts {
  readonly nodeId: NodeId;
  readonly catalog: () => CatalogState;
  readonly ownReports: () => readonly RangeReport[];
  readonly ownDamaged: () => readonly DamagedReplica[];
  readonly request: <T extends RequestType>(
    nodeId: NodeId,
    type: T,
    body: RequestBody<T>,
    timeoutMs: number,
  ) => Promise<AnswerBody<T>>;
  readonly propose: (op: CatalogOp) => Promise<CatalogResult>;
  /** Who leads what, and who is silent, have changed. */
  readonly learned: (routes: readonly Route[], silent: readonly NodeId[]) => void;
  readonly nowMs: () => number;
  readonly log: Logger;
}

/** What was sent to a node, so that only what is new is sent again. */
interface Follower {
  catalogRevision: number;
  routesVersion: number;
  silentText: string;
  isSending: boolean;
  report: number;
}

export class Coordinator {
  /** The term of range 1 in which this node leads it. */
  readonly term: number;
  readonly #ports: CoordinatorPorts;
  readonly #options: PlacementOptions;
  readonly #heardMs = new Map<number, number>();
  readonly #reports = new Map<NodeId, readonly RangeReport[]>();
  readonly #damaged = new Map<NodeId, readonly DamagedReplica[]>();
  readonly #followers = new Map<NodeId, Follower>();
  readonly #busy = new Set<RangeId>();
  readonly #ending = new Set<NodeId>();
  readonly #timer: NodeJS.Timeout;
  readonly #timers = new Set<NodeJS.Timeout>();
  #views: readonly RangeView[] = [];
  /** What is known of each range, and the version in which it came. */
  readonly #routes = new Map<RangeId, { readonly route: Route; readonly text: string; readonly version: number }>();
  #routesVersion = 0;
  #hasNews = true;
  #plannedMs = 0;
  #silent: readonly NodeId[] = [];
  #isStopped = false;

  constructor(term: number, options: PlacementOptions, ports: CoordinatorPorts) {
    this.term = term;
    this.#options = options;
    this.#ports = ports;
    // Whoever was heard of by the one before has as long as everybody to be heard of again.
    for (const { nodeId } of ports.catalog().nodes) this.#heardMs.set(nodeId, ports.nowMs());
    this.#timer = setInterval(() => this.#tick(), PLAN_MS).unref();
    this.catalogChanged();
    this.reported();
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** When a node was last heard of, in milliseconds ago; null: not since this coordinator began. */
  silentMs(nodeId: NodeId): number {
    if (nodeId === this.#ports.nodeId) return 0;
    return this.#ports.nowMs() - (this.#heardMs.get(nodeId) ?? Number.NEGATIVE_INFINITY);
  }

  /** Why this node may not be removed now, though its ranges are made anew elsewhere; null when it may. */
  refusalOfRemoval(nodeId: NodeId): SkerryError | null {
    const isHeard = (id: NodeId): boolean => id === nodeId || this.#silent.includes(id) || this.#reports.has(id);
    const unheard = [...this.#followers.keys()].find((id) => !isHeard(id));
    if (unheard !== undefined) return notNow(nodeId, `node ${unheard} has not told of its ranges yet`);
    const known = [...this.#routes.values()].map(({ route }) => route.range);
    const inCluster = [...this.#reports].filter(([id]) => id === this.#ports.nodeId || this.#isFollowed(id));
    const { lost, changing, isEverythingKnown } = riskOfRemoval(nodeId, known, viewOf(new Map(inCluster)));
    if (lost.length > 0) {
      const [which, would] = lost.length === 1 ? ['Range', 'it'] : ['Ranges', 'they'];
      const message =
        `Node ${nodeId} is not removed: without it ${would} would have no majority of voters that live: ` +
        `${which.toLowerCase()} ${namesOf(lost)}. Start the other nodes that have voters there, or drain node ${nodeId} while it lives. ` +
        `If a majority is lost for good, let one replica go on alone first: "skerry range recover ${lost[0]}" shows which there are.`;
      return new SkerryError('KV_STATE', message, { hint: { ranges: lost } });
    }
    if (changing.length > 0) return notNow(nodeId, `members are being changed of range ${namesOf(changing)}`);
    return isEverythingKnown ? null : notNow(nodeId, 'there are keys of which no node that lives has told yet');
  }

  /** The catalog has changed: new nodes are followed, and everybody is told. */
  catalogChanged(): void {
    this.#hasNews = true;
    for (const { nodeId, state, addresses } of this.#ports.catalog().nodes) {
      const isThere = state === 'ACTIVE' || state === 'LEAVING';
      if (nodeId === this.#ports.nodeId || !isThere || addresses.controlPort === 0) continue;
      if (this.#followers.has(nodeId)) continue;
      if (!this.#heardMs.has(nodeId)) this.#heardMs.set(nodeId, this.#ports.nowMs());
      const follower: Follower = {
        catalogRevision: 0,
        routesVersion: -1,
        silentText: '',
        isSending: false,
        report: 0,
      };
      this.#followers.set(nodeId, follower);
      void this.#follow(nodeId, follower);
    }
    this.#tellAll();
  }

  /** Reports have changed, this node's own or another's. */
  reported(): void {
    const { nodeId, ownReports, ownDamaged } = this.#ports;
    this.#reports.set(nodeId, ownReports());
    this.#damaged.set(nodeId, ownDamaged());
    this.#views = viewOf(this.#reports);
    this.#hasNews = true;
    const changed: Route[] = [];
    for (const { rangeId, range, leader, term } of this.#views) {
      const text = `${range.epoch.version}.${range.epoch.confVersion} ${leader} ${term}`;
      if (this.#routes.get(rangeId)?.text === text) continue;
      const route = { range, leader, term };
      this.#routes.set(rangeId, { route, text, version: this.#routesVersion + 1 });
      changed.push(route);
    }
    if (changed.length === 0) return;
    this.#routesVersion++;
    this.#ports.learned(changed, this.#silent);
    this.#tellAll();
  }

  async #follow(nodeId: NodeId, follower: Follower): Promise<void> {
    while (!this.#isStopped && this.#isFollowed(nodeId)) {
      try {
        const { report, ranges, damaged } = await this.#ports.request(
          nodeId,
          'watch',
          { coordinator: this.#ports.nodeId, term: this.term, seen: follower.report },
          WATCH_TIMEOUT_MS,
        );
        if (this.#isStopped) return;
        this.#heardMs.set(nodeId, this.#ports.nowMs());
        follower.report = report;
        if (ranges !== null) {
          this.#reports.set(nodeId, ranges);
          this.#damaged.set(nodeId, damaged);
          this.reported();
        }
        this.#tell(nodeId, follower);
      } catch (error) {
        // It may have been restarted, and know nothing any more.
        follower.report = 0;
        follower.routesVersion = -1;
        follower.catalogRevision = 0;
        this.#ports.log.debug({ err: error, nodeId }, 'a node does not answer');
        await this.#pause(RETRY_MS);
      }
    }
    this.#followers.delete(nodeId);
    this.#reports.delete(nodeId);
    this.#damaged.delete(nodeId);
  }

  #isFollowed(nodeId: NodeId): boolean {
    return this.#ports
      .catalog()
      .nodes.some((node) => node.nodeId === nodeId && (node.state === 'ACTIVE' || node.state === 'LEAVING'));
  }

  #tellAll(): void {
    for (const [nodeId, follower] of this.#followers) this.#tell(nodeId, follower);
  }

  /** Sends what the node does not have yet. One update is under way at a time; the next one takes all that is new. */
  #tell(nodeId: NodeId, follower: Follower): void {
    const { catalog, nodeId: coordinator, request } = this.#ports;
    const state = catalog();
    const hasCatalog = follower.catalogRevision === state.revision;
    const hasRoutes = follower.routesVersion === this.#routesVersion;
    const silentText = this.#silent.join();
    if (follower.isSending || (hasCatalog && hasRoutes && follower.silentText === silentText)) return;
    follower.isSending = true;
    const version = this.#routesVersion;
    const body: RequestBody<'update'> = {
      coordinator,
      term: this.term,
      catalog: hasCatalog ? null : state,
      routes: hasRoutes ? null : this.#routesSince(follower.routesVersion),
      silent: [...this.#silent],
    };
    request(nodeId, 'update', body, REQUEST_TIMEOUT_MS).then(
      () => {
        follower.isSending = false;
        follower.catalogRevision = state.revision;
        follower.routesVersion = version;
        follower.silentText = silentText;
        if (!this.#isStopped) this.#tell(nodeId, follower);
      },
      (error: unknown) => {
        // The watch finds out whether it is there, and tells it again.
        follower.isSending = false;
        this.#ports.log.debug({ err: error, nodeId }, 'a node was not told the news');
      },
    );
  }

  #routesSince(seen: number): Route[] {
    return [...this.#routes.values()].filter(({ version }) => version > seen).map(({ route }) => route);
  }

  #tick(): void {
    const nowMs = this.#ports.nowMs();
    this.#heardMs.set(this.#ports.nodeId, nowMs);
    const silent = [...this.#followers.keys()].filter((id) => this.silentMs(id) >= this.#options.silentAfterMs);
    if (silent.join() !== this.#silent.join()) {
      this.#ports.log.warn({ silent }, silent.length === 0 ? 'all nodes are heard of' : 'nodes are silent');
      this.#silent = silent;
      this.#ports.learned([], silent);
      this.#tellAll();
    }
    // What a silent node has said of its replicas is worth nothing: it may have lost them.
    for (const nodeId of silent) if (this.#reports.delete(nodeId)) this.reported();
    const catalog = this.#ports.catalog();
    // A node that is alone has everything, and nobody to give it to.
    if (catalog.nodes.length === 1) return;
    if (!this.#hasNews && nowMs - this.#plannedMs < PLAN_IDLE_MS) return;
    this.#hasNews = false;
    this.#plannedMs = nowMs;
    const steps = planNext(
      {
        catalog,
        heardMs: this.#heardMs,
        views: this.#views,
        damaged: [...this.#damaged.values()].flat(),
        busy: this.#busy,
        nowMs,
      },
      this.#options,
    );
    for (const step of steps) void this.#carryOut(step);
  }

  async #carryOut(step: PlacementStep): Promise<void> {
    if (step.type === 'setNodeState') {
      await this.#endNode(step);
      return;
    }
    const { rangeId } = step;
    if (this.#busy.has(rangeId)) return;
    this.#busy.add(rangeId);
    let restMs = REST_MS;
    try {
      await this.#ask(step);
      this.#ports.log.info(step, 'placement');
    } catch (error) {
      restMs = REST_FAILED_MS;
      this.#ports.log.info({ ...step, err: error }, 'a step of the placement was refused; it is planned anew');
    }
    await this.#pause(restMs);
    this.#busy.delete(rangeId);
    this.#hasNews = true;
  }

  async #endNode(step: Extract<PlacementStep, { type: 'setNodeState' }>): Promise<void> {
    const { nodeId } = step;
    if (this.#ending.has(nodeId)) return;
    this.#ending.add(nodeId);
    try {
      const result = await this.#ports.propose(step);
      this.#ports.log.info({ nodeId, ...result }, 'nothing is left on a node that drains');
    } catch (error) {
      this.#ports.log.warn({ nodeId, err: error }, 'a node that has drained could not be taken out; it is tried again');
    }
    this.#ending.delete(nodeId);
  }

  async #ask(step: Exclude<PlacementStep, { type: 'setNodeState' }>): Promise<void> {
    const { request } = this.#ports;
    if (step.type === 'dropReplica') {
      const { rangeId, memberId, confVersion } = step;
      await request(nodeOf(memberId), 'dropReplica', { rangeId, memberId, confVersion }, STEP_TIMEOUT_MS);
    } else if (step.type === 'transferLeader') {
      await request(nodeOf(step.leader), 'transferLeader', { rangeId: step.rangeId, to: step.to }, STEP_TIMEOUT_MS);
    } else {
      const { rangeId, confVersion, isJoint } = step;
      const body = { rangeId, confVersion, changes: [...step.changes], isJoint };
      await request(nodeOf(step.leader), 'changeMembers', body, STEP_TIMEOUT_MS);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, ms);
      this.#timers.add(timer);
    });
  }
}

/** Of so many, an error names the first ones. */
const NAMED_MAX = 20;

function namesOf(ranges: readonly RangeId[]): string {
  const more = ranges.length - NAMED_MAX;
  return ranges.slice(0, NAMED_MAX).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function notNow(nodeId: NodeId, why: string): SkerryError {
  return new SkerryError('KV_CONSENSUS', `Node ${nodeId} cannot be removed now: ${why}. Try again.`, {
    retryable: true,
  });
}
