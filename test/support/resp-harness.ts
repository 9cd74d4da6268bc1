/**
 * A RESP server of one thread: the real sessions, connections and router over ranges that are plain state machines.
 * Writes are applied a turn later, as if a disk had to say yes; ranges of `remote` workers answer with encoded bytes some
 * turns later, as if over a ring.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createConnection } from 'node:net';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import { createReplyWriter } from '../../src/codec/reply-writer.ts';
import type { NodeId, RangeId, Term } from '../../src/core/brands.ts';
import type { Args } from '../../src/core/kv/args.ts';
import { copyArgs } from '../../src/core/kv/args.ts';
import type { ReplyTarget } from '../../src/core/kv/reply.ts';
import type { CommandSpec } from '../../src/core/kv/spec.ts';
import { commandByOp } from '../../src/core/kv/table.ts';
import { memberId } from '../../src/core/member.ts';
import type { Route } from '../../src/core/range.ts';
import type { NodeFigures } from '../../src/gateway/node-figures.ts';
import { figuresSince } from '../../src/gateway/node-figures.ts';
import type { AskAll } from '../../src/gateway/node-questions.ts';
import { answerQuestion, createWholeNode } from '../../src/gateway/node-questions.ts';
import { createClientRegistry } from '../../src/gateway/resp/clients.ts';
import type { ShownSettings } from '../../src/gateway/resp/config.ts';
import { infoSections } from '../../src/gateway/resp/info.ts';
import type { CloseReason, RespServer } from '../../src/gateway/resp/server.ts';
import { createRespServer } from '../../src/gateway/resp/server.ts';
import { CursorTable, createCursorTable } from '../../src/gateway/router/cursor-table.ts';
import { RouteTable } from '../../src/gateway/router/route-table.ts';
import { Router } from '../../src/gateway/router/router.ts';
import { createWalk } from '../../src/gateway/router/walk.ts';
import { createFlushQueue } from '../../src/net/flush-queue.ts';
import { listen } from '../../src/net/listener.ts';
import { KvMachine } from './kv-machine.ts';

export interface HarnessOptions {
  readonly connectionsMax?: number;
  readonly outputBytesMax?: number;
  readonly idleTimeoutMs?: number;
  readonly valueBytesMax?: number;
  /** Keys at which the store is split; every second range is on another worker. */
  readonly splitAt?: readonly string[];
  /** Called when a command was handed to the other worker. */
  readonly onForward?: (table: RouteTable) => void;
}

export interface RespHarness {
  readonly port: number;
  readonly server: RespServer;
  /** Why connections were closed, in order. */
  readonly closed: CloseReason[];
  /** Commands that the router was given. */
  submitted(): number;
  /** Commands that were counted. */
  counted(): number;
  /** What the connections' meter was told. */
  readonly sent: readonly { readonly bytes: number; readonly replies: number }[];
  readonly latencies: readonly number[];
  /** Codes of the errors that were answered. */
  readonly errors: readonly string[];
  stop(): Promise<void>;
}

interface Waiting {
  readonly spec: CommandSpec;
  readonly args: Args;
  readonly target: ReplyTarget;
  readonly slot: number;
}

/** A range whose writes wait for a turn of the loop; reads of a connection that has some wait behind them. */
class FakeRange {
  readonly isLeader = true;
  readonly #machine: KvMachine;
  #waiting: Waiting[] = [];

  constructor(valueBytesMax: number) {
    this.#machine = new KvMachine({ valueBytesMax });
  }

  standDown(): void {
    // It leads for ever.
  }

  submit(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number): void {
    if (!spec.write && target.writesInFlight === 0) this.#run(spec, args, target, slot);
    else this.#wait({ spec, args: copyArgs(args), target, slot });
  }

  #wait(waiting: Waiting): void {
    if (this.#waiting.length === 0) {
      setImmediate(() => {
        const due = this.#waiting;
        this.#waiting = [];
        for (const { spec, args, target, slot } of due) this.#run(spec, args, target, slot);
      });
    }
    this.#waiting.push(waiting);
  }

  #run(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number): void {
    this.#machine.nowMs = Date.now();
    this.#machine.runInto(target.begin(slot), spec, args);
    target.finish(slot);
  }
}

/** Stands at the other end of a ring: encodes the reply there and hands over the bytes. */
class RemoteReply implements ReplyTarget {
  readonly open = true;
  readonly protocol;
  readonly writesInFlight;
  readonly #out = new ByteWriter(Buffer.alloc(0));
  readonly #asker: ReplyTarget;

  constructor(asker: ReplyTarget) {
    this.#asker = asker;
    this.protocol = asker.protocol;
    this.writesInFlight = asker.writesInFlight;
  }
  begin() {
    return createReplyWriter(this.protocol, this.#out);
  }
  finish(slot: number): void {
    this.raw(slot, this.#out.buffer, 0, this.#out.length);
  }
  raw(slot: number, source: Buffer, start: number, end: number): void {
    const bytes = Buffer.from(source.subarray(start, end));
    setImmediate(() => this.#asker.raw(slot, bytes, 0, bytes.length));
  }
}

export async function startRespHarness(options: HarnessOptions = {}): Promise<RespHarness> {
  const { connectionsMax = 1000, outputBytesMax = 64 * 2 ** 20, idleTimeoutMs = 0, valueBytesMax = 2 ** 20 } = options;
  const bounds = [Buffer.alloc(0), ...(options.splitAt ?? []).map((key) => Buffer.from(key))];
  const routes: Route[] = bounds.map((startKey, i) => ({
    range: {
      rangeId: (i + 1) as RangeId,
      startKey,
      endKey: bounds[i + 1] ?? null,
      epoch: { confVersion: 1, version: 1 },
      replicas: [{ memberId: memberId(1 as NodeId, i % 2, 1), role: 'voter' }],
    },
    leader: memberId(1 as NodeId, i % 2, 1),
    term: 1 as Term,
  }));
  const ranges = new Map(routes.map(({ range }) => [range.rangeId, new FakeRange(valueBytesMax)]));
  const table = new RouteTable();
  table.update(routes);
  let submitted = 0;
  let isScheduled = false;
  const flushQueue = createFlushQueue(() => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      flushQueue.flushAll();
    });
  });
  const router = new Router({
    nodeId: 1 as NodeId,
    table,
    localRange: (rangeId) => ranges.get(rangeId),
    remotes: [
      null,
      {
        overloaded: false,
        request(spec, args, target, slot, _requestId, scope) {
          const copy = copyArgs(args);
          const range =
            scope === null
              ? table.find(copy.buffer, copy.start[spec.firstKey - 1] as number, copy.end[spec.firstKey - 1] as number)
              : { range: { rangeId: scope.rangeId } };
          setImmediate(() =>
            (ranges.get(range.range.rangeId) as FakeRange).submit(spec, copy, new RemoteReply(target), slot),
          );
          options.onForward?.(table);
        },
      },
    ],
    walk: createWalk(new CursorTable(createCursorTable(), 0, 1)),
    nowMs: Date.now,
    monotonicMs: () => performance.now(),
    leaderWaitMs: 1000,
    commandByOp,
    onForward: () => undefined,
  });
  const submit = router.submit.bind(router);
  let longestArgBytes = 0;
  router.submit = (...given) => {
    submitted++;
    const { start, end, count } = given[1];
    for (let i = 0; i < count; i++) {
      longestArgBytes = Math.max(longestArgBytes, (end[i] as number) - (start[i] as number));
    }
    submit(...given);
  };
  const closed: CloseReason[] = [];
  const sent: { bytes: number; replies: number }[] = [];
  const latencies: number[] = [];
  const errors: string[] = [];
  let counted = 0;
  let settings: ShownSettings = {
    host: '127.0.0.1',
    respPort: 0,
    workerCount: 1,
    maxOutputBytes: outputBytesMax,
    maxValueBytes: valueBytesMax,
    maxConnections: connectionsMax,
    idleTimeoutMs,
    maxMemoryBytes: 2 ** 30,
    maxRecoverySeconds: 10,
    logLevel: 'info',
  };
  const clients = createClientRegistry(0, 1);
  const figures = (): NodeFigures => ({
    connections: server.connectionCount,
    connectionsTotal: 0,
    connectionsRefused: 0,
    commandsTotal: submitted,
    bytesIn: 0,
    bytesOut: 0,
    keys: 0,
    keysExpiring: 0,
    keysExpired: 0,
    keyspaceHits: 0,
    keyspaceMisses: 0,
    memoryUsedBytes: 0,
    ranges: routes.length,
  });
  let baseline: NodeFigures | null = null;
  const askAll: AskAll = async (question) => {
    await new Promise((resolve) => setImmediate(resolve));
    return [answerQuestion(question, { clients, nowMs: Date.now, setBaseline: (then) => (baseline = then) })];
  };
  const server = createRespServer({
    isFull: () => server.connectionCount >= connectionsMax,
    outputBytesMax,
    largestValueBytes: () => longestArgBytes,
    idleTimeoutMs,
    flushQueue,
    services: {
      router,
      config: {
        settings: () => settings,
        change: async (changes) => {
          await new Promise((resolve) => setImmediate(resolve));
          settings = { ...settings, ...changes };
        },
      },
      info: () =>
        infoSections({
          version: '0.0.0',
          runId: 'a'.repeat(40),
          startedAtMs: Date.now(),
          nowMs: Date.now(),
          port: 0,
          workerCount: 1,
          connectionsMax,
          memoryMaxBytes: 0,
          memoryPeakBytes: 0,
          figures: figuresSince(baseline, figures()),
          rates: { commands: 0, bytesIn: 0, bytesOut: 0 },
        }),
      clients,
      node: createWholeNode(askAll, figures),
      nowMs: Date.now,
      valueBytesMax,
      version: '0.0.0',
      onCommands: (reads, writes, others) => (counted += reads + writes + others),
    },
    onOpen: () => undefined,
    onClose: (reason) => void closed.push(reason),
    onBytesIn: () => undefined,
    meter: {
      sent: (bytes, replies) => sent.push({ bytes, replies }),
      latency: (us) => latencies.push(us),
      failed: (code) => errors.push(code),
    },
  });
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    isShared: false,
    sharesReads: true,
    onConnection: server.onConnection,
  });
  return {
    port: listener.port,
    server,
    closed,
    submitted: () => submitted,
    counted: () => counted,
    sent,
    latencies,
    errors,
    async stop() {
      listener.close();
      server.destroy();
      while (server.connectionCount > 0) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** A client that deals in bytes. */
export class RawClient {
  readonly socket: Socket;
  #received: Buffer[] = [];
  #bytes = 0;
  #wake: () => void = () => undefined;
  isEnded = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#bytes += chunk.length;
      this.#wake();
    });
    socket.on('close', () => {
      this.isEnded = true;
      this.#wake();
    });
    // Being cut off is what some tests wait for: 'close' follows.
    socket.on('error', () => undefined);
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  send(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  get receivedBytes(): number {
    return this.#bytes;
  }

  /** Everything received so far, as latin1. */
  get text(): string {
    const whole = Buffer.concat(this.#received);
    this.#received = [whole];
    return whole.toString('latin1');
  }

  /** Waits until that many bytes have come, and takes all that there are. */
  async take(bytes: number): Promise<string> {
    await this.until(() => this.#bytes >= bytes);
    const { text } = this;
    this.#received = [];
    this.#bytes = 0;
    return text;
  }

  /** Waits until the server has closed the connection; resolves with all that came. */
  async ended(): Promise<string> {
    await this.until(() => false);
    return this.text;
  }

  /** Sends and waits for as many bytes as `expected` has. */
  async ask(request: string | Buffer, expected: string): Promise<string> {
    this.send(request);
    return this.take(expected.length);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!this.isEnded && !condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  close(): void {
    this.socket.destroy();
  }
}

/** A command as clients send it. */
export function resp(...words: readonly (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = typeof word === 'string' ? Buffer.from(word, 'latin1') : word;
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}
