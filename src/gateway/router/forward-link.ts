/**
 * Commands to and replies from one other worker: this worker's end of a pair of rings.
 *
 *     this worker                                        the other one
 *       request() ──▶ ring out ─────────────────────────▶ drain() ─▶ its router ─▶ its range
 *       target    ◀── drain() ◀───────────── ring in ◀── reply
 *
 * Everything that a turn of the loop sends is published with one doorbell (flush), or, between a caller's thread and the
 * workers, in pieces of `publishEvery` frames, so that the other end works on them while this one makes more. What finds the
 * ring full, or too much on its way through the port, waits in a backlog, in order:
 *
 *     their requests ─▶ run ─▶ replies ─▶ backlog ─▶ ring, port ─▶ their drain() ─▶ their connections
 *             │                              │
 *             └──▶ held  ◀── too much? ──────┘          held requests are run, in order, when the backlog is shorter
 *
 * Invariant: of replies to one other worker there are in memory, but for those of one turn, at most the ring, the port's
 * share and the backlog's; of requests, what that worker may have unanswered. drain() always takes all there is, replies to
 * its connections and requests to be held, so two workers that are full towards each other free each other, and a
 * client that does not read stops nobody else.
 */
import type { MessagePort } from 'node:worker_threads';
import { receiveMessageOnPort } from 'node:worker_threads';
import { assert } from '../../core/assert.ts';
import type { Argument } from '../../codec/native/frame.ts';
import { requestBytesMax } from '../../codec/native/frame.ts';
import type { Args } from '../../core/kv/args.ts';
import { createArgs } from '../../core/kv/args.ts';
import type { RequestId } from '../../core/kv/batch.ts';
import type { RangeExplanation } from '../../core/kv/explanation.ts';
import type { ReplyProtocol, ReplySink, ReplyTarget } from '../../core/kv/reply.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import { limits } from '../../core/limits.ts';
import type { ByteWriter } from '../../codec/byte-writer.ts';
import { createByteWriter } from '../../codec/byte-writer.ts';
import { packMessage, unpackMessage } from '../../codec/native/messages.ts';
import { createReplyWriter } from '../../codec/reply-writer.ts';
import type { Doorbell, RingConsumer, RingProducer } from '../../sharedarraybuffer-ring/index.ts';
import type { RequestFrame } from './forward-frame.ts';
import type { RangeScope } from '../../core/range.ts';
import {
  FRAME_EXPLANATION,
  FRAME_HEADER_BYTES,
  FRAME_NOTE,
  FRAME_REPLY,
  FRAME_REQUEST,
  askerIndex,
  createAskers,
  readRequestFrame,
  requestFrameBytes,
  writeNote,
  writeReplyHeader,
  writeRequestFrame,
  writeValuesFrame,
} from './forward-frame.ts';

export interface ForwardLinkOptions {
  readonly outgoing: RingProducer;
  readonly incoming: RingConsumer;
  /** Frames longer than limits.forwardInlineBytesMax. */
  readonly port: MessagePort;
  /** The other worker's doorbell: rung when it waits for room in its own outgoing ring. */
  readonly peerDoorbell: Doorbell;
  /**
   * Words shared by both ends: [mine] is set while this end waits for room; [2 + mine] counts the bytes that it has taken
   * out of the port, modulo 2^32.
   */
  readonly waiting: Int32Array<SharedArrayBuffer>;
  readonly mine: 0 | 1;
  /** Frames that may lie in the ring unseen until the turn ends. */
  readonly publishEvery: number;
  /** Runs a request of the other worker here. `frame` is valid during the call. */
  readonly execute: (frame: RequestFrame, target: ReplyTarget) => void;
}

export class ForwardLink {
  readonly #options: ForwardLinkOptions;
  /** Stand for the other worker's connections: one per protocol for commands behind writes, and one for the others. */
  readonly #askers: readonly ForwardTarget[];
  readonly #frame: RequestFrame = {
    protocol: 2,
    slot: 0,
    op: 0,
    behindWrites: false,
    requestId: null,
    scope: null,
    args: createArgs(),
  };
  /** Whoever waits, by the slot number of our requests; free numbers are kept in #free. */
  readonly #targets: (ReplyTarget | null)[] = [];
  readonly #targetSlots: number[] = [];
  readonly #requestBytes: number[] = [];
  readonly #free: number[] = [];
  /** Frames that found no room. */
  readonly #backlog: Buffer[] = [];
  #backlogBytes = 0;
  /** Bytes sent through the port since the beginning, modulo 2^32. */
  #portBytes = 0;
  /** Requests of the other worker that are not to be run yet. */
  readonly #held: Buffer[] = [];
  /** Bytes of requests sent and not yet answered. */
  #inFlightBytes = 0;
  #unpublishedCount = 0;
  /** Requests sent and not yet answered. */
  inFlight = 0;
  /** Frames that found no room in the ring. */
  fullCount = 0;

  constructor(options: ForwardLinkOptions) {
    this.#options = options;
    this.#askers = createAskers((protocol, writes) => new ForwardTarget(this, protocol, writes));
  }

  /** Whether requests are refused for now: too much waits for the other worker already. */
  get overloaded(): boolean {
    return this.#inFlightBytes > limits.forwardInFlightBytesMax;
  }

  /** Sends a command to the other worker; the reply will arrive at target's `slot`. */
  request(
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope | null,
  ): void {
    const most = requestFrameBytes(args);
    const number = this.#await(target, slot, most);
    const behindWrites = target.writesInFlight > 0;
    const { protocol } = target;
    const at = this.#reserve(most);
    if (at >= 0) {
      const { outgoing } = this.#options;
      outgoing.commit(
        writeRequestFrame(outgoing.buffer, at, protocol, number, spec.op, behindWrites, args, requestId, scope),
      );
      this.#committed();
      return;
    }
    const frame = Buffer.allocUnsafeSlow(most);
    const length = writeRequestFrame(frame, 0, protocol, number, spec.op, behindWrites, args, requestId, scope);
    this.#send(frame.subarray(0, length));
  }

  /** As request(), with arguments that are the caller's own values. */
  requestValues(op: number, values: readonly Argument[], target: ReplyTarget, slot: number): void {
    const most = requestBytesMax(values);
    const number = this.#await(target, slot, most);
    const behindWrites = target.writesInFlight > 0;
    const { protocol } = target;
    const at = this.#reserve(most);
    if (at >= 0) {
      const { outgoing } = this.#options;
      outgoing.commit(writeValuesFrame(outgoing.buffer, at, protocol, number, op, behindWrites, values));
      this.#committed();
      return;
    }
    const frame = Buffer.allocUnsafeSlow(most);
    const length = writeValuesFrame(frame, 0, protocol, number, op, behindWrites, values);
    this.#send(frame.subarray(0, length));
  }

  /** Sends the reply source[start, end) for the other worker's `slot`, or what explains the reply that comes next. */
  reply(
    slot: number,
    source: Buffer,
    start: number,
    end: number,
    kind: typeof FRAME_REPLY | typeof FRAME_EXPLANATION = FRAME_REPLY,
  ): void {
    const length = FRAME_HEADER_BYTES + end - start;
    const at = this.#reserve(length);
    if (at >= 0) {
      const { outgoing } = this.#options;
      writeReplyHeader(outgoing.buffer, at, length, slot, kind);
      source.copy(outgoing.buffer, at + FRAME_HEADER_BYTES, start, end);
      outgoing.commit(length);
      this.#committed();
      return;
    }
    const frame = Buffer.allocUnsafeSlow(length);
    writeReplyHeader(frame, 0, length, slot, kind);
    source.copy(frame, FRAME_HEADER_BYTES, start, end);
    this.#send(frame);
  }

  /** Requests of the other worker that are not run yet. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** Whether drain() would run requests that were held. */
  get canGoOn(): boolean {
    return this.#held.length > 0 && !this.#isFull;
  }

  /** Share of the outgoing ring that is in use. */
  get fill(): number {
    const { bytesFree, buffer } = this.#options.outgoing;
    return 1 - bytesFree / buffer.length;
  }

  /** Anything to drain? For the doorbell's re-check. */
  get readable(): boolean {
    return this.#options.incoming.readable;
  }

  /** Handles everything that has arrived. */
  drain(): void {
    const { incoming, waiting, mine, peerDoorbell } = this.#options;
    let any = false;
    if (this.#backlog.length > 0) this.#pump();
    if (this.#held.length > 0) this.#runHeld();
    while (incoming.poll()) {
      any = true;
      const { buffer, start, end } = incoming;
      let at = start;
      while (at < end) {
        const length = buffer.readUInt32LE(at);
        this.#handle(buffer, at, at + length);
        at += length;
      }
      incoming.consume(end - start);
    }
    if (!any) return;
    incoming.release();
    const theirs = 1 - mine;
    if (Atomics.load(waiting, theirs) === 1 && Atomics.exchange(waiting, theirs, 0) === 1) peerDoorbell.ring();
  }

  /** Publishes what this turn sent, with at most one doorbell. */
  flush(): void {
    if (this.#backlog.length > 0) this.#pump();
    if (this.#unpublishedCount === 0) return;
    this.#unpublishedCount = 0;
    this.#options.outgoing.publish();
  }

  /** A frame was written in place. */
  #committed(): void {
    if (++this.#unpublishedCount >= this.#options.publishEvery) this.flush();
  }

  #handle(buffer: Buffer, start: number, end: number): void {
    const kind = buffer[start + 4];
    if (kind === FRAME_REPLY) {
      this.#handleReply(buffer.readUInt32LE(start + 8), buffer, start + FRAME_HEADER_BYTES, end);
    } else if (kind === FRAME_REQUEST) {
      if (this.#held.length > 0 || this.#isFull) this.#held.push(Buffer.from(buffer.subarray(start, end)));
      else this.#execute(buffer, start, end);
    } else if (kind === FRAME_EXPLANATION) {
      this.#handleExplanation(buffer.readUInt32LE(start + 8), buffer, start + FRAME_HEADER_BYTES, end);
    } else {
      assert(kind === FRAME_NOTE, 'forward link: unknown frame');
      const received = receiveMessageOnPort(this.#options.port);
      assert(received !== undefined, 'forward link: a note without its message');
      const bytes = received.message as Uint8Array;
      const { waiting, mine } = this.#options;
      Atomics.add(waiting, 2 + mine, bytes.byteLength);
      this.#handle(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.byteLength);
    }
  }

  #execute(buffer: Buffer, start: number, end: number): void {
    readRequestFrame(buffer, start, end, this.#frame);
    const asker = this.#askers[askerIndex(this.#frame.protocol, this.#frame.behindWrites)];
    assert(asker !== undefined, 'forward link: unknown protocol');
    this.#options.execute(this.#frame, asker);
  }

  /** Whether the other worker has so much to take that nothing more is done for it. */
  get #isFull(): boolean {
    return this.#backlogBytes > limits.forwardBacklogBytesMax;
  }

  #runHeld(): void {
    let done = 0;
    while (done < this.#held.length && !this.#isFull) {
      const frame = this.#held[done++] as Buffer;
      this.#execute(frame, 0, frame.length);
    }
    this.#held.splice(0, done);
  }

  /** The number under which the reply will come. */
  #await(target: ReplyTarget, slot: number, bytes: number): number {
    const number = this.#free.pop() ?? this.#targets.length;
    this.#targets[number] = target;
    this.#targetSlots[number] = slot;
    this.#requestBytes[number] = bytes;
    this.#inFlightBytes += bytes;
    this.inFlight++;
    return number;
  }

  #handleExplanation(number: number, buffer: Buffer, start: number, end: number): void {
    const explanation = unpackMessage(buffer, start, end) as RangeExplanation;
    this.#targets[number]?.explain?.(this.#targetSlots[number] as number, explanation);
  }

  #handleReply(number: number, buffer: Buffer, start: number, end: number): void {
    const target = this.#targets[number];
    assert(target !== null && target !== undefined, 'forward link: reply to nobody');
    this.#targets[number] = null;
    this.#free.push(number);
    this.inFlight--;
    this.#inFlightBytes -= this.#requestBytes[number] as number;
    target.raw(this.#targetSlots[number] as number, buffer, start, end);
  }

  /** Room in the ring for a frame sent in place, or -1: it is too long, others wait before it, or there is none. */
  #reserve(bytes: number): number {
    if (bytes > limits.forwardInlineBytesMax || this.#backlog.length > 0) return -1;
    return this.#options.outgoing.reserve(bytes);
  }

  #send(frame: Buffer): void {
    if (frame.length <= limits.forwardInlineBytesMax) this.fullCount++;
    this.#backlog.push(frame);
    this.#backlogBytes += frame.length;
    this.#pump();
  }

  #pump(): void {
    let sent = 0;
    while (sent < this.#backlog.length && this.#sendFirst(this.#backlog[sent] as Buffer)) sent++;
    this.#backlog.splice(0, sent);
  }

  /** Sends the oldest frame of the backlog, if there is room. */
  #sendFirst(frame: Buffer): boolean {
    const { outgoing, port, waiting, mine } = this.#options;
    const isLong = frame.length > limits.forwardInlineBytesMax;
    const bytes = isLong ? FRAME_HEADER_BYTES : frame.length;
    let at = this.#roomFor(bytes, isLong);
    if (at < 0) {
      // Say that we wait, then look once more: the other end may have taken some in between, without seeing the word.
      outgoing.publish();
      Atomics.store(waiting, mine, 1);
      at = this.#roomFor(bytes, isLong);
      if (at < 0) return false;
      Atomics.store(waiting, mine, 0);
    }
    const { length } = frame;
    if (isLong) {
      // The message is in the other end's queue before its note can be seen.
      port.postMessage(frame, [frame.buffer as ArrayBuffer]);
      this.#portBytes = (this.#portBytes + length) >>> 0;
      writeNote(outgoing.buffer, at);
    } else {
      frame.copy(outgoing.buffer, at);
    }
    outgoing.commit(bytes);
    this.#backlogBytes -= length;
    this.#unpublishedCount++;
    return true;
  }

  /** A place in the ring, or -1. */
  #roomFor(bytes: number, isLong: boolean): number {
    const { outgoing, waiting, mine } = this.#options;
    const inPort = (this.#portBytes - Atomics.load(waiting, 3 - mine)) >>> 0;
    return isLong && inPort > limits.forwardPortBytesMax ? -1 : outgoing.reserve(bytes);
  }
}

/**
 * Stands for the connections of the other worker that speak one protocol: encodes replies here and sends them over. Whether it
 * has writes under way never changes, because a command may wait here for long, and others come meanwhile.
 */
class ForwardTarget implements ReplyTarget {
  readonly #link: ForwardLink;
  readonly #out: ByteWriter = createByteWriter();
  readonly #sink: ReplySink;
  readonly protocol: ReplyProtocol;
  readonly writesInFlight: number;
  readonly open = true;

  constructor(link: ForwardLink, protocol: ReplyProtocol, writesInFlight: number) {
    this.#link = link;
    this.protocol = protocol;
    this.writesInFlight = writesInFlight;
    this.#sink = createReplyWriter(protocol, this.#out);
  }

  begin(): ReplySink {
    this.#out.reset();
    return this.#sink;
  }

  explain(slot: number, explanation: RangeExplanation): void {
    const body = packMessage(explanation);
    this.#link.reply(slot, body, 0, body.length, FRAME_EXPLANATION);
  }

  finish(slot: number): void {
    this.#link.reply(slot, this.#out.buffer, 0, this.#out.length);
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    this.#link.reply(slot, source, start, end);
  }
}
