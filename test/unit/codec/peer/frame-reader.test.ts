import test from 'ava';
import * as fc from 'fast-check';
import { createByteWriter } from '../../../../src/codec/byte-writer.ts';
import { PeerFrameReader } from '../../../../src/codec/peer/frame-reader.ts';
import {
  beginPeerFrame,
  endPeerFrame,
  PEER_SNAPSHOT_OUTCOME,
  PeerProtocolError,
} from '../../../../src/codec/peer/frame.ts';

const PAYLOAD_MAX = 20_000;

interface Frame {
  readonly kind: number;
  readonly payload: Buffer;
}

const frame: fc.Arbitrary<Frame> = fc
  .record({ kind: fc.integer({ min: 1, max: PEER_SNAPSHOT_OUTCOME }), bytes: fc.nat(PAYLOAD_MAX), fill: fc.nat(255) })
  .map(({ kind, bytes, fill }) => ({ kind, payload: Buffer.alloc(fill < 100 ? bytes % 40 : bytes, fill) }));

function encode(frames: readonly Frame[]): Buffer {
  const out = createByteWriter();
  for (const { kind, payload } of frames) {
    const start = beginPeerFrame(out);
    out.append(payload, 0, payload.length);
    endPeerFrame(out, start, kind);
  }
  return Buffer.from(out.buffer.subarray(0, out.length));
}

/** What comes of a stream that arrives in pieces of these sizes, over and over. */
function read(stream: Buffer, pieces: readonly number[]): Frame[] {
  const frames: Frame[] = [];
  const reader = new PeerFrameReader(PAYLOAD_MAX, (kind, source, start, end) => {
    frames.push({ kind, payload: Buffer.from(source.subarray(start, end)) });
  });
  for (let at = 0, i = 0; at < stream.length; i++) {
    const next = Math.min(stream.length, at + (pieces[i % pieces.length] as number));
    // A socket's chunk is its own; what is kept of it must be a copy.
    const chunk = Buffer.from(stream.subarray(at, next));
    reader.push(chunk);
    chunk.fill(0xee);
    at = next;
  }
  return frames;
}

const pieces = fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 70_000 })), {
  minLength: 1,
  maxLength: 5,
});

test('frames come out as they went in, however the stream is cut', (t) => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 6 }), pieces, (frames, sizes) => {
      t.deepEqual(read(encode(frames), sizes), frames);
    }),
    { numRuns: 300 },
  );
});

test('a flipped bit anywhere is noticed: the frames before it are handed on, and none from there', (t) => {
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 3 }),
      pieces,
      fc.nat(),
      fc.nat(7),
      (frames, sizes, at, bit) => {
        const stream = encode(frames);
        const place = at % stream.length;
        stream[place] = (stream[place] as number) ^ (1 << bit);
        const seen: Frame[] = [];
        const reader = new PeerFrameReader(PAYLOAD_MAX, (kind, source, start, end) => {
          seen.push({ kind, payload: Buffer.from(source.subarray(start, end)) });
        });
        t.throws(
          () => {
            for (let from = 0, i = 0; from < stream.length; i++) {
              const next = from + (sizes[i % sizes.length] as number);
              reader.push(stream.subarray(from, next));
              from = next;
            }
          },
          { instanceOf: PeerProtocolError, message: /checksum/ },
        );
        t.deepEqual(seen, frames.slice(0, seen.length));
      },
    ),
    { numRuns: 1000 },
  );
});

test('a frame that is too long, or of no known kind, is refused by its header', (t) => {
  const reader = new PeerFrameReader(10, () => t.fail());
  const long = encode([{ kind: 1, payload: Buffer.alloc(11) }]);
  t.throws(() => reader.push(long.subarray(0, 16)), { instanceOf: PeerProtocolError, message: /11 bytes and 10/ });
  const unknown = encode([{ kind: 77, payload: Buffer.alloc(0) }]);
  t.throws(() => new PeerFrameReader(10, () => t.fail()).push(unknown), { message: /unknown kind 77/ });
});
