/** Accepts native connections and gives each its session. */
import type { Socket } from 'node:net';
import { RESPONSE_HEADER_BYTES, STATUS_STORE_ERROR, writeResponseHeader } from '../../codec/native/frame.ts';
import type { Topology } from '../../codec/native/messages.ts';
import { packStoreError } from '../../codec/native/messages.ts';
import { SkerryError } from '../../core/errors.ts';
import type { NodeId } from '../../core/brands.ts';
import { nodeOf, workerId, workerOf, WORKERS_MAX } from '../../core/member.ts';
import type { ConnectionMeter } from '../../net/connection.ts';
import { endGently } from '../../net/end-gently.ts';
import type { FlushQueue } from '../../net/flush-queue.ts';
import type { RouteTable } from '../router/route-table.ts';
import type { NativeCloseReason, NativeRouter } from './session.ts';
import { NativeSession } from './session.ts';

/** Where the workers of a node take native connections of their own. */
export interface NodePlace {
  readonly nodeId: number;
  /** Empty: the host that the client dialled. */
  readonly host: string;
  /** By worker. */
  readonly workerPorts: readonly number[];
}

export interface NativeServerOptions {
  readonly gateway: { readonly table: RouteTable; readonly router: NativeRouter; readonly flushQueue: FlushQueue };
  readonly nodeId: NodeId;
  readonly workerIndex: number;
  readonly version: string;
  readonly valueBytesMax: number;
  /** Whether there are as many connections as may be; then one more is told so and closed. */
  readonly isFull: () => boolean;
  readonly outputBytesMax: number;
  /** No value in this node's memory is longer. */
  readonly largestValueBytes: () => number;
  /** A connection over which nothing came or went for so long is closed. 0 = never. */
  readonly idleTimeoutMs: number;
  /** Where all nodes' workers are; the same array as long as they are the same. */
  readonly places: () => readonly NodePlace[];
  /** Rejects with SkerryError. */
  readonly splitRange: (key: Buffer) => Promise<void>;
  /** Asks something of the cluster; resolves with plain data. Rejects with SkerryError. */
  readonly orderCluster: (order: readonly string[]) => Promise<unknown>;
  /** What the node says of itself, as plain data. */
  readonly status: () => Readonly<Record<string, unknown>>;
  readonly onCommands?: (reads: number, writes: number, others: number) => void;
  readonly onOpen: () => void;
  /** A connection is gone; one that was turned away ('limit') was never opened. */
  readonly onClose: (reason: NativeCloseReason) => void;
  readonly onBytesIn: (bytes: number) => void;
  readonly meter?: ConnectionMeter;
}

export interface NativeServer {
  readonly onConnection: (socket: Socket) => void;
  readonly connectionCount: number;
  /** Changes the idle timeout, of the connections there are too. 0 = never. */
  setIdleTimeout(milliseconds: number): void;
  /** Ends all connections after the replies that are owed. */
  close(): void;
  /** Ends all connections now. */
  destroy(): void;
}

/** Room in a frame beside the value: key, header, other arguments. */
const FRAME_BYTES_BESIDE_VALUE = 64 * 1024;

export function createNativeServer(options: NativeServerOptions): NativeServer {
  const { gateway, nodeId, workerIndex, version, valueBytesMax, isFull, outputBytesMax, meter } = options;
  let { idleTimeoutMs } = options;
  const { splitRange, orderCluster, status, onCommands } = options;
  const sessions = new Set<NativeSession>();
  const services = {
    router: gateway.router,
    worker: workerId(nodeId, workerIndex),
    version,
    frameBytesMax: valueBytesMax + FRAME_BYTES_BESIDE_VALUE,
    topology: createTopology(gateway.table, options.places),
    status,
    splitRange,
    orderCluster,
    ...(onCommands === undefined ? {} : { onCommands }),
  };

  function turnAway(socket: Socket): void {
    options.onClose('limit');
    socket.on('error', () => socket.destroy());
    socket.write(tooManyConnections());
    endGently(socket);
  }

  return {
    onConnection(socket) {
      if (isFull()) {
        turnAway(socket);
        return;
      }
      const { flushQueue } = gateway;
      const session = new NativeSession({
        socket,
        flushQueue,
        services,
        outputBytesMax,
        largestValueBytes: options.largestValueBytes,
        ...(meter === undefined ? {} : { meter }),
      });
      sessions.add(session);
      options.onOpen();
      socket.on('data', (chunk: Buffer) => {
        options.onBytesIn(chunk.length);
        session.onData(chunk);
      });
      // A client that has said all it wants may still wait for the answers.
      socket.allowHalfOpen = true;
      socket.on('end', () => session.onEnd());
      socket.on('error', () => {
        if (session.closeReason === 'client') session.closeReason = 'network';
      });
      socket.on('close', () => {
        sessions.delete(session);
        options.onClose(session.closeReason);
      });
      socket.setTimeout(idleTimeoutMs);
      socket.on('timeout', () => {
        session.closeReason = 'idle';
        socket.destroy();
      });
    },
    get connectionCount() {
      return sessions.size;
    },
    setIdleTimeout(milliseconds) {
      idleTimeoutMs = milliseconds;
      for (const { connection } of sessions) connection.setIdleTimeout(milliseconds);
    },
    close() {
      for (const session of sessions) session.close('shutdown');
    },
    destroy() {
      for (const session of sessions) {
        session.closeReason = 'shutdown';
        session.connection.destroy();
      }
    },
  };
}

/** The topology as this worker knows it, made anew only when something has changed. */
function createTopology(table: RouteTable, places: () => readonly NodePlace[]): () => Topology {
  let built: Topology | null = null;
  let builtPlaces: readonly NodePlace[] = [];
  let generation = 0;
  return () => {
    const now = places();
    if (built !== null && generation === table.generation && builtPlaces === now) return built;
    builtPlaces = now;
    ({ generation } = table);
    const counts = new Map(now.map(({ nodeId, workerPorts }) => [nodeId, workerPorts.length]));
    built = {
      generation: (built?.generation ?? 0) + 1,
      workers: now.flatMap(({ nodeId, host, workerPorts }) =>
        workerPorts.map((port, i) => ({ worker: workerId(nodeId as NodeId, i), host, port })),
      ),
      ranges: table.routes.map(({ range, leader, term }) => ({
        rangeId: range.rangeId,
        startKey: range.startKey,
        endKey: range.endKey,
        epoch: range.epoch,
        worker:
          leader === 0 ? 0 : workerId(nodeOf(leader), workerOf(leader) % (counts.get(nodeOf(leader)) || WORKERS_MAX)),
        term,
      })),
    };
    return built;
  };
}

function tooManyConnections(): Buffer {
  const body = packStoreError(
    new SkerryError('KV_OVERLOADED', 'the node has as many connections as it may have (--max-connections)', {
      retryable: true,
    }),
  );
  const header = Buffer.alloc(RESPONSE_HEADER_BYTES);
  writeResponseHeader(header, 0, 0, STATUS_STORE_ERROR, body.length);
  return Buffer.concat([header, body]);
}
