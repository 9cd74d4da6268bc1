import test from 'ava';
import { assert, nat, property, uint8Array } from 'fast-check';
import { crc32 as zlibCrc32 } from 'node:zlib';
import { crc32, crc32Short } from '../../../src/codec/crc.ts';

test('the check value of CRC-32 (IEEE 802.3)', (t) => {
  t.is(crc32(Buffer.from('123456789'), 0, 9), 0xcbf43926);
  t.is(crc32Short(Buffer.from('123456789')), 0xcbf43926);
});

test('every length gives the same value, whichever implementation computes it', (t) => {
  const bytes = Buffer.from(Array.from({ length: 1024 }, (_, i) => (i * 197 + (i >> 3)) & 0xff));
  for (let length = 0; length < 700; length++) {
    const start = length % 13;
    const expected = zlibCrc32(bytes.subarray(start, start + length), length * 7919);
    t.is(crc32(bytes, start, start + length, length * 7919), expected);
    t.is(crc32Short(bytes.subarray(start, start + length), length * 7919), expected);
  }
});

test('a checksum goes on where another ended', (t) => {
  assert(
    property(uint8Array({ maxLength: 600 }), nat(600), (raw, at) => {
      const bytes = Buffer.from(raw);
      const cut = Math.min(at, bytes.length);
      return crc32(bytes, cut, bytes.length, crc32(bytes, 0, cut)) === zlibCrc32(bytes);
    }),
  );
  t.pass();
});

test('shared memory is checked like any other', (t) => {
  const shared = Buffer.from(new SharedArrayBuffer(4096));
  shared.fill('skerry');
  for (const length of [10, 100, 4000])
    t.is(crc32(shared, 3, 3 + length), zlibCrc32(Buffer.from(shared).subarray(3, 3 + length)));
});
