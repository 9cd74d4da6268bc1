/**
 * Commands between this worker and those of other nodes, both ways, over the worker's peer mesh.
 *
 *     remote(member).request() ─▶ link ─▶ … ─▶ the other node's onRequests ─▶ its execute ─▶ its range
 *                    target ◀── REPLIES ◀── …                       PeerAsker ◀── reply, or notLeader
 *
 * While a worker of another node leaves many replies unread, its commands are held and not run: so of its replies there are
 * in memory, but for those of one turn, at most peerRepliesBytesMax, and of its commands what it may have unanswered. They
 * are read all the same, because Raft's messages come by the same connection; and the asker always reads, whatever its
 * clients do, so those that are held are run in the end.
 */
import type { ByteWriter } from '../../codec/byte-writer.ts';
import { createByteWriter } from '../../codec/byte-writer.ts';
import { packMessage } from '../../codec/native/messages.ts';
import { createReplyWriter } from '../../codec/reply-writer.ts';
import type { MemberId, NodeId } from '../../core/brands.ts';
import { createArgs } from '../../core/kv/args.ts';
import type { RangeExplanation } from '../../core/kv/explanation.ts';
import type { ReplyProtocol, ReplySink, ReplyTarget } from '../../core/kv/reply.ts';
import { replyError } from '../../core/kv/reply.ts';
import { limits } from '../../core/limits.ts';
import type { PeerInbound } from '../../net/peer/inbound.ts';
import type { PeerLink } from '../../net/peer/link.ts';
import { PeerMesh } from '../../net/peer/mesh.ts';
import type { PeerMeshOptions } from '../../net/peer/types.ts';
import type { RequestFrame } from './forward-frame.ts';
import {
  FRAME_EXPLANATION,
  FRAME_HEADER_BYTES,
  FRAME_REPLY,
  askerIndex,
  createAskers,
  readRequestFrame,
  writeReplyHeader,
} from './forward-frame.ts';
import { checkRequestFrame, peerFrameEnd, writeNotLeader } from './peer-frame.ts';
import type { PeerRetry } from './peer-remote.ts';
import { PeerRemote } from './peer-remote.ts';

export interface PeerGatewayOptions {
  readonly mesh: Omit<PeerMeshOptions, 'onRequests'>;
  /**
   * Runs a command of another node on a range of this worker. `frame` is valid during the call. It is never handed on to
   * a third node: whoever does not lead answers target.notLeader().
   */
  readonly execute: (frame: RequestFrame, target: PeerAsker) => void;
  /** A command that was not done where it was sent: send it again, let it wait, or answer it. */
  readonly retry: (request: PeerRetry) => void;
  /** A worker of another node can be reached: what waits for it goes before what is given next. */
  readonly reached: () => void;
}

/** Where replies to another node go. */
export interface PeerAsker extends ReplyTarget {
  /** The range is not led here; nothing was done. `leader`: who is believed to lead, 0 = not known. */
  notLeader(slot: number, leader: MemberId | 0): void;
}

/** A worker of another node that asks. */
interface Asker {
  /** Stand for its connections, by askerIndex(). */
  readonly targets: readonly PeerTarget[];
  /** Commands that are not to be run yet, in order. */
  readonly held: Buffer[];
}

const TOO_LARGE = 'ERR the reply is too large to be sent from one node to another; ask for less';

export class PeerGateway {
  readonly mesh: PeerMesh;
  readonly #options: PeerGatewayOptions;
  readonly #remotes = new Map<PeerLink, PeerRemote>();
  readonly #askers = new WeakMap<PeerInbound, Asker>();
  readonly #frame: RequestFrame = {
    protocol: 2,
    slot: 0,
    op: 0,
    behindWrites: false,
    requestId: null,
    scope: null,
    args: createArgs(),
  };

  constructor(options: PeerGatewayOptions) {
    this.#options = options;
    this.mesh = new PeerMesh({
      ...options.mesh,
      onRequests: (inbound, source, start, end) => this.#onRequests(inbound, source, start, end),
    });
  }

  /** The way to the worker that a member lives on. */
  remote(member: MemberId): PeerRemote {
    return this.#remoteOf(this.mesh.linkTo(member));
  }

  /** Whether a connection to a worker of the node was tried and is not there. */
  isLost(nodeId: NodeId): boolean {
    return this.mesh.status().some((peer) => peer.nodeId === nodeId && peer.problem !== null);
  }

  /** Sends what the turn has made. */
  flush(): void {
    this.mesh.flush();
  }

  /** Commands handed to other nodes and not answered. */
  get inFlight(): number {
    let sum = 0;
    for (const remote of this.#remotes.values()) sum += remote.inFlight;
    return sum;
  }

  /** A node was removed: ends the links to it; its commands are retried. */
  forget(nodeId: NodeId, reason: string): void {
    this.mesh.forget(nodeId, reason);
  }

  close(): void {
    this.mesh.close();
  }

  #remoteOf(link: PeerLink): PeerRemote {
    const known = this.#remotes.get(link);
    if (known !== undefined) return known;
    const remote = new PeerRemote(link, this.#options.retry, this.#options.reached);
    this.#remotes.set(link, remote);
    return remote;
  }

  #onRequests(inbound: PeerInbound, source: Buffer, start: number, end: number): void {
    const asker = this.#askerOf(inbound);
    for (let at = start; at < end;) {
      const next = peerFrameEnd(source, at, end);
      checkRequestFrame(source, at, next);
      if (asker.held.length > 0 || inbound.isFull) asker.held.push(Buffer.from(source.subarray(at, next)));
      else this.#execute(asker, source, at, next);
      at = next;
    }
    // A worker whose own clients say nothing would sit on them.
    this.#options.mesh.schedule();
  }

  #execute({ targets }: Asker, source: Buffer, start: number, end: number): void {
    const frame = this.#frame;
    readRequestFrame(source, start, end, frame);
    this.#options.execute(frame, targets[askerIndex(frame.protocol, frame.behindWrites)] as PeerTarget);
  }

  /** The asker has read some. */
  #runHeld(inbound: PeerInbound, asker: Asker): void {
    const { held } = asker;
    let done = 0;
    while (done < held.length && !inbound.isFull) {
      const frame = held[done++] as Buffer;
      this.#execute(asker, frame, 0, frame.length);
    }
    if (done === 0) return;
    held.splice(0, done);
    this.#options.mesh.schedule();
  }

  #askerOf(inbound: PeerInbound): Asker {
    const known = this.#askers.get(inbound);
    if (known !== undefined) return known;
    const targets = createAskers((protocol, writes) => new PeerTarget(inbound, protocol, writes));
    const asker: Asker = { targets, held: [] };
    this.#askers.set(inbound, asker);
    inbound.onSent = () => this.#runHeld(inbound, asker);
    return asker;
  }
}

/**
 * Stands for the connections of one worker of another node that speak one protocol: encodes replies and sends them there.
 * Whether it has writes under way never changes, because a command may wait here for long, and others come meanwhile.
 */
class PeerTarget implements PeerAsker {
  readonly #inbound: PeerInbound;
  readonly #out: ByteWriter = createByteWriter();
  readonly #sink: ReplySink;
  readonly protocol: ReplyProtocol;
  readonly writesInFlight: number;

  constructor(inbound: PeerInbound, protocol: ReplyProtocol, writesInFlight: number) {
    this.#inbound = inbound;
    this.protocol = protocol;
    this.writesInFlight = writesInFlight;
    this.#sink = createReplyWriter(protocol, this.#out);
  }

  get open(): boolean {
    return this.#inbound.open;
  }

  begin(): ReplySink {
    this.#out.reset();
    return this.#sink;
  }

  finish(slot: number): void {
    this.raw(slot, this.#out.buffer, 0, this.#out.length);
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    if (!this.#inbound.open) return;
    if (FRAME_HEADER_BYTES + end - start > limits.peerFrameBytesMax) replyError(this, slot, TOO_LARGE);
    else this.#send(FRAME_REPLY, slot, source, start, end);
  }

  explain(slot: number, explanation: RangeExplanation): void {
    const body = packMessage(explanation);
    if (this.#inbound.open) this.#send(FRAME_EXPLANATION, slot, body, 0, body.length);
  }

  notLeader(slot: number, leader: MemberId | 0): void {
    if (this.#inbound.open) writeNotLeader(this.#inbound.replies(0), slot, leader);
  }

  #send(
    kind: typeof FRAME_REPLY | typeof FRAME_EXPLANATION,
    slot: number,
    source: Buffer,
    start: number,
    end: number,
  ): void {
    const length = FRAME_HEADER_BYTES + end - start;
    const out = this.#inbound.replies(length);
    out.reserve(length);
    writeReplyHeader(out.buffer, out.length, length, slot, kind);
    source.copy(out.buffer, out.length + FRAME_HEADER_BYTES, start, end);
    out.length += length;
  }
}
