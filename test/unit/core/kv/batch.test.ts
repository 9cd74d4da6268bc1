import test from 'ava';
import * as fc from 'fast-check';
import type { Hlc } from '../../../../src/core/brands.ts';
import { createArgs } from '../../../../src/core/kv/args.ts';
import type { BatchCommand, RequestId } from '../../../../src/core/kv/batch.ts';
import {
  BATCH_HEADER_BYTES,
  batchCount,
  batchRangeVersion,
  batchVersion,
  COMMAND_HAS_REQUEST_ID,
  commandBytes,
  readArgs,
  readCommand,
  writeArgs,
} from '../../../../src/core/kv/batch.ts';
import { allCommands } from '../../../../src/core/kv/table.ts';
import { argsOf, encodeBatch } from '../../../support/kv-machine.ts';

const safe = fc.maxSafeNat();
const argument = fc.oneof(
  { weight: 5, arbitrary: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(255, 256, 65_535, 65_536).map((length) => Buffer.alloc(length, length % 251)),
  },
);
const requestId: fc.Arbitrary<RequestId> = fc.record({ clientId: safe, sequence: safe, floor: safe });
const item = fc.record({
  spec: fc.constantFrom(...allCommands),
  values: fc.array(argument, { maxLength: 20 }),
  requestId: fc.option(requestId, { nil: undefined }),
});

function emptyCommand(): BatchCommand {
  return { op: 0, flags: 0, requestId: { clientId: 0, sequence: 0, floor: 0 }, args: createArgs(), next: 0 };
}

test('a batch reads back as the commands that were put into it', (t) => {
  fc.assert(
    fc.property(fc.array(item, { maxLength: 8 }), safe, fc.nat(), (items, version, rangeVersion) => {
      const encoded = items.map(({ spec, values, requestId: id }) => {
        const args = argsOf(values);
        return id === undefined ? { spec, args } : { spec, args, requestId: id };
      });
      const batch = encodeBatch(version, encoded, rangeVersion);
      t.is(batchCount(batch), items.length);
      t.is(batchVersion(batch), version as Hlc);
      t.is(batchRangeVersion(batch), rangeVersion);
      const command = emptyCommand();
      command.next = BATCH_HEADER_BYTES;
      for (const { spec, values, requestId: id } of items) {
        const begin = command.next;
        readCommand(batch, begin, command);
        t.is(command.op, spec.op);
        t.is(command.next - begin, commandBytes(argsOf(values), id !== undefined));
        t.is((command.flags & COMMAND_HAS_REQUEST_ID) !== 0, id !== undefined);
        if (id !== undefined) t.deepEqual(command.requestId, id);
        const { buffer, count, start, end } = command.args;
        const read = Array.from({ length: count }, (_, i) => Buffer.from(buffer.subarray(start[i], end[i])));
        t.deepEqual(read, values);
      }
      t.is(command.next, batch.length);
    }),
  );
});

test('many arguments read back, however their number is written', (t) => {
  for (const count of [0, 15, 16, 65_535, 65_536]) {
    const args = argsOf(Array.from({ length: count }, (_, i) => String(i % 10)));
    const target = Buffer.alloc(commandBytes(args, false));
    const end = writeArgs(target, 0, args);
    const read = createArgs();
    t.is(readArgs(target, 0, end, read), end);
    t.is(read.count, count);
    if (count > 0) t.is(target[read.start[count - 1] as number], 0x30 + ((count - 1) % 10));
  }
});

test('bytes that are no arguments are refused, and never read beyond their end', (t) => {
  const args = createArgs();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(10), (bytes, behind) => {
      const source = Buffer.concat([Buffer.from(bytes), Buffer.alloc(behind, 0xc4)]);
      const end = readArgs(source, 0, bytes.length, args);
      t.true(end === -1 || end <= bytes.length);
      if (end < 0) return;
      for (let i = 0; i < args.count; i++) t.true((args.start[i] as number) <= (args.end[i] as number));
      t.true(args.count === 0 || (args.end[args.count - 1] as number) <= bytes.length);
    }),
    { numRuns: 1000 },
  );
  // A count that the bytes cannot hold sets no memory aside.
  t.is(readArgs(Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff, 0xc4]), 0, 6, args), -1);
});

test('a command cut short is found out', (t) => {
  const batch = encodeBatch(1, [
    { spec: allCommands[0] as (typeof allCommands)[number], args: argsOf(['key', 'value']) },
  ]);
  for (let length = BATCH_HEADER_BYTES + 4; length < batch.length; length++) {
    t.throws(() => readCommand(batch.subarray(0, length), BATCH_HEADER_BYTES, emptyCommand()), {
      code: 'KV_ASSERTION',
    });
  }
});

test('arguments are the same in a command, whether they are copied as they lie or written anew', (t) => {
  fc.assert(
    fc.property(fc.array(argument, { maxLength: 20 }), (values) => {
      const given = argsOf(values);
      const anew = Buffer.alloc(commandBytes(given, false));
      const end = writeArgs(anew, 3, given);
      const read = createArgs();
      t.is(readArgs(anew, 3, end, read), end);
      t.is(commandBytes(read, false), commandBytes(given, false));
      const copied = Buffer.alloc(anew.length);
      t.is(writeArgs(copied, 3, read), end);
      t.deepEqual(copied, anew);
    }),
  );
});

test('arguments that came as strings are binary in a command', (t) => {
  const strings = Buffer.from([0x92, 0xa1, 0x61, 0xd9, 0x01, 0x62]);
  const read = createArgs();
  t.is(readArgs(strings, 0, strings.length, read), strings.length);
  const written = Buffer.alloc(commandBytes(read, false));
  t.deepEqual(written.subarray(0, writeArgs(written, 0, read)), Buffer.from([0x92, 0xc4, 1, 0x61, 0xc4, 1, 0x62]));
});
