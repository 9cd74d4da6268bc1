import test from 'ava';
import * as fc from 'fast-check';
import { RespParser, RespProtocolError } from '../../../../src/codec/resp/parser.ts';
import type { RespParserOptions } from '../../../../src/codec/resp/parser.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import { resp } from '../../../support/resp-harness.ts';

const LINE_MAX = 64 * 1024;

interface Parsed {
  readonly commands: string[][];
  readonly error: string | null;
  readonly parser: RespParser;
}

function collect(bulkBytesMax: number, onCommand: (words: string[], parser: RespParser) => void) {
  const options: RespParserOptions = {
    bulkBytesMax,
    onCommand(args, nameStart, nameEnd) {
      const words = [args.buffer.toString('latin1', nameStart, nameEnd)];
      for (let i = 0; i < args.count; i++) words.push(args.buffer.toString('latin1', args.start[i], args.end[i]));
      onCommand(words, parser);
    },
  };
  const parser = new RespParser(options);
  return parser;
}

function parse(chunks: readonly (string | Buffer)[], bulkBytesMax = 1024): Parsed {
  const commands: string[][] = [];
  const parser = collect(bulkBytesMax, (words) => commands.push(words));
  try {
    for (const chunk of chunks) parser.push(Buffer.from(chunk as string, 'latin1'));
    return { commands, error: null, parser };
  } catch (error) {
    if (!(error instanceof RespProtocolError)) throw error;
    return { commands, error: error.message, parser };
  }
}

/** The stream cut at random places. */
function cut(stream: Buffer, seed: number, longest: number): Buffer[] {
  const prng = createPrng(seed);
  const chunks: Buffer[] = [];
  for (let at = 0; at < stream.length; at += (chunks.at(-1) as Buffer).length) {
    chunks.push(stream.subarray(at, at + 1 + prng.below(longest)));
  }
  return chunks;
}

test('a pipeline in one chunk is read command by command', (t) => {
  const { commands, error } = parse([Buffer.concat([resp('SET', 'k', 'v'), resp('GET', 'k'), resp('PING')])]);
  t.is(error, null);
  t.deepEqual(commands, [['SET', 'k', 'v'], ['GET', 'k'], ['PING']]);
});

test('a stream fed byte by byte is read like the stream in one piece', (t) => {
  const stream = Buffer.concat([
    resp('SET', 'key', '\x00\r\n$3\r\n\xff'),
    Buffer.from('PING inline\r\n\r\n'),
    resp('MGET', ...Array.from({ length: 40 }, (_, i) => `k${i}`)),
    Buffer.from('*0\r\n*-1\r\nset a "b c"\n'),
    resp('ECHO', ''),
  ]);
  const whole = parse([stream]);
  t.is(whole.error, null);
  t.is(whole.commands.length, 5);
  t.deepEqual(parse(Array.from(stream, (byte) => Buffer.of(byte))).commands, whole.commands);
});

test('however a stream is cut into chunks, the same commands come out', (t) => {
  const word = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
  fc.assert(
    fc.property(
      fc.array(fc.array(word, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 20 }),
      fc.nat(),
      fc.integer({ min: 1, max: 3000 }),
      (commands, seed, longest) => {
        const stream = Buffer.concat(commands.map((words) => resp(...words)));
        t.deepEqual(parse(cut(stream, seed, longest)).commands, commands);
      },
    ),
    { numRuns: 300 },
  );
});

test('a long value over many chunks comes out whole, and its buffer is given back', (t) => {
  const value = Buffer.alloc(5 * 1024 * 1024, 'x');
  const stream = Buffer.concat([resp('SET', 'k', value), resp('PING')]);
  const chunks = [];
  for (let at = 0; at < stream.length; at += 65_536) chunks.push(stream.subarray(at, at + 65_536));
  const { commands, parser } = parse(chunks, value.length);
  t.is(commands.length, 2);
  t.is(commands[0]?.[2]?.length, value.length);
  t.true(parser.pendingCapacityBytes <= 4096);
});

test('an announced length takes no memory before its bytes come', (t) => {
  const { parser } = parse(['*2\r\n$3\r\nSET\r\n$536870912\r\nabc'], 512 * 1024 * 1024);
  t.true(parser.pendingCapacityBytes < 4096);
  const many = parse(['*1048576\r\n$1\r\na\r\n']);
  t.is(many.error, null);
  t.true(many.parser.pendingCapacityBytes < 4096);
});

test('memory for a long value never passes twice what has come of it', (t) => {
  const announced = 64 * 1024 * 1024;
  const parser = collect(announced, () => t.fail('the command is not complete'));
  parser.push(Buffer.from(`*2\r\n$3\r\nSET\r\n$${announced}\r\n`));
  const chunk = Buffer.alloc(65_536);
  for (let sent = chunk.length; sent < announced / 4; sent += chunk.length) {
    parser.push(chunk);
    t.true(parser.pendingCapacityBytes <= 2 * sent + 1024);
  }
});

const ERRORS: readonly (readonly [what: string, bytes: string, error: string])[] = [
  ['a count that is no number', '*x\r\n', 'invalid multibulk length'],
  ['an empty count', '*\r\n', 'invalid multibulk length'],
  ['a count with a leading zero', '*01\r\n', 'invalid multibulk length'],
  ['minus zero', '*-0\r\n', 'invalid multibulk length'],
  ['too many strings', '*1048577\r\n', 'invalid multibulk length'],
  ['a count of many digits', '*99999999999999999999\r\n', 'invalid multibulk length'],
  ['another type in an array', '*1\r\n:1\r\n', "expected '$', got ':'"],
  ['a string without its header', '*1\r\nfoo\r\n', "expected '$', got 'f'"],
  ['a length that is no number', '*1\r\n$x\r\n', 'invalid bulk length'],
  ['a length below zero', '*1\r\n$-1\r\n', 'invalid bulk length'],
  ['a length above the limit', '*1\r\n$1025\r\n', 'invalid bulk length'],
  ['a count that never ends', `*${'1'.repeat(LINE_MAX + 1)}`, 'too big mbulk count string'],
  ['a length that never ends', `*1\r\n$${'1'.repeat(LINE_MAX + 1)}`, 'too big bulk count string'],
  ['an inline command that never ends', 'a'.repeat(LINE_MAX + 1), 'too big inline request'],
  ['an open double quote', 'set "a\r\n', 'unbalanced quotes in request'],
  ['an open single quote', "set 'a\r\n", 'unbalanced quotes in request'],
  ['text behind a closing quote', 'set "a"b\r\n', 'unbalanced quotes in request'],
];

for (const [what, bytes, error] of ERRORS) {
  test(`refused as Redis refuses it, whole or byte by byte: ${what}`, (t) => {
    t.is(parse([resp('PING'), bytes]).error, `ERR Protocol error: ${error}`);
    t.deepEqual(parse([resp('PING'), bytes]).commands, [['PING']]);
    t.is(parse(Array.from(bytes)).error, `ERR Protocol error: ${error}`);
  });
}

test('after an error nothing more is handed out', (t) => {
  const commands: string[][] = [];
  const parser = collect(10, (words) => commands.push(words));
  t.throws(() => parser.push(Buffer.from('*x\r\n*1\r\n$4\r\nPING\r\n')), { instanceOf: RespProtocolError });
  parser.push(resp('PING'));
  t.deepEqual(commands, []);
});

const INLINE: readonly (readonly [line: string, words: string[]])[] = [
  ['get  a\t b', ['get', 'a', 'b']],
  ['  get a  ', ['get', 'a']],
  ['set "a b" \'c d\'', ['set', 'a b', 'c d']],
  ['set "\\x41\\n\\r\\t\\b\\a\\q\\"" x', ['set', 'A\n\r\t\b\x07q"', 'x']],
  ["set 'it\\'s' \"\"", ['set', "it's", '']],
  ['set foo"bar baz"', ['set', 'foobar baz']],
  ['set "\\xzz"', ['set', 'xzz']],
  ['get a\x00 b', ['get', 'a']],
  ['get \x80\xff', ['get', '\x80\xff']],
];

for (const [line, words] of INLINE) {
  test(`inline words are split as by Redis: ${JSON.stringify(line)}`, (t) => {
    t.deepEqual(parse([`${line}\r\n`]).commands, [words]);
    t.deepEqual(parse([`${line}\n`]).commands, [words]);
  });
}

test('a paused parser keeps what comes and goes on where it stopped', (t) => {
  const commands: string[][] = [];
  const parser = collect(1024, (words, self) => {
    commands.push(words);
    self.pause();
  });
  const sent = Array.from({ length: 20 }, (_, i) => [`C${i}`, 'x'.repeat(i * 7)]);
  for (const chunk of cut(Buffer.concat(sent.map((words) => resp(...words))), 7, 100)) parser.push(chunk);
  t.is(commands.length, 1);
  for (let i = 1; i < sent.length; i++) {
    parser.resume();
    t.is(commands.length, i + 1);
  }
  t.deepEqual(commands, sent);
  parser.resume();
  parser.push(resp('PING'));
  t.deepEqual(commands.at(-1), ['PING']);
});

test('a command that resumes its own parser is followed by the next one, once', (t) => {
  const commands: string[][] = [];
  const parser = collect(1024, (words, self) => {
    commands.push(words);
    self.pause();
    self.resume();
  });
  parser.push(Buffer.concat([resp('A'), resp('B'), resp('C')]));
  t.deepEqual(commands, [['A'], ['B'], ['C']]);
});

test('random and mutated streams end in commands or a protocol error, never in anything else', (t) => {
  const valid = Buffer.concat([resp('SET', 'k', 'v'.repeat(50)), resp('MGET', 'a', 'b', 'c'), Buffer.from('PING\r\n')]);
  const alphabet = Buffer.from('*$+-:0123456789\r\n\r\n"\'\\x ab\x00\xff', 'latin1');
  let refused = 0;
  for (let seed = 1; seed <= 4000; seed++) {
    const prng = createPrng(seed);
    const stream = Buffer.concat([valid, valid]);
    if (prng.chance(0.3)) {
      for (let i = 0; i < stream.length; i++) stream[i] = alphabet[prng.below(alphabet.length)] as number;
    } else {
      for (let i = prng.below(6); i >= 0; i--) {
        stream[prng.below(stream.length)] = alphabet[prng.below(alphabet.length)] as number;
      }
    }
    const whole = parse([stream], 4096);
    const pieces = parse(cut(stream, seed, 20), 4096);
    if (whole.error !== null) refused++;
    t.deepEqual([pieces.commands, pieces.error], [whole.commands, whole.error]);
  }
  t.true(refused > 500);
});
