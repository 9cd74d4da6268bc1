import test from 'ava';
import * as fc from 'fast-check';
import { createByteWriter } from '../../../../src/codec/byte-writer.ts';
import { PeerProtocolError } from '../../../../src/codec/peer/frame.ts';
import { raftMessageBytesMax, readRaftMessage, writeRaftMessage } from '../../../../src/codec/peer/raft-messages.ts';
import { PayloadReader } from '../../../../src/codec/peer/varint.ts';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../../../src/core/brands.ts';
import { memberId } from '../../../../src/core/member.ts';
import type { EntryType, Message, MessageType } from '../../../../src/core/raft/types.ts';

const FROM = 3 as NodeId;
const TO = 1_048_575 as NodeId;

const whole = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 300 }), fc.maxSafeNat());
const someMember = (node: NodeId): fc.Arbitrary<MemberId> =>
  fc
    .tuple(fc.nat(255), fc.integer({ min: 1, max: 2 ** 24 - 1 }))
    .map(([worker, incarnation]) => memberId(node, worker, incarnation));
const members = fc.array(
  fc.integer({ min: 1, max: 2 ** 20 - 1 }).chain((node) => someMember(node as NodeId)),
  { maxLength: 5 },
);
const entries = fc
  .tuple(
    fc.integer({ min: 1, max: 2 ** 50 }),
    fc.array(fc.record({ term: whole, type: fc.nat(2), data: fc.uint8Array({ maxLength: 300 }) }), { maxLength: 6 }),
  )
  .map(([first, list]) =>
    list.map(({ term, type, data }, i) => ({
      index: (first + i) as LogIndex,
      term: term as Term,
      type: type as EntryType,
      data: Buffer.from(data),
    })),
  );
const snapshot = fc.record({
  index: whole,
  term: whole,
  conf: fc.record({
    voters: members,
    votersOutgoing: members,
    learners: members,
    learnersNext: members,
    autoLeave: fc.boolean(),
  }),
});
const message = fc.record({
  type: fc.integer({ min: 1, max: 10 }).map((type) => type as MessageType),
  from: someMember(FROM),
  to: someMember(TO),
  term: whole,
  index: whole,
  logTerm: whole,
  commit: whole,
  context: whole,
  hint: whole,
  reject: fc.boolean(),
  entries,
  snapshot: fc.option(snapshot),
}) as unknown as fc.Arbitrary<Message>;
const routed = fc.record({ rangeId: fc.maxSafeNat().map((id) => id as RangeId), message });

function decodeAll(payload: Buffer): { rangeId: RangeId; message: Message }[] {
  const decoded: { rangeId: RangeId; message: Message }[] = [];
  const reader = new PayloadReader(payload, 0, payload.length);
  while (!reader.done) readRaftMessage(reader, FROM, TO, (rangeId, message) => decoded.push({ rangeId, message }));
  return decoded;
}

test('every Raft message comes out of a frame as it went in, in its order, within the bound for its size', (t) => {
  fc.assert(
    fc.property(fc.array(routed, { maxLength: 8 }), (messages) => {
      const out = createByteWriter(1);
      let most = 0;
      for (const { rangeId, message } of messages) {
        writeRaftMessage(out, rangeId, message);
        most += raftMessageBytesMax(message);
      }
      t.true(out.length <= most);
      const payload = Buffer.from(out.buffer.subarray(0, out.length));
      const decoded = decodeAll(payload);
      // What was decoded does not change with the bytes that it came in.
      payload.fill(0xff);
      t.deepEqual(decoded, messages);
    }),
    { numRuns: 500 },
  );
});

test('a heartbeat takes a few bytes: a thousand groups fit into less than 20 KB', (t) => {
  const out = createByteWriter();
  for (let i = 1; i <= 1000; i++) {
    writeRaftMessage(out, i as RangeId, {
      type: 7,
      from: memberId(FROM, 3, 1),
      to: memberId(TO, 2, 40),
      term: 17 as Term,
      index: 0 as LogIndex,
      logTerm: 0 as Term,
      commit: 1_000_000 as LogIndex,
      context: 500_000 * 2 ** 20,
      hint: 0 as LogIndex,
      reject: false,
      entries: [],
      snapshot: null,
    });
  }
  t.true(out.length < 20_000, `${out.length} bytes`);
});

test('whatever bytes come instead of messages: they are refused as such, or read as some message', (t) => {
  const refused = (payload: Buffer): void => {
    try {
      decodeAll(payload);
    } catch (error) {
      t.true(error instanceof PeerProtocolError, String(error));
    }
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => refused(Buffer.from(bytes))),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(routed, fc.nat(), fc.nat(255), fc.nat(), ({ rangeId, message }, at, byte, cut) => {
      const out = createByteWriter();
      writeRaftMessage(out, rangeId, message);
      const payload = Buffer.from(out.buffer.subarray(0, out.length));
      payload[at % payload.length] = byte;
      refused(payload);
      refused(payload.subarray(0, cut % payload.length));
    }),
    { numRuns: 2000 },
  );
});
