/**
 * The way to one worker of another node: dials it when there is something to send, sends Raft messages and commands, reads
 * replies, and dials again when it breaks.
 *
 *     idle ─ send ─▶ connecting ─ WELCOME ─▶ open ─ break ─▶ waiting ─ back-off over ─▶ connecting …
 *                        └─ refused, unreachable ─────────────▲
 */
import { writeBeat } from '../../codec/peer/beats.ts';
import {
  PEER_BEATS,
  PEER_PING,
  PEER_PONG,
  PEER_RAFT,
  PEER_REPLIES,
  PEER_REQUESTS,
  PeerProtocolError,
} from '../../codec/peer/frame.ts';
import { PURPOSE_DATA } from '../../codec/peer/handshake.ts';
import { travelsBetween, writeRaftMessage } from '../../codec/peer/raft-messages.ts';
import { assert } from '../../core/assert.ts';
import type { NodeId, RangeId } from '../../core/brands.ts';
import { limits } from '../../core/limits.ts';
import type { Beat } from '../../core/beat.ts';
import type { Message } from '../../core/raft/types.ts';
import type { Flushable, FlushQueue } from '../flush-queue.ts';
import type { CloseKind } from './dial.ts';
import { dial } from './dial.ts';
import type { FrameSocket } from './frame-socket.ts';
import { MessageQueue } from './message-queue.ts';
import type { PeerAddress, PeerCounters, PeerMeshOptions, PeerRequester, PeerState, PeerTimings } from './types.ts';

export interface LinkOwner {
  readonly options: PeerMeshOptions;
  readonly counters: PeerCounters;
  readonly timings: PeerTimings;
  readonly flushQueue: FlushQueue;
}

/** Beats that wait while the other side takes nothing: the next one says more than the last. */
const BEATS_WAITING_MAX = 8;

export class PeerLink implements Flushable {
  readonly nodeId: NodeId;
  readonly workerIndex: number;
  readonly #owner: LinkOwner;
  readonly #queue: MessageQueue;
  #beats: Beat[] = [];
  #state: PeerState = 'idle';
  #frames: FrameSocket | null = null;
  /** The address of the last attempt; null = there was none. */
  #dialled: PeerAddress | null = null;
  #retryTimer: NodeJS.Timeout | null = null;
  #backoffMs = 0;
  #isQueued = false;
  /** The break has been reported; nothing more is said until a connection has been made. */
  #isReported = false;
  #warned: string | null = null;
  problem: string | null = null;
  /** Of the last ping, milliseconds; 0 = none was answered yet. */
  roundTripMs = 0;
  /** Pings without an answer, and when the first of them was sent. Answers come in order. */
  #pings = 0;
  #pingedMs = 0;
  /** Sends commands over this link. */
  requester: PeerRequester | null = null;

  constructor(owner: LinkOwner, nodeId: NodeId, workerIndex: number) {
    this.#owner = owner;
    this.nodeId = nodeId;
    this.workerIndex = workerIndex;
    this.#queue = new MessageQueue(owner.options.queueBytesMax ?? limits.peerQueueBytesMax);
  }

  get state(): PeerState {
    return this.#state;
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** Takes a Raft message. It leaves at the end of the turn, or is dropped while there is no connection to be had. */
  send(rangeId: RangeId, message: Message): void {
    const { counters, options } = this.#owner;
    assert(
      travelsBetween(message, options.self.nodeId, this.nodeId),
      'peer: a message goes from this node to that one',
    );
    if (this.#state === 'waiting' || this.#state === 'closed') {
      counters.messagesDropped++;
      return;
    }
    const before = this.#queue.bytes;
    counters.messagesDropped += this.#queue.push(rangeId, message);
    counters.queuedBytes += this.#queue.bytes - before;
    this.wake();
  }

  /** Takes a beat. It leaves at the end of the turn, or is dropped. */
  beat(beat: Beat): void {
    if (this.#state === 'waiting' || this.#state === 'closed') return;
    if (this.#beats.length === BEATS_WAITING_MAX) this.#beats.shift();
    this.#beats.push(beat);
    this.wake();
  }

  /** Asks for flush() at the end of the turn. */
  wake(): void {
    if (this.#isQueued || this.#state === 'closed') return;
    this.#isQueued = true;
    this.#owner.flushQueue.add(this);
  }

  flush(): void {
    this.#isQueued = false;
    if (this.#state === 'idle') this.#dial();
    else if (this.#state === 'open') this.#write();
  }

  tick(): void {
    const frames = this.#frames;
    if (frames === null) return;
    if (++frames.silentTicks > this.#owner.timings.silentTicksMax) {
      const what = this.#state === 'open' ? 'nothing was heard of it' : 'it did not answer';
      frames.close(`${what} for ${this.#owner.timings.tickMs * this.#owner.timings.silentTicksMax} ms`);
    } else if (this.#state === 'open' && !frames.writing) {
      if (this.#pings++ === 0) this.#pingedMs = performance.now();
      frames.signal(PEER_PING);
      frames.send();
    }
  }

  /** The address may have changed: what waits to dial again does so now if it has. */
  addressChanged(): void {
    if (this.#state !== 'waiting') return;
    const address = this.#owner.options.directory.addressOf(this.nodeId, this.workerIndex);
    const dialled = this.#dialled;
    if (address?.host === dialled?.host && address?.port === dialled?.port) return;
    this.#backoffMs = 0;
    this.#endWaiting();
  }

  /** Ends it for good. */
  close(reason: string): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.problem = reason;
    this.#drop();
    const frames = this.#frames;
    this.#frames = null;
    frames?.close(reason);
    this.requester?.onBroken(reason);
  }

  #write(): void {
    const frames = this.#frames as FrameSocket;
    const queue = this.#queue;
    const { counters } = this.#owner;
    while (!frames.writing && !frames.closed) {
      const requester = this.requester;
      if (requester !== null && requester.waiting) {
        requester.write(frames.begin(PEER_REQUESTS), limits.peerFrameBytesSoft);
      }
      if (queue.length > 0) {
        const before = queue.bytes;
        const out = frames.begin(PEER_RAFT);
        while (queue.length > 0 && frames.frameBytes < limits.peerFrameBytesSoft) {
          writeRaftMessage(out, queue.firstRangeId, queue.first);
          queue.shift();
          counters.messagesOut++;
        }
        counters.queuedBytes += queue.bytes - before;
      }
      if (this.#beats.length > 0) {
        const out = frames.begin(PEER_BEATS);
        for (const beat of this.#beats) writeBeat(out, beat);
        this.#beats = [];
      }
      if (frames.unsentBytes === 0) return;
      frames.send();
    }
  }

  #dial(): void {
    const { options, counters } = this.#owner;
    const address = options.directory.addressOf(this.nodeId, this.workerIndex);
    this.#dialled = address;
    if (address === null) {
      this.#failed(`no address is known of node ${this.nodeId}`, false);
      return;
    }
    this.#state = 'connecting';
    const target = { nodeId: this.nodeId, workerIndex: this.workerIndex, address, purpose: PURPOSE_DATA } as const;
    const frames: FrameSocket = dial(options, counters, target, {
      onOpen: () => this.#onOpen(),
      onFrame: (kind, source, start, end) => this.#onFrame(kind, source, start, end),
      onWritable: () => this.#write(),
      onClose: (reason, kind) => this.#onClose(frames, reason, kind),
    });
    this.#frames = frames;
  }

  #onOpen(): void {
    this.#state = 'open';
    this.#pings = 0;
    this.#pingedMs = 0;
    this.#backoffMs = 0;
    this.#isReported = false;
    this.#warned = null;
    this.problem = null;
    this.#owner.counters.connects++;
    this.requester?.onOpen();
    this.wake();
  }

  #onFrame(kind: number, source: Buffer, start: number, end: number): void {
    if (kind === PEER_REPLIES && this.requester !== null) this.requester.onReplies(source, start, end);
    else if (kind === PEER_PONG) this.#onPong();
    else throw new PeerProtocolError(`a frame of kind ${kind} does not belong here`);
  }

  #onPong(): void {
    if (this.#pings > 0) this.#pings--;
    if (this.#pingedMs === 0) return;
    this.roundTripMs = performance.now() - this.#pingedMs;
    this.#pingedMs = 0;
    this.#owner.options.onRoundTrip?.(this.roundTripMs);
  }

  #onClose(frames: FrameSocket, reason: string, kind: CloseKind): void {
    // One that was closed from here is over already.
    if (this.#frames !== frames) return;
    this.#frames = null;
    if (kind === 'refused') this.#warn('another node refuses this one, or is not the one that it should be', reason);
    else if (kind === 'damaged') this.#warn('a connection to another node was closed', reason);
    this.#failed(reason, kind === 'refused');
  }

  /** Says it once for each reason, until a connection has been made. */
  #warn(text: string, reason: string): void {
    if (this.#warned === reason) return;
    this.#warned = reason;
    this.#owner.options.warn(text, { peerNodeId: this.nodeId, peerWorker: this.workerIndex, reason });
  }

  #failed(reason: string, isRefusal: boolean): void {
    const { options, timings, counters } = this.#owner;
    this.#state = 'waiting';
    this.problem = reason;
    counters.breaks++;
    this.#drop();
    const { backoffMinMs, backoffMaxMs, refusedBackoffMs } = timings;
    this.#backoffMs = Math.min(backoffMaxMs, Math.max(backoffMinMs, this.#backoffMs * 2));
    const waitMs = (isRefusal ? refusedBackoffMs : this.#backoffMs) * (0.5 + options.random() / 2);
    this.#retryTimer = setTimeout(() => this.#endWaiting(), waitMs);
    this.#retryTimer.unref();
    this.requester?.onBroken(reason);
    if (this.#isReported) return;
    this.#isReported = true;
    options.onUnreachable(this.nodeId, this.workerIndex);
  }

  /** The next thing to send dials; commands that wait do so at once. */
  #endWaiting(): void {
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#state = 'idle';
    if (this.requester?.waiting === true) this.wake();
  }

  #drop(): void {
    const { counters } = this.#owner;
    this.#beats = [];
    counters.queuedBytes -= this.#queue.bytes;
    counters.messagesDropped += this.#queue.clear();
  }
}
