/**
 * Frames between two shard workers (and between an embedding process and its workers), on one ring each way.
 * Little-endian.
 *
 *     request                                   reply
 *      0  u32 length  of the whole frame         0  u32 length
 *      4  u8  kind = 1                           4  u8  kind = 2
 *      5  u8  protocol the reply is made in      5  u8[3] 0
 *      6  u8  flags                              8  u32 slot
 *      7  u8  0                                 12  u32 0
 *      8  u32 slot    the asker's own           16  the reply, encoded
 *     12  u32 op, with how it is to be run (core/kv/table.ts)
 *     16 [u64 clientId, u64 sequence, u64 floor]     if flags & 2
 *        [u64 rangeId, u32 epoch version, u32 0]     if flags & 4
 *         arguments: msgpack array of bin, as in a batch
 *
 * Before the reply to a command that asks for it there is a frame like it, of kind 5: its explanation, as a msgpack map.
 *
 * A frame that is too long for the ring travels through a message port instead, and the ring carries a note (kind 3) in
 * its place, so that the order of frames is that of the ring: whoever reads the note finds the message already there.
 */
import type { Argument } from '../../codec/native/frame.ts';
import { writeArguments } from '../../codec/native/frame.ts';
import type { RangeId } from '../../core/brands.ts';
import type { Args } from '../../core/kv/args.ts';
import type { RequestId } from '../../core/kv/batch.ts';
import { commandBytes, readArgs, readU64, REQUEST_ID_BYTES, writeArgs, writeU64 } from '../../core/kv/batch.ts';
import type { ReplyProtocol } from '../../core/kv/reply.ts';
import type { RangeScope } from '../../core/range.ts';

export const FRAME_HEADER_BYTES = 16;
export const FRAME_REQUEST = 1;
export const FRAME_REPLY = 2;
export const FRAME_NOTE = 3;
export const FRAME_EXPLANATION = 5;

const FLAG_BEHIND_WRITES = 1;
export const FRAME_HAS_REQUEST_ID = 2;
export const FRAME_HAS_SCOPE = 4;
export const SCOPE_BYTES = 16;

/** A request in place; `args` point into the frame's bytes. */
export interface RequestFrame {
  protocol: ReplyProtocol;
  slot: number;
  op: number;
  /** Reads of this request come behind all writes that the range has accepted so far. */
  behindWrites: boolean;
  requestId: RequestId | null;
  scope: RangeScope | null;
  readonly args: Args;
}

/** One of each that may stand for the askers at the other end, in the order of askerIndex(). */
export function createAskers<Asker>(create: (protocol: ReplyProtocol, writesInFlight: number) => Asker): Asker[] {
  const askers: Asker[] = [];
  for (const protocol of [2, 3, 4] as const) {
    for (const writes of [0, 1]) askers[askerIndex(protocol, writes === 1)] = create(protocol, writes);
  }
  return askers;
}

/** Where, of those that stand for the askers at the other end, the one is that a request with these comes from. */
export function askerIndex(protocol: ReplyProtocol, behindWrites: boolean): number {
  return protocol * 2 + (behindWrites ? 1 : 0);
}

/** An upper bound for the bytes of a request frame. */
export function requestFrameBytes(args: Args): number {
  return FRAME_HEADER_BYTES + SCOPE_BYTES + commandBytes(args, true);
}

/** Writes a request at `offset` and returns its length. */
export function writeRequestFrame(
  target: Buffer,
  offset: number,
  protocol: ReplyProtocol,
  slot: number,
  op: number,
  behindWrites: boolean,
  args: Args,
  requestId: RequestId | null,
  scope: RangeScope | null,
): number {
  target[offset + 4] = FRAME_REQUEST;
  target[offset + 5] = protocol;
  target[offset + 6] =
    (behindWrites ? FLAG_BEHIND_WRITES : 0) |
    (requestId === null ? 0 : FRAME_HAS_REQUEST_ID) |
    (scope === null ? 0 : FRAME_HAS_SCOPE);
  target[offset + 7] = 0;
  target.writeUInt32LE(slot, offset + 8);
  target.writeUInt32LE(op, offset + 12);
  let at = offset + FRAME_HEADER_BYTES;
  if (requestId !== null) {
    writeU64(target, requestId.clientId, at);
    writeU64(target, requestId.sequence, at + 8);
    writeU64(target, requestId.floor, at + 16);
    at += REQUEST_ID_BYTES;
  }
  if (scope !== null) {
    writeU64(target, scope.rangeId, at);
    target.writeUInt32LE(scope.version, at + 8);
    target.writeUInt32LE(0, at + 12);
    at += SCOPE_BYTES;
  }
  at = writeArgs(target, at, args);
  target.writeUInt32LE(at - offset, offset);
  return at - offset;
}

/** Writes a request with the caller's own values at `offset`, where requestBytesMax(values) are free. Returns its length. */
export function writeValuesFrame(
  target: Buffer,
  offset: number,
  protocol: ReplyProtocol,
  slot: number,
  op: number,
  behindWrites: boolean,
  values: readonly Argument[],
): number {
  target[offset + 4] = FRAME_REQUEST;
  target[offset + 5] = protocol;
  target[offset + 6] = behindWrites ? FLAG_BEHIND_WRITES : 0;
  target[offset + 7] = 0;
  target.writeUInt32LE(slot, offset + 8);
  target.writeUInt32LE(op, offset + 12);
  const length = writeArguments(target, offset + FRAME_HEADER_BYTES, values) - offset;
  target.writeUInt32LE(length, offset);
  return length;
}

/** Reads the request at source[offset, end) into `out`. The bytes come from this very program, so they hold. */
export function readRequestFrame(source: Buffer, offset: number, end: number, out: RequestFrame): void {
  const flags = source[offset + 6] as number;
  out.protocol = source[offset + 5] as ReplyProtocol;
  out.behindWrites = (flags & FLAG_BEHIND_WRITES) !== 0;
  out.slot = source.readUInt32LE(offset + 8);
  out.op = source.readUInt32LE(offset + 12);
  let at = offset + FRAME_HEADER_BYTES;
  out.requestId = null;
  if ((flags & FRAME_HAS_REQUEST_ID) !== 0) {
    out.requestId = {
      clientId: readU64(source, at),
      sequence: readU64(source, at + 8),
      floor: readU64(source, at + 16),
    };
    at += REQUEST_ID_BYTES;
  }
  out.scope = null;
  if ((flags & FRAME_HAS_SCOPE) !== 0) {
    out.scope = { rangeId: readU64(source, at) as RangeId, version: source.readUInt32LE(at + 8) };
    at += SCOPE_BYTES;
  }
  readArgs(source, at, end, out.args);
}

/** Writes the header of a reply of `length` bytes in all (header included) at `offset`; `kind`: that, or its explanation. */
export function writeReplyHeader(
  target: Buffer,
  offset: number,
  length: number,
  slot: number,
  kind: typeof FRAME_REPLY | typeof FRAME_EXPLANATION = FRAME_REPLY,
): void {
  target.writeUInt32LE(length, offset);
  target.writeUInt32LE(kind, offset + 4);
  target.writeUInt32LE(slot, offset + 8);
  target.writeUInt32LE(0, offset + 12);
}

/** The note that stands in the ring for a frame sent through the port. */
export function writeNote(target: Buffer, offset: number): void {
  target.writeUInt32LE(FRAME_HEADER_BYTES, offset);
  target.writeUInt32LE(FRAME_NOTE, offset + 4);
  target.writeUInt32LE(0, offset + 8);
  target.writeUInt32LE(0, offset + 12);
}
