/**
 * A store inside the caller's process: the same workers, log and recovery as a server's, and rings in place of sockets. The
 * calling thread is one more endpoint beside the workers.
 *
 *     call ─▶ EmbeddedLink.send ─▶ ring to the worker that has the range
 *     reply ◀─ events.reply ◀── drain ◀── ring from it
 */
import type { EmbeddedEndpoint, RunningServer } from './types.ts';
import { startServer } from './server.ts';
import { version } from './version.ts';
import { parseSettings } from './config.ts';
import type { Request } from '../client/call.ts';
import type { Link, Transport, TransportEvents } from '../client/transport.ts';
import type { Argument } from '../codec/native/frame.ts';
import {
  FIRST_PROTOCOL_OP,
  OP_CLUSTER,
  OP_PING,
  OP_RANGE_SPLIT,
  OP_STATUS,
  OP_TOPOLOGY,
  PROTOCOL_VERSION,
  STATUS_OK,
  STATUS_STORE_ERROR,
  STATUS_TOPOLOGY,
  statusOfReply,
} from '../codec/native/frame.ts';
import type { ServerExplanation } from '../codec/native/explanation.ts';
import type { HelloReply, Topology } from '../codec/native/messages.ts';
import { packMessage, packStoreError } from '../codec/native/messages.ts';
import { assert } from '../core/assert.ts';
import { SkerryError } from '../core/errors.ts';
import type { RangeExplanation } from '../core/kv/explanation.ts';
import type { ReplySink, ReplyTarget } from '../core/kv/reply.ts';
import { commandByOp, withConsistency, withExplanation } from '../core/kv/table.ts';
import { workerId, workerOf, WORKERS_MAX } from '../core/member.ts';
import type { NodeId } from '../core/brands.ts';
import { connectLink, EMBEDDED_PUBLISH_EVERY } from '../gateway/gateway.ts';
import { ExplainedRequests } from '../gateway/native/explained.ts';
import type { ForwardLink } from '../gateway/router/forward-link.ts';
import { Doorbell } from '../sharedarraybuffer-ring/index.ts';
import { TurnLoop } from '../../shards/turn-loop.ts';

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
      connectLink(end, endpoint.doorbells, EMBEDDED_PUBLISH_EVERY, () =>
        assert(false, 'nobody sends commands to the embedding thread'),
      ),
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

  doubt(): void {
    // There is no other way into the store.
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
  control(op: number, requestId: number, args: readonly Argument[]): void {
    if (op === OP_TOPOLOGY) this.#answer(requestId, this.#topology);
    else if (op === OP_STATUS) this.#answer(requestId, this.#server.status());
    else if (op === OP_PING) this.#answer(requestId, null);
    else if (op === OP_RANGE_SPLIT && args.length === 1) {
      this.#answerWith(requestId, async () => {
        await this.#server.splitRange(Buffer.from(args[0] as Argument));
        return this.#topology;
      });
    } else if (op === OP_CLUSTER) {
      this.#answerWith(requestId, () => this.#server.orderCluster(args.map((arg) => Buffer.from(arg).toString())));
    } else {
      this.#fail(requestId, new SkerryError('KV_INVALID', `There is no protocol request with the code ${op}.`));
    }
  }

  /** Hands a response to the client, after the call that made it. */
  respond(
    requestId: number,
    status: number,
    source: Buffer,
    start: number,
    end: number,
    explanation: ServerExplanation | null = null,
  ): void {
    this.#events?.reply(requestId, status, source, start, end, explanation);
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
    const body = packMessage(this.#topology);
    this.respond(0, STATUS_TOPOLOGY, body, 0, body.length);
  }

  #answerWith(requestId: number, work: () => Promise<unknown>): void {
    work().then(
      (value) => this.#answer(requestId, value),
      (error: SkerryError) => this.#fail(requestId, error),
    );
  }

  #answer(requestId: number, value: unknown): void {
    const body = packMessage(value);
    setImmediate(() => this.respond(requestId, STATUS_OK, body, 0, body.length));
  }

  #fail(requestId: number, error: SkerryError): void {
    const body = packStoreError(error);
    setImmediate(() => this.respond(requestId, STATUS_STORE_ERROR, body, 0, body.length));
  }
}

/** Whatever number the node has: it is the only one. */
const EMBEDDED_NODE = workerId(1 as NodeId, 0);

/** The way to one worker. Values are written where the worker reads them, replies are read where it wrote them. */
class EmbeddedLink implements Link {
  readonly worker: number;
  readonly #forward: ForwardLink;
  readonly #transport: EmbeddedTransport;
  readonly #reads: EmbeddedCaller;
  readonly #writes: EmbeddedCaller;
  readonly frameBytesMax = FRAME_BYTES_MAX;
  readonly isExact = true;
  inVainSinceMs = 0;
  readonly #explained: ExplainedRequests;

  constructor(workerIndex: number, forward: ForwardLink, transport: EmbeddedTransport) {
    this.worker = EMBEDDED_NODE + workerIndex;
    this.#explained = new ExplainedRequests(this.worker);
    this.#forward = forward;
    this.#transport = transport;
    const inFlight = { writes: 0 };
    this.#reads = new EmbeddedCaller(transport, this.#explained, inFlight, 0);
    this.#writes = new EmbeddedCaller(transport, this.#explained, inFlight, 1);
  }

  get lastReceivedMs(): number {
    return performance.now();
  }

  reserve(): boolean {
    return !this.#forward.overloaded;
  }

  send(requestId: number, _rangeId: number, _rangeEpoch: number, request: Request): void {
    const { op, args, consistency, isExplained } = request;
    if (op >= FIRST_PROTOCOL_OP) {
      this.#transport.control(op, requestId, args);
      return;
    }
    const known = commandByOp(op);
    assert(known !== undefined, 'the client knows the commands');
    const asRead = withConsistency(known, consistency);
    const spec = isExplained ? withExplanation(asRead) : asRead;
    if (isExplained) this.#explained.begin(requestId);
    const caller = spec.write ? this.#writes : this.#reads;
    this.#forward.requestValues(spec.op, args, caller, requestId);
    caller.sent();
    this.#transport.schedule();
  }
}

/** Waits for the replies to the reads, or the writes, of one link. They come as msgpack from its ring. */
class EmbeddedCaller implements ReplyTarget {
  readonly protocol = 4;
  readonly open = true;
  readonly #transport: EmbeddedTransport;
  readonly #explained: ExplainedRequests;
  /** Of the link. */
  readonly #inFlight: { writes: number };
  /** Writes that one request counts as. */
  readonly #weight: 0 | 1;

  constructor(transport: EmbeddedTransport, explained: ExplainedRequests, inFlight: { writes: number }, weight: 0 | 1) {
    this.#transport = transport;
    this.#explained = explained;
    this.#inFlight = inFlight;
    this.#weight = weight;
  }

  get writesInFlight(): number {
    return this.#inFlight.writes;
  }

  sent(): void {
    this.#inFlight.writes += this.#weight;
  }

  begin(): ReplySink {
    throw new SkerryError('KV_STATE', 'replies to the embedding thread come encoded');
  }

  finish(): void {
    throw new SkerryError('KV_STATE', 'replies to the embedding thread come encoded');
  }

  explain(requestId: number, explanation: RangeExplanation): void {
    this.#explained.add(requestId, explanation);
  }

  raw(requestId: number, source: Buffer, start: number, end: number): void {
    this.#inFlight.writes -= this.#weight;
    const explanation = this.#explained.take(requestId);
    this.#transport.respond(requestId, statusOfReply(source, start), source, start, end, explanation);
  }
}
