import test from 'ava';
import type { ExecutionContext } from 'ava';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createPrng } from '../../../src/core/prng.ts';
import type { ConnectionOptions } from '../../../src/net/connection.ts';
import { Connection } from '../../../src/net/connection.ts';
import { createFlushQueue } from '../../../src/net/flush-queue.ts';
import { socketPair } from '../../support/socket-pair.ts';
import { turnsUntil } from '../../support/until.ts';

const MiB = 1024 * 1024;

interface Pair {
  readonly connection: Connection;
  /** The client's end. It reads nothing until asked to. */
  readonly client: Socket;
  readonly paused: () => boolean;
  readonly overflowed: () => number;
  /** How often it wrote to its socket. */
  readonly writes: () => number;
}

async function connect(t: ExecutionContext, options: Partial<ConnectionOptions> = {}): Promise<Pair> {
  const { socket, client } = await socketPair(t);
  let isPaused = false;
  let overflowed = 0;
  let writes = 0;
  const queue = createFlushQueue(() => setImmediate(() => queue.flushAll()));
  const connection = new Connection({
    socket,
    flushQueue: queue,
    outputBytesMax: 64 * MiB,
    largestValueBytes: () => 0,
    protocol: 2,
    onPause: () => (isPaused = true),
    onResume: () => (isPaused = false),
    onOverflow: () => overflowed++,
    meter: { sent: () => writes++, latency: () => undefined, failed: () => undefined },
    ...options,
  });
  return { connection, client, paused: () => isPaused, overflowed: () => overflowed, writes: () => writes };
}

function reply(connection: Connection, slot: number, text: string): void {
  connection.begin(slot).simple(text);
  connection.finish(slot);
}

/** Waits until the client has `bytes` more, or until its connection is closed. */
async function take(client: Socket, bytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let got = 0;
  client.resume();
  const isDone = new Promise<void>((resolve) => {
    client.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      got += chunk.length;
      if (got >= bytes) resolve();
    });
    client.on('close', () => resolve());
  });
  await isDone;
  client.removeAllListeners('data');
  return Buffer.concat(chunks).toString('latin1');
}

test('replies leave in the order of the commands, whatever order they come in', async (t) => {
  const { connection, client } = await connect(t);
  const prng = createPrng(42);
  let expected = '';
  const waiting: number[] = [];
  for (let round = 0; round < 300; round++) {
    for (let i = prng.below(20); i > 0; i--) {
      const slot = connection.slot(false);
      waiting.push(slot);
      expected += `+${'r'.repeat(slot % 50)}${slot}\r\n`;
    }
    for (let i = prng.below(25); i > 0 && waiting.length > 0; i--) {
      const [slot] = waiting.splice(prng.below(waiting.length), 1) as [number];
      const text = `${'r'.repeat(slot % 50)}${slot}`;
      if (prng.chance(0.5)) reply(connection, slot, text);
      else connection.raw(slot, Buffer.from(`xx+${text}\r\n`), 2, text.length + 5);
    }
    if (prng.chance(0.2)) await new Promise((resolve) => setImmediate(resolve));
  }
  for (const slot of waiting.reverse()) reply(connection, slot, `${'r'.repeat(slot % 50)}${slot}`);
  t.is(connection.inFlight, 0);
  t.is(await take(client, expected.length), expected);
});

test('all replies of a turn leave in one write', async (t) => {
  const { connection, client, writes } = await connect(t);
  let expected = '';
  for (let i = 0; i < 500; i++) {
    reply(connection, connection.slot(false), 'OK');
    expected += '+OK\r\n';
  }
  t.is(writes(), 0);
  t.is(await take(client, expected.length), expected);
  t.is(writes(), 1);
});

test('commands that came together are answered in one write, those that follow as they come', async (t) => {
  const { connection, client, writes } = await connect(t);
  for (let i = 0; i < 4; i++) connection.slot(false);
  reply(connection, 0, 'a');
  reply(connection, 2, 'c');
  await new Promise((resolve) => setImmediate(resolve));
  t.is(writes(), 0);
  connection.slot(false);
  for (const slot of [1, 3]) reply(connection, slot, 'b');
  await turnsUntil(() => writes() === 1);
  t.is(await take(client, 16), '+a\r\n+b\r\n+c\r\n+b\r\n');
  connection.slot(false);
  reply(connection, 4, 'e');
  await turnsUntil(() => writes() === 2);
  t.is(connection.inFlight, 1);
});

test('a reply does not wait longer than a moment for one that does not come', async (t) => {
  const { connection, client, writes } = await connect(t);
  connection.slot(false);
  connection.slot(true);
  reply(connection, 0, 'read');
  t.is(await take(client, 7), '+read\r\n');
  t.is(writes(), 1);
  t.is(connection.inFlight, 1);
});

test('a write is in flight until the replies up to it are there', async (t) => {
  const { connection } = await connect(t);
  const read = connection.slot(false);
  t.is(connection.writesInFlight, 0);
  const write = connection.slot(true);
  const later = connection.slot(false);
  t.true(connection.writesInFlight > 0);
  reply(connection, later, 'x');
  reply(connection, read, 'x');
  t.true(connection.writesInFlight > 0);
  reply(connection, write, 'x');
  t.is(connection.writesInFlight, 0);
});

test('muted slots are answered with nothing, early or in turn', async (t) => {
  const { connection, client } = await connect(t);
  const first = connection.slot(false);
  const early = connection.slot(false, true);
  const earlyRaw = connection.slot(false, true);
  const last = connection.slot(false);
  reply(connection, early, 'muted');
  connection.raw(earlyRaw, Buffer.from('+muted\r\n'), 0, 8);
  reply(connection, last, 'last');
  reply(connection, first, 'first');
  reply(connection, connection.slot(false, true), 'muted');
  const raw = connection.slot(false, true);
  connection.raw(raw, Buffer.from('+muted\r\n'), 0, 8);
  reply(connection, connection.slot(false), 'end');
  t.is(await take(client, 21), '+first\r\n+last\r\n+end\r\n');
});

test('a client that does not read is no longer read from, and gets everything once it does', async (t) => {
  const { connection, client, paused } = await connect(t);
  const value = Buffer.alloc(64 * 1024, 'v');
  let sent = 0;
  while (!paused()) {
    const slot = connection.slot(false);
    connection.begin(slot).bulk(value, 0, value.length);
    connection.finish(slot);
    sent += value.length + 10;
    if (sent % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  t.true(connection.socket.isPaused());
  t.true(sent < 32 * MiB);
  const got = await take(client, sent);
  t.is(got.length, sent);
  await turnsUntil(() => !paused());
  t.false(connection.socket.isPaused());
});

test('a client that never reads is cut off with bounded memory, and later replies go nowhere', async (t) => {
  const outputBytesMax = 4 * MiB;
  const { connection, overflowed } = await connect(t, { outputBytesMax });
  const value = Buffer.alloc(256 * 1024, 'v');
  // Commands that were taken before the pause go on answering.
  const slots = Array.from({ length: 1000 }, () => connection.slot(false));
  for (const slot of slots) {
    connection.raw(slot, value, 0, value.length);
    if (slot % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    t.true(connection.unsentBytes <= outputBytesMax + value.length);
  }
  t.is(overflowed(), 1);
  t.false(connection.open);
  t.true(connection.socket.destroyed);
  await turnsUntil(() => connection.capacityBytes === 0);
  t.is(connection.inFlight, 0);
});

test('one reply larger than the limit reaches a client that reads', async (t) => {
  const { connection, client, overflowed } = await connect(t, { outputBytesMax: MiB });
  const value = Buffer.alloc(5 * MiB, 'v');
  connection.raw(connection.slot(false), value, 0, value.length);
  const got = take(client, value.length + 5);
  await turnsUntil(() => connection.unsentBytes === 0);
  reply(connection, connection.slot(false), 'OK');
  t.is((await got).length, value.length + 5);
  t.is(overflowed(), 0);
});

test('replies that may be large hold back further commands, whatever was answered before; small ones do not', async (t) => {
  const { connection, paused } = await connect(t, { largestValueBytes: () => 300 * 1024 });
  for (let i = 0; i < 1000; i++) reply(connection, connection.slot(false, false, 0, 1), 'OK');
  await turnsUntil(() => connection.unsentBytes === 0);
  for (let i = 0; i < 3; i++) connection.slot(false, false, 0, 1);
  t.false(paused());
  connection.slot(false, false, 0, 1);
  t.true(paused(), 'four of them are more than a connection begins with');
  const other = await connect(t, { largestValueBytes: () => 100 });
  for (let i = 0; i < 5000; i++) other.connection.slot(false, false, 0, 1);
  t.false(other.paused());
  for (let i = 0; i < 5000; i++) other.connection.slot(false, false, 0, 0);
  t.true(other.paused(), 'yet not without end');
});

test('commands of many bytes that are not answered hold back further ones', async (t) => {
  const { connection, client, paused } = await connect(t);
  client.resume();
  reply(connection, connection.slot(false), 'OK');
  const slots: number[] = [];
  while (!paused()) slots.push(connection.slot(true, false, MiB));
  t.true(slots.length <= 32);
  for (const slot of slots) reply(connection, slot, 'OK');
  await turnsUntil(() => !paused());
  t.pass();
});

test('an idle connection holds next to no memory after a large reply', async (t) => {
  const { connection, client } = await connect(t);
  const value = Buffer.alloc(3 * MiB, 'v');
  const first = connection.slot(false);
  const second = connection.slot(false);
  connection.raw(second, value, 0, value.length);
  connection.raw(first, value, 0, value.length);
  await take(client, 2 * value.length);
  await turnsUntil(() => connection.unsentBytes === 0);
  t.true(connection.capacityBytes <= 16 * 1024);
});

test('memory of replies that came early is given back while later ones still wait', async (t) => {
  const { connection, client } = await connect(t);
  client.resume();
  const value = Buffer.alloc(100 * 1024, 'v');
  let unanswered = connection.slot(false);
  connection.raw(connection.slot(false), value, 0, value.length);
  for (let i = 0; i < 200; i++) {
    const next = connection.slot(false);
    connection.raw(connection.slot(false), value, 0, value.length);
    reply(connection, unanswered, 'OK');
    unanswered = next;
    await turnsUntil(() => connection.unsentBytes <= value.length);
    t.true(connection.capacityBytes < 2 * MiB);
  }
});

test('a connection is ended after the replies that are owed', async (t) => {
  const { connection, client } = await connect(t);
  const first = connection.slot(true);
  const second = connection.slot(false);
  connection.closeWhenAnswered();
  reply(connection, second, 'second');
  await new Promise((resolve) => setImmediate(resolve));
  t.false(connection.socket.writableEnded);
  reply(connection, first, 'first');
  t.is(await take(client, Infinity), '+first\r\n+second\r\n');
});

test('a last reply is not lost to bytes that the client sent in vain', async (t) => {
  const { connection, client } = await connect(t);
  client.write(Buffer.alloc(MiB));
  reply(connection, connection.slot(false), 'bye');
  connection.closeWhenAnswered();
  t.is(await take(client, Infinity), '+bye\r\n');
});

test('replies to a client that is gone cost nothing', async (t) => {
  const { connection, client } = await connect(t);
  const slots = Array.from({ length: 100 }, () => connection.slot(false));
  client.destroy();
  connection.socket.on('error', () => undefined);
  connection.socket.resume();
  await once(connection.socket, 'close');
  t.false(connection.open);
  for (const slot of slots) reply(connection, slot, 'OK');
  await turnsUntil(() => connection.capacityBytes === 0);
  t.is(connection.inFlight, 0);
});
