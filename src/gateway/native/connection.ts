/**
 * The sending side of a native connection: each reply is a frame, made where it is sent from, in whatever order replies
 * come; one write per turn of the loop.
 *
 *     slots    requestIds[3] = 81, requestIds[4] = free, requestIds[5] = 84 …      small numbers, used again and again
 *     #out     │ header │ value │ header │ value │ …  ─ flush ─▶ the socket
 *
 * Requests are no longer taken (onPause) while too many are unanswered, too much is unread, or the replies that are due
 * may be too much (net/due-replies.ts). So a client that reads gets everything, and one that does not costs a bounded
 * amount of memory.
 */
import type { Socket } from 'node:net';
import { ByteWriter } from '../../codec/byte-writer.ts';
import { errorCodeOf } from '../../codec/error-words.ts';
import {
  RESPONSE_HEADER_BYTES,
  STATUS_OK,
  STATUS_STORE_ERROR,
  errorTextStart,
  statusOfReply,
  writeResponseHeader,
} from '../../codec/native/frame.ts';
import { packExplanation, RESPONSE_EXPLAINED } from '../../codec/native/explanation.ts';
import { packMessage, packStoreError } from '../../codec/native/messages.ts';
import { NativeReplyWriter } from '../../codec/native/reply-writer.ts';
import type { SkerryError } from '../../core/errors.ts';
import type { RangeExplanation } from '../../core/kv/explanation.ts';
import type { ReplySink, ReplyTarget } from '../../core/kv/reply.ts';
import { discardReply } from '../../core/kv/reply.ts';
import { limits } from '../../core/limits.ts';
import type { ConnectionMeter } from '../../net/connection.ts';
import { DueReplies } from '../../net/due-replies.ts';
import { endGently } from '../../net/end-gently.ts';
import type { Flushable, FlushQueue } from '../../net/flush-queue.ts';
import { SocketWriter } from '../../net/socket-writer.ts';
import { ExplainedRequests } from './explained.ts';

export interface NativeConnectionOptions {
  readonly socket: Socket;
  readonly flushQueue: FlushQueue;
  /** Replies that the client has not taken, in bytes, above which it is cut off. */
  readonly outputBytesMax: number;
  /** No value in this node's memory is longer. */
  readonly largestValueBytes: () => number;
  /** Take no more requests for now; and: go on. */
  readonly onPause: () => void;
  readonly onResume: () => void;
  /** The client is cut off because it does not read. */
  readonly onOverflow: () => void;
  readonly meter?: ConnectionMeter;
  /** This one, among all workers of the cluster. */
  readonly worker: number;
}

/** Requests of one connection that may be unanswered. */
const IN_FLIGHT_MAX = 16_384;
/** Bytes of requests that may be unanswered. */
const IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024;
/** Replies that are due, as a share of what may be unread. */
const DUE_SHARE = 1 / 8;
/** The clock is read for one request in so many. */
const TIMED_ONE_IN = 8;
/** A buffer above this is not kept for the next replies. */
const BUFFER_BYTES_KEPT = 16 * 1024;

const EMPTY = Buffer.alloc(0);

export class NativeConnection implements ReplyTarget, Flushable {
  readonly protocol = 4;
  readonly #options: NativeConnectionOptions;
  readonly #socket: Socket;
  readonly #writer: SocketWriter;
  readonly #out = new ByteWriter(EMPTY);
  readonly #sink: ReplySink = new NativeReplyWriter(this.#out);
  /** Where the reply begins that is being written; -1: it is thrown away. */
  #replyStart = 0;
  /** Bytes that the socket still reads from the buffer of the last write; 0 = it has taken all. */
  #writingBytes = 0;

  /** By slot: whom the reply is for, and whether the request writes. */
  readonly #requestIds: number[] = [];
  readonly #isWrite: boolean[] = [];
  readonly #freeSlots: number[] = [];
  /** By slot: how long the request may wait for a leader. Most say nothing of it. */
  readonly #patienceMs = new Map<number, number>();
  #inFlight = 0;
  /** Bytes of requests since none was unanswered. */
  #inFlightBytes = 0;
  #writesInFlight = 0;
  readonly #due: DueReplies;
  /** Answered since the meter was told. */
  #answeredCount = 0;
  #takenCount = 0;
  #timedSlot = -1;
  #timedSinceMs = 0;

  readonly #explained: ExplainedRequests;

  #isQueued = false;
  #isPaused = false;
  #isClosing = false;
  #isEnded = false;
  #isCut = false;

  constructor(options: NativeConnectionOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#writer = new SocketWriter(options.socket, () => this.#onTaken());
    this.#explained = new ExplainedRequests(options.worker);
    this.#due = new DueReplies(options.outputBytesMax * DUE_SHARE, options.largestValueBytes);
  }

  get open(): boolean {
    return !this.#isCut && !this.#socket.destroyed;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get writesInFlight(): number {
    return this.#writesInFlight;
  }

  /** Bytes of replies that the client has not taken yet. */
  get unsentBytes(): number {
    return this.#out.length + this.#writingBytes;
  }

  /** The slot for the reply to a request that has `bytes` and asks for so many `values`. */
  take(requestId: number, isWrite: boolean, bytes: number, values = 0): number {
    const slot = this.#freeSlots.pop() ?? this.#requestIds.length;
    this.#requestIds[slot] = requestId;
    this.#isWrite[slot] = isWrite;
    if (isWrite) this.#writesInFlight++;
    this.#inFlight++;
    this.#inFlightBytes += bytes;
    this.#due.took(values, bytes);
    if (this.#timedSlot < 0 && this.#takenCount++ % TIMED_ONE_IN === 0 && this.#options.meter !== undefined) {
      this.#timedSlot = slot;
      this.#timedSinceMs = performance.now();
    }
    if (this.#isBusy(1)) this.#pause();
    return slot;
  }

  begin(): ReplySink {
    if (this.#isOverflowing()) {
      this.#replyStart = -1;
      return discardReply;
    }
    const out = this.#out;
    this.#replyStart = out.length;
    out.reserve(RESPONSE_HEADER_BYTES);
    out.length += RESPONSE_HEADER_BYTES;
    return this.#sink;
  }

  finish(slot: number): void {
    const start = this.#replyStart;
    if (start >= 0) {
      const out = this.#out;
      const body = start + RESPONSE_HEADER_BYTES;
      const requestId = this.#requestIds[slot] as number;
      const status = statusOfReply(out.buffer, body);
      if (status !== STATUS_OK) this.#countError(out.buffer, body, out.length);
      const explanation = this.#explanationOf(slot);
      if (explanation !== null) out.append(explanation, 0, explanation.length);
      const flags = explanation === null ? 0 : RESPONSE_EXPLAINED;
      writeResponseHeader(out.buffer, start, requestId, status, out.length - body, flags);
      this.#due.learn(out.length - start);
    }
    this.#answered(slot);
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    if (!this.#isOverflowing()) {
      const explanation = this.#explanationOf(slot);
      const status = statusOfReply(source, start);
      if (status !== STATUS_OK) this.#countError(source, start, end);
      this.#frame(this.#requestIds[slot] as number, status, source, start, end, explanation);
      this.#due.learn(RESPONSE_HEADER_BYTES + end - start);
    }
    this.#answered(slot);
  }

  /** The reply of `slot` is to be explained. */
  explainSlot(slot: number): void {
    this.#explained.begin(slot);
  }

  /** The request of `slot` is to wait for a leader no longer than this. */
  hurrySlot(slot: number, patienceMs: number): void {
    this.#patienceMs.set(slot, patienceMs);
  }

  patienceMs(slot: number): number {
    return this.#patienceMs.get(slot) ?? Infinity;
  }

  explain(slot: number, explanation: RangeExplanation): void {
    this.#explained.add(slot, explanation);
  }

  /** Answers a request that has no slot. */
  answer(requestId: number, value: unknown): void {
    this.send(requestId, STATUS_OK, packMessage(value));
  }

  /** Answers a request that has no slot with an error; with request id 0 the error is the whole connection's. */
  fail(requestId: number, error: SkerryError): void {
    this.#options.meter?.failed(error.code);
    this.send(requestId, STATUS_STORE_ERROR, packStoreError(error));
  }

  send(requestId: number, status: number, body: Buffer): void {
    if (this.#isOverflowing()) return;
    this.#frame(requestId, status, body, 0, body.length);
    this.wake();
  }

  /** Frees a slot whose request was answered by answer() or fail(). */
  release(slot: number): void {
    this.#answered(slot);
  }

  /** How long nothing may come or go over the connection; 0 = for ever. */
  setIdleTimeout(milliseconds: number): void {
    this.#socket.setTimeout(milliseconds);
  }

  /** Ends the connection after the replies that are owed; what the client still sends is read and thrown away. */
  closeWhenAnswered(): void {
    this.#isClosing = true;
    this.wake();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  flush(): void {
    this.#isQueued = false;
    if (this.#isCut || this.#socket.destroyed) {
      this.#out.reset();
      this.#out.buffer = EMPTY;
      return;
    }
    if (this.#out.length > 0 && this.#writingBytes === 0) this.#write();
    if (this.#isClosing) this.#endWhenAnswered();
    else this.#maybeResume();
  }

  /** A command's error: source[start, end). */
  #countError(source: Buffer, start: number, end: number): void {
    this.#options.meter?.failed(errorCodeOf(source, errorTextStart(source, start), end));
  }

  #explanationOf(slot: number): Buffer | null {
    const explanation = this.#explained.take(slot);
    return explanation === null ? null : packExplanation(explanation);
  }

  #frame(
    requestId: number,
    status: number,
    body: Buffer,
    start: number,
    end: number,
    explanation: Buffer | null = null,
  ): void {
    const out = this.#out;
    const bytes = end - start + (explanation?.length ?? 0);
    out.reserve(RESPONSE_HEADER_BYTES + bytes);
    writeResponseHeader(
      out.buffer,
      out.length,
      requestId,
      status,
      bytes,
      explanation === null ? 0 : RESPONSE_EXPLAINED,
    );
    out.length += RESPONSE_HEADER_BYTES;
    out.append(body, start, end);
    if (explanation !== null) out.append(explanation, 0, explanation.length);
  }

  #write(): void {
    const out = this.#out;
    const { buffer, length } = out;
    this.#options.meter?.sent(length, this.#answeredCount);
    this.#answeredCount = 0;
    out.reset();
    if (!this.#writer.write(buffer.subarray(0, length))) {
      // The socket goes on reading this buffer: the next replies get another one.
      this.#writingBytes = length;
      out.buffer = EMPTY;
    } else if (buffer.length > BUFFER_BYTES_KEPT) {
      out.buffer = EMPTY;
    }
  }

  /** Errors of the socket end in 'close'; whoever owns it deals with that. */
  #onTaken(): void {
    this.#writingBytes = 0;
    this.wake();
  }

  #answered(slot: number): void {
    this.#freeSlots.push(slot);
    if (this.#patienceMs.size > 0) this.#patienceMs.delete(slot);
    if (this.#isWrite[slot] === true) this.#writesInFlight--;
    this.#inFlight--;
    this.#answeredCount++;
    if (this.#inFlight === 0) {
      this.#inFlightBytes = 0;
      this.#due.allAnswered();
    }
    if (slot === this.#timedSlot) {
      this.#timedSlot = -1;
      this.#options.meter?.latency((performance.now() - this.#timedSinceMs) * 1000);
    }
    this.wake();
    if (this.unsentBytes > limits.connectionOutputPauseBytes) this.#pause();
  }

  /** Asks for a turn of the loop, at whose end flush() is called. */
  wake(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#options.flushQueue.add(this);
  }

  /** Whether enough is unanswered; a `share` below 1 asks whether it is that share of enough. */
  #isBusy(share: number): boolean {
    return (
      this.#inFlight >= IN_FLIGHT_MAX * share ||
      this.#inFlightBytes >= IN_FLIGHT_BYTES_MAX ||
      this.#due.exceeds(share, this.#inFlight)
    );
  }

  /** Whether the client gets no more, because it has left so much unread already. */
  #isOverflowing(): boolean {
    if (this.#isCut) return true;
    if (this.unsentBytes <= this.#options.outputBytesMax) return false;
    this.#isCut = true;
    this.#options.onOverflow();
    this.#socket.destroy();
    return true;
  }

  #pause(): void {
    if (this.#isPaused || this.#isClosing) return;
    this.#isPaused = true;
    this.#socket.pause();
    this.#options.onPause();
  }

  #maybeResume(): void {
    if (!this.#isPaused || this.unsentBytes > limits.connectionOutputPauseBytes / 2) return;
    if (this.#inFlight > 0 && this.#isBusy(0.5)) return;
    if (this.unsentBytes === 0) this.#due.allRead();
    this.#isPaused = false;
    this.#socket.resume();
    this.#options.onResume();
  }

  #endWhenAnswered(): void {
    if (this.#isEnded || this.#inFlight > 0 || this.#out.length > 0) return;
    this.#isEnded = true;
    endGently(this.#socket);
  }
}
