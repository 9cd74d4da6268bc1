/** What Redis's commands say of a node is said of all its worker threads, whichever of them is asked. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Redis } from 'ioredis';
import { connect as open } from '../../src/client/connect.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { startNode } from '../support/node-process.ts';
import { RawClient } from '../support/resp-harness.ts';
import { answerOf } from '../support/until.ts';

/** So many connections that the kernel hardly gives them all to one of the two workers: 2^-31. */
const CLIENTS = 32;

let dir = '';
let node: NodeProcess;

test.before(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'skerry-whole-node-'));
  node = await startNode(dir, ['--workers', '2', '--pre-split', 'm']);
});

test.after.always(async () => {
  if (node !== undefined) await node.end('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

async function connect(t: ExecutionContext, name: string): Promise<Redis> {
  const client = new Redis(node.respPort, '127.0.0.1', { connectionName: name, retryStrategy: () => null });
  client.on('error', () => undefined);
  t.teardown(async () => {
    if (client.status === 'end') return;
    const ended = once(client, 'end');
    client.disconnect();
    await ended;
  });
  await once(client, 'ready');
  return client;
}

const connectAll = (t: ExecutionContext): Promise<Redis[]> =>
  Promise.all(Array.from({ length: CLIENTS }, (_, i) => connect(t, `client-${i}`)));

const namesIn = (list: string): string[] => [...list.matchAll(/ name=(\S+) /g)].map((match) => match[1] as string);
/** Ids of different workers differ in their remainder. */
const workersOf = (ids: readonly number[]): Set<number> => new Set(ids.map((id) => id % 2));

const counted = async (client: Redis): Promise<number> =>
  Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))?.[1]);

test.serial('every client lists, counts and ends the clients of all workers', async (t) => {
  const clients = await connectAll(t);
  const ids = await Promise.all(clients.map((client) => client.client('ID')));
  t.is(workersOf(ids).size, 2);
  const expected = clients.map((_, i) => `client-${i}`).sort();
  for (const client of clients) {
    t.deepEqual(namesIn((await client.client('LIST')) as string).sort(), expected);
    t.regex(await client.info('clients'), new RegExp(`connected_clients:${CLIENTS}\\r\\n`));
  }
  const [first, ...others] = clients as [Redis, ...Redis[]];
  const id = ids[0] as number;
  const victim = others.findIndex((_, i) => (ids[i + 1] as number) % 2 !== id % 2);
  const listed = (await first.client('LIST', 'ID', ids[victim + 1] as number)) as string;
  t.deepEqual(namesIn(listed), [`client-${victim + 1}`]);
  const address = / addr=(\S+) /.exec(listed)?.[1] as string;
  const closed = once(others[victim] as Redis, 'end');
  t.is(await first.client('KILL', address), 'OK');
  await closed;
  await t.throwsAsync(first.client('KILL', address), { message: 'ERR No such client' });
  const ended = others.filter((_, i) => i !== victim).map((client) => once(client, 'end'));
  t.is(await first.call('CLIENT', 'KILL', 'TYPE', 'normal'), CLIENTS - 2);
  await Promise.all(ended);
  t.deepEqual(namesIn((await first.client('LIST')) as string), ['client-0']);
  t.is(await first.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no'), 1);
});

test.serial('CONFIG SET holds on all workers as soon as it is answered', async (t) => {
  const clients = await connectAll(t);
  const [first] = clients as [Redis, ...Redis[]];
  t.is(await first.config('SET', 'maxmemory', '1gb', 'timeout', '3600', 'loglevel', 'warning'), 'OK');
  for (const client of clients) {
    t.deepEqual(await client.config('GET', 'maxmemory', 'timeout', 'loglevel'), [
      'maxmemory',
      String(2 ** 30),
      'timeout',
      '3600',
      'loglevel',
      'warning',
    ]);
  }
  await t.throwsAsync(first.config('SET', 'timeout', '5', 'appendonly', 'no'), {
    message: "ERR CONFIG SET failed (possibly related to argument 'appendonly') - can't set immutable config",
  });
  const status = (await (await fetch(`http://127.0.0.1:${node.httpPort}/status`)).json()) as { maxMemoryBytes: number };
  t.is(status.maxMemoryBytes, 2 ** 30);
});

test.serial('maxmemory set while the node runs refuses writes on all workers, and lets them in again', async (t) => {
  const client = await connect(t, 'writer');
  const value = Buffer.alloc(4 * 2 ** 20);
  const fill = async (prefix: string): Promise<void> => {
    for (let i = 0; i < 10; i++) await client.set(`${prefix}${i}`, value);
  };
  await fill('a');
  await fill('z');
  t.is(await client.config('SET', 'maxmemory', '64mb'), 'OK');
  for (const key of ['a', 'z']) {
    await t.throwsAsync(client.set(key, value), { message: "OOM command not allowed when used memory > 'maxmemory'." });
  }
  t.is(await client.config('SET', 'maxmemory', '0'), 'OK');
  for (const key of ['a', 'z']) t.is(await client.set(key, value), 'OK');
});

test.serial('a timeout set while the node runs ends connections that are idle already', async (t) => {
  const clients = await connectAll(t);
  const [first, ...others] = clients as [Redis, ...Redis[]];
  const ended = others.map((client) => once(client, 'end'));
  t.is(await first.config('SET', 'timeout', '1'), 'OK');
  await Promise.all(ended);
  const again = await connect(t, 'again');
  t.is(await again.config('SET', 'timeout', '0'), 'OK');
});

test.serial('maxclients set while the node runs turns away the next one', async (t) => {
  const clients = await connectAll(t);
  const [first] = clients as [Redis, ...Redis[]];
  t.is(await first.config('SET', 'maxclients', String(CLIENTS)), 'OK');
  const refused = await RawClient.connect(node.respPort);
  t.is(await refused.ended(), '-ERR max number of clients reached\r\n');
  t.is(await first.config('SET', 'maxclients', '100'), 'OK');
  await t.notThrowsAsync(connect(t, 'welcome'));
  t.regex(await first.info('stats'), /rejected_connections:1\r\n/);
});

test.serial('CONFIG RESETSTAT sets the counters of INFO back on all workers', async (t) => {
  const clients = await connectAll(t);
  await Promise.all(clients.map((client, i) => client.set(`key:${i}`, 'value')));
  const [first] = clients as [Redis, ...Redis[]];
  const before = await counted(first);
  t.true(before > CLIENTS);
  t.is(await first.config('RESETSTAT'), 'OK');
  for (const client of clients) t.true((await counted(client)) < before);
});

test.serial('INFO counts keys that have expired, wherever they lay', async (t) => {
  const client = await connect(t, 'expiry');
  const expired = async (): Promise<number> => Number(/expired_keys:(\d+)/.exec(await client.info('stats'))?.[1]);
  const before = await expired();
  for (const key of ['a', 'b', 'x', 'y']) await client.set(`${key}:short`, 'value', 'PX', 1);
  t.is((await answerOf('four keys to expire', expired, (count) => count - before >= 4)) - before, 4);
  t.is(await client.exists('a:short', 'b:short', 'x:short', 'y:short'), 0);
});

test.serial('INFO counts hits, misses and keys with an expiry on all workers', async (t) => {
  const client = await connect(t, 'keyspace');
  const lookups = async (): Promise<number[]> =>
    /keyspace_hits:(\d+)\r\nkeyspace_misses:(\d+)/
      .exec(await client.info('stats'))
      ?.slice(1)
      .map(Number) ?? [];
  const expiring = async (): Promise<number> => Number(/expires=(\d+)/.exec(await client.info('keyspace'))?.[1] ?? 0);
  await client.flushall();
  const before = await lookups();
  for (const key of ['a', 'z']) await client.set(`${key}:lasting`, 'value', 'PX', 1_000_000);
  await client.mget('a:lasting', 'a:absent', 'z:lasting', 'z:absent');
  await client.get('z:lasting');
  t.deepEqual(await lookups(), [(before[0] as number) + 3, (before[1] as number) + 2]);
  await answerOf('two keys with an expiry', expiring, (count) => count === 2);
  await client.persist('z:lasting');
  await answerOf('one key with an expiry', expiring, (count) => count === 1);
  t.is(await client.del('a:lasting', 'z:lasting'), 2);
});

test.serial('the native protocol’s STATUS names the port of the admin HTTP', async (t) => {
  await using store = await open(`skerry://127.0.0.1:${node.port}`);
  t.is((await store.status())['httpPort'], node.httpPort);
});
