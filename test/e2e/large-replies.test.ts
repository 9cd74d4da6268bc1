/**
 * Replies that are much larger than the commands for them: a client that reads gets all of them, in order, and what the
 * node holds of them meanwhile stays within a bound, wherever the ranges are.
 */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createConnection } from 'node:net';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { NodeProcess } from '../support/node-process.ts';
import { withNode } from '../support/node-process.ts';
import { RawClient, resp } from '../support/resp-harness.ts';

const MiB = 2 ** 20;
const KEYS = 8;

/** The i-th value: `bytes` long, unlike all others. */
function valueOf(i: number, bytes: number): Buffer {
  return Buffer.alloc(bytes, `value ${i} of ${bytes} bytes; `);
}

/** Stores values of this size at a:0 … and z:0 …, which two workers share. */
async function fill(node: NodeProcess, bytes: number): Promise<void> {
  const client = await RawClient.connect(node.respPort);
  for (let i = 0; i < KEYS; i++) {
    for (const half of ['a', 'z']) await client.ask(resp('SET', `${half}:${i}`, valueOf(i, bytes)), '+OK\r\n');
  }
  client.close();
}

/** The largest resident memory since the last call, in bytes. */
function peakBytes(node: NodeProcess): number {
  const status = readFileSync(`/proc/${node.child.pid}/status`, 'latin1');
  const peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  writeFileSync(`/proc/${node.child.pid}/clear_refs`, '5');
  return peak;
}

/** Reads the replies, which must be these; throws at the first byte that is another. */
async function readAll(socket: Socket, count: number, expected: (i: number) => Buffer): Promise<void> {
  let reply = 0;
  let at = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    for (let used = 0; used < chunk.length && reply < count;) {
      const whole = expected(reply);
      const bytes = Math.min(whole.length - at, chunk.length - used);
      if (whole.compare(chunk, used, used + bytes, at, at + bytes) !== 0) {
        throw new Error(`reply ${reply} is wrong near byte ${at}`);
      }
      used += bytes;
      at += bytes;
      if (at < whole.length) continue;
      at = 0;
      reply++;
    }
    if (reply === count) return;
  }
  throw new Error(`the node closed the connection after ${reply} of ${count} replies`);
}

async function open(node: NodeProcess): Promise<Socket> {
  const socket = createConnection({ port: node.respPort, host: '127.0.0.1' });
  await once(socket, 'connect');
  return socket;
}

const bulk = (value: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from('\r\n')]);

const OK = Buffer.from('+OK\r\n');

/** Small commands first, so that the node has no reason to expect anything but small replies; then many large ones. */
async function readMany(node: NodeProcess, half: 'a' | 'z', bytes: number, count: number): Promise<void> {
  const socket = await open(node);
  const sets = Array.from({ length: 300 }, (_, i) => resp('SET', `${half}:small`, String(i)));
  const gets = Array.from({ length: count }, (_, i) => resp('GET', `${half}:${i % KEYS}`));
  const values = Array.from({ length: KEYS }, (_, i) => bulk(valueOf(i, bytes)));
  socket.write(Buffer.concat([...sets, ...gets]));
  await readAll(socket, sets.length + count, (i) =>
    i < sets.length ? OK : (values[(i - sets.length) % KEYS] as Buffer),
  );
  socket.destroy();
}

async function boundedRise(t: ExecutionContext, node: NodeProcess, work: () => Promise<void>): Promise<void> {
  peakBytes(node);
  const before = peakBytes(node);
  await work();
  const rise = peakBytes(node) - before;
  t.log(`resident memory rose by ${(rise / MiB).toFixed(0)} MiB`);
  t.true(rise < 512 * MiB, `${rise / MiB} MiB`);
}

test('thousands of large replies to one connection come right and in order, in bounded memory, from either worker', async (t) => {
  const node = await withNode(t);
  await fill(node, MiB);
  await boundedRise(t, node, async () => {
    for (const half of ['a', 'z'] as const) await readMany(node, half, MiB, 1500);
  });
});

test('clients that never read do not stop others, cost bounded memory, and get everything when they do read', async (t) => {
  const node = await withNode(t);
  await fill(node, MiB);
  const values = Array.from({ length: KEYS }, (_, i) => bulk(valueOf(i, MiB)));
  const gets = 100;
  await boundedRise(t, node, async () => {
    const crowd = await Promise.all(Array.from({ length: 24 }, () => open(node)));
    for (const [i, socket] of crowd.entries()) {
      socket.pause();
      const half = i % 2 === 0 ? 'a' : 'z';
      socket.write(Buffer.concat(Array.from({ length: gets }, (_, k) => resp('GET', `${half}:${k % KEYS}`))));
    }
    // Several, so that each worker has one.
    const others = await Promise.all(Array.from({ length: 6 }, () => RawClient.connect(node.respPort)));
    for (let round = 0; round < 50; round++) {
      const rounds = others.map(async (client, i) => {
        const [key, value] = [`${round % 2 === 0 ? 'a' : 'z'}:good ${i}`, `${i} ${round}`];
        const expected = `+OK\r\n$${value.length}\r\n${value}\r\n`;
        const answer = await client.ask(Buffer.concat([resp('SET', key, value), resp('GET', key)]), expected);
        if (answer !== expected) throw new Error(`a wrong answer: ${answer}`);
      });
      await Promise.all(rounds);
    }
    for (const client of others) client.close();
    for (const socket of crowd) {
      await readAll(socket, gets, (i) => values[i % KEYS] as Buffer);
      socket.destroy();
    }
  });
});

test('fan-outs over both workers come whole, in order and in bounded memory, however many are asked for at once', async (t) => {
  const node = await withNode(t);
  await fill(node, MiB);
  const socket = await open(node);
  const keys = ['a', 'z'].flatMap((half) => Array.from({ length: 4 }, (_, i) => `${half}:${i}`));
  const whole = Buffer.concat([Buffer.from('*8\r\n'), ...keys.map((key) => bulk(valueOf(Number(key[2]), MiB)))]);
  const small = Array.from({ length: 100 }, () => resp('MGET', 'a:none', 'z:none'));
  const nothing = Buffer.from('*2\r\n$-1\r\n$-1\r\n');
  await boundedRise(t, node, async () => {
    socket.write(Buffer.concat([...small, ...Array.from({ length: 200 }, () => resp('MGET', ...keys))]));
    await readAll(socket, 300, (i) => (i < 100 ? nothing : whole));
  });
  socket.destroy();
});

const mget = (halves: readonly string[], count: number): Buffer =>
  resp('MGET', ...Array.from({ length: count }, (_, i) => `${halves[i % halves.length]}:${i % KEYS}`));

test('a single reply that no memory could hold is refused, in one range, over several, and in EXEC; the connection goes on', async (t) => {
  const node = await withNode(t);
  await fill(node, MiB);
  const client = await RawClient.connect(node.respPort);
  const refusal =
    '-TOOLARGE the values that were asked for have more than 536870912 bytes together; ask for fewer at a time\r\n';
  const isAnswered = async (request: Buffer, expected: string): Promise<void> => {
    t.is(await client.ask(request, expected), expected);
  };
  await boundedRise(t, node, async () => {
    for (const half of ['a', 'z']) await isAnswered(mget([half], 10_000), refusal);
    const queued = [resp('MULTI'), mget(['a'], 600), resp('SET', 'a:set', '1'), resp('GET', 'a:set'), resp('EXEC')];
    await isAnswered(
      Buffer.concat(queued),
      `+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n${refusal}+OK\r\n$1\r\n1\r\n`,
    );
    await isAnswered(resp('GET', 'a:set'), '$1\r\n1\r\n');
  });
  // Neither half is too much by itself, and so both are made.
  await isAnswered(mget(['a', 'z'], 600), refusal);
  client.close();
});
