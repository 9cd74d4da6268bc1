/** Which keys a load touches: what each distribution promises. */
import test from 'ava';
import { createKeyPicker, createZipfian, KEY_BYTES, KeyCounter, shareOf, writeKey } from '../../../src/bench/keys.ts';
import type { Distribution } from '../../../src/bench/operations.ts';
import { createPrng } from '../../../src/core/prng.ts';

function draw(distribution: Distribution, count: number, draws: number, thread = 0, threads = 1): number[] {
  const counter = new KeyCounter(KeyCounter.create(count));
  const choice = { distribution, count, thread, threads, insertsInFlightMax: 4 };
  const pick = createKeyPicker(choice, counter, createPrng(7));
  return Array.from({ length: draws }, pick);
}

function frequencies(numbers: readonly number[], count: number): number[] {
  const times = Array.from({ length: count }, () => 0);
  for (const number of numbers) times[number] = (times[number] as number) + 1;
  return times;
}

test('a key is written as redis-benchmark writes it', (t) => {
  const target = Buffer.alloc(KEY_BYTES + 2, '.');
  writeKey(target, 1, 500_000);
  t.is(target.toString(), '.key:000000500000.');
});

test('uniform keys come equally often', (t) => {
  const times = frequencies(draw('uniform', 100, 100_000), 100);
  t.true(Math.min(...times) > 800 && Math.max(...times) < 1200, `${Math.min(...times)} … ${Math.max(...times)}`);
});

test('zipfian ranks come as often as Zipf’s law says', (t) => {
  const rank = createZipfian(createPrng(3));
  const draws = 400_000;
  const count = 1000;
  const times = frequencies(
    Array.from({ length: draws }, () => rank(count)),
    count,
  );
  const harmonic = Array.from({ length: count }, (_, i) => 1 / (i + 1) ** 0.99).reduce((sum, share) => sum + share, 0);
  // The method of Gray et al. is exact for the first two ranks and an approximation for the others.
  for (const [i, tolerance] of [
    [0, 0.03],
    [1, 0.03],
    [9, 0.25],
    [99, 0.25],
  ] as const) {
    const expected = draws / (i + 1) ** 0.99 / harmonic;
    const share = (times[i] as number) / expected;
    t.true(Math.abs(share - 1) < tolerance, `rank ${i}: ${share} of what the law says`);
  }
});

test('zipfian ranks stay below a count that grows and shrinks between draws', (t) => {
  const rank = createZipfian(createPrng(3));
  for (const count of [1, 2, 3, 1000, 5, 100_000, 1]) {
    for (let i = 0; i < 1000; i++) {
      const drawn = rank(count);
      t.true(Number.isInteger(drawn) && drawn >= 0 && drawn < count, `${drawn} of ${count}`);
    }
  }
});

test('the popular keys of a zipfian load are scattered over the key space', (t) => {
  const count = 10_000;
  const times = frequencies(draw('zipfian', count, 100_000), count);
  const popular = times.map((time, number) => ({ time, number })).toSorted((a, b) => b.time - a.time);
  const halves = popular.slice(0, 100).map(({ number }) => (number < count / 2 ? 0 : 1));
  const inSecondHalf = halves.filter((half) => half === 1).length;
  t.true((popular[0]?.time ?? 0) > 5000, 'the most popular key has its share');
  t.true(inSecondHalf > 25 && inSecondHalf < 75, `${inSecondHalf} of the 100 most popular ones lie in the second half`);
});

test('sequential keys of all threads together are every key once, then again', (t) => {
  const threads = 3;
  const count = 100;
  const all = Array.from({ length: threads }, (_, thread) => {
    const [first, end] = shareOf(count, thread, threads);
    const twice = draw('sequential', count, 2 * (end - first), thread, threads);
    t.deepEqual(twice.slice(0, end - first), twice.slice(end - first));
    return twice.slice(0, end - first);
  });
  t.deepEqual(
    all.flat(),
    Array.from({ length: count }, (_, i) => i),
  );
});

test('the latest keys are the most popular ones, and keys whose insert may be under way are not drawn', (t) => {
  const counter = new KeyCounter(KeyCounter.create(1000));
  const choice = { distribution: 'latest', count: 1000, thread: 0, threads: 1, insertsInFlightMax: 4 } as const;
  const pick = createKeyPicker(choice, counter, createPrng(7));
  for (let i = 0; i < 500; i++) t.is(counter.take(), 1000 + i);
  const drawn = Array.from({ length: 20_000 }, pick);
  const newest = 1000 + 500 - 4 - 1;
  t.is(Math.max(...drawn), newest);
  const times = frequencies(drawn, newest + 1);
  t.is(times.indexOf(Math.max(...times)), newest);
});
