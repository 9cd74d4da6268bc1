/** Which worker a call goes to, and how the client learns of it. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { connect } from '../../../src/client/connect.ts';
import { Routing } from '../../../src/client/routing.ts';
import type { Store } from '../../../src/client/store.ts';
import { SkerryError } from '../../../src/core/errors.ts';
import type { FakeRequest } from '../../support/fake-native-server.ts';
import { FakeServer, FIRST_WORKER, rangesOf } from '../../support/fake-native-server.ts';

async function setUp(
  t: ExecutionContext,
  splitAt: readonly string[],
): Promise<{ server: FakeServer; kv: Store<'text'> }> {
  const server = await FakeServer.start({ splitAt });
  const kv = await connect(server.url, { as: 'text', retryDelayMs: 1 });
  t.teardown(async () => {
    await kv.close();
    await server.stop();
  });
  return { server, kv };
}

/** Asks until the worker answers itself: its connection is made while another one serves. */
async function until(kv: Store<'text'>, server: FakeServer, key: string, worker: number): Promise<void> {
  do await kv.get(key);
  while (server.requestsOf('GET').at(-1)?.worker !== worker);
}

test("a command goes to its range's worker, with the range and the epoch that the client believes in", async (t) => {
  const { server, kv } = await setUp(t, ['h', 'p']);
  for (const [key, worker] of [
    ['a', 0],
    ['h', 1],
    ['ozzz', 1],
    ['p', 2],
    ['ÿ', 2],
  ] as const) {
    await until(kv, server, key, worker);
    t.like(server.requestsOf('GET').at(-1), { rangeId: worker + 1, rangeEpoch: 1, worker });
  }
  t.is(server.connections.length, 3);
});

test('a worker that is not reached yet does not keep anybody waiting', async (t) => {
  const { server, kv } = await setUp(t, ['h']);
  await kv.set('z', '1');
  t.is(server.requestsOf('SET')[0]?.worker, 0);
});

test('a worker whose port leads nowhere is served through another', async (t) => {
  const { server, kv } = await setUp(t, ['h']);
  // A port that was free a moment ago.
  const dead = await FakeServer.start();
  await dead.stop();
  const [first = { worker: FIRST_WORKER, host: '', port: 0 }] = server.topology.workers;
  server.topology = { ...server.topology, workers: [first, { worker: FIRST_WORKER + 1, host: '', port: dead.port }] };
  const again = await connect(server.url, { as: 'text' });
  t.teardown(() => again.close());
  for (let i = 0; i < 20; i++) t.true(await again.set(`z${i}`, '1'));
  t.true(server.requestsOf('SET').every(({ worker }) => worker === 0));
  t.is(await kv.get('z1'), '1');
});

test('news of a split changes where the next command goes', async (t) => {
  const { server, kv } = await setUp(t, ['h']);
  await until(kv, server, 'c', 0);
  const news = rangesOf(['b'], 2);
  server.announce(news);
  await until(kv, server, 'c', 1);
  t.like(server.requestsOf('GET').at(-1), { rangeId: 2, rangeEpoch: 2 });
});

test('one connection lost sends its calls over another', async (t) => {
  const { server, kv } = await setUp(t, ['h']);
  await until(kv, server, 'z', 1);
  server.intercept = ({ worker, connection, name }) => {
    if (name !== 'GET' || worker !== 1) return false;
    connection.socket.destroy();
    return true;
  };
  server.data.set('z', Buffer.from('1'));
  t.is(await kv.get('z'), '1');
  t.is(server.requestsOf('GET').at(-1)?.worker, 0);
});

test('K3: of several addresses the first that answers is taken, and another one when it is lost', async (t) => {
  const dead = await FakeServer.start();
  const a = await FakeServer.start();
  const b = await FakeServer.start();
  const deadPort = dead.port;
  await dead.stop();
  const ports = [deadPort, a.port, b.port];
  const kv = await connect(`skerry://${ports.map((port) => `127.0.0.1:${port}`).join(',')}`, { retryDelayMs: 1 });
  t.teardown(async () => {
    await kv.close();
    await b.stop();
  });
  t.true(await kv.set('a', '1'));
  t.is(a.applied.length, 1);
  await a.stop();
  t.true(await kv.set('a', '2'));
  t.deepEqual(b.applied, ['SET a 2']);
});

/** Two nodes of one store, of which the first is said to lead, and a client that was told of the first alone. */
async function setUpNodes(
  t: ExecutionContext,
  timeoutMs: number,
): Promise<{ stuck: FakeServer; other: FakeServer; kv: Store<'text'> }> {
  const stuck = await FakeServer.start();
  const other = await FakeServer.start({ firstWorker: 2 * FIRST_WORKER });
  const workers = [...stuck.topology.workers, ...other.topology.workers];
  for (const node of [stuck, other]) node.topology = { ...node.topology, workers };
  const kv = await connect(stuck.url, { as: 'text', retryDelayMs: 1, timeoutMs, retries: 1000 });
  t.teardown(async () => {
    await kv.close();
    await stuck.stop();
    await other.stop();
  });
  return { stuck, other, kv };
}

test('K3: a node that knows of no leader is left for another one', async (t) => {
  const { stuck, other, kv } = await setUpNodes(t, 60_000);
  stuck.intercept = ({ name, connection, requestId }) => {
    if (name !== 'GET') return false;
    connection.refuse(requestId, new SkerryError('KV_NOT_LEADER', 'nobody leads', { retryable: true }));
    return true;
  };
  other.data.set('a', Buffer.from('1'));
  t.is(await kv.get('a'), '1');
  t.is(other.requestsOf('GET').length, 1);
});

test('K3: a node that does not answer in time is left for another one, whatever little time calls have', async (t) => {
  const { stuck, other, kv } = await setUpNodes(t, 50);
  stuck.intercept = ({ name }) => name === 'GET';
  other.data.set('a', Buffer.from('1'));
  await t.throwsAsync(kv.get('a'), { code: 'KV_TIMEOUT' });
  // The connection to the other node is made while calls go on.
  let value: string | undefined;
  do value = await kv.get('a').catch(() => undefined);
  while (value === undefined);
  t.is(value, '1');
});

test('a connection on which nothing comes any more is given up, whatever little time calls have', async (t) => {
  const server = await FakeServer.start();
  const kv = await connect(server.url, { timeoutMs: 1000, retryDelayMs: 1 });
  t.teardown(async () => {
    await kv.close();
    await server.stop();
  });
  const [silent] = server.connections;
  server.intercept = ({ connection }) => connection === silent;
  for (let isStuck = true; isStuck;) isStuck = await kv.has('a').catch(() => true);
  t.is(server.requestsOf('HELLO').length, 2);
});

const topologyOf = (splitAt: readonly string[], version: number) => ({
  generation: 1,
  workers: [],
  ranges: rangesOf(splitAt, version),
});

test('the range found is the one whose bounds hold the key, for any bounds and keys', (t) => {
  const keys = fc.uniqueArray(fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }), { maxLength: 8 });
  fc.assert(
    fc.property(keys, fc.string({ unit: 'binary', maxLength: 5 }), fc.boolean(), (splitAt, key, asBytes) => {
      const sorted = splitAt.map((each) => Buffer.from(each)).sort(Buffer.compare);
      const bounds = sorted.filter((each, i) => i === 0 || !each.equals(sorted[i - 1] as Buffer)).map(String);
      const routing = new Routing();
      routing.replace(topologyOf(bounds, 1));
      const bytes = Buffer.from(key);
      const found = routing.find(asBytes ? bytes : key);
      t.truthy(found);
      t.true(Buffer.compare(found?.startKey ?? bytes, bytes) <= 0);
      t.true(found?.endKey === null || Buffer.compare(bytes, found?.endKey ?? bytes) < 0);
    }),
  );
});

test('older news is not taken for newer', (t) => {
  const routing = new Routing();
  t.is(routing.find('a'), null);
  routing.replace(topologyOf(['m'], 2));
  t.false(routing.learn(topologyOf([], 1)));
  t.is(routing.find('z')?.rangeId, 2);
  t.true(routing.learn(topologyOf(['b'], 3)));
  t.is(routing.find('c')?.rangeId, 2);
  routing.replace(topologyOf([], 1));
  t.is(routing.find('c')?.rangeId, 1);
});

test('a connection that is still being made when another one is lost ends with the client', async (t) => {
  const mute = createServer((socket) => socket.on('error', () => socket.destroy())).listen(0, '127.0.0.1');
  t.teardown(() => mute.close());
  await once(mute, 'listening');
  const server = await FakeServer.start({ splitAt: ['h'] });
  t.teardown(() => server.stop());
  const { port } = mute.address() as AddressInfo;
  const [first = { worker: FIRST_WORKER, host: '', port: 0 }] = server.topology.workers;
  server.topology = { ...server.topology, workers: [first, { worker: FIRST_WORKER + 1, host: '', port }] };
  const kv = await connect(server.url, { as: 'text', retryDelayMs: 1, connectTimeoutMs: 3_600_000 });
  const dialled = once(mute, 'connection') as Promise<[Socket]>;
  await kv.set('z', '1');
  const [dialling] = await dialled;
  const ended = once(dialling, 'close');
  dialling.resume();
  for (const { socket } of server.connections) socket.destroy();
  t.is(await kv.get('z'), '1');
  await kv.close();
  await ended;
  t.pass();
});

test('a connection that is made while another one to the same worker serves takes no calls from it', async (t) => {
  const { server, kv } = await setUp(t, ['h']);
  const held: FakeRequest[] = [];
  const answer = (request: FakeRequest, worker: number): void => {
    const hello = { protocol: 1, server: 'fake', worker, frameBytesMax: 1 << 20, topology: server.topology };
    request.connection.message(request, hello);
  };
  server.data.set('z', Buffer.from('1'));
  server.intercept = (request) => request.name === 'HELLO' && held.push(request) > 0;
  // In the background, the connection to the second worker is begun.
  const begun = server.next('HELLO');
  await kv.get('a');
  const [first] = server.connections;
  await kv.get('z');
  const background = await begun;
  // And, when there is no other one left, one to any worker.
  const tried = server.next('HELLO');
  first?.socket.destroy();
  const read = kv.get('z');
  const round = await tried;
  server.intercept = ({ name }) => name === 'GET';
  const sent = server.next('GET');
  answer(background, FIRST_WORKER + 1);
  t.is((await sent).connection, background.connection);
  const closed = once(round.connection.socket, 'close');
  answer(round, FIRST_WORKER + 1);
  await closed;
  server.intercept = () => false;
  background.connection.socket.destroy();
  t.is(await read, '1');
  t.is(held.length, 2);
});
