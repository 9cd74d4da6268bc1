/** Replies are counted in a stream that may be cut anywhere. */
import test from 'ava';
import { ReplyCounter } from '../../../src/bench/resp-replies.ts';
import type { Outcome } from '../../../src/bench/target.ts';
import { DONE, FAILED, MISS } from '../../../src/bench/target.ts';

const STREAM = Buffer.from(
  '+OK\r\n' +
    '$5\r\nhello\r\n' +
    '$-1\r\n' +
    ':-3\r\n' +
    '-ERR no such thing\r\n' +
    '$0\r\n\r\n' +
    '*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n+x\r\n' +
    '*0\r\n' +
    '*-1\r\n' +
    '$6\r\n-E\r\n$9\r\n' +
    '+OK\r\n',
);
const OUTCOMES: readonly Outcome[] = [DONE, DONE, MISS, DONE, FAILED, DONE, DONE, DONE, MISS, DONE, DONE];

function count(chunks: readonly Buffer[]): { outcomes: Outcome[]; errors: string[] } {
  const outcomes: Outcome[] = [];
  const errors: string[] = [];
  const counter = new ReplyCounter(
    (outcome) => outcomes.push(outcome),
    (text) => errors.push(text),
  );
  for (const chunk of chunks) {
    // What lies behind the length is an older read's.
    const buffer = Buffer.concat([chunk, Buffer.from('+OK\r\n$-1\r\n')]);
    counter.push(buffer, chunk.length);
  }
  return { outcomes, errors };
}

test('every reply counts once, with its outcome', (t) => {
  t.deepEqual(count([STREAM]), { outcomes: [...OUTCOMES], errors: ['ERR no such thing'] });
});

test('replies count the same wherever the stream is cut', (t) => {
  const expected = count([STREAM]);
  for (let i = 1; i < STREAM.length; i++) {
    t.deepEqual(count([STREAM.subarray(0, i), STREAM.subarray(i)]), expected, `cut at ${i}`);
  }
  t.deepEqual(count(Array.from(STREAM, (_, i) => STREAM.subarray(i, i + 1))), expected, 'byte by byte');
});
