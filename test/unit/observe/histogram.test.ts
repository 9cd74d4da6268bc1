import test from 'ava';
import * as fc from 'fast-check';
import {
  HISTOGRAM_BUCKETS,
  HISTOGRAM_SLOTS,
  Histogram,
  bucketOf,
  bucketUpperEdge,
} from '../../../src/observe/histogram.ts';

const values = fc.array(fc.oneof(fc.nat(100), fc.nat(2 ** 31 - 1), fc.double({ min: 0, max: 2 ** 32, noNaN: true })), {
  minLength: 1,
  maxLength: 300,
});

function histogramOf(recorded: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of recorded) histogram.record(value);
  return histogram;
}

test('buckets follow one another without gap or overlap, each closed above', (t) => {
  for (let i = 0; i < HISTOGRAM_BUCKETS; i++) {
    const edge = bucketUpperEdge(i);
    t.is(bucketOf(edge), i);
    if (i + 1 < HISTOGRAM_BUCKETS) t.is(bucketOf(edge + 0.5), i + 1);
  }
  t.is(bucketUpperEdge(HISTOGRAM_BUCKETS - 1), 2 ** 32);
});

test('a bucket is never wider than 1/32 of what it holds', (t) => {
  for (let i = 33; i < HISTOGRAM_BUCKETS; i++) {
    const lower = bucketUpperEdge(i - 1);
    t.true((bucketUpperEdge(i) - lower) / lower <= 1 / 32);
  }
});

test('a percentile is at most 1/32 above the true one and never below it', (t) => {
  fc.assert(
    fc.property(values, fc.integer({ min: 0, max: 100 }), (recorded, percent) => {
      const sorted = recorded.toSorted((a, b) => a - b);
      const exact = sorted[Math.max(1, Math.ceil((percent / 100) * sorted.length)) - 1] as number;
      const found = histogramOf(recorded).percentile(percent);
      t.true(found >= exact);
      t.true(found <= Math.max(1, Math.ceil(exact) * (1 + 1 / 32)));
    }),
  );
});

test('the counts at powers of two are exact, the edge itself included', (t) => {
  fc.assert(
    fc.property(values, (recorded) => {
      const cumulative = histogramOf(recorded).cumulativeByPowerOfTwo(32);
      t.is(cumulative.length, 33);
      cumulative.forEach((count, exponent) => {
        t.is(count, recorded.filter((value) => value <= 2 ** exponent).length);
      });
    }),
  );
});

test('merging two histograms equals recording everything in one', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(2 ** 31 - 1)), fc.array(fc.nat(2 ** 31 - 1)), (left, right) => {
      const merged = histogramOf(left);
      merged.merge(histogramOf(right));
      const together = histogramOf([...left, ...right]);
      t.is(merged.count, together.count);
      t.is(merged.sum, together.sum);
      t.is(merged.max, together.max);
      t.deepEqual(merged.cumulativeByPowerOfTwo(32), together.cumulativeByPowerOfTwo(32));
    }),
  );
});

test('values that are no latency at all do no harm', (t) => {
  const histogram = histogramOf([-5, Number.NaN, 0, 2 ** 40]);
  t.is(histogram.count, 4);
  t.is(histogram.sum, 2 ** 40);
  t.is(histogram.max, 2 ** 40);
  t.is(histogram.percentile(50), 1);
});

test('an empty histogram answers zero', (t) => {
  const histogram = new Histogram();
  t.is(histogram.percentile(99), 0);
  t.is(histogram.count, 0);
  t.is(histogram.max, 0);
});

test('what one thread records in shared memory, another reads', (t) => {
  const memory = new SharedArrayBuffer(HISTOGRAM_SLOTS * 8);
  new Histogram(new Float64Array(memory)).record(1000);
  const seen = new Histogram(new Float64Array(memory));
  const before = seen.snapshot();
  t.is(seen.percentile(50), 1000);
  seen.reset();
  t.is(seen.count, 0);
  t.is(before.count, 1);
});
