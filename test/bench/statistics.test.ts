/** What the measurements make of their numbers. */
import test from 'ava';
import { array, assert, double, property } from 'fast-check';
import { alternate, longestGapMs, ratioOf, spreadOf } from '../../bench/harness/statistics.ts';

test('the spread of several runs: quartiles as R and NumPy give them by default', (t) => {
  t.deepEqual(spreadOf([15, 6, 7, 49, 36, 41, 40, 42, 43, 39, 47]), {
    count: 11,
    median: 40,
    lowerQuartile: 25.5,
    upperQuartile: 42.5,
    min: 6,
    max: 49,
  });
  const { median, lowerQuartile, upperQuartile } = spreadOf([40, 7, 39, 36, 41, 15]);
  t.deepEqual([lowerQuartile, median, upperQuartile], [20.25, 37.5, 39.75]);
  t.deepEqual(spreadOf([3]), { count: 1, median: 3, lowerQuartile: 3, upperQuartile: 3, min: 3, max: 3 });
  t.throws(() => spreadOf([]), { instanceOf: RangeError });
});

test('half of the runs lie on each side of the median, whatever their order', (t) => {
  assert(
    property(array(double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 }), (values) => {
      const { median, lowerQuartile, upperQuartile, min, max } = spreadOf(values);
      t.true(values.filter((value) => value <= median).length * 2 >= values.length);
      t.true(values.filter((value) => value >= median).length * 2 >= values.length);
      t.true(min <= lowerQuartile && lowerQuartile <= median && median <= upperQuartile && upperQuartile <= max);
    }),
  );
});

test('runs alternate: ours, theirs, ours, theirs', async (t) => {
  const order: string[] = [];
  const run = (name: string) => (): Promise<number> => Promise.resolve(order.push(name));
  const seen: number[] = [];
  const pairs = await alternate(3, run('ours'), run('theirs'), (_, number) => seen.push(number));
  t.deepEqual(order, ['ours', 'theirs', 'ours', 'theirs', 'ours', 'theirs']);
  t.deepEqual(seen, [1, 2, 3]);
  t.deepEqual(
    pairs.map(({ ours, theirs }) => [ours, theirs]),
    [
      [1, 2],
      [3, 4],
      [5, 6],
    ],
  );
});

test('a ratio is the median of the pairs’ own ratios, not the ratio of medians', (t) => {
  // The machine was ten times slower in the second pair: for both.
  const pairs = [
    { ours: 50, theirs: 100 },
    { ours: 6, theirs: 10 },
    { ours: 70, theirs: 100 },
  ];
  t.is(ratioOf(pairs, (value) => value).median, 0.6);
});

test('the longest gap touches the moments asked for, and goes on to the end when nothing came any more', (t) => {
  const times = [0, 10, 50, 60, 200, 210];
  t.is(longestGapMs(times, 20, 100), 140);
  t.is(longestGapMs(times, 20, 55), 40);
  t.is(longestGapMs(times, 0, 8), 10);
  t.is(longestGapMs(times, 205, 1000), 790);
  t.is(longestGapMs([], 100, 250), 150);
});
