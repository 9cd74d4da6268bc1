/** Native sessions: what comes in, what goes out, how connections end. */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import {
  FIRST_PROTOCOL_OP,
  OP_HELLO,
  OP_PING,
  OP_RANGE_SPLIT,
  OP_STATUS,
  OP_TOPOLOGY,
  STATUS_OK,
  STATUS_STORE_ERROR,
  STATUS_TOPOLOGY,
} from '../../../../src/codec/native/frame.ts';
import type { Topology } from '../../../../src/codec/native/messages.ts';
import { SkerryError } from '../../../../src/core/errors.ts';
import { requireCommand } from '../../../../src/core/kv/table.ts';
import type { NativeHarness, NativeHarnessOptions } from '../../../support/native-harness.ts';
import { RawNativeClient, request, startNativeHarness } from '../../../support/native-harness.ts';

const op = (name: string): number => requireCommand(name).op;

async function setUp(
  t: ExecutionContext,
  options: NativeHarnessOptions = {},
): Promise<{ harness: NativeHarness; client: RawNativeClient }> {
  const harness = await startNativeHarness(options);
  const client = await RawNativeClient.connect(harness.port);
  t.teardown(async () => {
    client.socket.destroy();
    await harness.stop();
  });
  return { harness, client };
}

const codeOf = (value: unknown): string | undefined => (value instanceof SkerryError ? value.code : undefined);

test('hello is answered with what a client needs to find its way', async (t) => {
  const { harness } = await setUp(t, { splitAt: ['m'], valueBytesMax: 1000 });
  const client = await RawNativeClient.connect(harness.port, false);
  client.socket.write(request(7, OP_HELLO, ['SKERRY', '1,2', 'me']));
  const { status, value } = await client.response(7);
  t.is(status, STATUS_OK);
  t.like(value as object, { protocol: 1, server: '0.0.0', worker: 256, frameBytesMax: 1000 + 65_536 });
  const { topology } = value as { topology: Topology };
  t.deepEqual(topology.workers, [{ worker: 256, host: '', port: harness.port }]);
  t.deepEqual(
    topology.ranges.map(({ rangeId, endKey }) => [rangeId, endKey === null ? null : String(endKey)]),
    [
      [0, 'm'],
      [1, null],
    ],
  );
  client.socket.destroy();
});

test('whoever does not begin with a hello that we speak is told so and sent away', async (t) => {
  const { harness } = await setUp(t);
  for (const [bytes, code] of [
    [request(1, op('GET'), ['a']), 'KV_STATE'],
    [request(1, OP_TOPOLOGY, []), 'KV_STATE'],
    [request(1, OP_HELLO, ['SKERRY', '9']), 'KV_INVALID'],
    [request(1, OP_HELLO, ['REDIS', '1']), 'KV_INVALID'],
    [request(1, OP_HELLO, []), 'KV_INVALID'],
    [request(1, OP_HELLO, ['SKERRY', '1', 'x'.repeat(2000)]), 'KV_TOO_LARGE'],
    [Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'KV_TOO_LARGE'],
    [Buffer.from('*1\r\n$4\r\nPING\r\n'), 'KV_TOO_LARGE'],
    [Buffer.alloc(100), 'KV_INVALID'],
  ] as const) {
    const client = await RawNativeClient.connect(harness.port, false);
    client.socket.write(bytes);
    await client.ended();
    t.is(client.responses.length, 1);
    t.like(client.responses[0], { requestId: 0, status: STATUS_STORE_ERROR });
    t.is(codeOf(client.responses[0]?.value), code);
  }
  t.deepEqual(
    await harness.untilClosed(9),
    Array.from({ length: 9 }, () => 'protocol'),
  );
});

test('commands are run, reads behind the writes of their connection, errors in their own words', async (t) => {
  const { harness, client } = await setUp(t);
  client.socket.write(
    Buffer.concat([
      request(10, op('SET'), ['a', '1']),
      request(11, op('GET'), ['a']),
      request(12, op('INCR'), ['a']),
      request(13, op('MGET'), ['a', 'none']),
      request(14, op('LCS'), ['a', 'a', 'LEN', 'LEN', 'x']),
    ]),
  );
  t.deepEqual(await client.response(10), { requestId: 10, status: STATUS_OK, value: 'OK' });
  t.deepEqual((await client.response(11)).value, Buffer.from('1'));
  t.is((await client.response(12)).value, 2);
  t.deepEqual((await client.response(13)).value, [Buffer.from('2'), null]);
  t.is((await client.response(14)).status, 1);
  t.is(harness.counted(), 6);
});

test('a read is not kept waiting by the writes of another connection', async (t) => {
  const { harness, client } = await setUp(t);
  const other = await RawNativeClient.connect(harness.port);
  harness.range.isStuck = true;
  client.socket.write(Buffer.concat([request(2, op('SET'), ['a', '1']), request(3, op('GET'), ['a'])]));
  other.socket.write(request(2, op('GET'), ['a']));
  t.is((await other.response(2)).value, null);
  t.deepEqual(client.responses, []);
  harness.range.isStuck = false;
  harness.range.release();
  t.deepEqual((await client.response(3)).value, Buffer.from('1'));
  other.socket.destroy();
});

test('FAILURES 19: a request sent twice with one identity is applied once and answered twice', async (t) => {
  const { client } = await setUp(t);
  const identity = { clientId: 99, sequence: 1, floor: 1 };
  client.socket.write(request(2, op('INCR'), ['n'], identity));
  client.socket.write(request(3, op('INCR'), ['n'], identity));
  t.is((await client.response(2)).value, 1);
  t.is((await client.response(3)).value, 1);
  client.socket.write(request(4, op('GET'), ['n']));
  t.deepEqual((await client.response(4)).value, Buffer.from('1'));
});

test("the protocol's own requests", async (t) => {
  const { harness, client } = await setUp(t);
  client.socket.write(Buffer.concat([request(2, OP_PING, []), request(3, OP_STATUS, []), request(4, OP_TOPOLOGY, [])]));
  t.is((await client.response(2)).value, 'PONG');
  t.deepEqual((await client.response(3)).value, { version: '0.0.0', keys: 0 });
  t.is(((await client.response(4)).value as Topology).ranges.length, 1);
  client.socket.write(request(5, OP_RANGE_SPLIT, ['m']));
  t.is(((await client.response(5)).value as Topology).ranges.length, 2);
  t.deepEqual(harness.splits, ['m']);
  client.socket.write(Buffer.concat([request(6, OP_RANGE_SPLIT, ['']), request(7, OP_RANGE_SPLIT, [])]));
  for (const id of [6, 7]) t.is(codeOf((await client.response(id)).value), 'KV_INVALID');
});

test('one wrong request is answered, and the connection goes on', async (t) => {
  const { client } = await setUp(t);
  const garbled = request(4, op('GET'), ['a']);
  garbled[28] = 0xc1;
  client.socket.write(
    Buffer.concat([
      request(2, 60_000, ['a']),
      request(3, op('GET'), ['a', 'b']),
      garbled,
      request(5, op('EXEC'), ['0']),
      request(6, FIRST_PROTOCOL_OP + 999, []),
      request(7, op('GET'), ['a']),
    ]),
  );
  for (const id of [2, 3, 4, 5, 6]) {
    const { status, value } = await client.response(id);
    t.is(status, STATUS_STORE_ERROR);
    t.is(codeOf(value), 'KV_INVALID');
  }
  t.is((await client.response(7)).value, null);
});

test('a request id of 0 cannot be answered: the connection ends', async (t) => {
  const { harness, client } = await setUp(t);
  client.socket.write(request(0, op('GET'), ['a']));
  await client.ended();
  t.is(codeOf(client.responses[0]?.value), 'KV_INVALID');
  t.deepEqual(await harness.untilClosed(1), ['protocol']);
});

test('new routing is told once, before the reply of the next command', async (t) => {
  const { harness, client } = await setUp(t);
  harness.cut(['m']);
  client.socket.write(Buffer.concat([request(2, op('GET'), ['a']), request(3, op('GET'), ['z'])]));
  await client.response(3);
  t.deepEqual(
    client.responses.map(({ requestId, status }) => [requestId, status]),
    [
      [0, STATUS_TOPOLOGY],
      [2, STATUS_OK],
      [3, STATUS_OK],
    ],
  );
  t.like(client.responses[0]?.value as object, { ranges: [{ rangeId: 0 }, { rangeId: 1 }] });
});

test('a frame announced above the limit ends the connection with the reason', async (t) => {
  const { client } = await setUp(t, { valueBytesMax: 1000 });
  client.socket.write(request(2, op('SET'), ['a', Buffer.alloc(100_000)]));
  await client.ended();
  t.is(codeOf(client.responses.at(-1)?.value), 'KV_TOO_LARGE');
});

test('FAILURES 30: a pipeline deeper than any limit is held back, and answered whole', async (t) => {
  const { harness, client } = await setUp(t);
  harness.range.isStuck = true;
  const requests = 40_000;
  client.socket.write(
    Buffer.concat(Array.from({ length: requests }, (_, i) => request(i + 2, op('SET'), [`k${i % 100}`, String(i)]))),
  );
  client.socket.write(request(1_000_000, op('DBSIZE'), []));
  // Whoever else is there is served meanwhile.
  const other = await RawNativeClient.connect(harness.port);
  other.socket.write(request(2, OP_PING, []));
  t.is((await other.response(2)).value, 'PONG');
  harness.range.isStuck = false;
  harness.range.release();
  t.is((await client.response(1_000_000)).value, 100);
  t.is(client.responses.length, requests + 1);
  t.is(new Set(client.responses.map(({ requestId }) => requestId)).size, requests + 1);
  other.socket.destroy();
});

test('a client that reads gets replies of any size together', async (t) => {
  const { client } = await setUp(t, { outputBytesMax: 4 * 2 ** 20 });
  client.socket.write(request(2, op('SET'), ['big', Buffer.alloc(2 ** 20, 7)]));
  await client.response(2);
  client.socket.write(Buffer.concat(Array.from({ length: 100 }, (_, i) => request(i + 3, op('GET'), ['big']))));
  await client.until(() => client.responses.length === 101);
  t.true(client.responses.slice(1).every(({ value }) => (value as Uint8Array).length === 2 ** 20));
});

test('one connection too many is told why', async (t) => {
  const { harness } = await setUp(t, { connectionsMax: 1 });
  const extra = await RawNativeClient.connect(harness.port, false);
  await extra.until(() => extra.responses.length > 0);
  t.is(extra.responses[0]?.requestId, 0);
  t.is(codeOf(extra.responses[0]?.value), 'KV_OVERLOADED');
  await extra.ended();
  t.deepEqual(await harness.untilClosed(1), ['limit']);
});

test('a silent connection ends after the idle time, an unfinished frame or not', async (t) => {
  const { harness, client } = await setUp(t, { idleTimeoutMs: 50 });
  client.socket.write(request(2, op('SET'), ['a', '1']).subarray(0, 20));
  await client.ended();
  t.deepEqual(await harness.untilClosed(1), ['idle']);
});

test('a client that has said its last still gets its answers', async (t) => {
  const { harness, client } = await setUp(t);
  harness.range.isStuck = true;
  client.socket.end(request(2, op('SET'), ['a', '1']));
  const other = await RawNativeClient.connect(harness.port);
  other.socket.write(request(2, OP_PING, []));
  await other.response(2);
  harness.range.isStuck = false;
  harness.range.release();
  t.is((await client.response(2)).value, 'OK');
  await client.ended();
  t.deepEqual(await harness.untilClosed(1), ['client']);
  other.socket.destroy();
});

test('a shutdown answers what was taken, then ends the connection', async (t) => {
  const { harness, client } = await setUp(t);
  harness.range.isStuck = true;
  client.socket.write(request(2, op('SET'), ['a', '1']));
  client.socket.write(request(3, OP_PING, []));
  await client.response(3);
  harness.server.close();
  harness.range.isStuck = false;
  harness.range.release();
  t.is((await client.response(2)).value, 'OK');
  await client.ended();
  t.deepEqual(await harness.untilClosed(1), ['shutdown']);
});

test('fuzz: no bytes crash a session or disturb another connection', async (t) => {
  const { harness, client } = await setUp(t);
  let id = 2;
  const arbitrary = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc
      .record({
        op: fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0xf000, max: 0xf010 })),
        args: fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 6 }),
        flips: fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 3 }),
      })
      .map(({ op: code, args, flips }) => {
        const bytes = request(1 + (code % 7), code, args);
        for (const [at, value] of flips) if (at >= 4) bytes[at % bytes.length] = value;
        return bytes;
      }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(arbitrary, { minLength: 1, maxLength: 10 }), async (pieces) => {
      const stranger = await RawNativeClient.connect(harness.port);
      for (const piece of pieces) stranger.socket.write(piece);
      stranger.socket.end();
      await stranger.ended();
      client.socket.write(request(++id, OP_PING, []));
      t.is((await client.response(id)).value, 'PONG');
      client.responses.length = 0;
    }),
    { numRuns: 150 },
  );
});
