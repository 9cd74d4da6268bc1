import test from 'ava';
import { createByteWriter } from '../../../../src/codec/byte-writer.ts';
import { createReplyWriter } from '../../../../src/codec/reply-writer.ts';
import type { ReplySink } from '../../../../src/core/kv/reply.ts';

function written(protocol: 2 | 3, reply: (sink: ReplySink) => void): string {
  const out = createByteWriter(0);
  reply(createReplyWriter(protocol, out));
  return out.buffer.toString('latin1', 0, out.length);
}

const REPLIES: readonly (readonly [what: string, reply: (sink: ReplySink) => void, resp2: string, resp3: string])[] = [
  ['a status', (sink) => sink.simple('OK'), '+OK\r\n', '+OK\r\n'],
  ['an error', (sink) => sink.error('ERR no'), '-ERR no\r\n', '-ERR no\r\n'],
  ['null', (sink) => sink.null(), '$-1\r\n', '_\r\n'],
  ['a null array', (sink) => sink.nullArray(), '*-1\r\n', '_\r\n'],
  ['true', (sink) => sink.boolean(true), ':1\r\n', '#t\r\n'],
  ['false', (sink) => sink.boolean(false), ':0\r\n', '#f\r\n'],
  ['a double', (sink) => sink.double(3.25), '$4\r\n3.25\r\n', ',3.25\r\n'],
  ['a whole double', (sink) => sink.double(3), '$1\r\n3\r\n', ',3\r\n'],
  ['infinity', (sink) => sink.double(Infinity), '$3\r\ninf\r\n', ',inf\r\n'],
  ['minus infinity', (sink) => sink.double(-Infinity), '$4\r\n-inf\r\n', ',-inf\r\n'],
  ['not a number', (sink) => sink.double(Number.NaN), '$3\r\nnan\r\n', ',nan\r\n'],
  ['minus zero', (sink) => sink.double(-0), '$2\r\n-0\r\n', ',-0\r\n'],
  ['an array', (sink) => sink.array(2), '*2\r\n', '*2\r\n'],
  ['a map', (sink) => sink.map(2), '*4\r\n', '%2\r\n'],
  ['a set', (sink) => sink.set(2), '*2\r\n', '~2\r\n'],
  ['text outside ASCII', (sink) => sink.text('é€'), '$5\r\n\xc3\xa9\xe2\x82\xac\r\n', '$5\r\n\xc3\xa9\xe2\x82\xac\r\n'],
  ['empty text', (sink) => sink.text(''), '$0\r\n\r\n', '$0\r\n\r\n'],
];

for (const [what, reply, resp2, resp3] of REPLIES) {
  test(`both protocols have a form for ${what}`, (t) => {
    t.is(written(2, reply), resp2);
    t.is(written(3, reply), resp3);
  });
}

test('every integer is written as its decimal text', (t) => {
  const values = [0, 1, 9, 10, 99, 100, 12_345, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 10 ** 15, 2 ** 53 - 1];
  for (let power = 1; power < 2 ** 53; power *= 10) values.push(power, power - 1, power + 1);
  for (const value of values) {
    t.is(
      written(2, (sink) => sink.integer(value)),
      `:${value}\r\n`,
    );
    if (value > 0) {
      t.is(
        written(2, (sink) => sink.integer(-value)),
        `:-${value}\r\n`,
      );
    }
  }
  for (const value of [2n ** 63n - 1n, -(2n ** 63n)]) {
    t.is(
      written(3, (sink) => sink.integer(value)),
      `:${value}\r\n`,
    );
  }
});

test('binary strings of every length around the limits of the fast paths come out byte for byte', (t) => {
  const source = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7) & 0xff));
  for (const length of [0, 1, 9, 10, 31, 32, 33, 99, 100, 1000, 2000]) {
    const text = written(2, (sink) => sink.bulk(source, 5, 5 + length));
    t.is(text, `$${length}\r\n${source.toString('latin1', 5, 5 + length)}\r\n`);
  }
});

test('a text line that repeats what a client sent keeps its bytes, but cannot become two replies', (t) => {
  t.is(
    written(2, (sink) => sink.error("ERR unknown '\xff\r\n+OK\r\n'")),
    "-ERR unknown '\xff  +OK  '\r\n",
  );
});

test('a writer grows while replies of any size are appended', (t) => {
  const value = Buffer.alloc(100_000, 'v');
  const text = written(3, (sink) => {
    for (let i = 0; i < 30; i++) sink.bulk(value, 0, i * 3000);
  });
  let expected = '';
  for (let i = 0; i < 30; i++) expected += `$${i * 3000}\r\n${'v'.repeat(i * 3000)}\r\n`;
  t.is(text, expected);
});
