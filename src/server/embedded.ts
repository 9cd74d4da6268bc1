/**
 * A store inside the caller's process: the same workers, log and recovery as a server's, and rings in place of sockets. The
 * calling thread is one more endpoint beside the workers.
 *
 *     call ─▶ frame ─▶ EmbeddedLink.commit ─▶ ring to the worker that has the range
 *     reply ◀─ events.frame ◀── drain ◀────── ring from it
 */
import type { EmbeddedEndpoint, RunningServer } from './types.ts';
import { startServer } from './server.ts';
import { version } from './version.ts';
import { parseSettings } from './config.ts';
import type { Link, Transport, TransportEvents } from '../client/transport.ts';
import {
  createRequestFrame,
  FIRST_PROTOCOL_OP,
  FLAG_IDENTITY,
  OP_CLUSTER,
  OP_PING,
  OP_RANGE_SPLIT,
  OP_STATUS,
  OP_TOPOLOGY,
  PROTOCOL_VERSION,
  readRequest,
  RESPONSE_HEADER_BYTES,
  STATUS_OK,
  STATUS_STORE_ERROR,
  STATUS_TOPOLOGY,
  statusOfReply,
  writeResponseHeader,
} from '../codec/native/frame.ts';
import type { RequestFrame } from '../codec/native/frame.ts';
import type { HelloReply, Topology } from '../codec/native/messages.ts';
import { packMessage, packStoreError } from '../codec/native/messages.ts';
import { assert } from '../core/assert.ts';
import { SkerryError } from '../core/errors.ts';
import type { ReplySink, ReplyTarget } from '../core/kv/reply.ts';
import { commandByOp, withConsistency } from '../core/kv/table.ts';
import { workerId, workerOf, WORKERS_MAX } from '../core/member.ts';
import type { NodeId } from '../core/brands.ts';
import { connectLink } from '../gateway/gateway.ts';
import type { ForwardLink } from '../gateway/router/forward-link.ts';
import { Doorbell } from '../sharedarraybuffer-ring/index.ts';
import { TurnLoop } from '../../shards/turn-loop.ts';

const BUFFER_BYTES = 4096;
const FRAME_BYTES_MAX = 2 ** 30;

/** Opens the store in `dataDir`, which is made if it is not there. `values`: settings as in the configuration file. */
export async function openEmbedded(
  dataDir: string,
  values: Readonly<Record<string, unknown>> | undefined,
): Promise<Transport> {
  const settings = parseSettings({ flags: { dataDir, logLevel: 'warn' }, values: values ?? {} });
  const transport: { current: EmbeddedTransport | null } = { current: null };
  const server = await startServer(settings, {
    listens: false,
    onFatal: (error) => {
      transport.current?.stopped(error);
    },
  });
  assert(server.endpoint !== null, 'an embedded store has an endpoint');
  transport.current = new EmbeddedTransport(server, server.endpoint);
  return transport.current;
}

class EmbeddedTransport implements Transport {
  readonly #server: RunningServer;
  readonly #endpoint: EmbeddedEndpoint;
  readonly #links: readonly EmbeddedLink[];
  readonly #loop: TurnLoop;
  #events: TransportEvents | null = null;
  #generation = 1;
  #failure: SkerryError | null = null;

  constructor(server: RunningServer, endpoint: EmbeddedEndpoint) {
    this.#server = server;
    this.#endpoint = endpoint;
    const forwards: ForwardLink[] = endpoint.links.map((end) =>
      connectLink(end, endpoint.doorbells, () => assert(false, 'nobody sends commands to the embedding thread')),
    );
    this.#loop = new TurnLoop({
      doorbell: new Doorbell(endpoint.doorbells.at(-1) as SharedArrayBuffer),
      turn: () => {
        for (const forward of forwards) forward.drain();
        for (const forward of forwards) forward.flush();
      },
      isReady: () => forwards.some((forward) => forward.readable),
      onFatal: (error) => this.stopped(new SkerryError('KV_STATE', `The store failed: ${String(error)}`)),
    });
    this.#links = forwards.map((forward, i) => new EmbeddedLink(i, forward, this));
    endpoint.onRoutes(() => this.#notice());
  }

  open(events: TransportEvents): Promise<HelloReply> {
    this.#events = events;
    const hello: HelloReply = {
      protocol: PROTOCOL_VERSION,
      server: version,
      worker: EMBEDDED_NODE,
      frameBytesMax: FRAME_BYTES_MAX,
      topology: this.#topology,
    };
    for (const link of this.#links) events.up(link, hello);
    this.#loop.schedule();
    return Promise.resolve(hello);
  }

  route(worker: number): Link | null {
    return this.#failure === null ? (this.#links[worker % WORKERS_MAX] ?? this.#links[0] ?? null) : null;
  }

  connect(): void {
    if (this.#failure !== null) this.#events?.unreachable(this.#failure);
  }

  learn(): void {
    // The links do not change with the ranges.
  }

  fail(): void {
    // A ring is not silent for want of a network: the deadline of the call says all there is to say.
  }

  async close(): Promise<void> {
    await this.#server.close();
    this.#loop.stop();
  }

  /** The store cannot go on. */
  stopped(error: SkerryError): void {
    this.#failure = error;
    this.#loop.stop();
    for (const link of this.#links) this.#events?.down(link, error);
  }

  /** A request to the store itself. */
  control({ op, requestId, args }: RequestFrame): void {
    if (op === OP_TOPOLOGY) this.#answer(requestId, this.#topology);
    else if (op === OP_STATUS) this.#answer(requestId, this.#server.status());
    else if (op === OP_PING) this.#answer(requestId, null);
    else if (op === OP_RANGE_SPLIT && args.count === 1) {
      const key = Buffer.from(args.buffer.subarray(args.start[0], args.end[0]));
      this.#server.splitRange(key).then(
        () => this.#answer(requestId, this.#topology),
        (error: SkerryError) => this.respond(requestId, STATUS_STORE_ERROR, packStoreError(error)),
      );
    } else if (op === OP_CLUSTER) {
      const { buffer, start, end } = args;
      const order = Array.from({ length: args.count }, (_, i) => buffer.toString('utf8', start[i], end[i]));
      this.#server.orderCluster(order).then(
        (value) => this.#answer(requestId, value),
        (error: SkerryError) => this.respond(requestId, STATUS_STORE_ERROR, packStoreError(error)),
      );
    } else {
      const error = new SkerryError('KV_INVALID', `There is no protocol request with the code ${op}.`);
      this.respond(requestId, STATUS_STORE_ERROR, packStoreError(error));
    }
  }

  /** Hands a response to the client, after the call that made it. */
  respond(requestId: number, status: number, body: Buffer): void {
    const frame = Buffer.allocUnsafe(RESPONSE_HEADER_BYTES + body.length);
    writeResponseHeader(frame, 0, requestId, status, body.length);
    body.copy(frame, RESPONSE_HEADER_BYTES);
    this.#events?.frame(frame, 0, frame.length);
  }

  schedule(): void {
    this.#loop.schedule();
  }

  get #topology(): Topology {
    return {
      generation: this.#generation,
      workers: this.#links.map(({ worker }) => ({ worker, host: '', port: 0 })),
      ranges: this.#endpoint.routes().map(({ range, leader, term }) => ({
        rangeId: range.rangeId,
        startKey: range.startKey,
        endKey: range.endKey,
        epoch: range.epoch,
        worker: (this.#links[workerOf(leader) % this.#links.length] as EmbeddedLink).worker,
        term,
      })),
    };
  }

  #notice(): void {
    this.#generation++;
    this.respond(0, STATUS_TOPOLOGY, packMessage(this.#topology));
  }

  #answer(requestId: number, value: unknown): void {
    const body = packMessage(value);
    setImmediate(() => this.respond(requestId, STATUS_OK, body));
  }
}

/** Whatever number the node has: it is the only one. */
const EMBEDDED_NODE = workerId(1 as NodeId, 0);

/** The way to one worker. Replies come as msgpack from its ring. */
class EmbeddedLink implements Link, ReplyTarget {
  readonly worker: number;
  readonly #forward: ForwardLink;
  readonly #transport: EmbeddedTransport;
  readonly #request = createRequestFrame();
  buffer: Buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  readonly offset = 0;
  readonly frameBytesMax = FRAME_BYTES_MAX;
  readonly protocol = 4;
  readonly open = true;
  #writes = 0;
  readonly #writeIds = new Set<number>();

  constructor(workerIndex: number, forward: ForwardLink, transport: EmbeddedTransport) {
    this.worker = EMBEDDED_NODE + workerIndex;
    this.#forward = forward;
    this.#transport = transport;
  }

  get lastReceivedMs(): number {
    return performance.now();
  }

  get writesInFlight(): number {
    return this.#writes;
  }

  reserve(bytes: number): boolean {
    if (this.#forward.overloaded) return false;
    if (bytes > this.buffer.length) this.buffer = Buffer.allocUnsafeSlow(bytes * 2);
    return true;
  }

  commit(bytes: number): void {
    const request = this.#request;
    const wrong = readRequest(this.buffer, 0, bytes, request);
    assert(wrong === null, 'the client writes frames that can be read');
    const { op, requestId, args, flags, consistency, identity } = request;
    if (op >= FIRST_PROTOCOL_OP) {
      this.#transport.control(request);
      return;
    }
    const known = commandByOp(op);
    assert(known !== undefined, 'the client knows the commands');
    const spec = withConsistency(known, consistency);
    if (spec.write) {
      this.#writes++;
      this.#writeIds.add(requestId);
    }
    const hasIdentity = (flags & FLAG_IDENTITY) !== 0;
    this.#forward.request(spec, args, this, requestId, hasIdentity ? { ...identity } : null, null);
    this.#transport.schedule();
  }

  begin(): ReplySink {
    throw new SkerryError('KV_STATE', 'replies to the embedding thread come encoded');
  }

  finish(): void {
    throw new SkerryError('KV_STATE', 'replies to the embedding thread come encoded');
  }

  raw(requestId: number, source: Buffer, start: number, end: number): void {
    if (this.#writeIds.delete(requestId)) this.#writes--;
    this.#transport.respond(requestId, statusOfReply(source, start), source.subarray(start, end));
  }
}
