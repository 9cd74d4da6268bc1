/**
 * Commands to one worker of another node, over the link that this worker dialled.
 *
 *     request() ──▶ waiting ── the connection takes it ──▶ sent ──▶ reply, or "I do not lead" ─▶ retry
 *        │             └─ the connection breaks: retry       └─ it breaks: reads and identified writes: retry,
 *        └─ the last attempt to connect failed: retry           other writes: the result is unknown
 *
 * Each command is kept, encoded, until it is answered, so that it can be sent again, to somebody else; what is kept is
 * bounded. Retries are the router's: it knows who leads.
 */
import type { MemberId, NodeId } from '../../core/brands.ts';
import type { Args } from '../../core/kv/args.ts';
import { createArgs } from '../../core/kv/args.ts';
import type { RequestId } from '../../core/kv/batch.ts';
import type { ReplyTarget } from '../../core/kv/reply.ts';
import { replyError } from '../../core/kv/reply.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import type { SubmittedCommand } from '../../core/kv/submit.ts';
import { limits } from '../../core/limits.ts';
import type { RangeScope } from '../../core/range.ts';
import { PeerProtocolError } from '../../codec/peer/frame.ts';
import type { PeerLink } from '../../net/peer/link.ts';
import type { PeerOutput, PeerRequester } from '../../net/peer/types.ts';
import type { RequestFrame } from './forward-frame.ts';
import {
  FRAME_HAS_REQUEST_ID,
  FRAME_HEADER_BYTES,
  readRequestFrame,
  requestFrameBytes,
  writeRequestFrame,
} from './forward-frame.ts';
import { InDoubt } from './in-doubt.ts';
import { leaderHint, peerFrameEnd, readExplanation } from './peer-frame.ts';

/** A command that was not done there. Valid during the call: `args` point into bytes that are given back. */
export interface PeerRetry extends SubmittedCommand {
  readonly scope: RangeScope | null;
  /** When it was first tried, as request() was told. */
  readonly sinceMs: number;
  /** The node that was asked. */
  readonly nodeId: NodeId;
  /** Who leads, by the one that was asked; 0 = it does not know; null = nobody was reached. */
  readonly leader: MemberId | 0 | null;
  /** Why nobody was reached. */
  readonly problem: string | null;
}

interface Pending {
  readonly spec: CommandSpec;
  readonly target: ReplyTarget;
  readonly slot: number;
  readonly sinceMs: number;
  readonly frame: Buffer;
  /** Counts up from request to request. */
  readonly order: number;
  isSent: boolean;
}

const UNKNOWN_RESULT =
  'UNKNOWNRESULT the connection to the node that leads this range broke; the write may have happened';

export class PeerRemote implements PeerRequester {
  readonly link: PeerLink;
  readonly #retry: (request: PeerRetry) => void;
  readonly #reached: () => void;
  /** By the number of the request; free numbers are kept in #free. */
  readonly #pending: (Pending | null)[] = [];
  readonly #free: number[] = [];
  /** Numbers of requests that have not been handed to the connection, in order. */
  #unsent: number[] = [];
  #bytes = 0;
  #nextOrder = 0;
  /** Requests not yet answered. */
  inFlight = 0;

  /** `reached`: what came back because nobody was there can be sent again. */
  constructor(link: PeerLink, retry: (request: PeerRetry) => void, reached: () => void) {
    this.link = link;
    this.#retry = retry;
    this.#reached = reached;
    link.requester = this;
  }

  /** Whether commands are refused for now: too much is unanswered. */
  get overloaded(): boolean {
    return this.#bytes > limits.peerInFlightBytesMax;
  }

  /** Why this worker cannot be reached; null when it can, or nobody has tried. */
  get problem(): string | null {
    return this.link.problem;
  }

  /** Sends a command; its reply, or the error that its result is unknown, will arrive at target's `slot`, unless it is retried. */
  request(
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope | null,
    sinceMs = 0,
  ): void {
    const { state, problem } = this.link;
    // Nobody was there, and the range may have another leader before the next attempt to connect has ended.
    if (problem !== null && state !== 'open') {
      this.link.wake();
      const { nodeId } = this.link;
      this.#retry({ spec, args, target, slot, requestId, scope, sinceMs, nodeId, leader: null, problem });
      return;
    }
    const number = this.#free.pop() ?? this.#pending.length;
    const bytes = Buffer.allocUnsafe(requestFrameBytes(args));
    const behindWrites = target.writesInFlight > 0;
    const length = writeRequestFrame(bytes, 0, target.protocol, number, spec.op, behindWrites, args, requestId, scope);
    const frame = bytes.subarray(0, length);
    this.#pending[number] = { spec, target, slot, sinceMs, frame, order: this.#nextOrder++, isSent: false };
    this.#unsent.push(number);
    this.#bytes += length;
    this.inFlight++;
    this.link.wake();
  }

  get waiting(): boolean {
    return this.#unsent.length > 0;
  }

  write(out: PeerOutput, bytes: number): void {
    const start = out.length;
    let taken = 0;
    while (taken < this.#unsent.length && out.length - start < bytes) {
      const pending = this.#pending[this.#unsent[taken++] as number] as Pending;
      out.append(pending.frame, 0, pending.frame.length);
      pending.isSent = true;
    }
    if (taken === this.#unsent.length) this.#unsent.length = 0;
    else this.#unsent.splice(0, taken);
  }

  onReplies(source: Buffer, start: number, end: number): void {
    for (let at = start; at < end;) {
      const next = peerFrameEnd(source, at, end);
      const explanation = readExplanation(source, at, next);
      const leader = explanation === null ? leaderHint(source, at, next) : null;
      const number = source.readUInt32LE(at + 8);
      const pending = this.#pending[number];
      if (pending === null || pending === undefined || !pending.isSent) {
        throw new PeerProtocolError('a reply to a command that nobody sent');
      }
      if (explanation !== null) {
        pending.target.explain?.(pending.slot, explanation);
        at = next;
        continue;
      }
      this.#release(number, pending);
      if (leader === null) pending.target.raw(pending.slot, source, at + FRAME_HEADER_BYTES, next);
      else this.#again(pending, leader, null);
      at = next;
    }
  }

  onOpen(): void {
    this.#reached();
  }

  onBroken(reason: string): void {
    this.#unsent = [];
    const broken: Pending[] = [];
    for (const [number, pending] of this.#pending.entries()) {
      if (pending === null) continue;
      this.#release(number, pending);
      broken.push(pending);
    }
    // Numbers are used again in any order; commands of one connection go again in the order in which they came.
    broken.sort((a, b) => a.order - b.order);
    for (const pending of broken) {
      const { target, slot, spec, frame, isSent } = pending;
      if (!isSent || !spec.write) this.#again(pending, null, reason);
      // A write with an identity is applied once, however often it is sent.
      else if (hasIdentity(frame)) this.#again({ ...pending, target: new InDoubt(target) }, null, reason);
      else replyError(target, slot, UNKNOWN_RESULT);
    }
  }

  #release(number: number, { frame }: Pending): void {
    this.#pending[number] = null;
    this.#free.push(number);
    this.#bytes -= frame.length;
    this.inFlight--;
  }

  #again({ spec, target, slot, sinceMs, frame }: Pending, leader: MemberId | 0 | null, problem: string | null): void {
    const request: RequestFrame = {
      protocol: target.protocol,
      slot: 0,
      op: 0,
      behindWrites: false,
      requestId: null,
      scope: null,
      args: createArgs(),
    };
    readRequestFrame(frame, 0, frame.length, request);
    const { args, requestId, scope } = request;
    const { nodeId } = this.link;
    this.#retry({ spec, args, target, slot, requestId, scope, sinceMs, nodeId, leader, problem });
  }
}

function hasIdentity(frame: Buffer): boolean {
  return ((frame[6] as number) & FRAME_HAS_REQUEST_ID) !== 0;
}
