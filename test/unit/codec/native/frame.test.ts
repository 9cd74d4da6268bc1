import { readFileSync } from 'node:fs';
import test from 'ava';
import * as fc from 'fast-check';
import { argCopy } from '../../../../src/core/kv/args.ts';
import { COMMAND_HEADER_BYTES, readCommand } from '../../../../src/core/kv/batch.ts';
import { createArgs } from '../../../../src/core/kv/args.ts';
import type { Argument } from '../../../../src/codec/native/frame.ts';
import {
  createRequestFrame,
  FLAG_EXPLAIN,
  FLAG_IDENTITY,
  OP_HELLO,
  PATIENCE_MAX,
  ProtocolError,
  readRequest,
  REQUEST_COMMAND_OFFSET,
  requestBytesMax,
  RESPONSE_HEADER_BYTES,
  statusOfReply,
  writeRequest,
  writeResponseHeader,
} from '../../../../src/codec/native/frame.ts';
import { FrameReader } from '../../../../src/codec/native/frame-reader.ts';

const argument: fc.Arbitrary<Argument> = fc.oneof(
  fc.uint8Array({ maxLength: 600 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
);
const safeInteger = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const identity = fc.option(
  fc
    .tuple(safeInteger, safeInteger, safeInteger)
    .map(([clientId, a, b]) => ({ clientId, sequence: Math.max(a, b), floor: Math.min(a, b) })),
);
const request = fc.record({
  requestId: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  rangeId: safeInteger,
  rangeEpoch: fc.integer({ min: 0, max: 0xffff_ffff }),
  op: fc.integer({ min: 0, max: 0xffff }),
  consistency: fc.integer({ min: 0, max: 2 }),
  patience: fc.integer({ min: 0, max: PATIENCE_MAX }),
  isExplained: fc.boolean(),
  identity,
  args: fc.array(argument, { maxLength: 40 }),
});
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

function encode(r: Request): Buffer {
  const target = Buffer.alloc(requestBytesMax(r.args) + 3);
  const { requestId, rangeId, rangeEpoch, op, consistency, args, patience } = r;
  const end = writeRequest(
    target,
    3,
    requestId,
    rangeId,
    rangeEpoch,
    op,
    consistency,
    r.identity,
    args,
    r.isExplained,
    patience,
  );
  return target.subarray(3, end);
}

const bytesOf = (arg: Argument): Buffer => (typeof arg === 'string' ? Buffer.from(arg, 'utf8') : Buffer.from(arg));

test('a request comes out of the reader as it went into the writer', (t) => {
  const frame = createRequestFrame();
  fc.assert(
    fc.property(request, (r) => {
      const bytes = encode(r);
      t.is(bytes.readUInt32LE(0), bytes.length - 4);
      t.is(readRequest(bytes, 0, bytes.length, frame), null);
      const { requestId, rangeId, rangeEpoch, op, consistency, patience } = r;
      t.like(frame, {
        requestId,
        rangeId,
        rangeEpoch,
        op,
        consistency,
        patience,
        flags: (r.identity === null ? 0 : FLAG_IDENTITY) | (r.isExplained ? FLAG_EXPLAIN : 0),
      });
      if (r.identity !== null) t.deepEqual(frame.identity, r.identity);
      t.is(frame.args.count, r.args.length);
      r.args.forEach((arg, i) => t.deepEqual(argCopy(frame.args, i), bytesOf(arg)));
    }),
  );
});

test('65536 arguments and a value of several megabytes fit into one request', (t) => {
  const frame = createRequestFrame();
  const many = encode({ ...base, args: Array.from({ length: 65_536 }, (_, i) => String(i)) });
  t.is(readRequest(many, 0, many.length, frame), null);
  t.is(frame.args.count, 65_536);
  const big = encode({ ...base, args: ['k', Buffer.alloc(3 << 20, 7), 'é'.repeat(1000)] });
  t.is(readRequest(big, 0, big.length, frame), null);
  t.is(argCopy(frame.args, 1).length, 3 << 20);
  t.is(argCopy(frame.args, 2).toString(), 'é'.repeat(1000));
});

const lengthOf = (length: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(length);
  return bytes;
};

const response = (requestId: number, status: number, body: string): string => {
  const bytes = Buffer.alloc(RESPONSE_HEADER_BYTES);
  writeResponseHeader(bytes, 0, requestId, status, body.length / 2);
  return bytes.toString('hex') + body;
};

const base: Request = {
  requestId: 1,
  rangeId: 0,
  rangeEpoch: 0,
  op: 2,
  consistency: 0,
  patience: 0,
  isExplained: false,
  identity: { clientId: 11, sequence: 5, floor: 4 },
  args: ['a', '1'],
};

test("a write's request is, from op on, a command of a Raft entry", (t) => {
  const bytes = encode(base);
  const entry = Buffer.alloc(4 + bytes.length - REQUEST_COMMAND_OFFSET);
  entry.writeUInt32LE(entry.length - 4, 0);
  bytes.copy(entry, 4, REQUEST_COMMAND_OFFSET);
  const command = { op: 0, flags: 0, requestId: { clientId: 0, sequence: 0, floor: 0 }, args: createArgs(), next: 0 };
  readCommand(entry, 0, command);
  t.like(command, { op: 2, flags: 1, requestId: { clientId: 11, sequence: 5, floor: 4 }, next: entry.length });
  t.is(argCopy(command.args, 1).toString(), '1');
  t.is(COMMAND_HEADER_BYTES, 8);
});

test('any bytes at all are either read or named as a fault, never thrown over', (t) => {
  const frame = createRequestFrame();
  fc.assert(
    fc.property(request, fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { maxLength: 8 }), fc.nat(), (r, flips, cut) => {
      const bytes = Buffer.from(encode(r));
      for (const [at, value] of flips) bytes[at % bytes.length] = value;
      const end = bytes.length - (cut % 3 === 0 ? cut % bytes.length : 0);
      const fault = readRequest(bytes.subarray(0, end), 0, end, frame);
      t.true(fault === null || fault.length > 0);
    }),
  );
});

test('a stream comes apart into the same frames however it is chunked', (t) => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 400 })), (requests, cuts) => {
      const frames = requests.map(encode);
      const stream = Buffer.concat(frames);
      const seen: Buffer[] = [];
      const reader = new FrameReader(8, 1 << 20, (source, start, end) => {
        seen.push(Buffer.from(source.subarray(start, end)));
      });
      let at = 0;
      for (const cut of cuts) {
        reader.push(stream, at, Math.min(at + cut, stream.length));
        at = Math.min(at + cut, stream.length);
      }
      reader.push(stream, at);
      t.deepEqual(seen, frames);
      t.is(reader.pendingBytes, 0);
    }),
  );
});

test('a reader that is paused at any frame goes on behind it, and loses and repeats nothing', (t) => {
  fc.assert(
    fc.property(
      fc.array(request, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 400 })),
      fc.array(fc.boolean(), { minLength: 1 }),
      (requests, cuts, pauses) => {
        const frames = requests.map(encode);
        const stream = Buffer.concat(frames);
        const seen: Buffer[] = [];
        const reader = new FrameReader(8, 1 << 20, (source, start, end) => {
          seen.push(Buffer.from(source.subarray(start, end)));
          if (pauses[seen.length % pauses.length] === true) reader.pause();
        });
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          const chunk = Buffer.from(stream.subarray(at, at + cut));
          const before = seen.length;
          reader.push(chunk);
          // What a reader keeps must not depend on the chunk's memory.
          chunk.fill(0xee);
          if (before % 2 === 0) reader.resume();
          at = Math.min(at + cut, stream.length);
        }
        for (let i = 0; i <= frames.length; i++) reader.resume();
        t.deepEqual(seen, frames);
      },
    ),
  );
});

test('an announced length out of bounds ends the stream with a protocol error', (t) => {
  for (const [length, code] of [
    [0, 'KV_INVALID'],
    [23, 'KV_INVALID'],
    [1001, 'KV_TOO_LARGE'],
    [0xffff_ffff, 'KV_TOO_LARGE'],
  ] as const) {
    const reader = new FrameReader(24, 1000, () => t.fail('no frame was announced that may be handed on'));
    const error = t.throws(() => reader.push(lengthOf(length)), { instanceOf: ProtocolError });
    t.is(error?.code, code);
    t.notThrows(() => reader.push(Buffer.alloc(2000)));
    const inPieces = new FrameReader(24, 1000, () => t.fail('no frame was announced that may be handed on'));
    inPieces.push(lengthOf(length), 0, 3);
    t.throws(() => inPieces.push(lengthOf(length), 3, 4), { instanceOf: ProtocolError });
  }
});

test('memory for an unfinished frame grows with the bytes that came, not with the length announced', (t) => {
  const reader = new FrameReader(24, 1 << 30, () => undefined);
  const head = Buffer.alloc(4);
  head.writeUInt32LE(1 << 30);
  reader.push(head);
  t.true(reader.capacityBytes <= 1024);
  const chunk = Buffer.alloc(10_000);
  for (let i = 1; i <= 50; i++) {
    reader.push(chunk);
    t.is(reader.pendingBytes, 4 + i * 10_000);
    t.true(reader.capacityBytes <= 2 * reader.pendingBytes);
  }
});

test('fuzz: whatever the bytes, the stream reader throws nothing but the protocol error', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 10 }), (chunks) => {
      const reader = new FrameReader(24, 300, (source, start, end) => {
        readRequest(source, start, end, createRequestFrame());
      });
      try {
        for (const chunk of chunks) reader.push(Buffer.from(chunk));
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
      }
      t.true(reader.capacityBytes <= 2048);
    }),
  );
});

test('the status of an encoded reply is told by its first bytes', (t) => {
  t.is(statusOfReply(Buffer.from([0xc0]), 0), 0);
  t.is(statusOfReply(Buffer.from([0xc7, 1, 0x21, 65]), 0), 1);
  t.is(statusOfReply(Buffer.from([0xc8, 0, 1, 0x21, 65]), 0), 1);
  t.is(statusOfReply(Buffer.from([0xc9, 0, 0, 0, 1, 0x22, 0xc0]), 0), 2);
  t.is(statusOfReply(Buffer.from([0xc7]), 0), 0);
});

test("the example bytes of the protocol's document are what this code writes", (t) => {
  const document = readFileSync(new URL('../../../../docs/native-protocol.md', import.meta.url), 'utf8');
  const section = document.slice(document.indexOf('## Example bytes'));
  const blocks = [...section.matchAll(/```\n([\s\S]*?)```/g)].map((match) =>
    (match[1] as string)
      .split('\n')
      .map((line) => /^((?:[0-9a-f]{2}(?: {1,2}|$))+)/.exec(line)?.[1]?.replaceAll(' ', '') ?? '')
      .join(''),
  );
  const hello = ['SKERRY', '1', '4660', 'example-client'];
  t.is(blocks[0], encode({ ...base, identity: null, op: OP_HELLO, args: hello }).toString('hex'));
  const read = encode({ ...base, requestId: 7, rangeId: 3, rangeEpoch: 2, op: 1, identity: null, args: ['a'] });
  t.is(blocks[1], read.toString('hex') + response(7, 0, 'c40131'));
  const write = encode({
    ...base,
    requestId: 8,
    rangeId: 3,
    rangeEpoch: 2,
    identity: { clientId: 0x0123456789, sequence: 5, floor: 4 },
  });
  t.is(blocks[2], write.toString('hex'));
  t.is(blocks[3], response(9, 1, 'c70b21' + Buffer.from('ERR syntax!').toString('hex')));
});
