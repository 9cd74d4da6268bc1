/**
 * The sending side of a client's connection: replies in the order of the commands, one write per turn of the loop, bounded
 * memory for a client that does not read.
 *
 *     slots    … 41 sent │ 42 oldest unanswered │ 43 answered early │ 44 unanswered …
 *                          ^ written straight      ^ kept in #early until 42 is there
 *                            into #out
 *
 *     #out ── flush ──▶ SocketWriter ── all taken by the kernel at once ─▶ the same buffer is filled again
 *                                    └─ not all ─▶ the socket keeps reading it: #out gets another buffer, and the next
 *                                                  write waits for this one
 *
 * The replies to commands that came together, from a client that had nothing unanswered, leave together: such a client
 * waits for all of them, some come back from another worker or from the disk a turn later, and two writes cost this
 * thread, the kernel and the client nearly twice as much as one. They wait HOLD_MS at most.
 *
 * Commands are no longer taken (onPause) while too much is unread, while too many are unanswered, or while the replies
 * that are due may be too much (due-replies.ts). So a client that reads gets everything, however deep its pipeline, and one
 * that does not read costs a bounded amount of memory.
 */
import type { Socket } from 'node:net';
import { ByteWriter } from '../codec/byte-writer.ts';
import { errorCodeOf } from '../codec/error-words.ts';
import { createReplyWriter } from '../codec/reply-writer.ts';
import { assert } from '../core/assert.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { ReplyProtocol, ReplySink, ReplyTarget } from '../core/kv/reply.ts';
import { discardReply } from '../core/kv/reply.ts';
import { limits } from '../core/limits.ts';
import { DueReplies } from './due-replies.ts';
import { endGently } from './end-gently.ts';
import type { Flushable, FlushQueue, Holdable } from './flush-queue.ts';
import { SocketWriter } from './socket-writer.ts';

/** What is measured of connections. */
export interface ConnectionMeter {
  /** Bytes handed to a socket, and how many commands have been answered since the last time. */
  sent(bytes: number, replies: number): void;
  /** From a command taken to its reply made, of one command in a few. */
  latency(microseconds: number): void;
  /** A command was answered with an error. */
  failed(code: ErrorCode): void;
}

export interface ConnectionOptions {
  readonly socket: Socket;
  readonly flushQueue: FlushQueue;
  /** Replies that the client has not taken, in bytes, above which it is cut off when one more is due. */
  readonly outputBytesMax: number;
  /** No value in this node's memory is longer. */
  readonly largestValueBytes: () => number;
  readonly protocol: ReplyProtocol;
  /** Take no more commands for now: too much is unanswered or unread; and: go on. */
  readonly onPause: () => void;
  readonly onResume: () => void;
  /** The client is cut off because it does not read. */
  readonly onOverflow?: () => void;
  readonly meter?: ConnectionMeter;
}

/** Commands of one connection that may be unanswered. */
const IN_FLIGHT_MAX = 10_000;
/** Bytes of commands that may be unanswered. */
const IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024;
/** Replies that are due, as a share of what may be unread. */
const DUE_SHARE = 1 / 8;
/** The clock is read for one command in so many: twice for each is more than a read costs. */
const TIMED_ONE_IN = 8;
/** A buffer above this is not kept for the next replies. */
const BUFFER_BYTES_KEPT = 16 * 1024;
/** Replies of so many bytes do not wait for others. */
const HELD_BYTES_MAX = 16 * 1024;
const EARLY_COMPACT_BYTES = 256 * 1024;

/** What an error begins with in RESP2 and RESP3. */
const ERROR_BYTE = 0x2d;
const EMPTY = Buffer.alloc(0);

export class Connection implements ReplyTarget, Flushable, Holdable {
  readonly socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #writer: SocketWriter;
  #protocol: ReplyProtocol;
  readonly #out = new ByteWriter(EMPTY);
  #outSink: ReplySink;
  /** What was written last, and of which buffer it is the beginning. */
  #written: Buffer = EMPTY;
  #writtenOf: Buffer = EMPTY;
  /** Bytes that the socket still reads from the buffer of the last write; 0 = it has taken all. */
  #writingBytes = 0;

  /** Replies that came before their turn, one behind another. */
  readonly #early = new ByteWriter(EMPTY);
  #earlySink: ReplySink;
  /** Of each such slot, modulo the table's size: where its reply lies. An end of -1: not answered yet. */
  #earlyStarts = new Float64Array(0);
  #earlyEnds = new Float64Array(0);
  #earlyCount = 0;
  /** Bytes of #early that have been sent already. */
  #earlyDeadBytes = 0;

  /** Oldest unanswered slot, and the next one to be given out. */
  #oldest = 0;
  #next = 0;
  #lastWrite = -1;
  /** Slots before this one came together and are to be answered together; -1 = the next flush() sets it. */
  #burstEnd = 0;
  /** flushHeld() is due. */
  #isHeld = false;
  /** Slots below this one have been told to the meter. */
  #metered = 0;
  /** The command whose latency is being measured, or -1. */
  #timedSlot = -1;
  #timedSinceMs = 0;
  /** Slots whose reply the client does not want (CLIENT REPLY OFF). */
  readonly #muted = new Set<number>();
  /** Where the reply begins that is being written. */
  #replyStart = 0;
  readonly #due: DueReplies;
  /** Bytes of commands since none was unanswered. */
  #inFlightBytes = 0;

  #isQueued = false;
  #isPaused = false;
  #isClosing = false;
  #isEnded = false;
  #isCut = false;
  #whenIdle: (() => void) | null = null;
  bytesOut = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.socket = options.socket;
    this.#writer = new SocketWriter(options.socket, () => this.#onTaken());
    this.#protocol = options.protocol;
    this.#due = new DueReplies(options.outputBytesMax * DUE_SHARE, options.largestValueBytes);
    this.#outSink = createReplyWriter(this.#protocol, this.#out);
    this.#earlySink = createReplyWriter(this.#protocol, this.#early);
  }

  get protocol(): ReplyProtocol {
    return this.#protocol;
  }

  /** Only while nothing is unanswered: a reply is made in the protocol of its command. */
  set protocol(protocol: ReplyProtocol) {
    assert(this.inFlight === 0, 'connection: protocol changed under unanswered commands');
    this.#protocol = protocol;
    this.#outSink = createReplyWriter(protocol, this.#out);
    this.#earlySink = createReplyWriter(protocol, this.#early);
  }

  get open(): boolean {
    return !this.#isCut && !this.socket.destroyed;
  }

  get inFlight(): number {
    return this.#next - this.#oldest;
  }

  /** Replies come in order, so the last write is answered when the oldest unanswered command is a later one. */
  get writesInFlight(): number {
    return this.#lastWrite >= this.#oldest ? 1 : 0;
  }

  /** Bytes of replies that the client has not taken yet. */
  get unsentBytes(): number {
    return this.#out.length + this.#writingBytes + this.#early.length - this.#earlyDeadBytes;
  }

  /** Memory held for replies. */
  get capacityBytes(): number {
    return this.#out.buffer.length + this.#writingBytes + this.#early.buffer.length;
  }

  /** The slot of the next command, which has `bytes` and asks for so many `values`. `isMuted`: its reply is not sent. */
  slot(isWrite: boolean, isMuted = false, bytes = 0, values = 0): number {
    const slot = this.#next++;
    if (slot === this.#oldest) this.#burstEnd = -1;
    if (isWrite) this.#lastWrite = slot;
    if (isMuted) this.#muted.add(slot);
    this.#inFlightBytes += bytes;
    this.#due.took(values, bytes);
    if (this.#timedSlot < 0 && slot % TIMED_ONE_IN === 0 && this.#options.meter !== undefined) {
      this.#timedSlot = slot;
      this.#timedSinceMs = performance.now();
    }
    if (this.#isBusy(1)) this.#pause();
    return slot;
  }

  begin(slot: number): ReplySink {
    const isDue = slot === this.#oldest;
    this.#replyStart = isDue ? this.#out.length : this.#early.length;
    if (this.#isOverflowing()) return discardReply;
    return isDue ? this.#outSink : this.#earlySink;
  }

  finish(slot: number): void {
    if (slot !== this.#oldest) {
      this.#arrivedEarly(slot);
      return;
    }
    const out = this.#out;
    this.#due.learn(out.length - this.#replyStart);
    this.#countError(out);
    if (this.#muted.size > 0 && this.#muted.delete(slot)) out.length = this.#replyStart;
    this.#answered();
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    const writer = slot === this.#oldest ? this.#out : this.#early;
    this.#replyStart = writer.length;
    if (!this.#isOverflowing()) writer.append(source, start, end);
    this.finish(slot);
  }

  /** Calls back, once and never from within this call or a reply, when every command so far is answered. */
  whenIdle(callback: () => void): void {
    if (this.inFlight === 0) queueMicrotask(callback);
    else this.#whenIdle = callback;
  }

  /** Ends the connection after the replies that are owed; what the client still sends is read and thrown away. */
  closeWhenAnswered(): void {
    this.#isClosing = true;
    this.wake();
  }

  flush(): void {
    this.#isQueued = false;
    const { socket } = this;
    if (this.#isCut || socket.destroyed) {
      this.#drop();
      return;
    }
    if (this.#burstEnd < 0) this.#burstEnd = this.#next;
    if (this.#out.length > 0 && this.#writingBytes === 0) {
      if (this.#oldest < this.#burstEnd && this.#out.length < HELD_BYTES_MAX) this.#hold();
      else this.#write();
    }
    if (this.#isClosing) this.#endWhenAnswered();
    else this.#maybeResume();
  }

  #hold(): void {
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#options.flushQueue.hold(this);
  }

  flushHeld(): void {
    this.#isHeld = false;
    if (this.#oldest >= this.#burstEnd) return;
    this.#burstEnd = this.#oldest;
    this.wake();
  }

  #write(): void {
    const out = this.#out;
    const { buffer, length } = out;
    this.bytesOut += length;
    this.#options.meter?.sent(length, this.#oldest - this.#metered);
    this.#metered = this.#oldest;
    out.reset();
    // One reply is mostly as long as the last one was.
    if (this.#written.length !== length || this.#writtenOf !== buffer) {
      this.#written = buffer.subarray(0, length);
      this.#writtenOf = buffer;
    }
    if (!this.#writer.write(this.#written)) {
      this.#writingBytes = length;
      this.#letGo();
    } else if (buffer.length > BUFFER_BYTES_KEPT) {
      this.#letGo();
    }
  }

  /** The next replies get another buffer. */
  #letGo(): void {
    this.#out.buffer = EMPTY;
    this.#written = EMPTY;
    this.#writtenOf = EMPTY;
  }

  /** Errors of the socket end in 'close'; whoever owns it deals with that. */
  #onTaken(): void {
    this.#writingBytes = 0;
    this.wake();
  }

  #arrivedEarly(slot: number): void {
    const early = this.#early;
    this.#due.learn(early.length - this.#replyStart);
    this.#countError(early);
    if (this.#muted.size > 0 && this.#muted.has(slot)) early.length = this.#replyStart;
    if (this.inFlight > this.#earlyEnds.length) this.#growEarly();
    const index = slot & (this.#earlyEnds.length - 1);
    this.#earlyStarts[index] = this.#replyStart;
    this.#earlyEnds[index] = early.length;
    this.#earlyCount++;
  }

  #countError({ buffer, length }: ByteWriter): void {
    const start = this.#replyStart;
    if (buffer[start] !== ERROR_BYTE || start === length) return;
    this.#options.meter?.failed(errorCodeOf(buffer, start + 1, length));
  }

  #answered(): void {
    this.#oldest++;
    if (this.#earlyCount > 0) this.#takeEarly();
    if (this.#timedSlot >= 0 && this.#timedSlot < this.#oldest) {
      this.#timedSlot = -1;
      this.#options.meter?.latency((performance.now() - this.#timedSinceMs) * 1000);
    }
    if (this.#oldest === this.#next) {
      this.#inFlightBytes = 0;
      this.#due.allAnswered();
      const callback = this.#whenIdle;
      this.#whenIdle = null;
      if (callback !== null) queueMicrotask(callback);
    }
    this.wake();
    if (this.unsentBytes > limits.connectionOutputPauseBytes) this.#pause();
  }

  /** Moves the early replies that are due now. */
  #takeEarly(): void {
    const early = this.#early;
    const mask = this.#earlyEnds.length - 1;
    while (this.#earlyCount > 0) {
      const index = this.#oldest & mask;
      const end = this.#earlyEnds[index] as number;
      if (end < 0) break;
      const start = this.#earlyStarts[index] as number;
      this.#out.append(early.buffer, start, end);
      this.#earlyEnds[index] = -1;
      this.#earlyDeadBytes += end - start;
      this.#earlyCount--;
      if (this.#muted.size > 0) this.#muted.delete(this.#oldest);
      this.#oldest++;
    }
    if (this.#earlyCount === 0) {
      early.reset();
      this.#earlyDeadBytes = 0;
      if (early.buffer.length > BUFFER_BYTES_KEPT) early.buffer = EMPTY;
    } else if (this.#earlyDeadBytes > EARLY_COMPACT_BYTES && this.#earlyDeadBytes * 2 > early.length) {
      this.#compactEarly();
    }
  }

  #compactEarly(): void {
    const { buffer } = this.#early;
    const mask = this.#earlyEnds.length - 1;
    this.#early.buffer = EMPTY;
    this.#early.reset();
    this.#earlyDeadBytes = 0;
    for (let slot = this.#oldest; slot < this.#next; slot++) {
      const index = slot & mask;
      const end = this.#earlyEnds[index] as number;
      if (end < 0) continue;
      const start = this.#earlyStarts[index] as number;
      this.#earlyStarts[index] = this.#early.length;
      this.#early.append(buffer, start, end);
      this.#earlyEnds[index] = this.#early.length;
    }
  }

  /** Makes the table hold every unanswered slot. */
  #growEarly(): void {
    let size = Math.max(16, this.#earlyEnds.length);
    while (size < this.inFlight) size *= 2;
    const starts = new Float64Array(size);
    const ends = new Float64Array(size).fill(-1);
    const known = this.#earlyEnds.length;
    for (let slot = this.#oldest; slot < this.#oldest + known; slot++) {
      starts[slot & (size - 1)] = this.#earlyStarts[slot & (known - 1)] as number;
      ends[slot & (size - 1)] = this.#earlyEnds[slot & (known - 1)] as number;
    }
    this.#earlyStarts = starts;
    this.#earlyEnds = ends;
  }

  /** Whether enough is unanswered; a `share` below 1 asks whether it is that share of enough. */
  #isBusy(share: number): boolean {
    const { inFlight } = this;
    return (
      inFlight >= IN_FLIGHT_MAX * share ||
      this.#inFlightBytes >= IN_FLIGHT_BYTES_MAX ||
      this.#due.exceeds(share, inFlight)
    );
  }

  /** Whether the client gets no more, because it has left so much unread already. */
  #isOverflowing(): boolean {
    if (this.#isCut) return true;
    if (this.unsentBytes <= this.#options.outputBytesMax) return false;
    this.#isCut = true;
    this.#options.onOverflow?.();
    this.socket.destroy();
    return true;
  }

  /** Asks for a turn of the loop, at whose end flush() is called. */
  wake(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#options.flushQueue.add(this);
  }

  #pause(): void {
    if (this.#isPaused || this.#isClosing) return;
    this.#isPaused = true;
    this.socket.pause();
    this.#options.onPause();
  }

  #maybeResume(): void {
    if (!this.#isPaused || this.unsentBytes > limits.connectionOutputPauseBytes / 2) return;
    if (this.inFlight > 0 && this.#isBusy(0.5)) return;
    if (this.unsentBytes === 0) this.#due.allRead();
    this.#isPaused = false;
    this.socket.resume();
    this.#options.onResume();
  }

  #endWhenAnswered(): void {
    if (this.#isEnded || this.inFlight > 0 || this.#out.length > 0) return;
    this.#isEnded = true;
    endGently(this.socket);
  }

  #drop(): void {
    this.#out.reset();
    this.#letGo();
    this.#writingBytes = 0;
  }
}
