import test from 'ava';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createConnection } from 'node:net';
import { listen } from '../../../src/net/listener.ts';

const MiB = 1024 * 1024;

interface Peer {
  readonly client: Socket;
  readonly server: Socket;
  /** Copies of what the server's socket was given. */
  readonly chunks: Buffer[];
  readonly given: Set<ArrayBufferLike>;
}

async function connected(count: number): Promise<{ peers: Peer[]; close: () => void }> {
  const accepted: Socket[] = [];
  const { port, close } = await listen({
    host: '127.0.0.1',
    port: 0,
    isShared: false,
    sharesReads: true,
    onConnection: (socket) => accepted.push(socket),
  });
  const peers: Peer[] = [];
  for (let i = 0; i < count; i++) {
    const client = createConnection({ port, host: '127.0.0.1' });
    await once(client, 'connect');
    while (accepted.length === i) await new Promise((resolve) => setImmediate(resolve));
    const server = accepted[i] as Socket;
    const peer: Peer = { client, server, chunks: [], given: new Set() };
    server.on('data', (chunk: Buffer) => {
      peer.chunks.push(Buffer.from(chunk));
      peer.given.add(chunk.buffer);
    });
    peers.push(peer);
  }
  return { peers, close };
}

test('what clients send at the same time reaches each socket whole, through one buffer', async (t) => {
  const { peers, close } = await connected(5);
  const sent = peers.map((_, i) => Buffer.alloc(MiB + i, `client ${i} `));
  peers.forEach(({ client }, i) => client.end(sent[i] as Buffer));
  await Promise.all(peers.map(({ server }) => once(server, 'end')));
  peers.forEach(({ chunks }, i) => t.true(Buffer.concat(chunks).equals(sent[i] as Buffer)));
  t.is(new Set(peers.flatMap(({ given }) => [...given])).size, 1);
  close();
});

test('a socket that is paused is not read from, and goes on where it stopped', async (t) => {
  const { peers, close } = await connected(1);
  const [{ client, server, chunks }] = peers as [Peer];
  server.pause();
  const sent = Buffer.alloc(16 * MiB, 'abc');
  client.write(sent);
  // More than the kernel keeps for both sides: it can only have stopped.
  while (client.writableLength === 0) await new Promise((resolve) => setImmediate(resolve));
  t.is(chunks.length, 0);
  server.resume();
  client.end();
  await once(server, 'end');
  t.true(Buffer.concat(chunks).equals(sent));
  close();
});

test('addresses, answers and the end of the connection are those of any socket', async (t) => {
  const { peers, close } = await connected(1);
  const [{ client, server }] = peers as [Peer];
  t.is(server.remotePort, client.localPort);
  t.is(server.localPort, client.remotePort);
  server.write('hello');
  const [answer] = (await once(client, 'data')) as [Buffer];
  t.is(answer.toString(), 'hello');
  client.destroy();
  await once(server, 'close');
  t.true(server.destroyed);
  close();
});
