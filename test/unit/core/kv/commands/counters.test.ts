import test from 'ava';
import * as fc from 'fast-check';
import { addLongDoubles, formatLongDouble, parseLongDouble } from '../../../../../src/core/kv/commands/long-double.ts';
import type { LongDouble } from '../../../../../src/core/kv/commands/long-double.ts';
import { KvMachine } from '../../../../support/kv-machine.ts';

const OVERFLOW = '-ERR increment or decrement would overflow';

test('counters are exact over all 64 bits and refuse to wrap', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '9223372036854775806');
  t.is(kv.run('INCR', 'a'), 9223372036854775807n);
  t.is(kv.run('INCR', 'a'), OVERFLOW);
  t.is(kv.run('GET', 'a'), '9223372036854775807');
  kv.run('SET', 'a', '-9223372036854775807');
  t.is(kv.run('DECR', 'a'), -9223372036854775808n);
  t.is(kv.run('DECRBY', 'a', '1'), OVERFLOW);
  t.is(kv.run('DECRBY', 'a', '-9223372036854775808'), '-ERR decrement would overflow');
  t.is(kv.run('INCRBY', 'a', '9223372036854775807'), -1);
  kv.run('SET', 'a', '9007199254740992');
  t.is(kv.run('INCR', 'a'), 9007199254740993n);
  t.is(kv.run('DECRBY', 'a', '2'), 9007199254740991);
});

test('any sum of two 64-bit numbers is exact or refused', (t) => {
  const kv = new KvMachine();
  const number = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const edge = fc
    .bigInt({ min: -3n, max: 3n })
    .chain((offset) =>
      fc
        .constantFrom(0n, 10n, 2n ** 31n, 2n ** 53n, -(2n ** 53n), 2n ** 63n - 4n, -(2n ** 63n) + 3n)
        .map((base) => base + offset),
    );
  const any = fc.oneof(number, edge);
  fc.assert(
    fc.property(any, any, (left, right) => {
      kv.run('SET', 'a', String(left));
      const sum = left + right;
      const fits = BigInt.asIntN(64, sum) === sum;
      t.is(String(kv.run('INCRBY', 'a', String(right))), fits ? String(sum) : OVERFLOW);
      t.is(kv.run('GET', 'a'), String(fits ? sum : left));
    }),
  );
});

test('what is not exactly a decimal integer is no number', (t) => {
  const kv = new KvMachine();
  for (const text of ['', ' 1', '1 ', '+1', '01', '-0', '1.0', '0x1', 'one', '9223372036854775808', '-']) {
    kv.run('SET', 'a', text);
    t.is(kv.run('INCR', 'a'), '-ERR value is not an integer or out of range', JSON.stringify(text));
    t.is(kv.run('INCRBY', 'b', text), '-ERR value is not an integer or out of range', JSON.stringify(text));
    t.is(kv.run('GET', 'a'), text);
  }
  t.is(kv.run('EXISTS', 'b'), 0);
});

test('a counter keeps its expiry', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1', 'EX', '100');
  kv.run('INCR', 'a');
  kv.run('INCRBYFLOAT', 'a', '0.5');
  t.is(kv.run('GET', 'a'), '2.5');
  t.is(kv.run('TTL', 'a'), 100);
});

test('INCRBYFLOAT adds as the manual shows, and refuses what is no finite number', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '10.50');
  t.is(kv.run('INCRBYFLOAT', 'a', '0.1'), '10.6');
  t.is(kv.run('INCRBYFLOAT', 'a', '-5'), '5.6');
  kv.run('SET', 'a', '5.0e3');
  t.is(kv.run('INCRBYFLOAT', 'a', '2.0e2'), '5200');
  t.is(kv.run('INCRBYFLOAT', 'a', 'inf'), '-ERR increment would produce NaN or Infinity');
  for (const text of ['nan', '', ' 1', '1e', '1e5000', '1e-5000', 'abc']) {
    t.is(kv.run('INCRBYFLOAT', 'a', text), '-ERR value is not a valid float', JSON.stringify(text));
  }
  t.is(kv.run('GET', 'a'), '5200');
});

function shown(text: string): string {
  return formatLongDouble(parseLongDouble(text) as LongDouble);
}

test('an extended double holds 64 bits, and prints 17 decimals', (t) => {
  t.is(shown('18446744073709551615'), '18446744073709551615');
  t.is(shown('18446744073709551617'), '18446744073709551616');
  t.is(shown('0.1'), '0.1');
  t.is(shown('-0'), '0');
  t.is(shown('1e-17'), '0.00000000000000001');
  t.is(shown('1e-18'), '0');
  t.is(shown('0x1.8p1'), '3');
  t.is(shown('1e30').length, 31);
});

test('doubles pass through an extended double unharmed, and their sums commute', (t) => {
  const double = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e15, max: 1e15 });
  fc.assert(
    fc.property(double, double, (a, b) => {
      const [left, right] = [parseLongDouble(String(a)), parseLongDouble(String(b))];
      if (left === null || right === null) return;
      const sum = addLongDoubles(left, right) as LongDouble;
      t.is(formatLongDouble(sum), formatLongDouble(addLongDoubles(right, left) as LongDouble));
      // Half an ulp for the shortest text of each number, half an ulp for each of the two sums, and the 17 decimals printed.
      const error = Math.abs(Number(formatLongDouble(sum)) - (a + b));
      t.true(error <= (Math.abs(a) + Math.abs(b)) * 2 ** -53 + Math.abs(a + b) * 2 ** -52 + 1e-17);
    }),
  );
});
