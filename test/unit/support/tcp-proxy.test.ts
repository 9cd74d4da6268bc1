import test from 'ava';
import type { ExecutionContext } from 'ava';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createConnection, createServer } from 'node:net';
import { createPrng } from '../../../src/core/prng.ts';
import type { TcpProxy } from '../../support/tcp-proxy.ts';
import { createTcpProxy } from '../../support/tcp-proxy.ts';

/** A server that sends back what it gets, behind a proxy, and what a client has got back. */
async function setUp(t: ExecutionContext): Promise<{ proxy: TcpProxy; client: Socket; got: () => Buffer }> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await createTcpProxy(
    { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    createPrng(1),
  );
  const client = createConnection({ port: proxy.port, host: '127.0.0.1', noDelay: true });
  client.on('error', () => undefined);
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(client, 'connect');
  t.teardown(() => {
    client.destroy();
    proxy.close();
    server.close();
  });
  return { proxy, client, got: () => Buffer.concat(chunks) };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

const text = Buffer.from(Array.from({ length: 5000 }, (_, i) => i & 0xff));

test('bytes pass unchanged and in order, also late, uneven and in pieces', async (t) => {
  const { proxy, client, got } = await setUp(t);
  Object.assign(proxy.toTarget, { delayMs: 5, jitterMs: 5, pieceBytes: 7 });
  Object.assign(proxy.toClient, { jitterMs: 3, pieceBytes: 100, bytesPerSecond: 1_000_000 });
  for (let at = 0; at < text.length; at += 500) {
    client.write(text.subarray(at, at + 500));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => got().length === text.length);
  t.true(got().equals(text));
});

test('delayed bytes are late', async (t) => {
  const { proxy, client, got } = await setUp(t);
  proxy.toClient.delayMs = 100;
  const startedMs = performance.now();
  client.write('x');
  await until(() => got().length === 1);
  t.true(performance.now() - startedMs >= 99);
});

test('through a hole nothing comes, not even the end; what it held back comes when it heals', async (t) => {
  const { proxy, client, got } = await setUp(t);
  client.write('before ');
  await until(() => got().length === 7);
  proxy.toTarget.hole = true;
  client.write('meanwhile');
  client.end();
  let closed = false;
  client.on('close', () => (closed = true));
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setTimeout(resolve, 1));
  t.is(got().toString(), 'before ');
  t.false(closed);
  proxy.toTarget.hole = false;
  await until(() => closed);
  t.is(got().toString(), 'before meanwhile');
});

test('corruption flips one bit, once', async (t) => {
  const { proxy, client, got } = await setUp(t);
  proxy.toTarget.corruptNext = true;
  client.write(text);
  await until(() => got().length === text.length);
  let bits = 0;
  for (const [i, byte] of got().entries()) {
    for (let difference = byte ^ (text[i] as number); difference > 0; difference >>= 1) bits += difference & 1;
  }
  t.is(bits, 1);
  t.false(proxy.toTarget.corruptNext);
});

test('a reset ends the connections there are, and refusing those that come', async (t) => {
  const { proxy, client } = await setUp(t);
  await until(() => proxy.connections === 1);
  const closed = new Promise((resolve) => client.on('close', resolve));
  proxy.reset();
  await closed;
  await until(() => proxy.connections === 0);
  proxy.refuse = true;
  const next = createConnection({ port: proxy.port, host: '127.0.0.1' });
  next.on('error', () => undefined);
  await new Promise((resolve) => next.on('close', resolve));
  t.is(proxy.accepted, 2);
});
