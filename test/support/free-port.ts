/** Ports for servers of other programs and for those that must come back where they were. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that systems hand out by themselves, so that nobody is given one between here and the server's start. */
const FIRST = 10_000;
const COUNT = 22_000;
const ATTEMPTS = 100;

/** A port of the loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      // oxlint-disable-next-line no-await-in-loop
      await once(server, 'listening');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue;
      throw error;
    }
    server.close();
    // oxlint-disable-next-line no-await-in-loop
    await once(server, 'close');
    return port;
  }
  throw new Error(`${ATTEMPTS} ports between ${FIRST} and ${FIRST + COUNT} are taken`);
}
