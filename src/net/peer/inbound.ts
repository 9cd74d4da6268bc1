/**
 * A connection that another node's worker dialled: Raft messages and commands come in, replies go back.
 *
 *     HELLO ─▶ welcome? ─▶ data: RAFT ─▶ onMessage    REQUESTS ─▶ onRequests … reply() ─▶ REPLIES
 *                │   └──▶ snapshot: handed over to the receiver of snapshots
 *                └▶ REFUSED and why
 */
import type { Socket } from 'node:net';
import {
  PEER_BEATS,
  PEER_HELLO,
  PEER_PING,
  PEER_PONG,
  PEER_RAFT,
  PEER_REFUSED,
  PEER_REPLIES,
  PEER_REQUESTS,
  PEER_WELCOME,
  PeerProtocolError,
} from '../../codec/peer/frame.ts';
import type { Hello, PeerIdentity, Refusal } from '../../codec/peer/handshake.ts';
import {
  PEER_VERSION,
  PURPOSE_SNAPSHOT,
  readHello,
  REFUSED_FOR_GOOD,
  writeRefusal,
  writeWelcome,
} from '../../codec/peer/handshake.ts';
import { readBeat } from '../../codec/peer/beats.ts';
import { readRaftMessage } from '../../codec/peer/raft-messages.ts';
import { PayloadReader } from '../../codec/peer/varint.ts';
import { limits } from '../../core/limits.ts';
import type { FlushQueue } from '../flush-queue.ts';
import { FrameSocket } from './frame-socket.ts';
import type { PeerCounters, PeerMeshOptions, PeerOutput } from './types.ts';

export interface InboundOwner {
  readonly options: PeerMeshOptions;
  readonly counters: PeerCounters;
  readonly flushQueue: FlushQueue;
  /** Why the dialler is refused; null: it is welcome. */
  refusal(hello: Hello): Refusal | null;
  /** The handshake is done. Ends an older connection of the same worker. */
  accepted(inbound: PeerInbound): void;
  closed(inbound: PeerInbound, reason: string, isProtocolError: boolean): void;
}

export class PeerInbound {
  readonly #owner: InboundOwner;
  readonly frames: FrameSocket;
  /** Who dialled; null before the handshake. */
  dialler: PeerIdentity | null = null;
  /** Set for a snapshot connection: it gets all frames after the handshake. */
  onSnapshotFrame: ((kind: number, source: Buffer, start: number, end: number) => void) | null = null;
  onClosed: ((reason: string) => void) | null = null;
  /** Some of the replies have left. */
  onSent: (() => void) | null = null;
  hello: Hello | null = null;
  readonly #reader = new PayloadReader(Buffer.alloc(0), 0, 0);
  #isQueued = false;
  /** A PING was answered since the last tick. */
  #hasAnswered = false;
  /** Bytes came before the last tick, and no PING among them. */
  #isPongDue = false;

  constructor(owner: InboundOwner, socket: Socket) {
    this.#owner = owner;
    this.frames = new FrameSocket(socket, owner.counters, {
      onFrame: (kind, source, start, end) => this.#onFrame(kind, source, start, end),
      onWritable: () => this.wake(),
      onClose: (reason, isProtocolError) => {
        this.onClosed?.(reason);
        owner.closed(this, reason, isProtocolError);
      },
    });
  }

  /** False once the asker is gone: replies may be dropped. */
  get open(): boolean {
    return !this.frames.closed;
  }

  /** Whether the asker leaves so much unread that its commands must wait. */
  get isFull(): boolean {
    return this.frames.unsentBytes > limits.peerRepliesBytesMax;
  }

  /** The frame of replies to append one of `bytes` to. It leaves at the end of the turn. */
  replies(bytes: number): PeerOutput {
    this.wake();
    const { frames } = this;
    // Also when a turn makes many: no frame grows beyond what the other side takes.
    if (frames.frameBytes > 0 && frames.frameBytes + bytes > limits.peerFrameBytesSoft) frames.end();
    return frames.begin(PEER_REPLIES);
  }

  /** Asks for flush() at the end of the turn. */
  wake(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#owner.flushQueue.add(this);
  }

  flush(): void {
    this.#isQueued = false;
    this.frames.send();
    this.onSent?.();
  }

  tick(silentTicksMax: number): void {
    const { frames } = this;
    if (++frames.silentTicks > silentTicksMax) {
      frames.close('nothing was heard of it for too long');
    } else if (this.#isPongDue) {
      // Says that bytes arrive, also while those of one long frame do.
      if (!frames.writing) frames.signal(PEER_PONG);
      frames.send();
    }
    // Before the welcome a dialler takes nothing else, however slowly its greeting comes.
    this.#isPongDue = this.hello !== null && frames.silentTicks <= 1 && !this.#hasAnswered;
    this.#hasAnswered = false;
  }

  /** At once: how long it takes is measured at the other end. */
  #answerPing(): void {
    this.#hasAnswered = true;
    this.#isPongDue = false;
    this.frames.signal(PEER_PONG);
    this.wake();
  }

  #onFrame(kind: number, source: Buffer, start: number, end: number): void {
    if (this.hello === null) this.#greet(kind, source, start, end);
    else if (this.onSnapshotFrame !== null) this.onSnapshotFrame(kind, source, start, end);
    else if (kind === PEER_RAFT) this.#onRaft(source, start, end);
    else if (kind === PEER_BEATS) this.#onBeats(source, start, end);
    else if (kind === PEER_REQUESTS) this.#owner.options.onRequests(this, source, start, end);
    else if (kind === PEER_PING) this.#answerPing();
    else throw new PeerProtocolError(`a frame of kind ${kind} does not belong here`);
  }

  #greet(kind: number, source: Buffer, start: number, end: number): void {
    if (kind !== PEER_HELLO) throw new PeerProtocolError(`a connection begins with a frame of kind ${kind}`);
    const hello = readHello(source, start, end);
    const { frames } = this;
    const refusal: Refusal | null =
      hello.versionMin > PEER_VERSION || hello.versionMax < PEER_VERSION
        ? { code: REFUSED_FOR_GOOD, reason: versionText(hello) }
        : this.#owner.refusal(hello);
    if (refusal !== null) {
      writeRefusal(frames.begin(PEER_REFUSED), refusal);
      frames.finish(`refused: ${refusal.reason}`);
      return;
    }
    this.hello = hello;
    this.dialler = hello.dialler;
    writeWelcome(frames.begin(PEER_WELCOME), { version: PEER_VERSION, listener: this.#owner.options.self });
    frames.payloadBytesMax =
      hello.purpose === PURPOSE_SNAPSHOT ? limits.peerFrameBytesSoft * 2 : limits.peerFrameBytesMax;
    this.#owner.accepted(this);
    frames.send();
  }

  #read(source: Buffer, start: number, end: number): PayloadReader {
    const reader = this.#reader;
    reader.source = source;
    reader.at = start;
    reader.end = end;
    return reader;
  }

  #onBeats(source: Buffer, start: number, end: number): void {
    const { options } = this.#owner;
    const { nodeId, workerIndex } = this.dialler as PeerIdentity;
    const reader = this.#read(source, start, end);
    while (!reader.done) options.onBeat(nodeId, workerIndex, readBeat(reader, nodeId, options.self.nodeId));
  }

  #onRaft(source: Buffer, start: number, end: number): void {
    const { options, counters } = this.#owner;
    const reader = this.#read(source, start, end);
    const fromNode = (this.dialler as PeerIdentity).nodeId;
    while (!reader.done) {
      counters.messagesIn++;
      readRaftMessage(reader, fromNode, options.self.nodeId, options.onMessage);
    }
  }
}

function versionText({ versionMin, versionMax }: Hello): string {
  const theirs = versionMin === versionMax ? `${versionMin}` : `${versionMin} to ${versionMax}`;
  return `this node speaks version ${PEER_VERSION} of the peer protocol and was asked for ${theirs}; run the same release on both, or one that speaks both`;
}
