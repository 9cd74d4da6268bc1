/**
 * The client's way to a server: one connection per worker, each to the worker's own port, so that a command goes straight
 * to the thread that has its range.
 *
 *     dial(address given) ─ HELLO ─▶ topology ─▶ dial(worker 0's port), dial(worker 1's port) …
 *
 * A worker that cannot be reached costs speed, not answers: any worker takes any request.
 */
import net from 'node:net';
import type { Socket } from 'node:net';
import { FrameReader } from '../codec/native/frame-reader.ts';
import {
  LENGTH_BYTES,
  OP_HELLO,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  requestBytesMax,
  RESPONSE_HEADER_BYTES,
  STATUS_OK,
  writeRequest,
} from '../codec/native/frame.ts';
import type { HelloReply, Topology } from '../codec/native/messages.ts';
import { unpackMessage } from '../codec/native/messages.ts';
import { SkerryError } from '../core/errors.ts';
import { decodeError } from './replies.ts';
import type { Link, Transport, TransportEvents } from './transport.ts';

export interface TcpTransportOptions {
  readonly host: string;
  readonly port: number;
  readonly connectTimeoutMs: number;
  /** What the server shall call this client. */
  readonly name: string;
}

const RESPONSE_BYTES_MAX = 2 ** 30;
const BUFFER_BYTES = 16 * 1024;
/** Bytes not taken by the kernel, above which a link takes no more. */
const UNSENT_BYTES_MAX = 8 * 1024 * 1024;
/** How long to wait before a worker whose connection broke is dialled again. */
const REDIAL_MS = 500;

class TcpLink implements Link {
  readonly socket: Socket;
  workerIndex = -1;
  buffer: Buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  offset = 0;
  lastReceivedMs = performance.now();
  isFull = false;
  #isScheduled = false;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  reserve(bytes: number): boolean {
    if (this.socket.destroyed) return false;
    if (this.offset + this.socket.writableLength > UNSENT_BYTES_MAX) {
      this.isFull = true;
      return false;
    }
    const needed = this.offset + bytes;
    if (needed > this.buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
      this.buffer.copy(grown, 0, 0, this.offset);
      this.buffer = grown;
    }
    return true;
  }

  commit(bytes: number): void {
    this.offset += bytes;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    if (this.socket.destroyed || this.offset === 0) return;
    this.socket.write(this.buffer.subarray(0, this.offset));
    this.offset = 0;
    // What the kernel has not taken yet, the socket reads from this buffer later.
    if (this.socket.writableLength > 0) this.buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  };
}

export class TcpTransport implements Transport {
  readonly #options: TcpTransportOptions;
  readonly #links = new Map<number, TcpLink>();
  readonly #dialling = new Set<number>();
  readonly #sockets = new Set<Socket>();
  #topology: Topology | null = null;
  #events: TransportEvents | null = null;
  #round: NodeJS.Timeout | null = null;
  #redial: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
  }

  async open(events: TransportEvents): Promise<HelloReply> {
    this.#events = events;
    const { host, port } = this.#options;
    return await this.#dial(host, port);
  }

  route(workerIndex: number): Link | null {
    const link = this.#links.get(workerIndex);
    if (link !== undefined) return link;
    for (const other of this.#links.values()) return other;
    return null;
  }

  connect(delayMs: number): void {
    if (this.#round !== null || this.#isClosed) return;
    this.#round = setTimeout(() => void this.#runRound(), delayMs);
  }

  learn(topology: Topology): void {
    this.#topology = topology;
    this.#dialWorkers();
  }

  fail(link: Link, error: SkerryError): void {
    (link as TcpLink).socket.destroy(error);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    if (this.#round !== null) clearTimeout(this.#round);
    if (this.#redial !== null) clearTimeout(this.#redial);
    for (const socket of this.#sockets) socket.destroy();
    return Promise.resolve();
  }

  /** Tries every address that is known, one after another, until one answers. */
  async #runRound(): Promise<void> {
    const { host, port } = this.#options;
    const workers = this.#topology?.workers ?? [];
    const addresses = [{ host, port }, ...workers.map((worker) => ({ host: worker.host || host, port: worker.port }))];
    let last: SkerryError | null = null;
    for (const address of addresses) {
      try {
        await this.#dial(address.host, address.port);
        this.#round = null;
        return;
      } catch (error) {
        last = error as SkerryError;
        if (this.#isClosed) return;
      }
    }
    this.#round = null;
    if (last !== null) this.#events?.unreachable(last);
  }

  /** Dials the workers that no link leads to. */
  #dialWorkers(): void {
    const { host } = this.#options;
    this.#topology?.workers.forEach((worker, index) => {
      if (this.#links.has(index) || this.#dialling.has(index) || this.#isClosed || worker.port === 0) return;
      this.#dialling.add(index);
      this.#dial(worker.host || host, worker.port)
        .catch(() => this.#redialLater())
        .finally(() => this.#dialling.delete(index));
    });
  }

  #redialLater(): void {
    if (this.#redial !== null || this.#isClosed) return;
    this.#redial = setTimeout(() => {
      this.#redial = null;
      this.#dialWorkers();
    }, REDIAL_MS);
    this.#redial.unref();
  }

  /** Connects and says hello. Rejects with SkerryError KV_NETWORK, or what the server says. */
  #dial(host: string, port: number): Promise<HelloReply> {
    const { connectTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port, noDelay: true, keepAlive: true });
      this.#sockets.add(socket);
      const link = new TcpLink(socket);
      let hello: HelloReply | null = null;
      let why: Error | null = null;
      const networkError = (what: string): SkerryError =>
        new SkerryError('KV_NETWORK', `${what} ${host}:${port}${why === null ? '' : `: ${why.message}`}`, {
          retryable: true,
          ...(why === null ? {} : { cause: why }),
        });
      const timer = setTimeout(() => {
        why = new Error(`no answer within ${connectTimeoutMs} ms`);
        socket.destroy();
      }, connectTimeoutMs);
      const reader = new FrameReader(RESPONSE_HEADER_BYTES - LENGTH_BYTES, RESPONSE_BYTES_MAX, (source, start, end) => {
        if (hello !== null) {
          this.#events?.frame(source, start, end);
          return;
        }
        clearTimeout(timer);
        const status = source[start + 12] as number;
        if (status !== STATUS_OK) {
          why = decodeError(status, source, start + RESPONSE_HEADER_BYTES, end);
          socket.destroy();
          return;
        }
        hello = unpackMessage(source, start + RESPONSE_HEADER_BYTES, end) as HelloReply;
        this.#up(link, hello);
        resolve(hello);
      });
      socket.on('connect', () => this.#sayHello(link));
      socket.on('data', (chunk: Buffer) => {
        link.lastReceivedMs = performance.now();
        try {
          reader.push(chunk);
        } catch (error) {
          why = error as Error;
          socket.destroy();
        }
      });
      socket.on('drain', () => {
        if (!link.isFull) return;
        link.isFull = false;
        this.#events?.room(link);
      });
      socket.on('error', (error) => {
        why = error;
      });
      socket.on('close', () => {
        clearTimeout(timer);
        this.#sockets.delete(socket);
        if (hello === null) reject(why instanceof SkerryError ? why : networkError('Cannot connect to'));
        else this.#down(link, networkError('Lost the connection to'));
      });
    });
  }

  #sayHello(link: TcpLink): void {
    const args = [PROTOCOL_MAGIC, String(PROTOCOL_VERSION), this.#options.name];
    link.reserve(requestBytesMax(args));
    const end = writeRequest(link.buffer, link.offset, 1, 0, 0, OP_HELLO, 0, null, args);
    link.commit(end - link.offset);
  }

  #up(link: TcpLink, hello: HelloReply): void {
    link.workerIndex = hello.workerIndex;
    const known = this.#links.get(hello.workerIndex);
    if (known !== undefined) {
      // The kernel gave us a worker that we have already: one connection is enough.
      link.workerIndex = -1;
      link.socket.destroy();
    } else {
      this.#links.set(hello.workerIndex, link);
      this.#events?.up(link, hello);
    }
    this.#topology = hello.topology;
    this.#dialWorkers();
  }

  #down(link: TcpLink, error: SkerryError): void {
    if (this.#links.get(link.workerIndex) !== link) return;
    this.#links.delete(link.workerIndex);
    if (this.#isClosed) return;
    this.#events?.down(link, error);
    this.#redialLater();
  }
}
