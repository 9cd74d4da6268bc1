/**
 * Commands to and replies from one other worker: this worker's end of a pair of rings.
 *
 *     this worker                                        the other one
 *       request() ──▶ ring out ─────────────────────────▶ drain() ─▶ its router ─▶ its range
 *       target    ◀── drain() ◀───────────── ring in ◀── reply
 *
 * Everything that a turn of the loop sends is published with one doorbell (flush), or, between a caller's thread and the
 * workers, in pieces of `publishEvery` frames, so that the other end works on them while this one makes more. When the ring is full, frames wait in
 * a queue in memory, in order; requests are refused once that queue is long, replies never are: they are bounded by the
 * requests that were let in.
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
  /** Two words shared by both ends: [mine] is set while this end waits for room in its outgoing ring. */
  readonly waiting: Int32Array<SharedArrayBuffer>;
  readonly mine: 0 | 1;
  /** Frames that may lie in the ring unseen until the turn ends. */
  readonly publishEvery: number;
  /** Runs a request of the other worker here. `frame` is valid during the call. */
  readonly execute: (frame: RequestFrame, target: ReplyTarget) => void;
}

export class ForwardLink {
  readonly #options: ForwardLinkOptions;
  /** Stand for the other worker's connections, one per protocol. */
  readonly #askers: ReadonlyMap<ReplyProtocol, ForwardTarget>;
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
  readonly #free: number[] = [];
  /** Frames that found the ring full. */
  readonly #backlog: Buffer[] = [];
  #backlogBytes = 0;
  #unpublishedCount = 0;
  /** Requests sent and not yet answered. */
  inFlight = 0;

  constructor(options: ForwardLinkOptions) {
    this.#options = options;
    this.#askers = new Map(([2, 3, 4] as const).map((protocol) => [protocol, new ForwardTarget(this, protocol)]));
  }

  /** Whether requests are refused for now: too much waits for the other worker already. */
  get overloaded(): boolean {
    return this.#backlogBytes > limits.forwardBacklogBytesMax;
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
    const number = this.#await(target, slot);
    const behindWrites = target.writesInFlight > 0;
    const { protocol } = target;
    const most = requestFrameBytes(args);
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
    const number = this.#await(target, slot);
    const behindWrites = target.writesInFlight > 0;
    const { protocol } = target;
    const most = requestBytesMax(values);
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

  /** Anything to drain? For the doorbell's re-check. */
  get readable(): boolean {
    return this.#options.incoming.readable;
  }

  /** Handles everything that has arrived. */
  drain(): void {
    const { incoming, waiting, mine, peerDoorbell } = this.#options;
    let any = false;
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
      readRequestFrame(buffer, start, end, this.#frame);
      const asker = this.#askers.get(this.#frame.protocol);
      assert(asker !== undefined, 'forward link: unknown protocol');
      asker.writesInFlight = this.#frame.behindWrites ? 1 : 0;
      this.#options.execute(this.#frame, asker);
    } else if (kind === FRAME_EXPLANATION) {
      this.#handleExplanation(buffer.readUInt32LE(start + 8), buffer, start + FRAME_HEADER_BYTES, end);
    } else {
      assert(kind === FRAME_NOTE, 'forward link: unknown frame');
      const received = receiveMessageOnPort(this.#options.port);
      assert(received !== undefined, 'forward link: a note without its message');
      const bytes = received.message as Uint8Array;
      this.#handle(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.byteLength);
    }
  }

  /** The number under which the reply will come. */
  #await(target: ReplyTarget, slot: number): number {
    const number = this.#free.pop() ?? this.#targets.length;
    this.#targets[number] = target;
    this.#targetSlots[number] = slot;
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
    target.raw(this.#targetSlots[number] as number, buffer, start, end);
  }

  /** Room in the ring for a frame sent in place, or -1: it is too long, others wait before it, or there is none. */
  #reserve(bytes: number): number {
    if (bytes > limits.forwardInlineBytesMax || this.#backlog.length > 0) return -1;
    return this.#options.outgoing.reserve(bytes);
  }

  #send(frame: Buffer): void {
    this.#backlog.push(frame);
    this.#backlogBytes += frame.length;
    this.#pump();
  }

  #pump(): void {
    const { outgoing, port, waiting, mine } = this.#options;
    let sent = 0;
    while (sent < this.#backlog.length) {
      const frame = this.#backlog[sent] as Buffer;
      const long = frame.length > limits.forwardInlineBytesMax;
      const bytes = long ? FRAME_HEADER_BYTES : frame.length;
      let at = outgoing.reserve(bytes);
      if (at < 0) {
        // Say that we wait, then look once more: the other end may have released in between, without seeing the word.
        outgoing.publish();
        Atomics.store(waiting, mine, 1);
        at = outgoing.reserve(bytes);
        if (at < 0) break;
        Atomics.store(waiting, mine, 0);
      }
      if (long) {
        // The message is in the other end's queue before its note can be seen.
        const bytesOfFrame = new Uint8Array(frame);
        port.postMessage(bytesOfFrame, [bytesOfFrame.buffer]);
        writeNote(outgoing.buffer, at);
      } else {
        frame.copy(outgoing.buffer, at);
      }
      outgoing.commit(bytes);
      this.#backlogBytes -= frame.length;
      this.#unpublishedCount++;
      sent++;
    }
    this.#backlog.splice(0, sent);
  }
}

/** Stands for the connections of the other worker that speak one protocol: encodes replies here and sends them over. */
class ForwardTarget implements ReplyTarget {
  readonly #link: ForwardLink;
  readonly #out: ByteWriter = createByteWriter();
  readonly #sink: ReplySink;
  readonly protocol: ReplyProtocol;
  writesInFlight = 0;
  readonly open = true;

  constructor(link: ForwardLink, protocol: ReplyProtocol) {
    this.#link = link;
    this.protocol = protocol;
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
