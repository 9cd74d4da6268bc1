/**
 * One worker's connections with the workers of other nodes. Each worker dials those that it has something for, and what
 * they have for it comes over the connections that they dial:
 *
 *     worker 1.0 ── raft frames, requests ──▶ peer port of worker 2.1
 *                ◀─ replies ─────────────────
 *     worker 1.0's peer port ◀── raft frames, requests ── worker 2.1
 *
 * send() and the links' requesters only put down what is to go; flush() at the end of a turn writes it, once per peer.
 */
import type { Socket } from 'node:net';
import type { Hello, Refusal } from '../../codec/peer/handshake.ts';
import { PURPOSE_SNAPSHOT, REFUSED_FOR_GOOD, REFUSED_FOR_NOW } from '../../codec/peer/handshake.ts';
import type { MemberId, NodeId, RangeId } from '../../core/brands.ts';
import { nodeOf, nodeOfWorker, WORKERS_MAX, workerId, workerOf } from '../../core/member.ts';
import type { Beat } from '../../core/beat.ts';
import type { Message } from '../../core/raft/types.ts';
import type { FlushQueue } from '../flush-queue.ts';
import { createFlushQueue } from '../flush-queue.ts';
import type { Listener } from '../listener.ts';
import { listen } from '../listener.ts';
import type { InboundOwner } from './inbound.ts';
import { PeerInbound } from './inbound.ts';
import type { LinkOwner } from './link.ts';
import { PeerLink } from './link.ts';
import { Pacer } from './pacer.ts';
import { SnapshotReceiver } from './snapshot-receiver.ts';
import { SnapshotSender } from './snapshot-sender.ts';
import { refusalText } from './stranger.ts';
import type { PeerCounters, PeerMeshOptions, PeerStatus, PeerTimings } from './types.ts';
import { createPeerCounters, peerTimings } from './types.ts';

/** Connections of one worker that others have dialled. */
const INBOUND_MAX = 4096;

/** Snapshots that a worker sends, and receives, at the same time; others wait. */
const SNAPSHOTS_SENT_MAX = 4;
const SNAPSHOTS_RECEIVED_MAX = 8;

interface Sending {
  readonly sender: SnapshotSender;
  readonly done: (isTaken: boolean, reason: string) => void;
}

export class PeerMesh implements LinkOwner, InboundOwner {
  readonly options: PeerMeshOptions;
  readonly counters: PeerCounters;
  readonly timings: PeerTimings;
  readonly flushQueue: FlushQueue;
  readonly #links = new Map<number, PeerLink>();
  /** Nodes that were removed, and how that is said. */
  readonly #forgotten = new Map<NodeId, string>();
  readonly #inbound = new Set<PeerInbound>();
  readonly #ticker: NodeJS.Timeout;
  readonly #pacer: Pacer;
  readonly #receiver: SnapshotReceiver | null;
  readonly #sendQueue: Sending[] = [];
  readonly #sending = new Set<Sending>();
  #listener: Listener | null = null;
  #isClosed = false;

  constructor(options: PeerMeshOptions) {
    this.options = options;
    this.counters = options.counters ?? createPeerCounters();
    this.timings = { ...peerTimings, ...options.timings };
    this.flushQueue = createFlushQueue(options.schedule);
    this.#pacer = new Pacer(options.snapshots?.bytesPerSecond ?? (() => 0));
    this.#receiver =
      options.snapshots === undefined ? null : new SnapshotReceiver(options, this.counters, options.snapshots);
    this.#ticker = setInterval(() => this.#tick(), this.timings.tickMs);
    this.#ticker.unref();
  }

  /** Takes connections. Resolves with the port (0 takes a free one); rejects with SkerryError KV_STATE. */
  async listen(host: string, port: number): Promise<number> {
    const onConnection = (socket: Socket): void => this.#accept(socket);
    const listener = await listen({ host, port, isShared: false, sharesReads: true, onConnection });
    if (this.#isClosed) listener.close();
    this.#listener = listener;
    return listener.port;
  }

  /** Queues a Raft message for the worker that its `to` lives on. */
  send(rangeId: RangeId, message: Message): void {
    this.linkTo(message.to).send(rangeId, message);
  }

  /** Queues a beat for a worker of another node (core/member.ts workerId). */
  beat(worker: number, beat: Beat): void {
    this.link(nodeOfWorker(worker), worker % WORKERS_MAX).beat(beat);
  }

  /** Writes everything that the turn has made, once per connection. */
  flush(): void {
    this.flushQueue.flushAll();
  }

  /** The way to the worker that a member lives on. */
  linkTo(member: MemberId): PeerLink {
    const worker = this.workerOf(member);
    return this.link(nodeOfWorker(worker), worker % WORKERS_MAX);
  }

  /** The worker that a member lives on (core/member.ts workerId). */
  workerOf(member: MemberId): number {
    const nodeId = nodeOf(member);
    const workers = this.options.directory.workersOf(nodeId);
    const worker = workerOf(member);
    return workerId(nodeId, workers > 0 ? worker % workers : worker);
  }

  /** The way to a worker of another node; nothing is dialled before there is something to send. */
  link(nodeId: NodeId, workerIndex: number): PeerLink {
    const key = workerId(nodeId, workerIndex);
    const known = this.#links.get(key);
    if (known !== undefined) return known;
    const link = new PeerLink(this, nodeId, workerIndex);
    const forgotten = this.#forgotten.get(nodeId);
    if (forgotten !== undefined) link.close(forgotten);
    this.#links.set(key, link);
    return link;
  }

  /** Addresses may have changed: whoever waits to dial again, and has a new one, does so at once. */
  addressesChanged(): void {
    for (const link of this.#links.values()) link.addressChanged();
  }

  /** Asks refusePeer() again about everybody, and ends the connections with those who are no longer welcome. */
  refusalsChanged(): void {
    for (const inbound of this.#inbound) {
      if (inbound.dialler === null) continue;
      const refused = refusalText(this.options, inbound.dialler);
      if (refused !== null) inbound.frames.close(refused);
    }
  }

  /** A node was removed, and node ids are never used again: ends the links to it, and sends it nothing more. */
  forget(nodeId: NodeId, reason: string): void {
    if (this.#forgotten.has(nodeId)) return;
    this.#forgotten.set(nodeId, reason);
    for (const link of this.#links.values()) if (link.nodeId === nodeId) link.close(reason);
    for (const inbound of this.#inbound) if (inbound.dialler?.nodeId === nodeId) inbound.frames.close(reason);
    for (const { sender } of [...this.#sendQueue, ...this.#sending]) {
      if (sender.target.nodeId === nodeId) sender.cancel(reason);
    }
  }

  /**
   * Sends a checkpoint file, and the SNAPSHOT message that it belongs to, on a connection of its own. `done`, once: whether the
   * member has it; if not, why. The file may be deleted meanwhile, once this worker has opened it.
   */
  sendSnapshot(
    rangeId: RangeId,
    message: Message,
    file: string,
    done: (isTaken: boolean, reason: string) => void,
  ): void {
    const { nodeId, workerIndex } = this.linkTo(message.to);
    const sender = new SnapshotSender(this, this.#pacer, { nodeId, workerIndex }, { rangeId, message }, file);
    this.#sendQueue.push({ sender, done });
    this.#sendNext();
  }

  status(): PeerStatus[] {
    return [...this.#links.values()].map(({ nodeId, workerIndex, state, problem, queuedBytes, roundTripMs }) => {
      return { nodeId, workerIndex, state, problem, queuedBytes, roundTripMs };
    });
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#ticker);
    this.#listener?.close();
    for (const link of this.#links.values()) link.close('this node stops');
    for (const inbound of this.#inbound) inbound.frames.close('this node stops');
    for (const { sender } of [...this.#sendQueue, ...this.#sending]) sender.cancel('this node stops');
    this.#receiver?.close();
  }

  refusal(hello: Hello): Refusal | null {
    const { self } = this.options;
    const text = refusalText(this.options, hello.dialler);
    if (text !== null) return { code: REFUSED_FOR_GOOD, reason: text };
    if (hello.targetNodeId !== self.nodeId || hello.targetWorker !== self.workerIndex) {
      return {
        code: REFUSED_FOR_GOOD,
        reason: `worker ${hello.targetWorker} of node ${hello.targetNodeId} was wanted and this is worker ${self.workerIndex} of node ${self.nodeId}`,
      };
    }
    if (hello.purpose !== PURPOSE_SNAPSHOT) return null;
    const receiver = this.#receiver;
    if (receiver === null) return { code: REFUSED_FOR_NOW, reason: 'this node takes no snapshots' };
    if (receiver.receiving < SNAPSHOTS_RECEIVED_MAX) return null;
    return { code: REFUSED_FOR_NOW, reason: `${receiver.receiving} snapshots are on their way to this worker` };
  }

  accepted(inbound: PeerInbound): void {
    const { dialler, hello } = inbound;
    if (dialler === null || hello === null) return;
    if (hello.purpose === PURPOSE_SNAPSHOT) {
      this.#receiver?.attach(inbound, dialler);
      return;
    }
    // The one that is there is what a cut left behind: the same worker has dialled again.
    for (const other of this.#inbound) {
      const isSame =
        other.dialler?.nodeId === dialler.nodeId &&
        other.dialler.workerIndex === dialler.workerIndex &&
        other.hello?.purpose === hello.purpose;
      if (other !== inbound && isSame) other.frames.close('the same worker has dialled again');
    }
  }

  closed(inbound: PeerInbound, reason: string, isProtocolError: boolean): void {
    this.#inbound.delete(inbound);
    if (!isProtocolError) return;
    const { dialler, frames } = inbound;
    this.options.warn('a connection from another node was closed', {
      peerNodeId: dialler?.nodeId ?? 0,
      peerWorker: dialler?.workerIndex ?? 0,
      address: frames.socket.remoteAddress,
      reason,
    });
  }

  #accept(socket: Socket): void {
    if (this.#isClosed || this.#inbound.size >= INBOUND_MAX) {
      socket.destroy();
      return;
    }
    this.#inbound.add(new PeerInbound(this, socket));
  }

  #tick(): void {
    for (const link of this.#links.values()) link.tick();
    for (const inbound of this.#inbound) inbound.tick(this.timings.silentTicksMax);
    for (const { sender } of this.#sending) sender.tick();
    this.#receiver?.tick();
  }

  #sendNext(): void {
    while (this.#sending.size < SNAPSHOTS_SENT_MAX) {
      const next = this.#sendQueue.shift();
      if (next === undefined) return;
      void this.#sendOne(next);
    }
  }

  async #sendOne(sending: Sending): Promise<void> {
    this.#sending.add(sending);
    const { isTaken, reason } = await sending.sender.run();
    this.#sending.delete(sending);
    if (isTaken) this.counters.snapshotsSent++;
    sending.done(isTaken, reason);
    this.#sendNext();
  }
}
