import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { NodeId, RangeId } from '../../../../src/core/brands.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import type { PeerNode, StartOptions, Ways } from '../../../support/peer-harness.ts';
import { append, indexesOf, startNode, TICK_MS, until } from '../../../support/peer-harness.ts';
import type { TcpProxy } from '../../../support/tcp-proxy.ts';
import { createTcpProxy } from '../../../support/tcp-proxy.ts';

const RANGE = 5 as RangeId;

interface Pair {
  readonly one: PeerNode;
  readonly two: PeerNode;
  /** Everything from one to two goes through it. */
  readonly proxy: TcpProxy;
}

async function startPair(t: ExecutionContext, options: StartOptions = {}): Promise<Pair> {
  const ways: Ways = new Map();
  const two = await startNode(t, ways, 2, options);
  const proxy = await createTcpProxy({ host: '127.0.0.1', port: two.port }, createPrng(1));
  t.teardown(() => proxy.close());
  const one = await startNode(t, ways, 1, {
    ...options,
    ways: new Map([['2.0', { host: '127.0.0.1', port: proxy.port }]]),
  });
  return { one, two, proxy };
}

/** Sends message `n` again and again, as Raft would, until it arrives. */
async function sendUntilSeen({ one, two }: Pair, n: number): Promise<void> {
  await until(() => {
    if (indexesOf(two).includes(n)) return true;
    one.mesh.send(RANGE, append(one, two, n));
    return false;
  });
}

test('a connection that is reset is reported once, made again, and used again', async (t) => {
  const pair = await startPair(t);
  const { one, proxy } = pair;
  await sendUntilSeen(pair, 1);
  for (const n of [2, 3, 4]) {
    proxy.reset();
    await until(() => one.unreachable.length === n - 1);
    await sendUntilSeen(pair, n);
  }
  t.deepEqual(one.unreachable, ['2.0', '2.0', '2.0']);
  t.is(one.mesh.counters.connects, 4);
  t.deepEqual(one.warnings, []);
});

for (const direction of ['toTarget', 'toClient'] as const) {
  test(`a hole in one direction (${direction}) is noticed on a connection that nothing is sent over`, async (t) => {
    const pair = await startPair(t);
    const { one, two, proxy } = pair;
    await sendUntilSeen(pair, 1);
    proxy[direction].hole = true;
    await until(() => one.unreachable.length === 1);
    t.regex(one.mesh.status()[0]?.problem ?? '', /nothing was heard|closed the connection/);
    // What is sent meanwhile neither gets through nor piles up, and nobody is told again and again.
    await until(() => {
      one.mesh.send(RANGE, append(one, two, 2));
      return one.mesh.counters.breaks >= 3;
    });
    t.deepEqual(one.unreachable, ['2.0']);
    proxy[direction].hole = false;
    await sendUntilSeen(pair, 3);
    t.is(one.mesh.status()[0]?.state, 'open');
  });
}

test('bytes that come one by one, late and unevenly change nothing but the time', async (t) => {
  // Under load a byte for each turn of the loop is slow.
  const pair = await startPair(t, { mesh: { timings: { tickMs: 1000 } } });
  const { one, two, proxy } = pair;
  for (const direction of [proxy.toTarget, proxy.toClient]) {
    direction.pieceBytes = 1;
    direction.delayMs = 10;
    direction.jitterMs = 8;
  }
  const sent = Array.from({ length: 50 }, (_, n) => append(one, two, n + 1, [Buffer.from(`entry ${n}`)]));
  for (const message of sent) one.mesh.send(RANGE, message);
  await until(() => two.received.length === 50);
  t.deepEqual(
    two.received.map(({ message }) => message),
    sent,
  );
  t.is(one.mesh.counters.breaks, 0);
});

test('damaged bytes end their own connection with a clear word; nothing of them is stepped, and others do not notice', async (t) => {
  const pair = await startPair(t);
  const { one, two, proxy } = pair;
  const ways: Ways = new Map([['2.0', { host: '127.0.0.1', port: two.port }]]);
  const three = await startNode(t, ways, 3);
  three.mesh.send(RANGE, append(three, two, 1_000_000));
  await sendUntilSeen(pair, 1);
  let damages = 0;
  for (let n = 2; n < 30; n++) {
    proxy[n % 2 === 0 ? 'toTarget' : 'toClient'].corruptNext = true;
    await until(() => {
      one.mesh.send(RANGE, append(one, two, n, [Buffer.alloc(100, n)]));
      return one.mesh.counters.breaks > damages;
    });
    damages = one.mesh.counters.breaks;
    await sendUntilSeen(pair, n);
  }
  for (const { message } of two.received) {
    t.true(message.index < 30 || message.index === 1_000_000);
    t.true(message.entries.every(({ data }) => Buffer.alloc(100, message.index).equals(data)));
  }
  t.true(two.warnings.length > 0 && two.warnings.every((text) => /checksum/.test(text)), two.warnings.join('\n'));
  t.is(three.mesh.counters.breaks, 0);
});

test('FAILURES 31: a peer that takes nothing costs a bounded amount of memory; the oldest messages are dropped, the newest arrive', async (t) => {
  const queueBytesMax = 1024 * 1024;
  const pair = await startPair(t, { mesh: { queueBytesMax } });
  const { one, two, proxy } = pair;
  await sendUntilSeen(pair, 1);
  // Slow enough that nothing is taken for long, and alive.
  proxy.toTarget.bytesPerSecond = 400_000;
  const data = [Buffer.alloc(10_000, 'x')];
  let most = 0;
  for (let n = 2; n < 5000; n++) {
    one.mesh.send(RANGE, append(one, two, n, data));
    most = Math.max(most, one.mesh.status()[0]?.queuedBytes ?? 0);
    if (n % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  t.true(most <= queueBytesMax + 11_000, `${most} bytes waited`);
  t.true(one.mesh.counters.messagesDropped > 2000, `${one.mesh.counters.messagesDropped} dropped`);
  t.is(one.mesh.counters.breaks, 0);
  proxy.toTarget.bytesPerSecond = 0;
  await until(() => indexesOf(two).includes(4999));
  const seen = indexesOf(two);
  t.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  );
  t.is(one.mesh.counters.queuedBytes, 0);
});

test('a peer that cannot be reached costs nothing: messages are dropped, not kept', async (t) => {
  const pair = await startPair(t);
  const { one, two, proxy } = pair;
  proxy.refuse = true;
  await until(() => {
    for (let i = 0; i < 100; i++) one.mesh.send(RANGE, append(one, two, i + 1, [Buffer.alloc(1000)]));
    return one.mesh.counters.breaks >= 4;
  });
  t.deepEqual(one.unreachable, ['2.0']);
  await until(() => one.mesh.status()[0]?.state === 'waiting');
  t.is(one.mesh.counters.queuedBytes, 0);
  proxy.refuse = false;
  await sendUntilSeen(pair, 500);
});

test('a process that stood still for longer than the silence that is allowed keeps its connections', async (t) => {
  const pair = await startPair(t);
  const { one, two } = pair;
  await sendUntilSeen(pair, 1);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TICK_MS * 20);
  await sendUntilSeen(pair, 2);
  let ticks = 0;
  await until(() => ++ticks > 100);
  t.is(one.mesh.counters.breaks, 0);
  t.is(two.mesh.counters.bytesIn > 0, true);
});

test('who is dialled where nobody is known to be is reported, and dialled as soon as its address is there', async (t) => {
  const ways: Ways = new Map();
  const one = await startNode(t, ways, 1, {
    mesh: { timings: { tickMs: TICK_MS, backoffMinMs: 1e6, backoffMaxMs: 1e6 } },
  });
  one.mesh.send(RANGE, append(one, '2.0', 1));
  await until(() => one.unreachable.length === 1);
  t.regex(one.mesh.status()[0]?.problem ?? '', /no address/);
  const two = await startNode(t, ways, 2);
  one.mesh.addressesChanged();
  await sendUntilSeen({ one, two, proxy: null as unknown as TcpProxy }, 2);
  t.is(one.mesh.status()[0]?.problem, null);
});

test('a worker that has restarted is reached again at its new address; its former life’s connection is ended', async (t) => {
  const pair = await startPair(t);
  const { one, two, proxy } = pair;
  await sendUntilSeen(pair, 1);
  two.mesh.close();
  const again = await startNode(t, new Map(), 2);
  proxy.target = { host: '127.0.0.1', port: again.port };
  await sendUntilSeen({ one, two: again, proxy }, 2);
  t.true(one.unreachable.length <= 1);
});

test('a node that is forgotten is no longer written to, and its connections end', async (t) => {
  const pair = await startPair(t);
  const { one, two, proxy } = pair;
  await sendUntilSeen(pair, 1);
  one.mesh.forget(2 as NodeId, 'node 2 was removed');
  await until(() => proxy.connections === 0);
  for (const to of [two, '2.1', '2.3']) one.mesh.send(RANGE, append(one, to, 2));
  t.deepEqual(
    one.mesh.status().map(({ state, problem }) => [state, problem]),
    Array.from({ length: 3 }, () => ['closed', 'node 2 was removed']),
  );
  t.deepEqual(one.unreachable, []);
  t.is(one.mesh.counters.messagesDropped, 3);
  t.is(proxy.accepted, 1);
});
