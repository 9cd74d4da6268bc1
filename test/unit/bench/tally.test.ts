/** Percentiles of latencies, within the error they promise, also over several threads. */
import test from 'ava';
import { counters, summarizeLatency, Tally, UNITS_PER_MS } from '../../../src/bench/tally.ts';
import { createPrng } from '../../../src/core/prng.ts';

/** The largest relative error of a bucket, and half a unit. */
const ERROR = 1.032;

test('percentiles of recorded latencies are at most 3.2 % above the true ones', (t) => {
  const prng = createPrng(5);
  const tally = new Tally();
  // From microseconds to seconds.
  const latencies = Array.from({ length: 100_000 }, () => 10 ** (prng.next() * 6 - 3));
  for (const ms of latencies) tally.latency.record(ms * UNITS_PER_MS);
  latencies.sort((a, b) => a - b);
  const trueAt = (percent: number): number => latencies[Math.ceil((percent / 100) * latencies.length) - 1] as number;
  const { p50Ms, p90Ms, p99Ms, p999Ms, ...rest } = summarizeLatency(tally.latency);
  for (const [found, percent] of [
    [p50Ms, 50],
    [p90Ms, 90],
    [p99Ms, 99],
    [p999Ms, 99.9],
  ] as const) {
    t.true(
      found >= trueAt(percent) * 0.9999 && found <= trueAt(percent) * ERROR,
      `p${percent} ${found} ${trueAt(percent)}`,
    );
  }
  t.is(rest.maxMs, latencies.at(-1) as number);
  t.is(rest.count, 100_000);
});

test('threads together: counts add up, percentiles are those of all, the time is the longest', (t) => {
  const [one, other, all] = [new Tally(), new Tally(), new Tally()];
  for (let i = 0; i < 99; i++) one.latency.record(UNITS_PER_MS);
  other.latency.record(100 * UNITS_PER_MS);
  one.add(counters.completed, 99);
  other.add(counters.completed, 1);
  one.add(counters.elapsedMs, 1000);
  other.add(counters.elapsedMs, 1001);
  all.merge(one);
  all.merge(other);
  t.is(all.get(counters.completed), 100);
  t.is(all.get(counters.elapsedMs), 1001);
  const { p50Ms, p99Ms, p999Ms, maxMs } = summarizeLatency(all.latency);
  t.true(Math.abs(p50Ms - 1) < 0.04 && Math.abs(p99Ms - 1) < 0.04);
  t.deepEqual([p999Ms, maxMs], [100, 100]);
});

test('a tally is read through the memory it was made in, from another thread as well', (t) => {
  const memory = Tally.create();
  const writer = new Tally(memory);
  const reader = new Tally(memory);
  writer.add(counters.answered, 3);
  writer.latencyOfKind[4]?.record(10);
  t.is(reader.get(counters.answered), 3);
  t.is(reader.latencyOfKind[4]?.count, 1);
  t.is(reader.latency.count, 0);
});
