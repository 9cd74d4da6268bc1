/**
 * A server of the native protocol that does what a test tells it, request by request. Left alone it is a small store:
 * one map of keys, retries applied once, one port for each of its workers.
 */
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { createByteWriter } from '../../src/codec/byte-writer.ts';
import {
  createRequestFrame,
  FLAG_IDENTITY,
  OP_HELLO,
  OP_RANGE_SPLIT,
  OP_STATUS,
  OP_TOPOLOGY,
  readRequest,
  RESPONSE_HEADER_BYTES,
  STATUS_OK,
  STATUS_STORE_ERROR,
  STATUS_TOPOLOGY,
  statusOfReply,
  writeResponseHeader,
} from '../../src/codec/native/frame.ts';
import { FrameReader } from '../../src/codec/native/frame-reader.ts';
import type { RangeRoute, Topology } from '../../src/codec/native/messages.ts';
import { packMessage, packStoreError } from '../../src/codec/native/messages.ts';
import { NativeReplyWriter } from '../../src/codec/native/reply-writer.ts';
import type { SkerryError } from '../../src/core/errors.ts';
import { argCopy } from '../../src/core/kv/args.ts';
import type { RequestId } from '../../src/core/kv/batch.ts';
import type { ReplySink } from '../../src/core/kv/reply.ts';
import { commandByOp } from '../../src/core/kv/table.ts';

export interface FakeRequest {
  readonly requestId: number;
  /** The command's name, or HELLO, TOPOLOGY, STATUS, SPLIT. */
  readonly name: string;
  readonly args: readonly Buffer[];
  readonly identity: RequestId | null;
  readonly rangeId: number;
  readonly rangeEpoch: number;
  readonly consistency: number;
  readonly patience: number;
  /** The worker that it came to. */
  readonly worker: number;
  readonly connection: FakeConnection;
}

export interface FakeServerOptions {
  /** Keys at which the store is split; range i is led by worker i. */
  readonly splitAt?: readonly string[];
  readonly frameBytesMax?: number;
  readonly port?: number;
  /** Id of worker 0. */
  readonly firstWorker?: number;
}

const PROTOCOL_NAMES = new Map([
  [OP_HELLO, 'HELLO'],
  [OP_TOPOLOGY, 'TOPOLOGY'],
  [OP_STATUS, 'STATUS'],
  [OP_RANGE_SPLIT, 'SPLIT'],
]);

export class FakeConnection {
  readonly socket: Socket;
  /** Chunks of bytes that arrived. */
  chunks = 0;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  send(requestId: number, status: number, body: Buffer): void {
    const header = Buffer.alloc(RESPONSE_HEADER_BYTES);
    writeResponseHeader(header, 0, requestId, status, body.length);
    this.socket.write(Buffer.concat([header, body]));
  }

  /** Answers with what `write` gives the sink. */
  reply(request: FakeRequest, write: (sink: ReplySink) => void): void {
    const out = createByteWriter();
    write(new NativeReplyWriter(out));
    const body = Buffer.from(out.buffer.subarray(0, out.length));
    this.send(request.requestId, statusOfReply(body, 0), body);
  }

  message(request: FakeRequest, value: unknown): void {
    this.send(request.requestId, STATUS_OK, packMessage(value));
  }

  /** An error of the request, or with id 0 of the connection. */
  refuse(requestId: number, error: SkerryError): void {
    this.send(requestId, STATUS_STORE_ERROR, packStoreError(error));
  }
}

export class FakeServer {
  readonly data = new Map<string, Buffer>();
  /** How often each write was applied, by its arguments. */
  readonly applied: string[] = [];
  readonly requests: FakeRequest[] = [];
  connections: FakeConnection[] = [];
  topology: Topology;
  /** Returns true when the request needs no more answer. */
  intercept: (request: FakeRequest) => boolean = () => false;
  readonly #remembered = new Map<string, Buffer>();
  readonly #servers: Server[] = [];
  readonly #waiters: { readonly name: string; readonly resolve: (request: FakeRequest) => void }[] = [];
  readonly #options: FakeServerOptions;

  private constructor(options: FakeServerOptions) {
    this.#options = options;
    this.topology = { generation: 1, workers: [], ranges: rangesOf(options.splitAt ?? []) };
  }

  static async start(options: FakeServerOptions = {}): Promise<FakeServer> {
    const fake = new FakeServer(options);
    await fake.listen(options.port ?? 0);
    return fake;
  }

  get #firstWorker(): number {
    return this.#options.firstWorker ?? FIRST_WORKER;
  }

  /** Port of worker 0. */
  get port(): number {
    return this.topology.workers[0]?.port ?? 0;
  }

  get url(): string {
    return `skerry://127.0.0.1:${this.port}`;
  }

  /** Starts listening (again); worker 0 on `port`. */
  async listen(port: number): Promise<void> {
    const workers = [];
    for (let worker = 0; worker < this.topology.ranges.length; worker++) {
      const server = createServer((socket) => this.#accept(socket, worker));
      server.listen(worker === 0 ? port : 0, '127.0.0.1');
      await once(server, 'listening');
      this.#servers.push(server);
      workers.push({ worker: this.#firstWorker + worker, host: '', port: (server.address() as AddressInfo).port });
    }
    this.topology = { ...this.topology, workers };
  }

  /** As a process that is killed: no more connections, and none of the old ones. */
  async stop(): Promise<void> {
    const closed = this.#servers.splice(0).map((server) => once(server.close(), 'close'));
    for (const { socket } of this.connections.splice(0)) socket.destroy();
    await Promise.all(closed);
  }

  /** The next request of this name. */
  next(name: string): Promise<FakeRequest> {
    return new Promise((resolve) => this.#waiters.push({ name, resolve }));
  }

  requestsOf(name: string): readonly FakeRequest[] {
    return this.requests.filter((request) => request.name === name);
  }

  /** Tells all connections of new ranges. */
  announce(ranges: readonly RangeRoute[]): void {
    this.topology = { ...this.topology, generation: this.topology.generation + 1, ranges };
    for (const connection of this.connections) connection.send(0, STATUS_TOPOLOGY, packMessage(this.topology));
  }

  /** The default answer. */
  answer(request: FakeRequest): void {
    const { connection, name, args, identity } = request;
    if (name === 'HELLO') {
      const { frameBytesMax = 1 << 20 } = this.#options;
      const hello = { protocol: 1, server: 'fake', worker: this.#firstWorker + request.worker, frameBytesMax };
      connection.message(request, { ...hello, topology: this.topology });
    } else if (name === 'TOPOLOGY') {
      connection.message(request, this.topology);
    } else if (name === 'STATUS') {
      connection.message(request, { version: 'fake' });
    } else if (identity === null) {
      connection.reply(request, (sink) => this.#run(name, args, sink));
    } else {
      const id = `${identity.clientId} ${identity.sequence}`;
      let body = this.#remembered.get(id);
      if (body === undefined) {
        const out = createByteWriter();
        this.#run(name, args, new NativeReplyWriter(out));
        body = Buffer.from(out.buffer.subarray(0, out.length));
        this.#remembered.set(id, body);
        this.applied.push([name, ...args.map(String)].join(' '));
      }
      connection.send(request.requestId, statusOfReply(body, 0), body);
    }
  }

  #run(name: string, args: readonly Buffer[], sink: ReplySink): void {
    const [key = ''] = args.map(String);
    const bytes = this.data.get(key);
    if (name === 'GET') {
      if (bytes === undefined) sink.null();
      else sink.bulk(bytes, 0, bytes.length);
    } else if (name === 'MGET') {
      sink.array(args.length);
      for (const arg of args) this.#run('GET', [arg], sink);
    } else if (name === 'EXISTS') {
      sink.integer(bytes === undefined ? 0 : 1);
    } else if (name === 'SET') {
      if (args.some((arg) => String(arg) === 'NX') && bytes !== undefined) {
        sink.null();
        return;
      }
      this.data.set(key, args[1] as Buffer);
      sink.simple('OK');
    } else if (name === 'DEL') {
      sink.integer(this.data.delete(key) ? 1 : 0);
    } else if (name === 'BATCH') {
      for (let i = 0; i < args.length; i += 3) {
        if (String(args[i + 1]) === 'D') this.data.delete(String(args[i]));
        else this.data.set(String(args[i]), args[i + 2] as Buffer);
      }
      sink.simple('OK');
    } else {
      sink.error(`ERR the fake server does not know ${name}`);
    }
  }

  #accept(socket: Socket, worker: number): void {
    const connection = new FakeConnection(socket);
    this.connections.push(connection);
    const frame = createRequestFrame();
    const reader = new FrameReader(24, 1 << 30, (source, start, end) => {
      const wrong = readRequest(source, start, end, frame);
      if (wrong !== null) throw new Error(`the client sent a frame that cannot be read: ${wrong}`);
      const { requestId, op, args, flags, identity, rangeId, rangeEpoch, consistency, patience } = frame;
      const request: FakeRequest = {
        requestId,
        name: PROTOCOL_NAMES.get(op) ?? commandByOp(op)?.name ?? String(op),
        args: Array.from({ length: args.count }, (_, i) => argCopy(args, i)),
        identity: (flags & FLAG_IDENTITY) === 0 ? null : { ...identity },
        rangeId,
        rangeEpoch,
        consistency,
        patience,
        worker,
        connection,
      };
      this.requests.push(request);
      if (!this.intercept(request)) this.answer(request);
      const waiter = this.#waiters.findIndex(({ name }) => name === request.name);
      if (waiter >= 0) this.#waiters.splice(waiter, 1)[0]?.resolve(request);
    });
    // A client that goes away is what some tests are about.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.connections = this.connections.filter((other) => other !== connection);
    });
    socket.on('data', (chunk: Buffer) => {
      connection.chunks++;
      reader.push(chunk);
    });
  }
}

/** Worker 0 of node 1. */
export const FIRST_WORKER = 256;

/** Ranges cut at these keys, range i led by worker i. */
export function rangesOf(splitAt: readonly string[], version = 1): RangeRoute[] {
  const bounds = ['', ...splitAt];
  return bounds.map((startKey, i) => {
    const endKey = bounds[i + 1];
    return {
      rangeId: i + 1,
      startKey: Buffer.from(startKey),
      endKey: endKey === undefined ? null : Buffer.from(endKey),
      epoch: { confVersion: 1, version },
      worker: FIRST_WORKER + i,
      term: 1,
    };
  });
}
