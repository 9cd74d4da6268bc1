/**
 * A native server of one thread: the real sessions and the real router over ranges that are plain state machines. Writes
 * are applied a turn later, as if a disk had to say yes.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createConnection } from 'node:net';
import { createByteWriter } from '../../src/codec/byte-writer.ts';
import {
  LENGTH_BYTES,
  OP_HELLO,
  requestBytesMax,
  RESPONSE_HEADER_BYTES,
  writeRequest,
} from '../../src/codec/native/frame.ts';
import type { Argument } from '../../src/codec/native/frame.ts';
import { FrameReader } from '../../src/codec/native/frame-reader.ts';
import { unpackMessage } from '../../src/codec/native/messages.ts';
import { NativeReplyWriter } from '../../src/codec/native/reply-writer.ts';
import type { NodeId, RangeId, Term } from '../../src/core/brands.ts';
import { SkerryError } from '../../src/core/errors.ts';
import type { Args } from '../../src/core/kv/args.ts';
import { copyArgs } from '../../src/core/kv/args.ts';
import type { RequestId } from '../../src/core/kv/batch.ts';
import { readU64 } from '../../src/core/kv/batch.ts';
import type { ReplyTarget } from '../../src/core/kv/reply.ts';
import type { CommandSpec } from '../../src/core/kv/spec.ts';
import { commandByOp } from '../../src/core/kv/table.ts';
import type { SubmittedCommand } from '../../src/core/kv/submit.ts';
import { memberId } from '../../src/core/member.ts';
import type { Route } from '../../src/core/range.ts';
import { createNativeServer } from '../../src/gateway/native/server.ts';
import type { NativeServer, NodePlace } from '../../src/gateway/native/server.ts';
import { createCursorTable, CursorTable } from '../../src/gateway/router/cursor-table.ts';
import { RouteTable } from '../../src/gateway/router/route-table.ts';
import { Router } from '../../src/gateway/router/router.ts';
import { createWalk } from '../../src/gateway/router/walk.ts';
import { createFlushQueue } from '../../src/net/flush-queue.ts';
import { listen } from '../../src/net/listener.ts';
import { KvMachine } from './kv-machine.ts';

export interface NativeHarnessOptions {
  readonly splitAt?: readonly string[];
  readonly connectionsMax?: number;
  readonly outputBytesMax?: number;
  readonly valueBytesMax?: number;
  readonly idleTimeoutMs?: number;
}

/** A range whose writes wait for a turn of the loop, and the reads of their connections behind them. */
class FakeRange {
  readonly isLeader = true;
  readonly machine: KvMachine;
  /** Nothing that waits is run until this is false. */
  isStuck = false;
  readonly #version: number;
  readonly #waiting: SubmittedCommand[] = [];

  constructor(valueBytesMax: number, version: number) {
    this.machine = new KvMachine({ valueBytesMax });
    this.#version = version;
  }

  standDown(): void {
    // It leads for ever.
  }

  submit(
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scopeVersion: number,
  ): void {
    if (scopeVersion !== 0 && scopeVersion !== this.#version) {
      target.begin(slot).error('RANGEMOVED the boundaries of the range have changed');
      target.finish(slot);
    } else if (!spec.write && target.writesInFlight === 0) {
      this.#run({ spec, args, target, slot, requestId });
    } else {
      this.#waiting.push({ spec, args: copyArgs(args), target, slot, requestId });
      setImmediate(() => this.release());
    }
  }

  release(): void {
    if (this.isStuck) return;
    for (const waiting of this.#waiting.splice(0)) this.#run(waiting);
  }

  #run({ spec, args, target, slot, requestId }: SubmittedCommand): void {
    this.machine.nowMs = Date.now();
    // Every other reply comes encoded, as from another worker.
    if (slot % 2 === 0) {
      this.machine.runInto(target.begin(slot), spec, args, requestId ?? undefined);
      target.finish(slot);
    } else {
      const out = createByteWriter();
      this.machine.runInto(new NativeReplyWriter(out), spec, args, requestId ?? undefined);
      target.raw(slot, out.buffer, 0, out.length);
    }
  }
}

const harnessMember = memberId(1 as NodeId, 0, 1);

export interface NativeHarness {
  readonly port: number;
  readonly server: NativeServer;
  /** The first range. */
  readonly range: FakeRange;
  readonly splits: string[];
  counted(): number;
  /** Resolves when so many connections have been closed. */
  untilClosed(count: number): Promise<readonly string[]>;
  /** Cuts the key space at these keys, and hands each new range its keys. Nothing may be waiting. */
  cut(splitAt: readonly string[]): void;
  stop(): Promise<void>;
}

export async function startNativeHarness(options: NativeHarnessOptions = {}): Promise<NativeHarness> {
  const { connectionsMax = 1000, outputBytesMax = 2 ** 26, idleTimeoutMs = 0, valueBytesMax = 2 ** 20 } = options;
  const table = new RouteTable();
  let ranges: FakeRange[] = [];
  let version = 0;
  const cut = (splitAt: readonly string[]): void => {
    version++;
    const bounds = [Buffer.alloc(0), ...splitAt.map((key) => Buffer.from(key))];
    const routes = bounds.map((startKey, i): Route => ({
      range: {
        rangeId: i as RangeId,
        startKey,
        endKey: bounds[i + 1] ?? null,
        epoch: { confVersion: 1, version },
        replicas: [{ memberId: harnessMember, role: 'voter' }],
      },
      leader: harnessMember,
      term: 1 as Term,
    }));
    const old = ranges;
    ranges = routes.map(() => new FakeRange(valueBytesMax, version));
    table.reset(routes);
    for (const { machine } of old) {
      const cursor = machine.store.cursor();
      for (let more = cursor.first(); more; more = cursor.next()) {
        const { keyBuffer: key, keyStart, keyEnd, value } = cursor;
        const { buffer, start, end, version: valueVersion, expiresAtMs, tag } = value;
        const { store } = (ranges[table.find(key, keyStart, keyEnd).range.rangeId] as FakeRange).machine;
        store.put(key, keyStart, keyEnd, buffer, start, end, valueVersion, expiresAtMs, tag);
      }
    }
  };
  cut(options.splitAt ?? []);
  const flushQueue = createFlushQueue(() => setImmediate(() => flushQueue.flushAll()));
  const router = new Router({
    nodeId: 1 as NodeId,
    table,
    localRange: (rangeId) => ranges[rangeId],
    remotes: [null],
    walk: createWalk(new CursorTable(createCursorTable(), 0, 1)),
    nowMs: Date.now,
    monotonicMs: () => performance.now(),
    leaderWaitMs: 1000,
    commandByOp,
    onForward: () => undefined,
  });
  const closed: string[] = [];
  const splits: string[] = [];
  let counted = 0;
  let places: readonly NodePlace[] = [];
  const server = createNativeServer({
    gateway: { table, router, flushQueue },
    nodeId: 1 as NodeId,
    workerIndex: 0,
    version: '0.0.0',
    valueBytesMax,
    isFull: () => server.connectionCount >= connectionsMax,
    outputBytesMax,
    largestValueBytes: () => 0,
    idleTimeoutMs,
    places: () => places,
    orderCluster: (order) => Promise.resolve({ order }),
    splitRange(key) {
      if (key.length === 0) return Promise.reject(new SkerryError('KV_INVALID', 'a range cannot be cut at its start'));
      splits.push(String(key));
      cut([...table.routes.slice(1).map((route) => String(route.range.startKey)), String(key)].sort());
      return Promise.resolve();
    },
    status: () => ({ version: '0.0.0', keys: ranges.reduce((keys, { machine }) => keys + machine.store.keyCount, 0) }),
    onCommands: (reads, writes, others) => (counted += reads + writes + others),
    onOpen: () => undefined,
    onClose: (reason) => closed.push(reason),
    onBytesIn: () => undefined,
  });
  const { port, close } = await listen({
    host: '127.0.0.1',
    port: 0,
    isShared: false,
    sharesReads: true,
    onConnection: server.onConnection,
  });
  places = [{ nodeId: 1, host: '', workerPorts: [port] }];
  return {
    port,
    server,
    get range() {
      return ranges[0] as FakeRange;
    },
    splits,
    counted: () => counted,
    async untilClosed(count) {
      while (closed.length < count) await new Promise((resolve) => setImmediate(resolve));
      return closed;
    },
    cut,
    async stop() {
      close();
      server.destroy();
      while (server.connectionCount > 0) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

export interface RawResponse {
  readonly requestId: number;
  readonly status: number;
  readonly value: unknown;
}

/** A request as clients send it. */
export function request(
  requestId: number,
  op: number,
  args: readonly Argument[],
  identity: RequestId | null = null,
): Buffer {
  const bytes = Buffer.alloc(requestBytesMax(args));
  return bytes.subarray(0, writeRequest(bytes, 0, requestId, 0, 0, op, 0, identity, args));
}

/** A client that deals in frames. */
export class RawNativeClient {
  readonly socket: Socket;
  readonly responses: RawResponse[] = [];
  isEnded = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    const reader = new FrameReader(RESPONSE_HEADER_BYTES - LENGTH_BYTES, 2 ** 30, (source, start, end) => {
      this.responses.push({
        requestId: readU64(source, start + 4),
        status: source[start + 12] as number,
        value: unpackMessage(source, start + RESPONSE_HEADER_BYTES, end),
      });
    });
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      this.#wake();
    });
    const ended = (): void => {
      this.isEnded = true;
      socket.end();
      this.#wake();
    };
    socket.on('end', ended);
    socket.on('close', ended);
    // Being cut off is what some tests wait for: 'close' follows.
    socket.on('error', () => undefined);
  }

  /** Connects; says hello unless told not to. */
  static async connect(port: number, saysHello = true): Promise<RawNativeClient> {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    await once(socket, 'connect');
    const client = new RawNativeClient(socket);
    if (saysHello) {
      client.socket.write(request(1, OP_HELLO, ['SKERRY', '1', 'raw']));
      await client.until(() => client.responses.length > 0);
      client.responses.length = 0;
    }
    return client;
  }

  /** The response to a request, once it is there. */
  async response(requestId: number): Promise<RawResponse> {
    const find = (): RawResponse | undefined => this.responses.find((response) => response.requestId === requestId);
    await this.until(() => find() !== undefined);
    const found = find();
    if (found === undefined) throw new Error(`the connection ended before request ${requestId} was answered`);
    return found;
  }

  async until(condition: () => boolean): Promise<void> {
    while (!this.isEnded && !condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  async ended(): Promise<void> {
    await this.until(() => false);
  }
}
