/** Both ends of one TCP connection over loopback, in this process. */
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createConnection, createServer } from 'node:net';
import type { ExecutionContext } from 'ava';

export interface SocketPair {
  /** The server's end. */
  readonly socket: Socket;
  /** The client's end. It reads nothing until asked to. */
  readonly client: Socket;
}

/** The connection ends with the test. */
export async function socketPair(t: ExecutionContext): Promise<SocketPair> {
  const server = createServer({ noDelay: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = createConnection({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
  client.pause();
  // The server may cut it off.
  client.on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [Socket];
  t.teardown(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  return { socket, client };
}
