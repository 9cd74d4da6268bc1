import test from 'ava';
import * as fc from 'fast-check';
import { readBeat, writeBeat } from '../../../../src/codec/peer/beats.ts';
import { createByteWriter } from '../../../../src/codec/byte-writer.ts';
import { PeerProtocolError } from '../../../../src/codec/peer/frame.ts';
import { PayloadReader } from '../../../../src/codec/peer/varint.ts';
import type { Beat } from '../../../../src/core/beat.ts';
import type { LogIndex, NodeId, RangeId, Term } from '../../../../src/core/brands.ts';
import { memberId } from '../../../../src/core/member.ts';

const ONE = 1 as NodeId;
const TWO = 2 as NodeId;
const number = fc.nat({ max: Number.MAX_SAFE_INTEGER });

const rests = fc.record({
  rangeId: number.map((n) => n as RangeId),
  from: fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 1000 })).map(([w, i]) => memberId(ONE, w, i)),
  to: fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 1000 })).map(([w, i]) => memberId(TWO, w, i)),
  term: number.map((n) => n as Term),
  index: number.map((n) => n as LogIndex),
  stamp: number,
});
const beats: fc.Arbitrary<Beat> = fc.record({
  isAnswer: fc.boolean(),
  session: number,
  peerSession: number,
  tick: number,
  rests: fc.array(rests, { maxLength: 20 }),
});

function encode(all: readonly Beat[]): Buffer {
  const out = createByteWriter();
  for (const beat of all) writeBeat(out, beat);
  return Buffer.from(out.buffer.subarray(0, out.length));
}

function decode(bytes: Buffer): Beat[] {
  const reader = new PayloadReader(bytes, 0, bytes.length);
  const all: Beat[] = [];
  while (!reader.done) all.push(readBeat(reader, ONE, TWO));
  return all;
}

test('beats come back as they were written, any number in a frame', (t) => {
  t.notThrows(() =>
    fc.assert(fc.property(fc.array(beats, { maxLength: 5 }), (all) => t.deepEqual(decode(encode(all)), all))),
  );
});

test('a beat that is cut off or damaged is a protocol error, and nothing else', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(beats, fc.nat(), fc.nat(255), (beat, at, byte) => {
        const bytes = encode([beat]);
        t.throws(() => decode(bytes.subarray(0, at % bytes.length || 1)), { instanceOf: PeerProtocolError });
        bytes[at % bytes.length] = byte;
        try {
          decode(bytes);
        } catch (error) {
          t.true(error instanceof PeerProtocolError);
        }
      }),
    ),
  );
});
