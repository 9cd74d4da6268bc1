import test from 'ava';
import type { ExecutionContext } from 'ava';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { SocketWriter } from '../../../src/net/socket-writer.ts';
import type { SocketPair } from '../../support/socket-pair.ts';
import { socketPair } from '../../support/socket-pair.ts';
import { turnsUntil } from '../../support/until.ts';

const MiB = 1024 * 1024;

interface Pair extends SocketPair {
  readonly writer: SocketWriter;
  /** How often the socket's own write() was called. */
  readonly streamed: () => number;
  readonly taken: () => number;
}

async function connect(t: ExecutionContext): Promise<Pair> {
  const { socket, client } = await socketPair(t);
  let [streamed, taken] = [0, 0];
  const write = socket.write.bind(socket) as (bytes: Buffer, done: () => void) => boolean;
  socket.write = ((bytes: Buffer, done: () => void) => {
    streamed++;
    return write(bytes, done);
  }) as typeof socket.write;
  const writer = new SocketWriter(socket, () => taken++);
  return { writer, socket, client, streamed: () => streamed, taken: () => taken };
}

async function read(client: Socket, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let got = 0; got < bytes;) {
    const chunk = (client.read() as Buffer | null) ?? (await once(client, 'readable'), null);
    if (chunk === null) continue;
    chunks.push(chunk);
    got += chunk.length;
  }
  return Buffer.concat(chunks);
}

test.serial('a buffer that the kernel has taken may be filled again at once', async (t) => {
  const { writer, client, taken } = await connect(t);
  const buffer = Buffer.alloc(100);
  let expected = '';
  for (let i = 0; i < 500; i++) {
    const text = `reply ${i} `;
    buffer.write(text, 'latin1');
    t.true(writer.write(buffer.subarray(0, text.length)));
    buffer.fill(0);
    expected += text;
  }
  t.is((await read(client, expected.length)).toString('latin1'), expected);
  t.is(taken(), 0);
});

test.serial('where Node lets it, writes go past the stream, but for the first one of a thread', async (t) => {
  const { writer, client, streamed } = await connect(t);
  for (let i = 0; i < 10; i++) writer.write(Buffer.from('x'));
  t.is((await read(client, 10)).toString(), 'xxxxxxxxxx');
  // Older ones make a request for each write, which only the stream can.
  if (Number(process.versions.node.split('.')[0]) >= 26) t.true(streamed() <= 1);
  else t.is(streamed(), 10);
});

test.serial('a client that does not read: the rest is kept, and said to be taken once, when it has been', async (t) => {
  const { writer, client, taken } = await connect(t);
  const sent = Buffer.alloc(16 * MiB, 'abcdefg');
  for (let round = 1; round <= 3; round++) {
    t.false(writer.write(sent));
    await new Promise((resolve) => setImmediate(resolve));
    t.is(taken(), round - 1);
    t.true((await read(client, sent.length)).equals(sent));
    await turnsUntil(() => taken() === round);
  }
});

test.serial('what is left when the socket is destroyed is never said to be taken', async (t) => {
  const { writer, socket, taken } = await connect(t);
  t.false(writer.write(Buffer.alloc(16 * MiB)));
  socket.destroy();
  await once(socket, 'close');
  await new Promise((resolve) => setImmediate(resolve));
  t.is(taken(), 0);
});

test.serial('a client that is gone shows as an error and a closed socket, with bytes left or without', async (t) => {
  for (const bytes of [1, 16 * MiB]) {
    const { writer, socket, client, taken } = await connect(t);
    socket.on('error', (error) => t.log(error.message));
    const closed = once(socket, 'close').catch(() => undefined);
    writer.write(Buffer.alloc(bytes));
    client.resetAndDestroy();
    await turnsUntil(() => {
      // Only a write meets the reset: nothing is read from here.
      if (bytes === 1 && !socket.destroyed) writer.write(Buffer.from('x'));
      return socket.destroyed;
    });
    await closed;
    t.is(taken(), 0);
  }
});

test.serial('what is left is sent before the end', async (t) => {
  const { writer, socket, client } = await connect(t);
  const sent = Buffer.alloc(16 * MiB, 'the end');
  t.false(writer.write(sent));
  socket.end();
  t.true((await read(client, sent.length)).equals(sent));
  client.resume();
  await once(client, 'end');
  t.pass();
});

test.serial(
  'a socket with an idle timeout is written to by its stream, which takes that for a sign of life',
  async (t) => {
    const { writer, socket, client, streamed } = await connect(t);
    writer.write(Buffer.from('x'));
    const before = streamed();
    socket.setTimeout(60_000);
    for (let i = 0; i < 5; i++) writer.write(Buffer.from('y'));
    t.is(streamed(), before + 5);
    t.is((await read(client, 6)).toString(), 'xyyyyy');
  },
);
