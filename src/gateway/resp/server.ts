/** Accepts RESP connections and gives each its session. */
import type { Socket } from 'node:net';
import type { ConnectionMeter } from '../../net/connection.ts';
import { endGently } from '../../net/end-gently.ts';
import type { FlushQueue } from '../../net/flush-queue.ts';
import type { CloseReason } from './session.ts';
import { RespSession } from './session.ts';
import type { RespServices } from './services.ts';

export type { CloseReason } from './session.ts';

export interface RespServerOptions {
  readonly services: RespServices;
  readonly flushQueue: FlushQueue;
  /** Whether there are as many connections as may be; then one more is told so and closed. */
  readonly isFull: () => boolean;
  readonly outputBytesMax: number;
  /** No value in this node's memory is longer. */
  readonly largestValueBytes: () => number;
  /** A connection over which nothing came or went for so long is closed. 0 = never. */
  readonly idleTimeoutMs: number;
  readonly onOpen: () => void;
  /** A connection is gone; one that was turned away ('limit') was never opened. */
  readonly onClose: (reason: CloseReason) => void;
  readonly onBytesIn: (bytes: number) => void;
  readonly meter?: ConnectionMeter;
}

export interface RespServer {
  readonly onConnection: (socket: Socket) => void;
  readonly connectionCount: number;
  /** Changes the idle timeout, of the connections there are too. 0 = never. */
  setIdleTimeout(milliseconds: number): void;
  /** Ends all connections after the replies that are owed. */
  close(): void;
  /** Ends all connections now. */
  destroy(): void;
}

const TOO_MANY = '-ERR max number of clients reached\r\n';

export function createRespServer(options: RespServerOptions): RespServer {
  const { services, flushQueue, isFull, outputBytesMax, largestValueBytes, meter } = options;
  let { idleTimeoutMs } = options;
  const sessions = new Set<RespSession>();

  function turnAway(socket: Socket): void {
    options.onClose('limit');
    socket.on('error', () => socket.destroy());
    socket.write(TOO_MANY);
    endGently(socket);
  }

  return {
    onConnection(socket) {
      if (isFull()) {
        turnAway(socket);
        return;
      }
      const session = new RespSession({
        socket,
        flushQueue,
        services,
        outputBytesMax,
        largestValueBytes,
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
        session.onClose();
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
      for (const { connection } of sessions) connection.socket.setTimeout(milliseconds);
    },
    close() {
      for (const session of sessions) session.close('shutdown');
    },
    destroy() {
      for (const session of sessions) {
        session.closeReason = 'shutdown';
        session.connection.socket.destroy();
      }
    },
  };
}
