/** How operations are dealt out and counted, in closed and open loops. Time stands unless a test moves it. */
import test from 'ava';
import { counters, UNITS_PER_MS } from '../../../src/bench/tally.ts';
import { DONE, FAILED, MISS } from '../../../src/bench/target.ts';
import { READ, UPDATE } from '../../../src/bench/operations.ts';
import { makeFakeLoad, startFakeLoad } from '../../support/fake-load.ts';

const ms = (units: number): number => Math.round(units / UNITS_PER_MS);

test('closed loop: every client has as many requests under way as its pipeline is deep, and sends the next with each answer', (t) => {
  const load = startFakeLoad({ clients: 3, pipeline: 2 });
  t.is(load.target.underWay.length, 6);
  load.clock.advance(10);
  load.answer(4);
  t.is(load.target.underWay.length, 6);
  t.is(load.target.taken.length, 10);
});

test('closed loop: latency counts from when a request was sent', (t) => {
  const load = startFakeLoad({});
  load.clock.advance(7);
  load.answer(1);
  load.clock.advance(307);
  load.answer(1);
  const { latency } = load.tally;
  t.is(latency.count, 2);
  t.is(ms(latency.max), 300);
  t.is(ms(latency.sum), 307);
});

test('closed loop: what is answered in the warm-up does not count, what was sent in it and answered later does', async (t) => {
  const load = startFakeLoad({ warmUpMs: 100, durationMs: 100 });
  load.clock.advance(60);
  load.answer(1);
  t.is(load.tally.latency.count, 0);
  load.clock.advance(110);
  load.answer(1);
  load.clock.advance(190);
  load.answer(1);
  t.is(load.tally.latency.count, 2);
  t.is(ms(load.tally.latency.sum), 50 + 80);
  load.clock.advance(900);
  load.answer(1);
  t.is(await load.ended, null);
  t.is(ms(load.tally.latency.max), 710, 'a stall at the end is seen');
  t.is(load.tally.get(counters.completed), 2);
  t.is(load.tally.get(counters.elapsedMs), 100);
});

test('closed loop: a run by number ends with its last operation and knows how long it took', async (t) => {
  const load = startFakeLoad({ clients: 4, operations: 6, durationMs: Infinity });
  load.clock.advance(50);
  load.answer(4);
  t.is(load.target.underWay.length, 2);
  load.clock.advance(80);
  load.answer(2);
  t.is(await load.ended, null);
  t.is(load.target.taken.length, 6);
  t.is(load.tally.get(counters.completed), 6);
  t.is(load.tally.get(counters.elapsedMs), 80);
});

test('open loop: operations fall due at the set rate, whatever the target does', (t) => {
  const load = startFakeLoad({ clients: 100, ratePerSecond: 100, durationMs: 1000 });
  load.clock.advance(999);
  t.is(load.target.taken.length, 100);
  t.deepEqual(
    load.target.taken.map(({ atMs }) => atMs),
    Array.from({ length: 100 }, (_, i) => i * 10),
  );
});

test('open loop: a stall of the target counts for every operation that fell due in it', async (t) => {
  // 100 a second on one connection, and the target stands still for the whole second.
  const load = startFakeLoad({ clients: 1, ratePerSecond: 100, durationMs: 1000 });
  load.clock.advance(1000);
  t.is(load.target.taken.length, 1, 'one is under way, the others wait for it');
  while (load.target.underWay.length > 0) load.answer(1);
  t.is(await load.ended, null);
  const { latency } = load.tally;
  t.is(latency.count, 100);
  t.is(ms(latency.max), 1000);
  // 1000, 990 … 10: a generator that paused with the target would have seen one slow answer and 99 of no time at all.
  t.is(ms(latency.sum), 50_500);
  t.true(Math.abs(latency.percentile(50) / UNITS_PER_MS - 500) < 20);
});

test('open loop: the rate is caught up after a stall, not shifted by it', (t) => {
  const load = startFakeLoad({ clients: 50, ratePerSecond: 100, durationMs: 2000 });
  load.clock.jump(305);
  t.is(load.target.taken.length, 31, 'all that fell due while the generator was busy');
  load.clock.advance(1000);
  t.is(load.target.taken.length, 50);
  t.deepEqual(
    load.target.taken.slice(31, 34).map(({ atMs }) => atMs),
    [310, 320, 330],
  );
});

test('open loop: how late the generator itself was is known apart from the target', (t) => {
  const load = startFakeLoad({ clients: 1, ratePerSecond: 100, durationMs: 1000 });
  load.clock.advance(500);
  load.answer(1);
  t.is(ms(load.tally.lag.max), 0, 'waiting for the target is no lag of the generator');
  const slow = startFakeLoad({ clients: 50, ratePerSecond: 100, durationMs: 1000 });
  slow.clock.jump(200);
  t.is(ms(slow.tally.lag.max), 190);
});

test('open loop: what has no answer when the run is given up counts with the time it has waited', async (t) => {
  const load = startFakeLoad({ clients: 2, ratePerSecond: 10, durationMs: 1000 });
  load.clock.advance(60_000);
  t.is(await load.ended, null);
  t.is(load.tally.get(counters.unanswered), 2);
  t.is(load.tally.get(counters.unsent), 8);
  t.is(load.tally.get(counters.completed), 0);
  t.is(load.tally.latency.count, 10);
  t.is(ms(load.tally.latency.max), 6000, 'from due at 0 until given up');
});

test('a run that is not answered at all comes to its end', async (t) => {
  const load = startFakeLoad({ clients: 3, warmUpMs: 10, durationMs: 100 });
  load.clock.advance(60_000);
  t.is(await load.ended, null);
  t.is(load.tally.get(counters.unanswered), 3);
  t.is(load.tally.latency.count, 3);
});

test('errors are counted and have no latency; the first one’s text is kept', async (t) => {
  const load = startFakeLoad({ clients: 2, durationMs: 100 });
  load.clock.advance(10);
  load.driver.failed('READONLY no');
  load.answer(1, FAILED);
  load.driver.failed('another');
  load.answer(1, FAILED);
  load.answer(2);
  load.clock.advance(100);
  load.answer(2, FAILED);
  t.is(await load.ended, 'READONLY no');
  t.is(load.tally.get(counters.errors), 4);
  t.is(load.tally.get(counters.completed), 2);
  t.is(load.tally.latency.count, 2);
});

test('reads of keys that are not there are counted as misses, and as answers', (t) => {
  const load = startFakeLoad({});
  load.clock.advance(1);
  load.answer(1, MISS);
  load.answer(1, DONE);
  t.is(load.tally.get(counters.misses), 1);
  t.is(load.tally.get(counters.completed), 2);
});

test('a read-modify-write reads and writes the same key, and is one operation with one latency', (t) => {
  const load = startFakeLoad({ mix: [0, 0, 0, 0, 1] });
  load.clock.advance(20);
  load.answer(1);
  t.is(load.tally.latency.count, 0);
  load.clock.advance(50);
  load.answer(1);
  const [read, write] = load.target.taken;
  t.deepEqual([read?.kind, write?.kind], [READ, UPDATE]);
  t.is(read?.keyNumber, write?.keyNumber);
  t.is(load.tally.latency.count, 1);
  t.is(ms(load.tally.latency.max), 50);
});

test('inserts take new keys, one after another, behind those that are there', (t) => {
  const load = startFakeLoad({ mix: [0, 0, 1, 0, 0], clients: 3, keyCount: 1000 });
  t.deepEqual(
    load.target.taken.map(({ keyNumber }) => keyNumber),
    [1000, 1001, 1002],
  );
});

test('open loop: threads share the rate, and none sends at the time of another', (t) => {
  const plan = { threads: 2, clients: 100, ratePerSecond: 100, durationMs: 1000 };
  const due = [0, 1].map((thread) => {
    const load = startFakeLoad(plan, thread);
    load.clock.advance(999);
    return load.target.taken.map(({ atMs }) => atMs);
  });
  t.deepEqual(due[0]?.slice(0, 3), [0, 20, 40]);
  t.deepEqual(due[1]?.slice(0, 3), [10, 30, 50]);
  t.is(due.flat().length, 100);
});

test('writes answered in the measured time are counted, whenever they were due', async (t) => {
  // The target is so slow that in the measured time it answers only what fell due in the warm-up.
  const load = startFakeLoad({ mix: [0, 1, 0, 0, 0], ratePerSecond: 1000, warmUpMs: 100, durationMs: 100 });
  load.clock.advance(110);
  for (let i = 0; i < 5; i++) load.answer(1);
  t.is(load.tally.get(counters.writes), 5);
  t.is(load.tally.latency.count, 0);
  const reads = startFakeLoad({});
  reads.answer(1);
  t.is(reads.tally.get(counters.writes), 0);
});

test('a connection that is lost while others are still being made ends the run', async (t) => {
  const { driver } = makeFakeLoad({});
  driver.failed('ERR max number of clients reached');
  driver.lost(new Error('it went away'));
  driver.lost(new Error('another one'));
  await t.throwsAsync(driver.run(0), { message: 'it went away, having said: ERR max number of clients reached' });
});

test('a lost connection ends the run', async (t) => {
  const load = startFakeLoad({});
  load.driver.lost(new Error('it went away'));
  await t.throwsAsync(load.ended, { message: 'it went away' });
});

test('the generator’s own CPU time is that of the measured time', async (t) => {
  const load = startFakeLoad({ warmUpMs: 100, durationMs: 100 });
  load.clock.spendCpu(40);
  load.clock.advance(150);
  load.clock.spendCpu(7);
  load.clock.advance(200);
  load.clock.spendCpu(500);
  load.answer(1);
  await load.ended;
  t.is(load.tally.get(counters.cpuMs), 7);
});
