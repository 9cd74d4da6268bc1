import { connect as dial } from 'node:net';
import type { Socket } from 'node:net';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { array, assert as check, integer, property, uint8Array } from 'fast-check';
import { SkerryError } from '../../../../src/core/errors.ts';
import { createLogger } from '../../../../src/observe/log.ts';
import { ControlClient } from '../../../../src/server/cluster/control-client.ts';
import { startControlServer } from '../../../../src/server/cluster/control-server.ts';
import type { RequestHandlers } from '../../../../src/server/cluster/control-server.ts';
import { encodeFrame, FrameReader, KIND_ANSWER, KIND_REQUEST } from '../../../../src/server/cluster/frames.ts';
import type { Frame } from '../../../../src/server/cluster/frames.ts';
import { CONTROL_PROTOCOL, HELLO_BYTES_MAX } from '../../../../src/server/cluster/protocol.ts';

const log = createLogger({ level: 'silent', format: 'text', thread: 'test' });
const HOST = '127.0.0.1';
const hello = { protocol: CONTROL_PROTOCOL, clusterId: 'c', from: 2, storeId: 's', incarnation: 1, bootId: 'b', to: 1 };

async function server(t: ExecutionContext, handlers: Partial<RequestHandlers> = {}): Promise<number> {
  const service = {
    admit: ({ clusterId }: { clusterId: string }) => {
      if (clusterId !== 'c') throw new SkerryError('KV_CONFLICT', 'another cluster');
      return { nodeId: 1, clusterId: 'c' };
    },
    handlers: { ping: () => null, ...handlers } as RequestHandlers,
  };
  const { port, close } = await startControlServer(HOST, 0, service, log);
  t.teardown(close);
  return port;
}

function client(t: ExecutionContext, port: number, clusterId = 'c'): ControlClient {
  const made = new ControlClient({ host: HOST, port }, () => ({ ...hello, clusterId }));
  t.teardown(() => made.close());
  return made;
}

test('frames come out as they went in, however the stream is cut', (t) => {
  const frames: Frame[] = [
    { kind: KIND_REQUEST, id: 1, type: 'ping', body: {} },
    { kind: KIND_ANSWER, id: 2, body: { key: Buffer.from([0, 255]), list: [1, null, 'x'] } },
    { kind: KIND_REQUEST, id: 3, type: 'watch', body: { seen: 2 ** 40 } },
  ];
  const stream = Buffer.concat(frames.map(encodeFrame));
  check(
    property(array(integer({ min: 0, max: stream.length }), { maxLength: 20 }), (cuts) => {
      const reader = new FrameReader(1000);
      const edges = [0, ...cuts.toSorted((a, b) => a - b), stream.length];
      const read = edges.slice(1).flatMap((end, i) => reader.push(stream.subarray(edges[i], end)));
      t.deepEqual(read, frames);
    }),
  );
});

test('bytes that are no frames are refused as such, and never more than announced is kept', (t) => {
  check(
    property(uint8Array({ maxLength: 200 }), (bytes) => {
      const reader = new FrameReader(64);
      try {
        for (const frame of reader.push(Buffer.from(bytes))) t.true(Number.isSafeInteger(frame.id));
      } catch (error) {
        t.true(error instanceof SkerryError && ['KV_INVALID', 'KV_TOO_LARGE'].includes(error.code));
      }
    }),
    { numRuns: 2000 },
  );
  const long = Buffer.alloc(4);
  long.writeUInt32LE(65);
  t.throws(() => new FrameReader(64).push(long), { message: /65 bytes; 64 are taken/ });
});

test('a request is answered, an error arrives as the error that it was, a malformed request is refused', async (t) => {
  const port = await server(t, {
    split: () => {
      throw new SkerryError('KV_NOT_LEADER', 'not here', { retryable: true });
    },
  });
  const asker = client(t, port);
  t.is(await asker.request('ping', {}, 1000), null);
  const error = await t.throwsAsync(asker.request('split', { rangeId: 1 as never, key: Buffer.from('k') }, 1000), {
    instanceOf: SkerryError,
  });
  t.like(error, { code: 'KV_NOT_LEADER', message: 'not here', retryable: true });
  await t.throwsAsync(asker.request('watch', { coordinator: 0 as never, term: 1, seen: -1 }, 1000), {
    message: /malformed request watch/,
  });
});

test('who is not let in learns why, and what it asks is not carried out', async (t) => {
  let pings = 0;
  const port = await server(t, {
    ping: () => {
      pings++;
      return null;
    },
  });
  await t.throwsAsync(client(t, port, 'other').request('ping', {}, 1000), { message: 'another cluster' });
  t.is(pings, 0);
});

test('a node that is silent, gone or comes back is told apart', async (t) => {
  const port = await server(t, { ping: () => new Promise(() => undefined) });
  await t.throwsAsync(client(t, port).request('ping', {}, 50), { message: /did not answer ping within 50 ms/ });

  const handlers = { ping: () => null } as unknown as RequestHandlers;
  const service = { admit: () => ({ nodeId: 1, clusterId: 'c' }), handlers };
  const first = await startControlServer(HOST, 0, service, log);
  const asker = client(t, first.port);
  t.is(await asker.request('ping', {}, 1000), null);
  await first.close();
  await t.throwsAsync(asker.request('ping', {}, 1000), {
    instanceOf: SkerryError,
    message: /ECONNREFUSED|closed|RESET/,
  });
  const second = await startControlServer(HOST, first.port, service, log);
  t.teardown(() => second.close());
  t.is(await asker.request('ping', {}, 1000), null);
});

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    socket.resume();
  });

test('garbage, a first request that is no hello, and a hello too long end the connection and nothing else', async (t) => {
  const port = await server(t);
  const long = Buffer.alloc(4);
  long.writeUInt32LE(HELLO_BYTES_MAX + 1);
  const offers = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    encodeFrame({ kind: KIND_REQUEST, id: 1, type: 'ping', body: {} }),
    encodeFrame({ kind: KIND_ANSWER, id: 1, body: null }),
    long,
  ];
  for (const offer of offers) {
    const socket = dial(port, HOST);
    const end = closed(socket);
    socket.write(offer);
    await end;
  }
  t.is(await client(t, port).request('ping', {}, 1000), null);
});

test('whatever bytes come, the control server goes on', async (t) => {
  const port = await server(t);
  const good = encodeFrame({ kind: KIND_REQUEST, id: 1, type: 'hello', body: hello });
  for (let seed = 0; seed < 60; seed++) {
    const bytes = Buffer.from(good);
    // One byte of a good hello changed, then noise behind it.
    bytes[4 + ((seed * 7) % (bytes.length - 4))] = seed * 13;
    const socket = dial(port, HOST);
    const end = closed(socket);
    socket.end(Buffer.concat([seed % 2 === 0 ? bytes : good, Buffer.from([seed, 0, 0, 0, 0x93, seed, 0xc1, 0xff])]));
    await end;
  }
  t.is(await client(t, port).request('ping', {}, 1000), null);
});
