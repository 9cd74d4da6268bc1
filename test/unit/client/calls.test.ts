/** What becomes of one call: its reply, its time, its retries, its end. Against a server that does as it is told. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { connect } from '../../../src/client/connect.ts';
import type { OpenOptions } from '../../../src/client/options.ts';
import type { Store } from '../../../src/client/store.ts';
import { SkerryError } from '../../../src/core/errors.ts';
import type { FakeRequest, FakeServerOptions } from '../../support/fake-native-server.ts';
import { FakeServer } from '../../support/fake-native-server.ts';

async function setUp(
  t: ExecutionContext,
  options: OpenOptions = {},
  serverOptions: FakeServerOptions = {},
): Promise<{ server: FakeServer; kv: Store }> {
  const server = await FakeServer.start(serverOptions);
  const kv = (await connect(server.url, { retryDelayMs: 1, ...options })) as Store;
  t.teardown(async () => {
    await kv.close();
    await server.stop();
  });
  return { server, kv };
}

async function failure(t: ExecutionContext, promise: Promise<unknown>): Promise<SkerryError> {
  return (await t.throwsAsync(promise, { instanceOf: SkerryError })) as SkerryError;
}

const never = (): boolean => true;

test('values come back as they were set: bytes as Buffer, text when asked for', async (t) => {
  const { kv } = await setUp(t);
  t.is(await kv.get('a'), undefined);
  t.true(await kv.set('a', 'ä'));
  t.deepEqual(await kv.get('a'), Buffer.from('ä'));
  t.is(await kv.get('a', { as: 'text' }), 'ä');
  t.true(await kv.set(Buffer.from('b'), new Uint8Array([0, 255])));
  t.deepEqual(await kv.get(Buffer.from('b')), Buffer.from([0, 255]));
  t.true(await kv.has('a'));
  t.deepEqual(await kv.getMany(['b', 'none', 'a']), [Buffer.from([0, 255]), undefined, Buffer.from('ä')]);
  t.deepEqual(await kv.getMany([]), []);
  t.true(await kv.delete('a'));
  t.false(await kv.delete('a'));
  t.false(await kv.has('a'));
});

test("options become the command's words", async (t) => {
  const { server, kv } = await setUp(t);
  const words = (name: string): string[] => server.requestsOf(name).at(-1)?.args.map(String) ?? [];
  await kv.set('a', '1', { ttlMs: 1500.2, ifPresent: true });
  t.deepEqual(words('SET'), ['a', '1', 'XX', 'PX', '1501']);
  await kv.set('a', '1', { keepTtl: true });
  t.deepEqual(words('SET'), ['a', '1', 'KEEPTTL']);
  t.false(await kv.set('a', '2', { ifAbsent: true }));
  await kv.batch([
    { type: 'put', key: 'a', value: '1' },
    { type: 'put', key: 'b', value: '2', ttlMs: 5 },
    { type: 'delete', key: 'c' },
  ]);
  t.deepEqual(words('BATCH'), ['a', 'P', '1', 'b', 'P5', '2', 'c', 'D', '']);
  await kv.get('a', { consistency: 'linearizable' });
  t.is(server.requestsOf('GET').at(-1)?.consistency, 1);
  t.is(await kv.command('exists', ['a']), 1);
});

test('what is no key or value, no time and no command is refused before anything is sent', async (t) => {
  const { server, kv } = await setUp(t);
  const before = server.requests.length;
  const wrong: unknown[] = [5, null, undefined, {}, ['a'], new ArrayBuffer(1)];
  for (const key of wrong) t.is((await failure(t, kv.get(key as string))).code, 'KV_INVALID');
  t.is((await failure(t, kv.set('a', 5 as unknown as string))).code, 'KV_INVALID');
  for (const timeoutMs of [0, -1, Number.NaN]) t.is((await failure(t, kv.get('a', { timeoutMs }))).code, 'KV_INVALID');
  t.regex((await failure(t, kv.command('FROBNICATE', ['a']))).message, /FROBNICATE/);
  t.regex((await failure(t, kv.command('GET', ['a', 'b']))).message, /2 arguments/);
  t.is(server.requests.length, before);
});

test('replies may come in any order', async (t) => {
  const { server, kv } = await setUp(t);
  const held: FakeRequest[] = [];
  server.intercept = (request) => {
    held.push(request);
    if (held.length === 50) for (const one of held.reverse()) server.answer(one);
    return true;
  };
  for (let i = 0; i < 50; i++) server.data.set(`k${i}`, Buffer.from(String(i)));
  const values = await Promise.all(Array.from({ length: 50 }, (_, i) => kv.get(`k${i}`, { as: 'text' })));
  t.deepEqual(
    values,
    Array.from({ length: 50 }, (_, i) => String(i)),
  );
});

test('all that one turn of the loop asks leaves in one write', async (t) => {
  const { server, kv } = await setUp(t);
  const connection = server.connections[0];
  const before = connection?.chunks ?? 0;
  await Promise.all(Array.from({ length: 200 }, (_, i) => kv.get(`k${i}`)));
  t.is((connection?.chunks ?? 0) - before, 1);
});

test("a command's own error is KV_REPLY with its text, and is not retried", async (t) => {
  const { server, kv } = await setUp(t);
  server.intercept = (request) => {
    request.connection.reply(request, (sink) => sink.error('WRONGTYPE no such luck'));
    return true;
  };
  const error = await failure(t, kv.set('a', '1'));
  t.like(error, { code: 'KV_REPLY', message: 'WRONGTYPE no such luck', retryable: false });
  t.is(server.requestsOf('SET').length, 1);
});

test("the store's own words become its error codes", async (t) => {
  const { server, kv } = await setUp(t, { retries: 0 });
  for (const [text, code] of [
    ['CROSSRANGE keys of several ranges', 'KV_CROSS_RANGE'],
    ['OOM no memory', 'KV_OUT_OF_MEMORY'],
    ['DISKFULL no room', 'KV_DISK_FULL'],
    ['NOTLEADER not here', 'KV_NOT_LEADER'],
    ['OVERLOADED later', 'KV_OVERLOADED'],
    ['UNKNOWNRESULT who knows', 'KV_UNKNOWN_RESULT'],
  ] as const) {
    server.intercept = (request) => {
      request.connection.reply(request, (sink) => sink.error(text));
      return true;
    };
    t.is((await failure(t, kv.set('a', '1'))).code, code);
  }
});

test('an error with a code and a hint arrives with both', async (t) => {
  const { server, kv } = await setUp(t);
  server.intercept = ({ requestId, connection }) => {
    connection.refuse(requestId, new SkerryError('KV_STATE', 'not now', { hint: { because: 'of that' } }));
    return true;
  };
  t.like(await failure(t, kv.get('a')), { code: 'KV_STATE', message: 'not now', hint: { because: 'of that' } });
});

test('a request that the store was too busy for is sent again until it is taken', async (t) => {
  const { server, kv } = await setUp(t);
  let refusals = 3;
  server.intercept = (request) => {
    if (refusals-- <= 0) return false;
    request.connection.reply(request, (sink) => sink.error('OVERLOADED try again'));
    return true;
  };
  t.true(await kv.set('a', '1'));
  t.is(server.requestsOf('SET').length, 4);
  t.is(new Set(server.requestsOf('SET').map(({ identity }) => identity?.sequence)).size, 1);
  t.deepEqual(server.applied, ['SET a 1']);
});

test('FAILURES 19: a write whose reply was lost with the connection is retried and applied once', async (t) => {
  const { server, kv } = await setUp(t);
  let cut = false;
  server.intercept = (request) => {
    if (request.name !== 'SET' || cut) return false;
    cut = true;
    // Applied, but the reply never arrives.
    const { socket } = request.connection;
    socket.write = () => true;
    server.answer(request);
    socket.destroy();
    return true;
  };
  t.true(await kv.set('a', '1', { ifAbsent: true }));
  const [first, second, ...others] = server.requestsOf('SET');
  t.deepEqual(others, []);
  t.deepEqual(first?.identity, second?.identity ?? null);
  t.not(first?.connection, second?.connection);
  t.deepEqual(server.applied, ['SET a 1 NX']);
});

test('FAILURES 23: a write that was sent and not answered in time is unknown, not failed', async (t) => {
  const { server, kv } = await setUp(t);
  server.intercept = never;
  const error = await failure(t, kv.set('a', '1', { timeoutMs: 30 }));
  t.is(error.code, 'KV_UNKNOWN_RESULT');
  t.false(error.retryable);
  t.is((error.cause as SkerryError).code, 'KV_TIMEOUT');
  const read = await failure(t, kv.get('a', { timeoutMs: 30 }));
  t.is(read.code, 'KV_TIMEOUT');
  t.true(read.retryable);
});

test('FAILURES 23: a write whose connection is lost for good is unknown, whatever the last attempt failed of', async (t) => {
  const { server, kv } = await setUp(t, { retries: 2 });
  server.intercept = ({ connection }) => {
    connection.socket.destroy();
    return true;
  };
  const sent = server.next('SET');
  const result = failure(t, kv.set('a', '1'));
  await sent;
  await server.stop();
  const error = await result;
  t.is(error.code, 'KV_UNKNOWN_RESULT');
  t.is((error.cause as SkerryError).code, 'KV_NETWORK');
});

test('FAILURES 23: a refusal after a lost attempt does not say that nothing was done', async (t) => {
  const { server, kv } = await setUp(t);
  server.intercept = (request) => {
    if (request.name !== 'SET') return false;
    if (server.requestsOf('SET').length === 1) request.connection.socket.destroy();
    else request.connection.reply(request, (sink) => sink.error('OOM no memory'));
    return true;
  };
  const error = await failure(t, kv.set('a', '1'));
  t.is(error.code, 'KV_UNKNOWN_RESULT');
  t.is((error.cause as SkerryError).code, 'KV_OUT_OF_MEMORY');
});

test('a split that was sent and lost is not sent again', async (t) => {
  const { server, kv } = await setUp(t);
  server.intercept = (request) => {
    if (request.name !== 'SPLIT') return false;
    request.connection.socket.destroy();
    return true;
  };
  t.is((await failure(t, kv.splitRange('m'))).code, 'KV_UNKNOWN_RESULT');
  t.is(server.requestsOf('SPLIT').length, 1);
});

test('FAILURES 30: retries are counted: a store that always hangs up is asked retries + 1 times', async (t) => {
  const { server, kv } = await setUp(t, { retries: 5 });
  server.intercept = ({ name, connection }) => {
    if (name !== 'GET') return false;
    connection.socket.destroy();
    return true;
  };
  t.is((await failure(t, kv.get('a'))).code, 'KV_NETWORK');
  t.is(server.requestsOf('GET').length, 6);
});

test('FAILURES 30: calls wait in bounded number; one too many is refused at once and harms no other', async (t) => {
  const { server, kv } = await setUp(t, { pendingMax: 3 });
  const held: FakeRequest[] = [];
  server.intercept = (request) => held.push(request) > 0;
  const calls = [kv.get('a'), kv.get('b'), kv.set('c', '1')];
  const error = await failure(t, kv.get('d'));
  t.is(error.code, 'KV_OVERLOADED');
  t.true(error.retryable);
  await server.next('SET');
  server.intercept = () => false;
  for (const request of held) server.answer(request);
  t.deepEqual(await Promise.all(calls), [undefined, undefined, true]);
  t.is(await kv.get('d'), undefined);
});

test('a call that is not answered in time says what the attempt before was told', async (t) => {
  const { server, kv } = await setUp(t, { retries: 1000 });
  const why = 'range 7 has had no leader that can be reached for 1.2 s, majority of [1, 2, 3] unreachable: [2, 3]';
  let isRefused = false;
  server.intercept = ({ name, requestId, connection }) => {
    if (name !== 'GET' && name !== 'SET') return false;
    if (!isRefused) connection.refuse(requestId, new SkerryError('KV_PARTITION', why, { retryable: true }));
    isRefused = true;
    return true;
  };
  const read = await failure(t, kv.get('a', { timeoutMs: 200 }));
  t.is(read.code, 'KV_TIMEOUT');
  t.true(read.message.includes(why), read.message);
  isRefused = false;
  const write = await failure(t, kv.set('a', '1', { timeoutMs: 200 }));
  t.is(write.code, 'KV_UNKNOWN_RESULT');
  t.true(write.message.includes(why), write.message);
});

test('a call lets the store wait for less than it has left, and for as long as the store likes when that is much', async (t) => {
  const { server, kv } = await setUp(t);
  await kv.get('a', { timeoutMs: 1000 });
  await kv.get('b', { timeoutMs: 150 });
  await kv.get('c', { timeoutMs: 10_000 });
  const [a, b, c] = server.requests.filter(({ name }) => name === 'GET').map(({ patience }) => patience);
  t.true(a !== undefined && a >= 1 && a <= 7, String(a));
  t.is(b, 1);
  t.is(c, 0);
});

test('a call that cannot be sent in time is KV_TIMEOUT, and its cause says why', async (t) => {
  const { server, kv } = await setUp(t, { retries: 1000 });
  await server.stop();
  // The first one may still have gone into a connection that was dead already.
  t.is((await failure(t, kv.get('a', { timeoutMs: 80 }))).code, 'KV_TIMEOUT');
  let error: SkerryError;
  do {
    error = await failure(t, kv.set('a', '1', { timeoutMs: 80 }));
    t.is(error.code, 'KV_TIMEOUT');
    // There is a cause as soon as one attempt to connect has failed, which may take this machine longer.
  } while (error.cause === undefined);
  t.is((error.cause as SkerryError).code, 'KV_NETWORK');
});

test('a store that comes back is found again, and calls go on', async (t) => {
  const { server, kv } = await setUp(t);
  t.true(await kv.set('a', '1'));
  const { port } = server;
  await server.stop();
  const call = kv.get('a', { as: 'text' });
  await server.listen(port);
  t.is(await call, '1');
});

test('a signal ends a call before it is sent, while it waits, and on its way', async (t) => {
  const { server, kv } = await setUp(t, { retries: 1000 });
  t.is((await failure(t, kv.get('a', { signal: AbortSignal.abort() }))).code, 'KV_ABORTED');

  server.intercept = (request) => request.name === 'SET';
  const controller = new AbortController();
  const sent = server.next('SET');
  const write = failure(t, kv.set('a', '1', { signal: controller.signal }));
  const request = await sent;
  controller.abort(new Error('enough'));
  const error = await write;
  t.is(error.code, 'KV_ABORTED');
  t.true(error.hint['mayHaveHappened']);
  t.is((error.cause as Error).message, 'enough');
  // The reply that comes after all belongs to nobody.
  server.answer(request);
  server.intercept = () => false;
  t.is(await kv.get('a', { as: 'text' }), '1');

  await server.stop();
  const waiting = new AbortController();
  const read = failure(t, kv.get('a', { signal: waiting.signal }));
  waiting.abort();
  t.is((await read).code, 'KV_ABORTED');
});

test('the floor that is sent never passes a write that may still be sent again', async (t) => {
  const { server, kv } = await setUp(t);
  const held: FakeRequest[] = [];
  server.intercept = (request) => {
    if (String(request.args[0]) !== 'slow') return false;
    held.push(request);
    return true;
  };
  await kv.set('a', '1');
  const slow = kv.set('slow', '1');
  await kv.set('b', '1');
  await kv.set('c', '1');
  const floors = (): number[] => server.requestsOf('SET').map(({ identity }) => identity?.floor ?? 0);
  t.deepEqual(floors(), [1, 2, 2, 2]);
  server.intercept = () => false;
  for (const request of held) server.answer(request);
  await slow;
  await kv.set('d', '1');
  t.is(floors().at(-1), 5);
});

test('a request above what the store takes is refused here and does not cost the connection', async (t) => {
  const { server, kv } = await setUp(t, {}, { frameBytesMax: 1000 });
  const error = await failure(t, kv.set('a', Buffer.alloc(1000)));
  t.is(error.code, 'KV_TOO_LARGE');
  t.is(server.requestsOf('SET').length, 0);
  t.true(await kv.set('a', Buffer.alloc(800)));
  // Short strings are counted as they are, not as they might be.
  t.is((await kv.getMany(Array.from({ length: 100 }, () => 'k'))).length, 100);
  t.is(server.connections.length, 1);
});

test('a connection that the store ends with a reason says the reason', async (t) => {
  const { server, kv } = await setUp(t, { retries: 0 });
  server.intercept = ({ connection }) => {
    connection.refuse(0, new SkerryError('KV_OVERLOADED', 'too many connections'));
    connection.socket.end();
    return true;
  };
  const error = await failure(t, kv.get('a'));
  t.is(error.code, 'KV_NETWORK');
  t.regex(error.message, /too many connections/);
});

test('closing fails what is under way, and everything after', async (t) => {
  const { server, kv } = await setUp(t);
  server.intercept = never;
  const sent = server.next('SET');
  const write = failure(t, kv.set('a', '1'));
  const read = failure(t, kv.get('a'));
  await sent;
  await kv.close();
  t.is((await write).code, 'KV_UNKNOWN_RESULT');
  t.is((await read).code, 'KV_STATE');
  t.is((await failure(t, kv.get('a'))).code, 'KV_STATE');
  await kv.close();
  await t.notThrowsAsync(kv[Symbol.asyncDispose]());
});

test('opening fails clearly: nobody there, no answer, another protocol, a refusal, no address', async (t) => {
  const gone = await FakeServer.start();
  await gone.stop();
  t.is((await failure(t, connect(gone.url))).code, 'KV_NETWORK');

  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  const babbling = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
  }).listen(0, '127.0.0.1');
  await Promise.all([once(silent, 'listening'), once(babbling, 'listening')]);
  t.teardown(() => {
    silent.close();
    babbling.close();
  });
  const urlOf = (server: typeof silent): string => `skerry://127.0.0.1:${(server.address() as AddressInfo).port}`;
  t.regex((await failure(t, connect(urlOf(silent), { connectTimeoutMs: 30 }))).message, /30 ms/);
  t.is((await failure(t, connect(urlOf(babbling)))).code, 'KV_NETWORK');

  const refusing = await FakeServer.start();
  t.teardown(() => refusing.stop());
  refusing.intercept = ({ requestId, connection }) => {
    connection.refuse(requestId, new SkerryError('KV_INVALID', 'this server speaks version 7'));
    return true;
  };
  t.regex((await failure(t, connect(refusing.url))).message, /version 7/);
  for (const url of ['http://a', 'skerry://', 'skerry://a:0', 'skerry://a:99999', 'skerry://a b', 'skerry://a:1,'])
    t.is((await failure(t, connect(url))).code, 'KV_INVALID', url);
});
