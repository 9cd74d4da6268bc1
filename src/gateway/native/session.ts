/**
 * One native connection: frames in, replies out in whatever order they come (docs/native-protocol.md).
 *
 *     bytes ─▶ FrameReader ─▶ request ─┬─ of the protocol (HELLO, TOPOLOGY, RANGE_SPLIT …)   answered here
 *                                      └─ command ─▶ router.submit(…, connection, slot)
 */
import type { Socket } from 'node:net';
import { FrameReader } from '../../codec/native/frame-reader.ts';
import type { RequestFrame } from '../../codec/native/frame.ts';
import {
  createRequestFrame,
  FIRST_PROTOCOL_OP,
  FLAG_EXPLAIN,
  FLAG_IDENTITY,
  LENGTH_BYTES,
  OP_CLUSTER,
  OP_HELLO,
  OP_PING,
  OP_RANGE_SPLIT,
  OP_STATUS,
  OP_TOPOLOGY,
  PATIENCE_STEP_MS,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  ProtocolError,
  readRequest,
  REQUEST_HEADER_BYTES,
  STATUS_TOPOLOGY,
} from '../../codec/native/frame.ts';
import type { Topology } from '../../codec/native/messages.ts';
import { packMessage } from '../../codec/native/messages.ts';
import { SkerryError } from '../../core/errors.ts';
import type { Args } from '../../core/kv/args.ts';
import { argCopy, argText } from '../../core/kv/args.ts';
import { commandByOp, withConsistency, withExplanation } from '../../core/kv/table.ts';
import type { Submit } from '../../core/kv/submit.ts';
import type { ConnectionMeter } from '../../net/connection.ts';
import type { FlushQueue } from '../../net/flush-queue.ts';
import { NativeConnection } from './connection.ts';

/** What a session needs of the router. */
export interface NativeRouter {
  readonly submit: Submit;
}

/** What all sessions of a worker share. */
export interface NativeServices {
  readonly router: NativeRouter;
  /** This one, among all workers of the cluster. */
  readonly worker: number;
  readonly version: string;
  /** Of a request's length field. */
  readonly frameBytesMax: number;
  /** The same object as long as nothing has changed. */
  readonly topology: () => Topology;
  /** What the node says of itself, as plain data. */
  readonly status: () => Readonly<Record<string, unknown>>;
  /** Rejects with SkerryError. */
  readonly splitRange: (key: Buffer) => Promise<void>;
  readonly orderCluster: (order: readonly string[]) => Promise<unknown>;
  /** Counts what one piece of input brought. */
  readonly onCommands?: (reads: number, writes: number, others: number) => void;
}

export interface NativeSessionOptions {
  readonly socket: Socket;
  readonly flushQueue: FlushQueue;
  readonly services: NativeServices;
  readonly outputBytesMax: number;
  readonly largestValueBytes: () => number;
  readonly meter?: ConnectionMeter;
}

export type NativeCloseReason = 'client' | 'idle' | 'limit' | 'protocol' | 'output' | 'network' | 'shutdown';

/** Of the first frame, which is HELLO: a stranger gets no further. */
const HELLO_BYTES_MAX = 1024;

export class NativeSession {
  readonly connection: NativeConnection;
  /** Why the connection is (about to be) closed. */
  closeReason: NativeCloseReason = 'client';
  readonly #services: NativeServices;
  readonly #reader: FrameReader;
  readonly #request: RequestFrame = createRequestFrame();
  /** What the client was last told; null = it has not said hello. */
  #known: Topology | null = null;
  #isClosing = false;
  #isPaused = false;
  /** No more bytes come, but what is held back is still to be run. */
  #isEnded = false;
  // Since they were last counted.
  #reads = 0;
  #writes = 0;
  #others = 0;

  constructor({ socket, flushQueue, services, outputBytesMax, largestValueBytes, meter }: NativeSessionOptions) {
    this.#services = services;
    this.connection = new NativeConnection({
      socket,
      flushQueue,
      outputBytesMax,
      worker: services.worker,
      largestValueBytes,
      onPause: () => {
        this.#isPaused = true;
        this.#reader.pause();
      },
      onResume: () => {
        this.#isPaused = false;
        this.#read(null);
        if (this.#isEnded) this.onEnd();
      },
      onOverflow: () => {
        this.closeReason = 'output';
      },
      ...(meter === undefined ? {} : { meter }),
    });
    this.#reader = new FrameReader(REQUEST_HEADER_BYTES - LENGTH_BYTES, HELLO_BYTES_MAX, (source, start, end) =>
      this.#frame(source, start, end),
    );
  }

  onData(chunk: Buffer): void {
    if (!this.#isClosing) this.#read(chunk);
  }

  /** The client sends no more; it may still wait for replies. */
  onEnd(): void {
    this.#isEnded = true;
    if (!this.#isPaused) this.close('client');
  }

  /** Ends the connection after the replies that are owed. */
  close(reason: NativeCloseReason): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.closeReason = reason;
    this.#reader.stop();
    this.connection.closeWhenAnswered();
  }

  /** `chunk`: null = what was held back. */
  #read(chunk: Buffer | null): void {
    try {
      if (chunk === null) this.#reader.resume();
      else this.#reader.push(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#refuse(error);
    }
    if (this.#reads + this.#writes + this.#others > 0) {
      this.#services.onCommands?.(this.#reads, this.#writes, this.#others);
      this.#reads = this.#writes = this.#others = 0;
    }
  }

  #frame(source: Buffer, start: number, end: number): void {
    const request = this.#request;
    const wrong = readRequest(source, start, end, request);
    const { requestId, op } = request;
    if (requestId === 0 || !Number.isSafeInteger(requestId)) {
      this.#refuse(new ProtocolError('KV_INVALID', `a request cannot be read: ${wrong ?? 'it has no id'}`));
    } else if (this.#known === null && op !== OP_HELLO) {
      this.#refuse(new ProtocolError('KV_STATE', 'the first request of a connection must be HELLO'));
    } else if (wrong !== null) {
      this.#invalid(requestId, `the request cannot be read: ${wrong}`);
    } else if (op >= FIRST_PROTOCOL_OP) {
      this.#others++;
      this.#protocolRequest(request);
    } else {
      this.#command(request, end - start);
    }
  }

  #command({ requestId, op, args, flags, consistency, patience, identity }: RequestFrame, bytes: number): void {
    const known = commandByOp(op);
    if (known === undefined || known.flags.includes('internal')) {
      this.#invalid(requestId, `there is no command with the code ${op}`);
      return;
    }
    const isExplained = (flags & FLAG_EXPLAIN) !== 0;
    const asRead = withConsistency(known, consistency);
    const spec = isExplained ? withExplanation(asRead) : asRead;
    const given = args.count + 1;
    if (spec.arity < 0 ? given < -spec.arity : given !== spec.arity) {
      this.#invalid(requestId, `${spec.name} does not take ${args.count} arguments`);
      return;
    }
    const { connection } = this;
    if (spec.write) this.#writes++;
    else this.#reads++;
    // New routing goes before the reply, so that whoever reads the reply knows it.
    this.#tellTopology();
    const slot = connection.take(requestId, spec.write, bytes, spec.repliesValues(args));
    if (isExplained) connection.explainSlot(slot);
    if (patience > 0) connection.hurrySlot(slot, patience * PATIENCE_STEP_MS);
    const hasIdentity = (flags & FLAG_IDENTITY) !== 0;
    this.#services.router.submit(spec, args, connection, slot, hasIdentity ? { ...identity } : null);
  }

  #protocolRequest({ op, requestId, args }: RequestFrame): void {
    const { connection } = this;
    const { topology, status } = this.#services;
    if (op === OP_HELLO) this.#hello(requestId, args);
    else if (op === OP_TOPOLOGY) connection.answer(requestId, topology());
    else if (op === OP_STATUS) connection.answer(requestId, status());
    else if (op === OP_PING) connection.answer(requestId, 'PONG');
    else if (op === OP_CLUSTER) void this.#orderCluster(requestId, args);
    else if (op !== OP_RANGE_SPLIT) this.#invalid(requestId, `there is no protocol request with the code ${op}`);
    else if (args.count === 1) void this.#split(requestId, argCopy(args, 0));
    else this.#invalid(requestId, 'RANGE_SPLIT takes one key');
  }

  #hello(requestId: number, args: Args): void {
    const magic = args.count > 0 ? argText(args, 0) : '';
    const versions = args.count > 1 ? argText(args, 1).split(',') : [];
    if (magic !== PROTOCOL_MAGIC || !versions.includes(String(PROTOCOL_VERSION))) {
      const spoken = magic === PROTOCOL_MAGIC ? `version ${versions.join(', ')} of it` : 'something else';
      const text = `this store speaks version ${PROTOCOL_VERSION} of the native protocol, the client ${spoken}`;
      this.#refuse(new ProtocolError('KV_INVALID', text));
      return;
    }
    const { topology, version, worker, frameBytesMax } = this.#services;
    this.#known = topology();
    this.#reader.frameBytesMax = frameBytesMax;
    this.connection.answer(requestId, {
      protocol: PROTOCOL_VERSION,
      server: version,
      worker,
      frameBytesMax,
      topology: this.#known,
    });
  }

  #split(requestId: number, key: Buffer): Promise<void> {
    const { splitRange, topology } = this.#services;
    return this.#answerLater(requestId, async () => {
      await splitRange(key);
      return topology();
    });
  }

  #orderCluster(requestId: number, args: Args): Promise<void> {
    const order = Array.from({ length: args.count }, (_, i) => argText(args, i));
    return this.#answerLater(requestId, () => this.#services.orderCluster(order));
  }

  async #answerLater(requestId: number, work: () => Promise<unknown>): Promise<void> {
    const { connection } = this;
    // The reply is owed for as long as it takes, also when the connection is closed meanwhile.
    const slot = connection.take(requestId, false, 0);
    try {
      connection.answer(requestId, await work());
    } catch (cause) {
      const error = cause instanceof SkerryError ? cause : new SkerryError('KV_STATE', String(cause), { cause });
      connection.fail(requestId, error);
    }
    connection.release(slot);
  }

  /** Tells the client of new routing, once per change. */
  #tellTopology(): void {
    const current = this.#services.topology();
    if (current === this.#known) return;
    this.#known = current;
    this.connection.send(0, STATUS_TOPOLOGY, packMessage(current));
  }

  #invalid(requestId: number, message: string): void {
    this.#others++;
    this.connection.fail(requestId, new SkerryError('KV_INVALID', message));
  }

  /** The other side does not keep to the protocol: says so and ends the connection. */
  #refuse(error: ProtocolError): void {
    this.connection.fail(0, error);
    this.close('protocol');
  }
}
