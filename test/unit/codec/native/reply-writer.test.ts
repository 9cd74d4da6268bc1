/** Replies as msgpack: what the writer writes, the client reads. */
import test from 'ava';
import * as fc from 'fast-check';
import { unpack } from 'msgpackr';
import {
  decodeBytes,
  decodeBytesArray,
  decodeOk,
  decodePositive,
  decodeText,
  decodeValue,
} from '../../../../src/client/replies.ts';
import { createByteWriter } from '../../../../src/codec/byte-writer.ts';
import { statusOfReply } from '../../../../src/codec/native/frame.ts';
import { NativeReplyWriter } from '../../../../src/codec/native/reply-writer.ts';
import { SkerryError } from '../../../../src/core/errors.ts';
import type { ReplySink } from '../../../../src/core/kv/reply.ts';

function written(write: (sink: ReplySink) => void): Buffer {
  const out = createByteWriter(1);
  // Not at the start of the buffer, as in a connection.
  out.appendLatin1('before');
  write(new NativeReplyWriter(out));
  return Buffer.from(out.buffer.subarray(6, out.length));
}

const value = (bytes: Buffer): unknown => decodeValue(bytes, 0, bytes.length);

type Tree = number | bigint | boolean | null | string | Buffer | { readonly error: string } | readonly Tree[];

function write(sink: ReplySink, tree: Tree): void {
  if (tree === null) sink.null();
  else if (typeof tree === 'boolean') sink.boolean(tree);
  else if (typeof tree === 'bigint') sink.integer(tree);
  else if (typeof tree === 'number') {
    if (Number.isSafeInteger(tree) && !Object.is(tree, -0)) sink.integer(tree);
    else sink.double(tree);
  } else if (typeof tree === 'string') sink.text(tree);
  else if (Buffer.isBuffer(tree)) sink.bulk(Buffer.concat([Buffer.from('xx'), tree]), 2, 2 + tree.length);
  else if (Array.isArray(tree)) {
    sink.array(tree.length);
    for (const each of tree as readonly Tree[]) write(sink, each);
  } else sink.error((tree as { error: string }).error);
}

function expected(tree: Tree): unknown {
  if (Array.isArray(tree)) return (tree as readonly Tree[]).map(expected);
  if (typeof tree === 'bigint' && tree >= BigInt(Number.MIN_SAFE_INTEGER) && tree <= BigInt(Number.MAX_SAFE_INTEGER)) {
    return Number(tree);
  }
  return tree;
}

function simplified(read: unknown): unknown {
  if (read instanceof SkerryError) return { error: read.message };
  return Array.isArray(read) ? read.map(simplified) : read;
}

const leaf: fc.Arbitrary<Tree> = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(0, -1, -32, -33, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, -(2 ** 31) - 1),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.string({ unit: 'binary', maxLength: 400 }),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.string({ maxLength: 400 }).map((error) => ({ error: `ERR ${error}` })),
);
const { tree } = fc.letrec<{ tree: Tree; leaf: Tree }>((tie) => ({
  leaf,
  tree: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('tree'), { maxLength: 20 })),
}));

test('any reply is read as it was written', (t) => {
  fc.assert(
    fc.property(tree, (reply) => {
      const bytes = written((sink) => write(sink, reply));
      t.deepEqual(simplified(value(bytes)), expected(reply));
      const isError = reply !== null && typeof reply === 'object' && 'error' in reply;
      t.is(statusOfReply(bytes, 0), isError ? 1 : 0);
    }),
  );
});

test('long arrays, maps and sets; nulls of both kinds; short statuses', (t) => {
  for (const length of [15, 16, 65_535, 65_536]) {
    const bytes = written((sink) => {
      sink.array(length);
      for (let i = 0; i < length; i++) sink.integer(i & 7);
    });
    t.is((value(bytes) as unknown[]).length, length);
  }
  const map = written((sink) => {
    sink.map(2);
    sink.text('a');
    sink.integer(1);
    sink.text('b');
    sink.set(1);
    sink.nullArray();
  });
  t.deepEqual(unpack(map), { a: 1, b: [null] });
  for (const length of [255, 256, 65_535, 65_536]) {
    const bytes = Buffer.alloc(length, 7);
    t.deepEqual(value(written((sink) => sink.bulk(bytes, 0, length))), bytes);
    t.is(value(written((sink) => sink.text('x'.repeat(length)))), 'x'.repeat(length));
  }
  t.is(value(written((sink) => sink.simple('OK'))), 'OK');
  t.is(value(written((sink) => sink.null())), null);
});

test('the short ways to read give what the general one gives, and refuse what is something else', (t) => {
  const bulk = written((sink) => sink.bulk(Buffer.from('ä'), 0, 2));
  const none = written((sink) => sink.null());
  const count = written((sink) => sink.integer(300));
  const ok = written((sink) => sink.simple('OK'));
  t.deepEqual(decodeBytes(bulk, 0, bulk.length), Buffer.from('ä'));
  t.is(decodeText(bulk, 0, bulk.length), 'ä');
  for (const decode of [decodeBytes, decodeText]) {
    t.is(decode(none, 0, 1), undefined);
    t.throws(() => decode(count, 0, count.length), { instanceOf: SkerryError });
  }
  t.true(decodePositive(count, 0));
  t.false(
    decodePositive(
      written((sink) => sink.integer(0)),
      0,
    ),
  );
  t.throws(() => decodePositive(bulk, 0), { instanceOf: SkerryError });
  t.true(decodeOk(ok, 0));
  t.false(decodeOk(none, 0));
  t.throws(() => decodeOk(count, 0), { instanceOf: SkerryError });
  t.throws(() => decodeBytesArray(ok, 0, ok.length), { instanceOf: SkerryError });
});

test('bytes that are no msgpack are an error, not a crash', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const source = Buffer.from(bytes);
      try {
        decodeValue(source, 0, source.length);
      } catch (error) {
        if (!(error instanceof SkerryError)) throw error;
      }
      t.pass();
    }),
    { numRuns: 2000 },
  );
});
