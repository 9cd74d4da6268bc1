/** A listening socket: shared with the other workers' where the platform can, bounded in connections. */
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { SkerryError } from '../core/errors.ts';
import { withSharedReads } from './shared-reads.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Several threads listen on the same port; the kernel spreads connections over them. */
  readonly isShared: boolean;
  /** What a 'data' listener of a socket is given is valid only until it returns. Less work, where that is enough. */
  readonly sharesReads?: boolean;
  readonly onConnection: (socket: Socket) => void;
}

export interface Listener {
  readonly port: number;
  /** Takes no more connections. Those that there are stay. */
  close(): void;
}

const BACKLOG = 1024;

/** Listens. Rejects with SkerryError KV_STATE when the address cannot be had. */
export function listen({ host, port, isShared, sharesReads = false, onConnection }: ListenOptions): Promise<Listener> {
  const onAccepted = sharesReads ? (accepted: Socket) => onConnection(withSharedReads(accepted)) : onConnection;
  const server = createServer({ noDelay: true, keepAlive: true, pauseOnConnect: sharesReads }, onAccepted);
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why =
        cause.code === 'EADDRINUSE'
          ? 'another program listens there; stop it or choose another port'
          : cause.code === 'EACCES'
            ? 'not permitted; choose a port above 1023'
            : cause.message;
      reject(new SkerryError('KV_STATE', `Cannot listen on ${host}:${port}: ${why}.`, { cause }));
    });
    server.listen({ host, port, reusePort: isShared, backlog: BACKLOG }, () => {
      resolve({ port: (server.address() as AddressInfo).port, close: () => void server.close() });
    });
  });
}
