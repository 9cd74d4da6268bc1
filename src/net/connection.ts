/**
 * The sending side of a client's connection: replies in the order of the commands, one write per turn of the loop, bounded
 * memory for a client that does not read.
 *
 *     slots    … 41 sent │ 42 oldest unanswered │ 43 answered, kept │ 44 unanswered …
 *                          ^ writes straight       ^ in #early, until 42 is there
 *                            into the output
 */
import type { Socket } from 'node:net';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { createByteWriter } from '../codec/byte-writer.ts';
import { createReplyWriter } from '../codec/reply-writer.ts';
import { assert } from '../core/assert.ts';
import type { ReplyProtocol, ReplySink, ReplyTarget } from '../core/kv/reply.ts';
import { limits } from '../core/limits.ts';
import type { Flushable, FlushQueue } from './flush-queue.ts';

export interface ConnectionOptions {
  readonly socket: Socket;
  readonly flushQueue: FlushQueue;
  /** Replies that the client has not taken, in bytes, above which it is cut off. */
  readonly outputBytesMax: number;
  /** Answer in order of slots (RESP), or as replies come (native: they name their request). */
  readonly protocol: ReplyProtocol;
  /** Take no more commands for now: too much is unanswered or unread; and: go on. */
  readonly onPause: () => void;
  readonly onResume: () => void;
}

/** Commands of one connection that may be unanswered. */
const IN_FLIGHT_MAX = 10_000;

export class Connection implements ReplyTarget, Flushable {
  readonly socket: Socket;
  readonly #options: ConnectionOptions;
  #protocol: ReplyProtocol;
  readonly #out: ByteWriter = createByteWriter();
  readonly #side: ByteWriter = createByteWriter(256);
  #outSink: ReplySink;
  #sideSink: ReplySink;
  /** Oldest unanswered slot, and the next one to be given out. */
  #oldest = 0;
  #next = 0;
  #lastWrite = -1;
  /** Replies that came before their turn. */
  readonly #early = new Map<number, Buffer>();
  /** Slots whose reply the client does not want (CLIENT REPLY OFF). */
  readonly #muted = new Set<number>();
  #replyStart = 0;
  #isQueued = false;
  #isPaused = false;
  #closesWhenAnswered = false;
  #whenIdle: (() => void) | null = null;
  bytesOut = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.socket = options.socket;
    this.#protocol = options.protocol;
    this.#outSink = createReplyWriter(this.#protocol, this.#out);
    this.#sideSink = createReplyWriter(this.#protocol, this.#side);
    this.socket.on('drain', () => this.#maybeResume());
  }

  get protocol(): ReplyProtocol {
    return this.#protocol;
  }

  /** Only while nothing is unanswered: a reply is made in the protocol of its command. */
  set protocol(protocol: ReplyProtocol) {
    assert(this.inFlight === 0, 'connection: protocol changed under unanswered commands');
    this.#protocol = protocol;
    this.#outSink = createReplyWriter(protocol, this.#out);
    this.#sideSink = createReplyWriter(protocol, this.#side);
  }

  get open(): boolean {
    return !this.socket.destroyed;
  }

  get inFlight(): number {
    return this.#next - this.#oldest;
  }

  /** Replies come in order, so the last write is answered when the oldest unanswered command is a later one. */
  get writesInFlight(): number {
    return this.#lastWrite >= this.#oldest ? 1 : 0;
  }

  /** Bytes that the client has not taken yet. */
  get unsentBytes(): number {
    return this.#out.length + this.socket.writableLength;
  }

  /** The slot of the next command. `isMuted`: its reply is not sent. */
  slot(isWrite: boolean, isMuted = false): number {
    const slot = this.#next++;
    if (isWrite) this.#lastWrite = slot;
    if (isMuted) this.#muted.add(slot);
    if (this.inFlight >= IN_FLIGHT_MAX) this.#pause();
    return slot;
  }

  begin(slot: number): ReplySink {
    if (slot !== this.#oldest) {
      this.#side.reset();
      return this.#sideSink;
    }
    this.#replyStart = this.#out.length;
    return this.#outSink;
  }

  finish(slot: number): void {
    if (slot === this.#oldest) {
      if (this.#muted.delete(slot)) this.#out.length = this.#replyStart;
      this.#answered();
    } else {
      this.#early.set(slot, Buffer.from(this.#side.buffer.subarray(0, this.#side.length)));
    }
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    if (slot === this.#oldest) {
      if (!this.#muted.delete(slot)) this.#out.append(source, start, end);
      this.#answered();
    } else {
      this.#early.set(slot, Buffer.from(source.subarray(start, end)));
    }
  }

  /** Calls back, once, when every command so far is answered; at once when that is so. */
  whenIdle(callback: () => void): void {
    if (this.inFlight === 0) callback();
    else this.#whenIdle = callback;
  }

  /** Ends the connection after the replies that are owed. */
  closeWhenAnswered(): void {
    this.#closesWhenAnswered = true;
    this.#wake();
  }

  flush(): void {
    this.#isQueued = false;
    const out = this.#out;
    const { socket } = this;
    if (socket.destroyed) {
      out.reset();
      return;
    }
    if (out.length > 0) {
      this.bytesOut += out.length;
      socket.write(out.buffer.subarray(0, out.length));
      out.reset();
      // What the kernel has not taken yet, the socket reads from this buffer later: it gets another one.
      if (socket.writableLength > 0) out.buffer = Buffer.allocUnsafeSlow(1024);
      else if (out.buffer.length > limits.connectionOutputPauseBytes) out.buffer = Buffer.allocUnsafeSlow(1024);
    }
    if (socket.writableLength > this.#options.outputBytesMax) {
      socket.destroy(new Error('the client does not read its replies'));
    } else if (this.#closesWhenAnswered && this.inFlight === 0) {
      socket.end();
    } else {
      this.#maybeResume();
    }
  }

  #answered(): void {
    this.#oldest++;
    for (;;) {
      const early = this.#early.get(this.#oldest);
      if (early === undefined) break;
      this.#early.delete(this.#oldest);
      if (!this.#muted.delete(this.#oldest)) this.#out.append(early, 0, early.length);
      this.#oldest++;
    }
    this.#wake();
    if (this.#out.length > limits.connectionOutputPauseBytes) this.#pause();
    if (this.inFlight === 0 && this.#whenIdle !== null) {
      const callback = this.#whenIdle;
      this.#whenIdle = null;
      callback();
    }
  }

  #wake(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#options.flushQueue.add(this);
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.socket.pause();
    this.#options.onPause();
  }

  #maybeResume(): void {
    if (!this.#isPaused || this.unsentBytes > 0 || this.inFlight > IN_FLIGHT_MAX / 2) return;
    this.#isPaused = false;
    this.socket.resume();
    this.#options.onResume();
  }
}
