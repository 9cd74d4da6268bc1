/**
 * One TCP connection to one worker. Requests are written into a block, and everything that a turn of the loop wrote leaves
 * with one socket.write; the block is filled on behind it, so nothing is copied and bytes under way are never touched.
 *
 *     block  │ on its way │ written in this turn │ free │
 *                         ^flushed               ^used
 */
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { explanationStart, unpackExplanation } from '../codec/native/explanation.ts';
import type { HelloReply } from '../codec/native/messages.ts';
import { unpackMessage } from '../codec/native/messages.ts';
import {
  LENGTH_BYTES,
  OP_HELLO,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  requestBytesMax,
  RESPONSE_HEADER_BYTES,
  STATUS_OK,
  STATUS_STORE_ERROR,
  writeRequest,
} from '../codec/native/frame.ts';
import { FrameReader } from '../codec/native/frame-reader.ts';
import type { RequestId } from '../core/kv/batch.ts';
import { readU64 } from '../core/kv/batch.ts';
import { SkerryError } from '../core/errors.ts';
import type { Address } from './address.ts';
import { formatAddress } from './address.ts';
import type { Request } from './call.ts';
import { CALL_READ } from './call.ts';
import { decodeError, unexpected } from './replies.ts';
import type { Link, TransportEvents } from './transport.ts';

const BLOCK_BYTES = 64 * 1024;
const READ_BYTES = 64 * 1024;
/** Bytes that the kernel has not taken yet, above which the link takes no more requests. */
const UNSENT_BYTES_MAX = 1024 * 1024;
/** A reply may be as long as the length field allows: what the client asked for is what it gets. */
const REPLY_BYTES_MAX = 0xffff_ffff;
/** Before that: room for a large topology, and too little for the letters of another protocol read as a length. */
const HELLO_BYTES_MAX = 64 * 1024 * 1024;
const KEEP_ALIVE_MS = 30_000;
const CLOSE_MS = 1000;

export interface TcpLinkOptions {
  readonly address: Address;
  /** For connecting and the handshake together. */
  readonly connectTimeoutMs: number;
  readonly name: string;
  /** The handshake is done. */
  readonly onUp: (link: TcpLink, hello: HelloReply) => void;
  /** Once, whether it was up or not. */
  readonly onDown: (link: TcpLink, error: SkerryError) => void;
  readonly onReply: TransportEvents['reply'];
  readonly onRoom: (link: TcpLink) => void;
}

export class TcpLink implements Link {
  worker = 0;
  frameBytesMax = 0;
  lastReceivedMs = 0;
  inVainSinceMs = 0;
  isUp = false;
  readonly isExact = false;
  #block: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #used = 0;
  #flushed = 0;
  #flushScheduled = false;
  #isFull = false;
  #isDown = false;
  #reason: SkerryError | undefined;
  readonly #options: TcpLinkOptions;
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  readonly #reader: FrameReader;
  readonly #flush = (): void => {
    this.#flushScheduled = false;
    this.#write();
  };

  constructor(options: TcpLinkOptions) {
    this.#options = options;
    const { host, port } = options.address;
    this.#reader = new FrameReader(RESPONSE_HEADER_BYTES - LENGTH_BYTES + 1, HELLO_BYTES_MAX, (source, start, end) =>
      this.#frame(source, start, end),
    );
    this.#socket = connect({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      onread: {
        buffer: Buffer.allocUnsafeSlow(READ_BYTES),
        callback: (bytes, chunk) => {
          this.#received(chunk as Buffer, bytes);
          return true;
        },
      },
    });
    this.#socket.on('connect', () => this.#greet());
    this.#socket.on('drain', () => {
      this.#isFull = false;
      if (this.isUp) options.onRoom(this);
    });
    this.#socket.on('error', (cause) => this.#down(cause.message, cause));
    this.#socket.on('end', () => this.#down('the store closed the connection', this.#reason));
    this.#socket.on('close', () => this.#down('the connection was closed', this.#reason));
    this.#timer = setTimeout(() => {
      this.#down(`no answer within ${options.connectTimeoutMs} ms`, undefined);
    }, options.connectTimeoutMs);
  }

  reserve(bytes: number): boolean {
    if (this.#isFull || this.#isDown) return false;
    if (this.#used + bytes > this.#block.length) {
      this.#write();
      this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, bytes));
      this.#used = 0;
      this.#flushed = 0;
    }
    return true;
  }

  send(
    requestId: number,
    rangeId: number,
    rangeEpoch: number,
    request: Request,
    identity: RequestId | null,
    patience: number,
  ): void {
    const { op, consistency, args, isExplained } = request;
    this.#used = writeRequest(
      this.#block,
      this.#used,
      requestId,
      rangeId,
      rangeEpoch,
      op,
      consistency,
      identity,
      args,
      isExplained,
      patience,
    );
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    // Behind the promise callbacks of this turn, so that what they ask leaves together.
    process.nextTick(this.#flush);
  }

  /** Gives the connection up. */
  fail(error: SkerryError): void {
    this.#down(error.message, error);
  }

  /** Sends what is written and closes. Nothing is reported any more. */
  close(): Promise<void> {
    this.#isDown = true;
    clearTimeout(this.#timer);
    this.#reader.stop();
    const socket = this.#socket;
    if (socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => socket.destroy(), CLOSE_MS);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      if (socket.connecting) socket.destroy();
      else socket.end(() => socket.destroy());
    });
  }

  #write(): void {
    if (this.#isDown || this.#used === this.#flushed) return;
    this.#socket.write(this.#block.subarray(this.#flushed, this.#used));
    this.#flushed = this.#used;
    this.#isFull = this.#socket.writableLength > UNSENT_BYTES_MAX;
  }

  #greet(): void {
    const args = [PROTOCOL_MAGIC, String(PROTOCOL_VERSION), this.#options.name];
    this.reserve(requestBytesMax(args));
    const request = { op: OP_HELLO, kind: CALL_READ, args, key: null, consistency: 0, isExplained: false } as const;
    this.send(1, 0, 0, request, null, 0);
  }

  #received(chunk: Buffer, bytes: number): void {
    this.lastReceivedMs = performance.now();
    try {
      this.#reader.push(chunk, 0, bytes);
    } catch (cause) {
      if (!(cause instanceof SkerryError)) throw cause;
      this.#down(cause.message, cause);
    }
  }

  #frame(source: Buffer, start: number, end: number): void {
    const status = source[start + 12] as number;
    const requestId = readU64(source, start + 4);
    const body = start + RESPONSE_HEADER_BYTES;
    if (requestId === 0 && status === STATUS_STORE_ERROR) {
      // The store closes the connection next.
      this.#reason = decodeError(status, source, body, end);
    } else if (this.isUp) {
      const valueEnd = explanationStart(source, start, end);
      const explanation = valueEnd === end ? null : unpackExplanation(source, valueEnd, end);
      this.#options.onReply(requestId, status, source, body, valueEnd, explanation);
    } else if (requestId === 1) {
      this.#greeted(status, source, body, end);
    } else {
      this.#down('the other end does not speak the native protocol', undefined);
    }
  }

  #greeted(status: number, source: Buffer, start: number, end: number): void {
    if (status !== STATUS_OK) {
      const error = decodeError(status, source, start, end);
      this.#down(error.message, error);
      return;
    }
    const hello = unpackMessage(source, start, end) as HelloReply;
    if (hello.protocol !== PROTOCOL_VERSION) {
      this.#down(`the store chose protocol ${hello.protocol}`, unexpected(`protocol ${PROTOCOL_VERSION}`));
      return;
    }
    clearTimeout(this.#timer);
    this.worker = hello.worker;
    this.frameBytesMax = hello.frameBytesMax;
    this.#reader.frameBytesMax = REPLY_BYTES_MAX;
    this.isUp = true;
    this.#options.onUp(this, hello);
  }

  #down(what: string, cause: unknown): void {
    if (this.#isDown) return;
    this.#isDown = true;
    clearTimeout(this.#timer);
    this.#reader.stop();
    this.#socket.destroy();
    const reason = cause instanceof SkerryError && cause.message !== what ? `${what}: ${cause.message}` : what;
    const error = new SkerryError('KV_NETWORK', `${formatAddress(this.#options.address)}: ${reason}`, {
      retryable: true,
      cause,
    });
    this.#options.onDown(this, error);
  }
}
