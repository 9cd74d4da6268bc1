import test from 'ava';
import type { RangeId } from '../../../../src/core/brands.ts';
import type { Ways } from '../../../support/peer-harness.ts';
import { append, indexesOf, startNode, until } from '../../../support/peer-harness.ts';

const RANGE = 5 as RangeId;

test('messages arrive at the worker that they are for, in order, and answers over the other side’s own connection', async (t) => {
  const ways: Ways = new Map();
  const one = await startNode(t, ways, 1);
  const two = await startNode(t, ways, 2, { workerIndex: 1 });
  const three = await startNode(t, ways, 3);
  const sent = Array.from({ length: 500 }, (_, n) => append(one, two, n + 1, [Buffer.from(`entry ${n}`)]));
  for (const message of sent) one.mesh.send(RANGE, message);
  one.mesh.send(9 as RangeId, append(one, three, 1));
  two.mesh.send(RANGE, append(two, one, 1));
  await until(() => two.received.length === 500 && three.received.length === 1 && one.received.length === 1);
  t.deepEqual(
    two.received.map(({ message }) => message),
    sent,
  );
  t.is(three.received[0]?.rangeId, 9 as RangeId);
  t.deepEqual(one.unreachable, []);
  t.is(one.mesh.counters.connects, 2);
});

test('all messages of a turn leave in one frame, of whatever groups', async (t) => {
  const ways: Ways = new Map();
  const one = await startNode(t, ways, 1);
  const two = await startNode(t, ways, 2);
  one.mesh.send(RANGE, append(one, two, 1));
  await until(() => two.received.length === 1);
  const before = one.mesh.counters.framesOut;

  for (let i = 0; i < 1000; i++) one.mesh.send((i + 1) as RangeId, append(one, two, i));
  one.mesh.flush();
  t.is(one.mesh.counters.framesOut - before, 1);
  await until(() => two.received.length === 1001);
});

test('a ping is answered when it comes, not when the other side looks at its connections again', async (t) => {
  const ways: Ways = new Map();
  const roundTrips: number[] = [];
  const one = await startNode(t, ways, 1, { mesh: { onRoundTrip: (ms) => roundTrips.push(ms) } });
  const two = await startNode(t, ways, 2, { mesh: { timings: { tickMs: 2 ** 30 } } });
  one.mesh.send(RANGE, append(one, two, 1));
  await until(() => roundTrips.length === 3);
  t.is(one.mesh.counters.breaks, 0);
});

test('an entry of many megabytes travels whole between small ones', async (t) => {
  const ways: Ways = new Map();
  const one = await startNode(t, ways, 1);
  const two = await startNode(t, ways, 2);
  const large = Buffer.alloc(40 * 1024 * 1024, 'large ');
  one.mesh.send(RANGE, append(one, two, 1));
  one.mesh.send(RANGE, append(one, two, 2, [large, Buffer.from('small')]));
  one.mesh.send(RANGE, append(one, two, 3));
  await until(() => two.received.length === 3 || one.unreachable.length > 0);
  t.deepEqual(indexesOf(two), [1, 2, 3]);
  t.true(large.equals(two.received[1]?.message.entries[0]?.data as Buffer));
});
