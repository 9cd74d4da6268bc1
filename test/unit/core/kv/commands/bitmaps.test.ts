import test from 'ava';
import * as fc from 'fast-check';
import { KvMachine } from '../../../../support/kv-machine.ts';

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));

/** The dumb way: a string of 0 and 1. */
function bitsOf(value: Buffer): string {
  return [...value].map((byte) => byte.toString(2).padStart(8, '0')).join('');
}

function ones(bits: readonly string[]): number {
  return bits.filter((bit) => bit === '1').length;
}

/** The part between two inclusive bounds, negative = from the end, as Redis reads them. */
function part<T>(list: readonly T[], start: number, end: number): { first: number; items: readonly T[] } {
  if (start < 0 && end < 0 && start > end) return { first: 0, items: [] };
  const first = start < 0 ? Math.max(0, list.length + start) : start;
  const last = end < 0 ? Math.max(0, list.length + end) : end;
  return { first, items: list.slice(first, last + 1) };
}

test('bits are set, read and counted as in a string of them', (t) => {
  const position = fc.integer({ min: -330, max: 330 });
  fc.assert(
    fc.property(bytes, position, position, fc.integer({ min: 0, max: 330 }), (value, start, end, offset) => {
      const kv = new KvMachine();
      kv.run('SET', 'a', value);
      const bits = [...bitsOf(value)];
      t.is(kv.run('BITCOUNT', 'a'), ones(bits));
      t.is(kv.run('BITCOUNT', 'a', String(start), String(end), 'BIT'), ones(part(bits, start, end).items));
      const chosen = Buffer.from(part([...value], start, end).items);
      t.is(kv.run('BITCOUNT', 'a', String(start), String(end)), ones([...bitsOf(chosen)]));
      t.is(kv.run('GETBIT', 'a', String(offset)), Number(bits[offset] ?? 0));
      t.is(kv.run('SETBIT', 'a', String(offset), '1'), Number(bits[offset] ?? 0));
      t.is(kv.run('GETBIT', 'a', String(offset)), 1);
      t.is(kv.run('BITCOUNT', 'a'), ones(bits) + (bits[offset] === '1' ? 0 : 1));
      t.is(kv.run('STRLEN', 'a'), Math.max(value.length, Math.floor(offset / 8) + 1));
    }),
  );
});

test('BITPOS finds the first bit, and zeros behind the end where no end is given', (t) => {
  fc.assert(
    fc.property(bytes, fc.constantFrom(0, 1), (value, bit) => {
      const kv = new KvMachine();
      kv.run('SET', 'a', value);
      const found = bitsOf(value).indexOf(String(bit));
      t.is(kv.run('BITPOS', 'a', String(bit), '0', '-1'), found);
      const isEndless = found < 0 && bit === 0 && value.length > 0;
      t.is(kv.run('BITPOS', 'a', String(bit)), isEndless ? value.length * 8 : found);
    }),
  );
  const kv = new KvMachine();
  t.is(kv.run('BITPOS', 'none', '1'), -1);
  t.is(kv.run('BITPOS', 'none', '0'), 0);
  kv.run('SET', 'a', '\x00\xff\xf0');
  t.is(kv.run('BITPOS', 'a', '1', '2'), 16);
  t.is(kv.run('BITPOS', 'a', '1', '7', '15', 'BIT'), 8);
  t.is(kv.run('BITPOS', 'a', '0', '1', '1'), -1);
});

test('BITOP combines strings of different lengths as if zeros followed them', (t) => {
  const operations = {
    AND: (a: number, b: number) => a & b,
    OR: (a: number, b: number) => a | b,
    XOR: (a: number, b: number) => a ^ b,
  };
  fc.assert(
    fc.property(
      fc.array(bytes, { minLength: 1, maxLength: 4 }),
      fc.constantFrom('AND', 'OR', 'XOR'),
      (values, name) => {
        const kv = new KvMachine();
        const keys = values.map((value, i) => {
          kv.run('SET', `k${i}`, value);
          return `k${i}`;
        });
        const length = Math.max(...values.map((value) => value.length));
        const expected = Buffer.alloc(length);
        for (let at = 0; at < length; at++) {
          expected[at] = values.map((value) => value[at] ?? 0).reduce(operations[name as keyof typeof operations]);
        }
        t.is(kv.run('BITOP', name, 'to', ...keys), length);
        t.is(kv.run('GET', 'to'), length === 0 ? null : expected.toString('latin1'));
        // Onto one of its own sources.
        t.is(kv.run('BITOP', name, 'k0', ...keys), length);
        t.is(kv.run('GET', 'k0'), length === 0 ? null : expected.toString('latin1'));
      },
    ),
  );
  const kv = new KvMachine();
  kv.run('SET', 'a', '\x0f\xf0');
  t.is(kv.run('BITOP', 'NOT', 'b', 'a'), 2);
  t.is(kv.run('GET', 'b'), '\xf0\x0f');
  t.is(kv.run('BITOP', 'NOT', 'b', 'a', 'a'), '-ERR BITOP NOT must be called with a single source key.');
});

test('BITFIELD reads back what it wrote, at any width and place', (t) => {
  fc.assert(
    fc.property(
      bytes,
      fc.integer({ min: 1, max: 64 }),
      fc.boolean(),
      fc.nat(200),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      (value, width, isSigned, offset, number) => {
        if (width === 64 && !isSigned) return;
        const kv = new KvMachine();
        kv.run('SET', 'a', value);
        const before = bitsOf(value).padEnd(offset + width, '0');
        const type = `${isSigned ? 'i' : 'u'}${width}`;
        const wrap = (any: bigint): string => String(isSigned ? BigInt.asIntN(width, any) : BigInt.asUintN(width, any));
        const old = BigInt(`0b${before.slice(offset, offset + width)}`);
        const reply = kv.run(
          'BITFIELD',
          'a',
          'SET',
          type,
          String(offset),
          String(number),
          'GET',
          type,
          String(offset),
          'INCRBY',
          type,
          String(offset),
          '1',
        );
        t.deepEqual((reply as readonly (number | bigint)[]).map(String), [wrap(old), wrap(number), wrap(number + 1n)]);
        const after = bitsOf(Buffer.from(kv.run('GET', 'a') as string, 'latin1'));
        t.is(after.slice(0, offset), before.slice(0, offset));
        t.is(after.slice(offset + width, before.length), before.slice(offset + width));
      },
    ),
  );
});

test('BITFIELD overflows as asked, and its words are checked before anything changes', (t) => {
  const kv = new KvMachine();
  t.deepEqual(
    kv.run('BITFIELD', 'a', 'INCRBY', 'u2', '100', '1', 'OVERFLOW', 'SAT', 'INCRBY', 'u2', '102', '1'),
    [1, 1],
  );
  t.deepEqual(
    kv.run(
      'BITFIELD',
      'a',
      'OVERFLOW',
      'SAT',
      'INCRBY',
      'u2',
      '100',
      '10',
      'OVERFLOW',
      'FAIL',
      'INCRBY',
      'u2',
      '102',
      '3',
    ),
    [3, null],
  );
  t.deepEqual(
    kv.run('BITFIELD', 'a', 'OVERFLOW', 'SAT', 'INCRBY', 'i8', '#0', '-300', 'GET', 'i8', '#0'),
    [-128, -128],
  );
  const before = kv.run('GET', 'a');
  t.regex(String(kv.run('BITFIELD', 'a', 'SET', 'u8', '0', '1', 'GET', 'u64', '0')), /^-ERR Invalid bitfield type/);
  t.is(kv.run('BITFIELD', 'a', 'SET', 'u8', '0', '1', 'OVERFLOW', 'MAYBE'), '-ERR Invalid OVERFLOW type specified');
  t.is(kv.run('BITFIELD_RO', 'a', 'SET', 'u8', '0', '1'), '-ERR BITFIELD_RO only supports the GET subcommand');
  t.is(kv.run('GET', 'a'), before);
  t.deepEqual(kv.run('BITFIELD', 'none', 'GET', 'u8', '0'), [0]);
  t.is(kv.run('EXISTS', 'none'), 0);
});
