/**
 * From a command to the range that runs it: on this worker by a plain call, on another one over a ring, or on several.
 *
 *     session ─▶ submit ─▶ table.find(key) ─┬─▶ a range that this worker leads
 *                                           ├─▶ link to the worker, of this node or another, that leads it
 *                                           ├─▶ nobody is known to lead: the waiting room, until the routes change
 *                                           └─▶ gather / walk: one command per range, one reply
 */
import type { MemberId, NodeId, RangeId } from '../../core/brands.ts';
import type { Args } from '../../core/kv/args.ts';
import type { RequestId } from '../../core/kv/batch.ts';
import { runKeyless } from '../../core/kv/keyless.ts';
import type { ReplyTarget } from '../../core/kv/reply.ts';
import { replyError } from '../../core/kv/reply.ts';
import type { CommandSpec, KeySet } from '../../core/kv/spec.ts';
import { CONSISTENCY_STALE } from '../../core/kv/spec.ts';
import type { Submit } from '../../core/kv/submit.ts';
import type { CommandRouter } from '../ports.ts';
import type { RequestFrame } from './forward-frame.ts';
import { nodeOf, workerOf } from '../../core/member.ts';
import type { RangeScope, Route } from '../../core/range.ts';
import { gather } from './gather.ts';
import { MovedCommands } from './moved.ts';
import type { PeerAsker } from './peer-gateway.ts';
import type { PeerRetry } from './peer-remote.ts';
import type { RouteTable } from './route-table.ts';
import { WaitingRoom } from './waiting-room.ts';

/** A range of this worker. */
export interface LocalRange {
  readonly isLeader: boolean;
  readonly submit: Submit<[scopeVersion: number]>;
  /** It does not lead (any more): sends what waits in it on its way again, at once. */
  standDown(): void;
}

/** The way to another worker. */
export interface RemoteWorker {
  readonly overloaded: boolean;
  readonly request: Submit<[scope: RangeScope | null, sinceMs?: number]>;
}

/** The ways to other nodes. */
export interface PeerWays {
  /** The way to the worker that a member lives on. */
  remote(member: MemberId): RemoteWorker;
  /** Whether a connection to the node was tried and is not there. */
  isLost(nodeId: NodeId): boolean;
}

export interface RouterOptions {
  readonly nodeId: NodeId;
  readonly table: RouteTable;
  readonly localRange: (rangeId: RangeId) => LocalRange | undefined;
  /** By worker index; nothing at this worker's own. */
  readonly remotes: readonly (RemoteWorker | null)[];
  /** Runs a walking command (SCAN …), which visits the ranges one after another. */
  readonly walk: (router: Router, spec: CommandSpec, args: Args, target: ReplyTarget, slot: number) => void;
  /** Wall clock, Unix milliseconds. */
  readonly nowMs: () => number;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** How long a command may wait for its range to have a leader. */
  readonly leaderWaitMs: number;
  readonly commandByOp: (op: number) => CommandSpec | undefined;
  /** Counts a command that is handed to another worker. */
  readonly onForward: () => void;
}

const CROSS_RANGE =
  'CROSSRANGE the keys of this command lie in different ranges; it is atomic only within one (see `skerry range list`)';
const OVERLOADED = 'OVERLOADED too many commands wait for another worker; nothing was done, try again';

export class Router implements CommandRouter {
  readonly table: RouteTable;
  /** Null while this node is alone. */
  peers: PeerWays | null = null;
  readonly #options: RouterOptions;
  /** Commands that met other boundaries than were believed. */
  readonly moved: MovedCommands;
  readonly #waiting: WaitingRoom;

  constructor(options: RouterOptions) {
    this.table = options.table;
    this.#options = options;
    this.#waiting = new WaitingRoom({
      waitMs: options.leaderWaitMs,
      monotonicMs: options.monotonicMs,
      submit: this.submitAgain.bind(this),
    });
    this.moved = new MovedCommands({
      generation: () => this.table.generation,
      monotonicMs: options.monotonicMs,
      waitMs: options.leaderWaitMs,
    });
  }

  get generation(): number {
    return this.table.generation;
  }

  submit(
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null = null,
    sinceMs = 0,
  ): void {
    const { table } = this;
    const { firstKey } = spec;
    if (spec.gather === 'walk') {
      this.#options.walk(this, spec, args, target, slot);
      return;
    }
    if (spec.touched !== undefined) {
      this.#submitAtomic(spec, args, spec.touched(args), target, slot, requestId, sinceMs);
      return;
    }
    // A key may be missing where it is optional (OBJECT HELP): such a command runs without one.
    if (firstKey === 0 || firstKey > args.count) {
      if (spec.acrossRanges === 'gather') gather(this, spec, args, target, slot, requestId);
      else this.#runHere(spec, args, target, slot);
      return;
    }
    const route = table.find(args.buffer, args.start[firstKey - 1] as number, args.end[firstKey - 1] as number);
    if (spec.acrossRanges === 'one' || table.routes.length === 1 || this.#holdsAll(route, spec, args)) {
      this.send(route, spec, args, target, slot, requestId, null, sinceMs);
    } else if (spec.acrossRanges === 'gather') {
      gather(this, spec, args, target, slot, requestId);
    } else {
      replyError(target, slot, CROSS_RANGE);
    }
  }

  /** Answers CROSSRANGE when no single range holds `touched`; with no keys at all any range will do. */
  #submitAtomic(
    spec: CommandSpec,
    args: Args,
    { keys, everything }: KeySet,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    sinceMs: number,
  ): void {
    const { routes } = this.table;
    const find = (i: number): Route => this.table.find(keys.buffer, keys.start[i] as number, keys.end[i] as number);
    const route = keys.count === 0 ? (routes[0] as Route) : find(0);
    let isHeld = routes.length === 1 || !everything;
    for (let i = 1; i < keys.count && isHeld && routes.length > 1; i++) isHeld = find(i) === route;
    if (!isHeld) {
      replyError(target, slot, CROSS_RANGE);
      return;
    }
    // With its keys checked, it belongs to this range as it is now: after a split meanwhile they are looked at again.
    const { rangeId, epoch } = route.range;
    this.send(route, spec, args, target, slot, requestId, { rangeId, version: epoch.version }, sinceMs);
  }

  /** Sends a command on its way again. `scope`: it belongs to this range as it was then, whatever its keys. */
  submitAgain(
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope | null,
    sinceMs = 0,
  ): void {
    if (scope === null || spec.touched !== undefined) {
      this.submit(spec, args, target, slot, requestId, sinceMs);
      return;
    }
    const route = this.table.routes.find(({ range }) => range.rangeId === scope.rangeId);
    if (route === undefined) replyError(target, slot, RANGE_MOVED);
    else this.send(route, spec, args, target, slot, requestId, scope, sinceMs);
  }

  /** Another node did not do what it was asked: asks whom it names, or waits. */
  returned({ spec, args, target, slot, requestId, scope, sinceMs, nodeId, leader }: PeerRetry): void {
    const rangeId = scope?.rangeId ?? this.#routeOf(spec, args).range.rangeId;
    if (leader !== null && leader !== 0 && this.table.suggestLeader(rangeId, leader)) this.routesChanged();
    const known = this.table.routes.find(({ range }) => range.rangeId === rangeId)?.leader ?? 0;
    // Whether by this answer or by one before it: what comes back behind a command must not wait where that one went on.
    const isElsewhere = known !== 0 && nodeOf(known) !== nodeId;
    const nowMs = this.#options.monotonicMs();
    const since = sinceMs === 0 ? nowMs : sinceMs;
    // Two nodes that each believe the other to lead must not send it to and fro for ever.
    if (isElsewhere && nowMs - since < this.#options.leaderWaitMs)
      this.submitAgain(spec, args, target, slot, requestId, scope, since);
    else this.#waiting.add(rangeId, spec, args, target, slot, requestId, scope, since);
  }

  /** Keeps a command until the routes change: `scope` is its range, which has no leader that is known. */
  awaitLeader(
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope,
  ): void {
    const isFree = spec.firstKey !== 0;
    this.#waiting.add(scope.rangeId, spec, args, target, slot, requestId, isFree ? null : scope, 0);
  }

  /** The routes have changed: what waits for a leader looks again. */
  routesChanged(): void {
    this.#waiting.retry();
    this.moved.routesChanged();
  }

  /** Tries again what waits for a leader. */
  retryWaiting(): void {
    this.#waiting.retry();
  }

  /** Tries again what waits for a leader, and refuses what has waited for too long; call it some times a second. */
  tickWaiting(): void {
    this.#waiting.retry();
    this.#waiting.expire((rangeId, waitedMs) => this.#whyNoLeader(rangeId, waitedMs));
    this.moved.expire();
  }

  /** The error of a range that has had no leader for so long, with what is known of its voters' nodes. */
  #whyNoLeader(rangeId: RangeId, waitedMs: number): string {
    const range = this.table.routes.find((route) => route.range.rangeId === rangeId)?.range;
    const voters = (range?.replicas ?? [])
      .filter(({ role }) => role === 'voter')
      .map(({ memberId }) => nodeOf(memberId));
    const lost = voters.filter((nodeId) => this.peers?.isLost(nodeId) === true);
    const since = `range ${rangeId} has had no leader that can be reached for ${(waitedMs / 1000).toFixed(1)} s`;
    if (lost.length === 0) return `NOTLEADER ${since}`;
    const isMajorityLost = (voters.length - lost.length) * 2 <= voters.length;
    const [word, who] = isMajorityLost ? ['CLUSTERDOWN', 'majority of'] : ['NOTLEADER', 'of'];
    return `${word} ${since}, ${who} [${voters.join(', ')}] unreachable: [${lost.join(', ')}]`;
  }

  /** Runs a command on one range. Without a scope, the owner looks up the first key again. */
  send(
    route: Route,
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope | null,
    sinceMs = 0,
  ): void {
    const { nodeId, localRange, remotes, onForward } = this.#options;
    const { range } = route;
    const isStale = spec.consistency === CONSISTENCY_STALE;
    const leader = isStale ? this.#nearest(route) : route.leader;
    const isElsewhere = nodeOf(leader) !== nodeId;
    // The requests of a native connection are concurrent with each other.
    const isBehindOthers = !isStale && target.protocol !== 4 && this.#waiting.holds(range.rangeId, target);
    if (isBehindOthers || (isElsewhere && (leader === 0 || this.peers === null))) {
      this.#waiting.add(range.rangeId, spec, args, target, slot, requestId, scope, sinceMs);
      return;
    }
    const remote = isElsewhere ? this.peers?.remote(leader) : remotes[workerOf(leader) % remotes.length];
    if (remote === null || remote === undefined) {
      const local = localRange(range.rangeId);
      if (local !== undefined && (isStale || local.isLeader)) {
        local.submit(spec, args, target, slot, requestId, scope?.version ?? 0);
      } else {
        // The range is gone from here, or its leader here has lost its followers, and nobody is known to lead since.
        local?.standDown();
        this.#waiting.add(range.rangeId, spec, args, target, slot, requestId, scope, sinceMs);
      }
    } else if (remote.overloaded) {
      replyError(target, slot, OVERLOADED);
    } else {
      onForward();
      remote.request(spec, args, target, slot, requestId, scope, sinceMs);
    }
  }

  /** Runs a request that another worker sent here. */
  execute(frame: RequestFrame, target: ReplyTarget): void {
    const spec = this.#options.commandByOp(frame.op);
    if (spec === undefined) {
      replyError(target, frame.slot, 'ERR unknown command code');
    } else if (frame.scope === null || spec.touched !== undefined) {
      this.submit(spec, frame.args, target, frame.slot, frame.requestId);
    } else {
      const local = this.#options.localRange(frame.scope.rangeId);
      if (local === undefined) replyError(target, frame.slot, RANGE_MOVED);
      else local.submit(spec, frame.args, target, frame.slot, frame.requestId, frame.scope.version);
    }
  }

  /** Runs a request of another node, if this worker leads its range; nobody else is asked. */
  executeForPeer({ op, args, slot, requestId, scope }: RequestFrame, target: PeerAsker): void {
    const spec = this.#options.commandByOp(op);
    if (spec === undefined) {
      replyError(target, slot, 'ERR unknown command code');
      return;
    }
    const route =
      scope === null
        ? this.#routeOf(spec, args)
        : this.table.routes.find(({ range }) => range.rangeId === scope.rangeId);
    const local = route === undefined ? undefined : this.#options.localRange(route.range.rangeId);
    if (route === undefined || local === undefined || !local.isLeader) {
      local?.standDown();
      target.notLeader(slot, route?.leader ?? 0);
    } else if (scope === null && spec.acrossRanges !== 'one' && !this.#holdsAll(route, spec, args)) {
      // The asker does not know of a split: it waits until it does, and sends each key where it belongs.
      target.notLeader(slot, 0);
    } else {
      local.submit(spec, args, target, slot, requestId, scope?.version ?? 0);
    }
  }

  /** The route of a command's first key; commands without keys come with a scope. */
  #routeOf({ firstKey }: CommandSpec, args: Args): Route {
    return this.table.find(args.buffer, args.start[firstKey - 1] ?? 0, args.end[firstKey - 1] ?? 0);
  }

  /** The member of this node, if there is one: it need not lead to answer a stale read. */
  #nearest({ range, leader }: Route): MemberId {
    const own = range.replicas.find(({ memberId }) => nodeOf(memberId) === this.#options.nodeId);
    return own?.memberId ?? leader;
  }

  /** Commands that touch no key need no range. */
  #runHere(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number): void {
    runKeyless(spec, args, this.#options.nowMs(), target.begin(slot));
    target.finish(slot);
  }

  #holdsAll(route: Route, spec: CommandSpec, args: Args): boolean {
    const last = spec.lastKey < 0 ? args.count + spec.lastKey : Math.min(spec.lastKey, args.count) - 1;
    for (let i = spec.firstKey - 1 + spec.keyStep; i <= last; i += spec.keyStep) {
      if (this.table.find(args.buffer, args.start[i] as number, args.end[i] as number) !== route) return false;
    }
    return true;
  }
}

const RANGE_MOVED = 'RANGEMOVED the boundaries of the range have changed; try again';
