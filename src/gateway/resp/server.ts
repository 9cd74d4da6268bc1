/** Accepts RESP connections and gives each its session. */
import type { Socket } from 'node:net';
import type { FlushQueue } from '../../net/flush-queue.ts';
import { RespSession } from './session.ts';
import type { RespServices } from './services.ts';

export interface RespServerOptions {
  readonly services: RespServices;
  readonly flushQueue: FlushQueue;
  readonly connectionsMax: number;
  readonly outputBytesMax: number;
  /** 0 = never. */
  readonly idleTimeoutMs: number;
  readonly onOpen: () => void;
  readonly onClose: () => void;
  readonly onBytesIn: (bytes: number) => void;
}

export interface RespServer {
  readonly onConnection: (socket: Socket) => void;
  /** Ends all connections after the replies that are owed. */
  close(): void;
}

export function createRespServer(options: RespServerOptions): RespServer {
  const { services, flushQueue, connectionsMax, outputBytesMax, idleTimeoutMs } = options;
  const sessions = new Set<RespSession>();
  return {
    onConnection(socket) {
      // A reset is the client's business; 'close' follows.
      socket.on('error', () => undefined);
      if (sessions.size >= connectionsMax) {
        socket.end('-ERR max number of clients reached\r\n');
        return;
      }
      const session = new RespSession({ socket, flushQueue, services, outputBytesMax });
      sessions.add(session);
      options.onOpen();
      socket.on('data', (chunk: Buffer) => {
        options.onBytesIn(chunk.length);
        session.onData(chunk);
      });
      socket.on('close', () => {
        sessions.delete(session);
        session.onClose();
        options.onClose();
      });
      if (idleTimeoutMs > 0) socket.setTimeout(idleTimeoutMs, () => socket.destroy());
    },
    close() {
      for (const session of sessions) session.close();
    },
  };
}
