/** The sending side of a native connection: what it holds for a client that reads slowly, or not at all. */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import test from 'ava';
import { createFlushQueue } from '../../../../src/net/flush-queue.ts';
import { NativeConnection } from '../../../../src/gateway/native/connection.ts';

const OUTPUT_BYTES_MAX = 4 * 2 ** 20;
const VALUE = Buffer.alloc(2 ** 20, 7);

/** A socket whose other end takes bytes only when it is told to. */
class SlowSocket extends Duplex {
  taken = 0;
  #callback: (() => void) | null = null;

  override _read(): void {
    // Nothing ever comes.
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.#callback = () => {
      this.taken += chunk.length;
      callback();
    };
  }

  /** Takes what has been written. */
  async takeAll(): Promise<void> {
    const callback = this.#callback;
    this.#callback = null;
    callback?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function setUp() {
  const socket = new SlowSocket();
  const events: string[] = [];
  const flushQueue = createFlushQueue(() => undefined);
  const connection = new NativeConnection({
    socket: socket as unknown as Socket,
    flushQueue,
    worker: 256,
    outputBytesMax: OUTPUT_BYTES_MAX,
    largestValueBytes: () => 0,
    onPause: () => events.push('pause'),
    onResume: () => events.push('resume'),
    onOverflow: () => events.push('overflow'),
  });
  let requestId = 0;
  const ask = (): number => connection.take(++requestId, false, 30);
  const answer = (slot: number): void => {
    connection.begin().bulk(VALUE, 0, VALUE.length);
    connection.finish(slot);
  };
  return { socket, events, flushQueue, connection, ask, answer };
}

test('FAILURES 30: a client that never reads is no longer asked for requests, long before memory is an issue', (t) => {
  const { connection, events, flushQueue, ask, answer } = setUp();
  let taken = 0;
  while (events.length === 0) {
    answer(ask());
    flushQueue.flushAll();
    taken++;
  }
  t.deepEqual(events, ['pause']);
  t.true(taken <= 3);
  t.true(connection.unsentBytes <= OUTPUT_BYTES_MAX);
  // However often the loop turns, nothing changes as long as nothing is read.
  for (let turn = 0; turn < 10; turn++) {
    connection.wake();
    flushQueue.flushAll();
  }
  t.deepEqual(events, ['pause']);
  t.true(connection.open);
});

test('requests whose replies would be too much together are held back before they are run', (t) => {
  const { connection, events, ask, answer } = setUp();
  answer(ask());
  const inFlight = [];
  while (events.length === 0) inFlight.push(ask());
  t.true(inFlight.length * VALUE.length <= OUTPUT_BYTES_MAX);
  for (const slot of inFlight) answer(slot);
  t.true(connection.open);
});

test('when the client reads again, requests are taken again, and nothing is lost', async (t) => {
  const { socket, events, flushQueue, connection, ask, answer } = setUp();
  for (let i = 0; i < 3; i++) answer(ask());
  flushQueue.flushAll();
  t.deepEqual(events, ['pause']);
  for (let i = 0; i < 3 && events.length === 1; i++) {
    await socket.takeAll();
    flushQueue.flushAll();
  }
  t.deepEqual(events, ['pause', 'resume']);
  t.is(connection.unsentBytes, 0);
  t.is(socket.taken, 3 * (16 + 5 + VALUE.length));
});

test('one who was taken at his word and does not read is cut off at the limit; late replies go nowhere', (t) => {
  const { socket, events, flushQueue, connection, ask, answer } = setUp();
  const slots = Array.from({ length: 20 }, ask);
  for (const slot of slots) answer(slot);
  t.true(events.includes('overflow'));
  t.is(events.filter((event) => event === 'overflow').length, 1);
  t.true(socket.destroyed);
  t.false(connection.open);
  t.true(connection.unsentBytes <= OUTPUT_BYTES_MAX + 2 * VALUE.length);
  flushQueue.flushAll();
  t.is(connection.unsentBytes, 0);
  t.is(connection.inFlight, 0);
});

test('slots are used again, and each reply names its own request', (t) => {
  const { connection, ask, answer } = setUp();
  const [first, second] = [ask(), ask()];
  answer(first);
  t.is(ask(), first);
  t.not(second, first);
  t.is(connection.inFlight, 2);
  t.is(connection.writesInFlight, 0);
  const write = connection.take(99, true, 10);
  t.is(connection.writesInFlight, 1);
  connection.begin().null();
  connection.finish(write);
  t.is(connection.writesInFlight, 0);
});
