/**
 * One native connection: frames in, replies out in whatever order they come (docs/native-protocol.md).
 *
 *     bytes ─▶ FrameReader ─▶ request ─┬─ protocol op (HELLO, TOPOLOGY, RANGE_SPLIT …)   answered here
 *                                      └─ command ─▶ router.submit(…, this, slot)
 *     this.begin(slot) … finish(slot) ─▶ one response frame in the output, one write per turn
 */
import type { Socket } from 'node:net';
import type { ByteWriter } from '../../codec/byte-writer.ts';
import { createByteWriter } from '../../codec/byte-writer.ts';
import { FrameReader } from '../../codec/native/frame-reader.ts';
import {
  createRequestFrame,
  FIRST_PROTOCOL_OP,
  FLAG_IDENTITY,
  LENGTH_BYTES,
  OP_HELLO,
  OP_PING,
  OP_RANGE_SPLIT,
  OP_STATUS,
  OP_TOPOLOGY,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  ProtocolError,
  readRequest,
  REQUEST_HEADER_BYTES,
  RESPONSE_HEADER_BYTES,
  STATUS_OK,
  STATUS_STORE_ERROR,
  STATUS_TOPOLOGY,
  statusOfReply,
  writeResponseHeader,
} from '../../codec/native/frame.ts';
import type { RequestFrame } from '../../codec/native/frame.ts';
import type { Topology } from '../../codec/native/messages.ts';
import { packMessage, packStoreError } from '../../codec/native/messages.ts';
import { NativeReplyWriter } from '../../codec/native/reply-writer.ts';
import { SkerryError } from '../../core/errors.ts';
import type { ReplySink, ReplyTarget } from '../../core/kv/reply.ts';
import { commandByOp } from '../../core/kv/table.ts';
import { limits } from '../../core/limits.ts';
import type { Flushable, FlushQueue } from '../../net/flush-queue.ts';
import type { Router } from '../router/router.ts';

export interface NativeSessionOptions {
  readonly socket: Socket;
  readonly flushQueue: FlushQueue;
  readonly router: Router;
  readonly outputBytesMax: number;
  readonly frameBytesMax: number;
  readonly workerIndex: number;
  readonly version: string;
  readonly topology: () => Topology;
  readonly status: () => Readonly<Record<string, unknown>>;
  readonly splitRange: (key: Buffer) => Promise<void>;
}

const IN_FLIGHT_MAX = 50_000;

export class NativeSession implements ReplyTarget, Flushable {
  readonly protocol = 4;
  readonly #options: NativeSessionOptions;
  readonly #reader: FrameReader;
  readonly #request: RequestFrame = createRequestFrame();
  readonly #out: ByteWriter = createByteWriter();
  readonly #sink: ReplySink;
  #replyStart = 0;
  /** Generation of the topology that the client has; 0 = it has not said hello. */
  #knownGeneration = 0;
  #isQueued = false;
  #isPaused = false;
  #isClosing = false;
  #inFlight = 0;
  readonly #writes = new Set<number>();

  constructor(options: NativeSessionOptions) {
    this.#options = options;
    this.#sink = new NativeReplyWriter(this.#out);
    this.#reader = new FrameReader(REQUEST_HEADER_BYTES - LENGTH_BYTES, options.frameBytesMax, (source, start, end) =>
      this.#onFrame(source, start, end),
    );
    options.socket.on('drain', () => this.#maybeResume());
  }

  get open(): boolean {
    return !this.#options.socket.destroyed;
  }

  get writesInFlight(): number {
    return this.#writes.size;
  }

  onData(chunk: Buffer): void {
    if (this.#isClosing) return;
    try {
      this.#reader.push(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#refuseConnection(error);
    }
  }

  /** Ends the connection after the replies that are owed. */
  close(): void {
    this.#isClosing = true;
    this.#wake();
  }

  begin(): ReplySink {
    this.#replyStart = this.#out.length;
    this.#out.reserve(RESPONSE_HEADER_BYTES);
    this.#out.length += RESPONSE_HEADER_BYTES;
    return this.#sink;
  }

  finish(slot: number): void {
    const { buffer, length } = this.#out;
    const body = this.#replyStart + RESPONSE_HEADER_BYTES;
    writeResponseHeader(buffer, this.#replyStart, slot, statusOfReply(buffer, body), length - body);
    this.#answered(slot);
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    this.#respond(slot, statusOfReply(source, start), source, start, end);
    this.#answered(slot);
  }

  flush(): void {
    this.#isQueued = false;
    const { socket, outputBytesMax } = this.#options;
    const out = this.#out;
    if (socket.destroyed) {
      out.reset();
      return;
    }
    if (out.length > 0) {
      socket.write(out.buffer.subarray(0, out.length));
      out.reset();
      // What the kernel has not taken yet, the socket reads from this buffer later: it gets another one.
      const isKept = socket.writableLength === 0 && out.buffer.length <= limits.connectionOutputPauseBytes;
      if (!isKept) out.buffer = Buffer.allocUnsafeSlow(1024);
    }
    if (socket.writableLength > outputBytesMax) socket.destroy(new Error('the client does not read its replies'));
    else if (this.#isClosing && this.#inFlight === 0) socket.end();
    else this.#maybeResume();
  }

  #onFrame(source: Buffer, start: number, end: number): void {
    if (this.#isClosing) return;
    const request = this.#request;
    const wrong = readRequest(source, start, end, request);
    const { requestId, op, args, flags, identity } = request;
    if (wrong !== null) {
      this.#refuseConnection(new ProtocolError('KV_INVALID', `A request cannot be read: ${wrong}.`));
      return;
    }
    if (op >= FIRST_PROTOCOL_OP) {
      this.#protocolRequest(request);
      return;
    }
    if (this.#knownGeneration === 0) {
      this.#refuseConnection(new ProtocolError('KV_STATE', 'The first request of a connection must be HELLO.'));
      return;
    }
    const spec = commandByOp(op);
    if (spec === undefined || spec.flags.includes('internal')) {
      this.#fail(requestId, new SkerryError('KV_INVALID', `There is no command with the code ${op}.`));
      return;
    }
    const isArityRight = spec.arity < 0 ? args.count + 1 >= -spec.arity : args.count + 1 === spec.arity;
    if (!isArityRight) {
      this.#fail(requestId, new SkerryError('KV_INVALID', `${spec.name} does not take ${args.count} arguments.`));
      return;
    }
    this.#inFlight++;
    if (this.#inFlight >= IN_FLIGHT_MAX) this.#pause();
    if (spec.write) this.#writes.add(requestId);
    const hasIdentity = (flags & FLAG_IDENTITY) !== 0;
    this.#options.router.submit(spec, args, this, requestId, hasIdentity ? { ...identity } : null);
    this.#tellTopology();
  }

  #protocolRequest({ op, requestId, args }: RequestFrame): void {
    const { topology, status, version, workerIndex, frameBytesMax, splitRange } = this.#options;
    if (op === OP_HELLO) {
      const magic = args.count > 0 ? args.buffer.toString('latin1', args.start[0], args.end[0]) : '';
      const wanted = args.count > 1 ? Number(args.buffer.toString('latin1', args.start[1], args.end[1])) : 0;
      if (magic !== PROTOCOL_MAGIC || wanted !== PROTOCOL_VERSION) {
        const text = `This server speaks version ${PROTOCOL_VERSION} of the native protocol, the client wants ${magic} ${wanted}.`;
        this.#refuseConnection(new ProtocolError('KV_INVALID', text));
        return;
      }
      const current = topology();
      this.#knownGeneration = current.generation;
      this.#answer(requestId, {
        protocol: PROTOCOL_VERSION,
        server: version,
        workerIndex,
        frameBytesMax,
        topology: current,
      });
    } else if (op === OP_TOPOLOGY) {
      this.#answer(requestId, topology());
    } else if (op === OP_STATUS) {
      this.#answer(requestId, status());
    } else if (op === OP_PING) {
      this.#answer(requestId, null);
    } else if (op === OP_RANGE_SPLIT && args.count === 1) {
      this.#inFlight++;
      splitRange(Buffer.from(args.buffer.subarray(args.start[0], args.end[0]))).then(
        () => {
          this.#answer(requestId, topology());
          this.#answered(requestId);
        },
        (error: unknown) => {
          const known = error instanceof SkerryError ? error : new SkerryError('KV_STATE', String(error));
          this.#fail(requestId, known);
          this.#answered(requestId);
        },
      );
    } else {
      this.#fail(requestId, new SkerryError('KV_INVALID', `There is no protocol request with the code ${op}.`));
    }
  }

  /** Tells the client of new routing, once per change. */
  #tellTopology(): void {
    const current = this.#options.topology();
    if (current.generation === this.#knownGeneration) return;
    this.#knownGeneration = current.generation;
    const body = packMessage(current);
    this.#respond(0, STATUS_TOPOLOGY, body, 0, body.length);
  }

  #answer(requestId: number, value: unknown): void {
    const body = packMessage(value);
    this.#respond(requestId, STATUS_OK, body, 0, body.length);
  }

  #fail(requestId: number, error: SkerryError): void {
    const body = packStoreError(error);
    this.#respond(requestId, STATUS_STORE_ERROR, body, 0, body.length);
  }

  /** The other side does not keep to the protocol: says so and ends the connection. */
  #refuseConnection(error: ProtocolError): void {
    this.#reader.stop();
    this.#fail(0, error);
    this.close();
  }

  #respond(requestId: number, status: number, body: Buffer, start: number, end: number): void {
    const out = this.#out;
    out.reserve(RESPONSE_HEADER_BYTES);
    writeResponseHeader(out.buffer, out.length, requestId, status, end - start);
    out.length += RESPONSE_HEADER_BYTES;
    out.append(body, start, end);
    this.#wake();
  }

  #answered(slot: number): void {
    this.#inFlight--;
    this.#writes.delete(slot);
    this.#wake();
    if (this.#out.length > limits.connectionOutputPauseBytes) this.#pause();
  }

  #wake(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#options.flushQueue.add(this);
  }

  #pause(): void {
    this.#isPaused = true;
    this.#options.socket.pause();
  }

  #maybeResume(): void {
    const { socket } = this.#options;
    if (!this.#isPaused || socket.writableLength > 0 || this.#inFlight > IN_FLIGHT_MAX / 2) return;
    this.#isPaused = false;
    socket.resume();
  }
}
