/**
 * The Redis clients that people have, against a real node of two workers whose key space is cut at m: each connection ends at
 * one worker, so half of what it asks for is forwarded to the other one.
 */
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Redis } from 'ioredis';
import { createClient, RESP_TYPES, WatchError } from 'redis';
import type { NodeProcess } from '../support/node-process.ts';
import { startNode, temporaryDir } from '../support/node-process.ts';

const run = promisify(execFile);

const FLAGS = ['--workers', '2', '--pre-split', 'm'];
/** Every byte, as key and value of both ranges. */
const ANY_BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const key = (i: number): string => `${i % 2 === 0 ? 'a' : 'z'}:${i}`;

let dataDir: string;
let node: NodeProcess;

test.before(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'skerry-clients-'));
  node = await startNode(dataDir, FLAGS);
});

test.after.always(async () => {
  await node.end('SIGKILL');
  await rm(dataDir, { recursive: true, force: true });
});

async function ioredis(
  t: ExecutionContext,
  options: { enableAutoPipelining?: boolean; protocol?: 2 | 3 } = {},
): Promise<Redis> {
  const redis = new Redis({ port: node.respPort, maxRetriesPerRequest: 0, ...options });
  t.teardown(() => redis.disconnect());
  await redis.flushall();
  return redis;
}

async function nodeRedis<const V extends 2 | 3>(t: ExecutionContext, RESP: V) {
  const client = createClient({ RESP, socket: { port: node.respPort, reconnectStrategy: false } });
  client.on('error', (error: Error) => t.log(error.message));
  t.teardown(() => client.destroy());
  await client.connect();
  await client.flushAll();
  return client;
}

for (const protocol of [2, 3] as const) {
  test.serial(`ioredis over RESP${protocol}: a pipeline over both workers is answered in its order`, async (t) => {
    const redis = await ioredis(t, { protocol });
    const pipeline = redis.pipeline();
    for (let i = 0; i < 3000; i++) pipeline.set(key(i), i).get(key(i)).incr(key(i)).get('none');
    const replies = (await pipeline.exec()) ?? [];
    t.deepEqual(
      replies.map(([, reply]) => reply),
      Array.from({ length: 3000 }, (_, i) => ['OK', String(i), i + 1, null]).flat(),
    );
  });
}

test.serial('ioredis: with auto-pipelining each caller gets its own answer', async (t) => {
  const redis = await ioredis(t, { enableAutoPipelining: true });
  const answers = await Promise.all(
    Array.from({ length: 2000 }, async (_, i) => {
      await redis.set(key(i), `value ${i}`);
      return [await redis.get(key(i)), await redis.append(key(i), '!'), await redis.strlen(key(i))];
    }),
  );
  t.deepEqual(
    answers,
    Array.from({ length: 2000 }, (_, i) => {
      const { length } = `value ${i}`;
      return [`value ${i}`, length + 1, length + 1];
    }),
  );
});

test.serial('ioredis: keys and values of any bytes, and every key by SCAN over both ranges', async (t) => {
  const redis = await ioredis(t);
  const keys = ['a', 'z'].flatMap((side) => [
    Buffer.concat([Buffer.from(side), ANY_BYTES]),
    ...Array.from({ length: 300 }, (_, i) => Buffer.from(`${side}:${i}`)),
  ]);
  await Promise.all(keys.map((name) => redis.set(name, Buffer.concat([name, ANY_BYTES]))));
  for (const name of keys) t.true((await redis.getBuffer(name))?.equals(Buffer.concat([name, ANY_BYTES])));
  const found: Buffer[] = [];
  for await (const page of redis.scanBufferStream({ count: 17 })) found.push(...(page as Buffer[]));
  t.deepEqual(found.sort(Buffer.compare), keys.sort(Buffer.compare));
  const matched: string[] = [];
  for await (const page of redis.scanStream({ match: '?:1?', count: 10 })) matched.push(...(page as string[]));
  const wanted = ['a', 'z'].flatMap((side) => Array.from({ length: 10 }, (_, i) => `${side}:1${i}`));
  t.deepEqual(matched.sort(), wanted.sort());
});

test.serial('ioredis: MULTI in one range is atomic, over two ranges is refused and does nothing', async (t) => {
  const redis = await ioredis(t);
  const results = await redis.multi().set('z:1', '1').incr('z:1').get('z:1').exec();
  t.deepEqual(results, [
    [null, 'OK'],
    [null, 2],
    [null, '2'],
  ]);
  const refused = await t.throwsAsync(redis.multi().set('a:1', '1').set('z:1', '9').exec());
  t.regex(refused?.message ?? '', /CROSSRANGE/);
  t.deepEqual(await redis.mget('a:1', 'z:1'), [null, '2']);
  await t.throwsAsync(redis.mset('a:1', '1', 'z:1', '9'), { message: /^CROSSRANGE / });
  await t.throwsAsync(redis.rename('z:1', 'a:1'), { message: /^CROSSRANGE / });
  t.is(await redis.del('a:1', 'z:1', 'b:1'), 1);
});

test.serial('ioredis: EXEC answers null when a watched key has changed on either worker', async (t) => {
  const redis = await ioredis(t);
  const other = redis.duplicate();
  t.teardown(() => other.disconnect());
  for (const name of ['a:watched', 'z:watched']) {
    await redis.watch(name);
    await other.set(name, 'changed');
    t.is(await redis.multi().set(name, 'mine').exec(), null);
    t.is(await redis.get(name), 'changed');
    await redis.watch(name);
    t.deepEqual(await redis.multi().set(name, 'mine').exec(), [[null, 'OK']]);
    t.is(await other.get(name), 'mine');
  }
});

for (const version of [2, 3] as const) {
  test.serial(
    `node-redis over RESP${version}: strings, expiry, counters, MULTI and WATCH on both workers`,
    async (t) => {
      const client = await nodeRedis(t, version);
      for (const side of ['a', 'z']) {
        t.is(await client.set(`${side}:s`, 'x', { condition: 'NX', expiration: { type: 'EX', value: 100 } }), 'OK');
        t.is(await client.set(`${side}:s`, 'y', { condition: 'NX' }), null);
        t.true((await client.ttl(`${side}:s`)) > 90);
        t.is(await client.get(`${side}:s`), 'x');
        t.is(await client.get(`${side}:none`), null);
        t.is(await client.incrBy(`${side}:n`, 41), 41);
        t.deepEqual(await client.multi().incr(`${side}:n`).get(`${side}:n`).exec(), [42, '42']);
        const error = await t.throwsAsync(client.incr(`${side}:s`));
        t.is(error?.message, 'ERR value is not an integer or out of range');
      }
      t.deepEqual(await client.mGet(['a:n', 'none', 'z:n']), ['42', null, '42']);
      const other = client.duplicate();
      await other.connect();
      await client.watch('z:n');
      await other.set('z:n', '1');
      await t.throwsAsync(client.multi().set('z:n', '2').exec(), { instanceOf: WatchError });
      t.is(await client.get('z:n'), '1');
      other.destroy();
      await t.throwsAsync(client.mSet({ a: '1', z: '2' }), { message: /^CROSSRANGE / });
    },
  );

  test.serial(`node-redis over RESP${version}: keys of any bytes, and every key once by scanIterator`, async (t) => {
    const client = (await nodeRedis(t, version)).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const keys = Array.from({ length: 700 }, (_, i) => Buffer.concat([Buffer.from(key(i)), ANY_BYTES]));
    await Promise.all(keys.map((name) => client.set(name, name)));
    const found: Buffer[] = [];
    for await (const page of client.scanIterator({ COUNT: 50 })) found.push(...(page as unknown as Buffer[]));
    t.deepEqual(found.sort(Buffer.compare), keys.sort(Buffer.compare));
    t.true(Buffer.from((await client.get(keys[0] as Buffer)) as unknown as Buffer).equals(keys[0] as Buffer));
  });
}

test.serial('one connection reads its own writes, whichever worker they are with', async (t) => {
  const redis = await ioredis(t);
  const seen = await Promise.all(
    Array.from({ length: 4000 }, async (_, i) => {
      // Sent back to back, without waiting for the write.
      const [, read] = await Promise.all([redis.set(key(i % 20), i), redis.get(key(i % 20))]);
      return Number(read);
    }),
  );
  t.deepEqual(
    seen,
    Array.from({ length: 4000 }, (_, i) => i),
  );
});

test.serial('a client whose connection is killed comes back by itself', async (t) => {
  const redis = await ioredis(t);
  await redis.set('z:1', 'kept');
  const closed = once(redis, 'close');
  t.is(await redis.call('CLIENT', 'KILL', 'ID', await redis.client('ID'), 'SKIPME', 'no'), 1);
  await closed;
  await once(redis, 'ready');
  t.is(await redis.get('z:1'), 'kept');
  t.is(await redis.quit(), 'OK');
});

test.serial(
  'clients connected to a node that is killed and started again go on, and read all they wrote',
  async (t) => {
    const dir = await temporaryDir(t);
    const first = await startNode(dir, FLAGS);
    const redis = new Redis({ port: first.respPort, retryStrategy: () => 50, maxRetriesPerRequest: null });
    let refusals = 0;
    redis.on('error', () => refusals++);
    const client = createClient({ socket: { port: first.respPort, reconnectStrategy: () => 50 } });
    client.on('error', () => refusals++);
    t.teardown(() => (redis.disconnect(), client.destroy()));
    await client.connect();
    for (let i = 0; i < 100; i++) await Promise.all([redis.set(`i${key(i)}`, i), client.set(`n${key(i)}`, String(i))]);
    const isBack = [redis, client].map((each) => new Promise((resolve) => each.once('ready', resolve as () => void)));
    await first.end('SIGKILL');
    const again = await startNode(dir, [...FLAGS, '--resp-port', String(first.respPort)]);
    t.teardown(async () => void (await again.end('SIGKILL')));
    await Promise.all(isBack);
    t.true(refusals > 0);
    for (let i = 0; i < 100; i++) {
      t.deepEqual(await Promise.all([redis.get(`i${key(i)}`), client.get(`n${key(i)}`)]), [String(i), String(i)]);
    }
  },
);

const hasTools = ['redis-cli', 'redis-benchmark'].every((tool) => spawnSync(tool, ['--version']).status === 0);
const withTools = hasTools ? test.serial : test.skip;
const NOTE = hasTools ? '' : ' (SKIPPED: redis-cli and redis-benchmark are not installed)';

withTools(`redis-cli: commands, --scan and --pipe${NOTE}`, async (t) => {
  const { respPort } = node;
  await ioredis(t);
  const cli = async (...args: string[]): Promise<string> =>
    (await run('redis-cli', ['-p', String(respPort), ...args])).stdout;
  t.is(await cli('SET', 'greeting', 'hello'), 'OK\n');
  t.is(await cli('GET', 'greeting'), 'hello\n');
  t.is(await cli('-3', 'GET', 'none'), '\n');
  t.regex(await cli('INFO', 'server'), /redis_version:7/);
  t.regex(await cli('LPUSH', 'list', '1'), /^ERR unknown command 'LPUSH'/);
  const child = run('redis-cli', ['-p', String(respPort), '--pipe']);
  const commands = Array.from({ length: 5000 }, (_, i) => `SET ${key(i)} ${i}\r\n`);
  child.child.stdin?.end(commands.join(''));
  t.regex((await child).stdout, /errors: 0, replies: 5000/);
  t.is(await cli('DBSIZE'), '5001\n');
  const scanned = (await cli('--scan', '--pattern', '*:*')).trim().split('\n');
  t.is(new Set(scanned).size, 5000);
  t.is(scanned.length, 5000);
});

withTools(`redis-benchmark: its string tests run to their end, pipelined and not${NOTE}`, async (t) => {
  const { respPort } = node;
  await ioredis(t);
  for (const depth of ['1', '16']) {
    const { stdout } = await run(
      'redis-benchmark',
      ['-p', String(respPort), '-t', 'ping,set,get,incr', '-n', '2000', '-r', '1000', '-P', depth, '--csv'],
      { timeout: 60_000 },
    );
    const rows = stdout.trim().split('\n').slice(1);
    t.deepEqual(
      rows.map((row) => row.split(',')[0]),
      ['"PING_INLINE"', '"PING_MBULK"', '"SET"', '"GET"', '"INCR"'],
    );
  }
});
