/** Accepts native connections and gives each its session. */
import type { Socket } from 'node:net';
import type { Topology } from '../../codec/native/messages.ts';
import type { Gateway } from '../gateway.ts';
import { NativeSession } from './session.ts';

export interface NativeServerOptions {
  readonly gateway: Gateway;
  readonly workerIndex: number;
  readonly version: string;
  readonly valueBytesMax: number;
  readonly connectionsMax: number;
  readonly outputBytesMax: number;
  /** 0 = never. */
  readonly idleTimeoutMs: number;
  /** The workers' own ports, by worker. */
  readonly workerPorts: () => readonly number[];
  readonly splitRange: (key: Buffer) => Promise<void>;
  /** What the node says of itself, as plain data. */
  readonly status: () => Readonly<Record<string, unknown>>;
  readonly onOpen: () => void;
  readonly onClose: () => void;
  readonly onBytesIn: (bytes: number) => void;
}

export interface NativeServer {
  readonly onConnection: (socket: Socket) => void;
  /** Ends all connections after the replies that are owed. */
  close(): void;
}

/** Room in a frame beside the value: key, header, other arguments. */
const FRAME_BYTES_BESIDE_VALUE = 64 * 1024;

export function createNativeServer(options: NativeServerOptions): NativeServer {
  const { gateway, workerIndex, version, valueBytesMax, connectionsMax, outputBytesMax, idleTimeoutMs } = options;
  const sessions = new Set<NativeSession>();
  let built: Topology | null = null;
  const topology = (): Topology => {
    const { generation } = gateway.table;
    built =
      built?.generation === generation && built.workers.length > 0
        ? built
        : {
            generation,
            workers: options.workerPorts().map((port) => ({ host: '', port })),
            ranges: gateway.table.routes.map(({ range, workerIndex: index }) => ({
              rangeId: range.rangeId,
              startKey: range.startKey,
              endKey: range.endKey,
              epoch: range.epoch,
              workerIndex: index,
            })),
          };
    return built;
  };
  return {
    onConnection(socket) {
      // A reset is the client's business; 'close' follows.
      socket.on('error', () => undefined);
      if (sessions.size >= connectionsMax) {
        socket.destroy();
        return;
      }
      const session = new NativeSession({
        socket,
        flushQueue: gateway.flushQueue,
        router: gateway.router,
        outputBytesMax,
        frameBytesMax: valueBytesMax + FRAME_BYTES_BESIDE_VALUE,
        workerIndex,
        version,
        topology,
        status: options.status,
        splitRange: options.splitRange,
      });
      sessions.add(session);
      options.onOpen();
      socket.on('data', (chunk: Buffer) => {
        options.onBytesIn(chunk.length);
        session.onData(chunk);
      });
      socket.on('close', () => {
        sessions.delete(session);
        options.onClose();
      });
      if (idleTimeoutMs > 0) socket.setTimeout(idleTimeoutMs, () => socket.destroy());
    },
    close() {
      for (const session of sessions) session.close();
    },
  };
}
