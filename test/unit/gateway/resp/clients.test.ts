/** The clients that people use, against a server of one thread over two ranges. */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import type { RespHarness } from '../../../support/resp-harness.ts';
import { startRespHarness } from '../../../support/resp-harness.ts';

const run = promisify(execFile);

const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const testWithCli = has('redis-cli') ? test : test.skip;
const testWithBenchmark = has('redis-benchmark') ? test : test.skip;

async function start(t: ExecutionContext): Promise<RespHarness> {
  const harness = await startRespHarness({ splitAt: ['m'], valueBytesMax: 2 ** 26 });
  t.teardown(() => harness.stop());
  return harness;
}

for (const protocol of [2, 3] as const) {
  test(`node-redis speaks RESP${protocol}: values, pipelines, transactions, scans`, async (t) => {
    const { port } = await start(t);
    const client = createClient({ socket: { port, host: '127.0.0.1' }, RESP: protocol, name: 'tester' });
    client.on('error', (error: Error) => t.fail(error.message));
    await client.connect();
    t.is(await client.clientGetName(), 'tester');
    t.is(await client.set('a', '1'), 'OK');
    t.is(await client.set('z', 'zz', { condition: 'NX', expiration: { type: 'EX', value: 100 } }), 'OK');
    t.is(await client.set('z', 'zz', { condition: 'NX' }), null);
    t.deepEqual(await client.mGet(['a', 'z', 'none']), ['1', 'zz', null]);
    t.is(await client.incrBy('a', 41), 42);
    t.true((await client.ttl('z')) > 90);
    const many = await Promise.all(Array.from({ length: 500 }, (_, i) => client.set(`k${i}`, `v${i}`)));
    t.true(many.every((reply) => reply === 'OK'));
    t.is(await client.get('k499'), 'v499');
    t.deepEqual(await client.multi().set('b', 'x').get('b').exec(), ['OK', 'x']);
    await client.watch('b');
    await client.set('b', 'y');
    await t.throwsAsync(client.multi().get('b').exec(), { name: 'Error' });
    const keys = new Set<string>();
    for await (const found of client.scanIterator({ COUNT: 50 })) for (const key of found) keys.add(key);
    t.is(keys.size, 503);
    t.is(await client.dbSize(), 503);
    t.regex(await client.info('server'), /redis_version:7\./);
    t.deepEqual({ ...(await client.configGet('appendonly')) }, { appendonly: 'yes' });
    await t.throwsAsync(client.sendCommand(['LPUSH', 'l', 'x']), { message: /unknown command 'LPUSH'/ });
    const binary = Buffer.from([0, 1, 13, 10, 255]);
    await client.set('bin', binary);
    t.is((await client.bitCount('bin')) as number, 14);
    t.is(await client.flushAll(), 'OK');
    await client.close();
  });
}

test('ioredis connects, waits for no loading, and works with pipelines and transactions', async (t) => {
  const { port } = await start(t);
  const client = new Redis({
    port,
    host: '127.0.0.1',
    connectionName: 'io',
    enableReadyCheck: true,
    lazyConnect: true,
  });
  await client.connect();
  t.is(client.status, 'ready');
  t.is(await client.client('GETNAME'), 'io');
  t.is(await client.set('a', '1', 'EX', 100), 'OK');
  t.is(await client.get('a'), '1');
  t.is(await client.getBuffer('none'), null);
  const piped = await client.pipeline().set('z', '5').incr('z').get('nope').call('nosuch').exec();
  t.deepEqual(
    piped?.map(([error, value]) => (error === null ? value : error.message.slice(0, 23))),
    ['OK', 6, null, "ERR unknown command 'no"],
  );
  t.deepEqual(await client.multi().set('b', '1').incr('b').exec(), [
    [null, 'OK'],
    [null, 2],
  ]);
  await client.watch('b');
  await client.set('b', 'y');
  t.is(await client.multi().get('b').exec(), null);
  await t.throwsAsync(client.multi().set('a', '1').set('z', '1').exec(), { message: /^CROSSRANGE/ });
  t.deepEqual(await client.mget('a', 'z', 'q'), ['1', '6', null]);
  const value = Buffer.alloc(3 * 2 ** 20, 0xfe);
  await client.set('large', value);
  t.true((await client.getBuffer('large'))?.equals(value));
  await client.quit();
});

test('ioredis with RESP3 and automatic pipelining', async (t) => {
  const { port } = await start(t);
  const client = new Redis({ port, host: '127.0.0.1', enableAutoPipelining: true, lazyConnect: true });
  await client.connect();
  await client.call('HELLO', '3');
  const replies = await Promise.all(Array.from({ length: 300 }, (_, i) => client.set(`k${i}`, `${i}`)));
  t.true(replies.every((reply) => reply === 'OK'));
  const values = await Promise.all(Array.from({ length: 300 }, (_, i) => client.get(`k${i}`)));
  t.deepEqual(
    values,
    Array.from({ length: 300 }, (_, i) => `${i}`),
  );
  client.disconnect();
});

testWithCli('redis-cli runs commands, reads scripts of them, and finds its help', async (t) => {
  const { port } = await start(t);
  const at = ['-h', '127.0.0.1', '-p', String(port)];
  t.is((await run('redis-cli', [...at, 'SET', 'a', '1'])).stdout, 'OK\n');
  t.is((await run('redis-cli', [...at, '-3', 'GET', 'a'])).stdout, '1\n');
  t.regex((await run('redis-cli', [...at, 'COMMAND', 'DOCS', 'GET'])).stdout, /summary/);
  t.regex(
    (await run('redis-cli', [...at, 'NOSUCH', 'x'])).stdout,
    /ERR unknown command 'NOSUCH', with args beginning with: 'x'/,
  );
  const script = 'SET b 2\nGET b\nMULTI\nINCR b\nEXEC\n';
  const piped = run('redis-cli', at);
  piped.child.stdin?.end(script);
  t.is((await piped).stdout, 'OK\n2\nOK\nQUEUED\n3\n');
  t.is((await run('redis-cli', [...at, '--scan'])).stdout.split('\n').toSorted().join(' '), ' a b');
});

testWithBenchmark('redis-benchmark runs its tests, pipelined too', async (t) => {
  const { port } = await start(t);
  for (const pipeline of ['1', '16']) {
    const options = `-h 127.0.0.1 -p ${port} -n 2000 -c 10 -r 1000 -q -P ${pipeline} -t ping_inline,ping_mbulk,set,get,incr,mset`;
    const { stdout } = await run('redis-benchmark', options.split(' '));
    t.is(stdout.match(/requests per second/g)?.length, 6);
    t.notRegex(stdout, /error/i);
  }
});
