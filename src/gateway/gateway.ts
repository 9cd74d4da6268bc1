/**
 * All of one worker that clients and other workers talk to: the route table, the router, the links to the other workers
 * and to other nodes, and what is to be sent at the end of a turn.
 */
import type { MessagePort } from 'node:worker_threads';
import type { NodeId, RangeId } from '../core/brands.ts';
import type { ReplyTarget } from '../core/kv/reply.ts';
import { commandByOp } from '../core/kv/table.ts';
import type { Route } from '../core/range.ts';
import type { Message } from '../core/raft/types.ts';
import type { FlushQueue } from '../net/flush-queue.ts';
import { createFlushQueue } from '../net/flush-queue.ts';
import { Doorbell, RingConsumer, RingProducer } from '../sharedarraybuffer-ring/index.ts';
import { CursorTable } from './router/cursor-table.ts';
import type { RequestFrame } from './router/forward-frame.ts';
import { ForwardLink } from './router/forward-link.ts';
import { PeerGateway } from './router/peer-gateway.ts';
import type { PeerGatewayOptions } from './router/peer-gateway.ts';
import { RouteTable } from './router/route-table.ts';
import type { LocalRange } from './router/router.ts';
import { Router } from './router/router.ts';
import { createWalk } from './router/walk.ts';

/** One end of the rings between two threads. */
export interface LinkEnd {
  readonly outgoing: SharedArrayBuffer;
  readonly incoming: SharedArrayBuffer;
  readonly waiting: SharedArrayBuffer;
  readonly mine: 0 | 1;
  readonly port: MessagePort;
  /** Endpoint at the other end: a worker's index, or workerCount for the thread that embeds the store. */
  readonly peer: number;
}

export interface GatewayOptions {
  readonly nodeId: NodeId;
  readonly workerIndex: number;
  readonly workerCount: number;
  /** Doorbells of all endpoints. */
  readonly doorbells: readonly SharedArrayBuffer[];
  readonly links: readonly LinkEnd[];
  readonly scanCursors: SharedArrayBuffer;
  readonly localRange: (rangeId: RangeId) => LocalRange | undefined;
  readonly nowMs: () => number;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** How long a command may wait for its range to have a leader. */
  readonly leaderWaitMs: number;
  readonly onForward: () => void;
  /** Asks for a turn of the loop. */
  readonly schedule: () => void;
}

export class Gateway {
  readonly table = new RouteTable();
  readonly router: Router;
  readonly flushQueue: FlushQueue;
  /** The ways to other nodes, once this one belongs to a cluster. */
  peers: PeerGateway | null = null;
  readonly #links: readonly ForwardLink[];
  readonly #schedule: () => void;

  constructor(options: GatewayOptions) {
    const { workerIndex, workerCount, doorbells, scanCursors, onForward, schedule } = options;
    const execute = (frame: RequestFrame, target: ReplyTarget): void => this.router.execute(frame, target);
    const links = options.links.map((end) => {
      const publishEvery = end.peer === workerCount ? EMBEDDED_PUBLISH_EVERY : Infinity;
      return { peer: end.peer, link: connectLink(end, doorbells, publishEvery, execute) };
    });
    this.#links = links.map(({ link }) => link);
    this.#schedule = schedule;
    this.flushQueue = createFlushQueue(schedule);
    this.router = new Router({
      nodeId: options.nodeId,
      table: this.table,
      localRange: options.localRange,
      remotes: Array.from({ length: workerCount }, (_, i) => links.find(({ peer }) => peer === i)?.link ?? null),
      walk: createWalk(new CursorTable(scanCursors, workerIndex, workerCount)),
      nowMs: options.nowMs,
      monotonicMs: options.monotonicMs,
      leaderWaitMs: options.leaderWaitMs,
      commandByOp,
      onForward: () => {
        onForward();
        this.#schedule();
      },
    });
  }

  /** Other nodes can be reached from now on. */
  connectPeers(mesh: PeerGatewayOptions['mesh']): PeerGateway {
    const peers = new PeerGateway({
      mesh,
      execute: (frame, target) => this.router.executeForPeer(frame, target),
      retry: (command) => this.router.returned(command),
      reached: () => this.router.retryWaiting(),
    });
    this.peers = peers;
    this.router.peers = peers;
    return peers;
  }

  /** Sends a checkpoint file with its SNAPSHOT message; `done`: whether the member has what it holds. */
  sendSnapshot(rangeId: RangeId, message: Message, file: string, done: (isTaken: boolean) => void): void {
    if (this.peers === null) done(false);
    else this.peers.mesh.sendSnapshot(rangeId, message, file, done);
  }

  /** Takes what is known of ranges' places. */
  learn(routes: readonly Route[]): void {
    this.table.update(routes);
    this.router.routesChanged();
    this.#schedule();
  }

  /** Runs what other workers sent. */
  drain(): void {
    for (const link of this.#links) link.drain();
  }

  /** Sends what the turn has made: to the other workers, then to the clients. */
  flush(): void {
    this.peers?.flush();
    for (const link of this.#links) link.flush();
    this.flushQueue.flushAll();
    // Sockets that take commands again may have run some.
    for (const link of this.#links) link.flush();
    this.peers?.flush();
    if (this.#links.some((link) => link.canGoOn)) this.#schedule();
  }

  /** Whether other workers have sent something. */
  get readable(): boolean {
    return this.#links.some((link) => link.readable);
  }

  /** How full the fullest ring to another worker is, 0 … 1. */
  get ringFill(): number {
    let fill = 0;
    for (const link of this.#links) fill = Math.max(fill, link.fill);
    return fill;
  }

  /** How often a ring to another worker had no room. */
  get ringFullCount(): number {
    return this.#links.reduce((sum, link) => sum + link.fullCount, 0);
  }

  /** Commands handed to other workers and nodes and not answered, and those of other workers that are not run yet. */
  get inFlight(): number {
    return this.#links.reduce((sum, link) => sum + link.inFlight + link.heldCount, this.peers?.inFlight ?? 0);
  }
}

/**
 * Frames between the embedding thread and a worker that leave at once: with nothing else to do, each of the two would wait for the
 * other one's whole turn. A worker that has sockets to write to is spared the turns.
 */
export const EMBEDDED_PUBLISH_EVERY = 32;

/** This thread's side of a link. `execute` runs what the other side sends. */
export function connectLink(
  end: LinkEnd,
  doorbells: readonly SharedArrayBuffer[],
  publishEvery: number,
  execute: (frame: RequestFrame, target: ReplyTarget) => void,
): ForwardLink {
  const peerDoorbell = new Doorbell(doorbells[end.peer] as SharedArrayBuffer);
  return new ForwardLink({
    outgoing: new RingProducer(end.outgoing, peerDoorbell),
    incoming: new RingConsumer(end.incoming),
    port: end.port,
    peerDoorbell,
    waiting: new Int32Array(end.waiting),
    mine: end.mine,
    publishEvery,
    execute,
  });
}
