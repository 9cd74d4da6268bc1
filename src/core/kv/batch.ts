/**
 * The data of a Raft entry: all commands that one turn of the loop brought to a range, as one batch. Little-endian.
 *
 *     0   u8   kind        1 = batch of commands
 *     1   u8[3]            0
 *     4   u32  count       commands
 *     8   u64  version     HLC of the first command; command i has version + i
 *    16   u32  rangeVersion  the range's epoch version when the batch was made: after a split it no longer matches,
 *                            and the batch is not applied (its keys may lie in the other half)
 *    20   u32              0
 *    24   commands, one after another:
 *           u32  length    of what follows, without these four bytes
 *           u16  op        code from the command table; never given to another command
 *           u8   flags     1 = a request id follows   others are 0
 *           u8             0
 *          [u64  clientId, u64 sequence, u64 floor]          if flags & 1
 *           body           msgpack array of bin: the arguments without the command's name
 *
 * The body is the very bytes that the native client sends.
 */
import { assert } from '../assert.ts';
import type { Hlc } from '../brands.ts';
import type { Args } from './args.ts';

export const BATCH_KIND = 1;
export const BATCH_HEADER_BYTES = 24;
export const COMMAND_HEADER_BYTES = 8;
export const REQUEST_ID_BYTES = 24;

export const COMMAND_HAS_REQUEST_ID = 1;

/** Identifies one request of one client for ever, so that a retry is applied once. */
export interface RequestId {
  /** Random, chosen by the client at connect. Below 2^53. */
  clientId: number;
  /** Counts up from 1 per client. */
  sequence: number;
  /** The client has the replies of all sequences below this one; they need not be remembered. */
  floor: number;
}

/** One command of a batch, in place; `args` point into the batch. */
export interface BatchCommand {
  op: number;
  flags: number;
  readonly requestId: RequestId;
  readonly args: Args;
  /** Offset of the next command. */
  next: number;
}

/** Reads and writes u64 as two u32: exact to 2^53, and no BigInt is allocated. */
export function writeU64(buffer: Buffer, value: number, offset: number): void {
  buffer.writeUInt32LE(value >>> 0, offset);
  buffer.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
}

export function readU64(buffer: Buffer, offset: number): number {
  return buffer.readUInt32LE(offset) + buffer.readUInt32LE(offset + 4) * 2 ** 32;
}

export function batchCount(batch: Buffer): number {
  assert(batch[0] === BATCH_KIND, 'batch: unknown kind');
  return batch.readUInt32LE(4);
}

export function batchVersion(batch: Buffer): Hlc {
  return readU64(batch, 8) as Hlc;
}

export function batchRangeVersion(batch: Buffer): number {
  return batch.readUInt32LE(16);
}

export function writeBatchHeader(target: Buffer, count: number, version: Hlc, rangeVersion: number): void {
  target.writeUInt32LE(BATCH_KIND, 0);
  target.writeUInt32LE(count, 4);
  writeU64(target, version, 8);
  target.writeUInt32LE(rangeVersion, 16);
  target.writeUInt32LE(0, 20);
}

/** Bytes that writeCommand needs for these arguments. */
export function commandBytes(args: Args, hasRequestId: boolean): number {
  const headBytes = COMMAND_HEADER_BYTES + (hasRequestId ? REQUEST_ID_BYTES : 0);
  if (args.bodyStart >= 0) return headBytes + args.bodyEnd - args.bodyStart;
  let bytes = headBytes + arrayHeaderBytes(args.count);
  for (let i = 0; i < args.count; i++) {
    const length = (args.end[i] as number) - (args.start[i] as number);
    bytes += binHeaderBytes(length) + length;
  }
  return bytes;
}

/** Writes one command at `offset` and returns the offset behind it. `target` has room for commandBytes(). */
export function writeCommand(
  target: Buffer,
  offset: number,
  op: number,
  args: Args,
  requestId: RequestId | null,
): number {
  const begin = offset;
  target.writeUInt16LE(op, begin + 4);
  target[begin + 6] = requestId === null ? 0 : COMMAND_HAS_REQUEST_ID;
  target[begin + 7] = 0;
  offset = begin + COMMAND_HEADER_BYTES;
  if (requestId !== null) {
    writeU64(target, requestId.clientId, offset);
    writeU64(target, requestId.sequence, offset + 8);
    writeU64(target, requestId.floor, offset + 16);
    offset += REQUEST_ID_BYTES;
  }
  offset = writeArgs(target, offset, args);
  target.writeUInt32LE(offset - begin - 4, begin);
  return offset;
}

/** Fills `out` with the command at `offset` of `batch`. Throws AssertionFailed on bytes that writeCommand cannot have made. */
export function readCommand(batch: Buffer, offset: number, out: BatchCommand): void {
  const next = nextCommand(batch, offset);
  out.op = batch.readUInt16LE(offset + 4);
  out.flags = batch[offset + 6] as number;
  let at = offset + COMMAND_HEADER_BYTES;
  if ((out.flags & COMMAND_HAS_REQUEST_ID) !== 0) {
    out.requestId.clientId = readU64(batch, at);
    out.requestId.sequence = readU64(batch, at + 8);
    out.requestId.floor = readU64(batch, at + 16);
    at += REQUEST_ID_BYTES;
  }
  const end = readArgs(batch, at, next, out.args);
  assert(end === next, 'batch: command has bytes left over');
  out.next = next;
}

/** The offset of the command behind the one at `offset`. */
export function nextCommand(batch: Buffer, offset: number): number {
  const next = offset + 4 + batch.readUInt32LE(offset);
  assert(next <= batch.length, 'batch: command runs past the end');
  return next;
}

function arrayHeaderBytes(count: number): number {
  return count < 16 ? 1 : count < 65536 ? 3 : 5;
}

function binHeaderBytes(length: number): number {
  return length < 256 ? 2 : length < 65536 ? 3 : 5;
}

/** Writes the arguments as a msgpack array of bin. Returns the offset behind it. */
export function writeArgs(target: Buffer, offset: number, args: Args): number {
  const { count, buffer, bodyStart, bodyEnd } = args;
  if (bodyStart >= 0) {
    buffer.copy(target, offset, bodyStart, bodyEnd);
    return offset + bodyEnd - bodyStart;
  }
  if (count < 16) {
    target[offset++] = 0x90 | count;
  } else if (count < 65536) {
    target[offset++] = 0xdc;
    offset = target.writeUInt16BE(count, offset);
  } else {
    target[offset++] = 0xdd;
    offset = target.writeUInt32BE(count, offset);
  }
  for (let i = 0; i < count; i++) {
    const start = args.start[i] as number;
    const end = args.end[i] as number;
    const length = end - start;
    if (length < 256) {
      target[offset] = 0xc4;
      target[offset + 1] = length;
      offset += 2;
    } else if (length < 65536) {
      target[offset] = 0xc5;
      offset = target.writeUInt16BE(length, offset + 1);
    } else {
      target[offset] = 0xc6;
      offset = target.writeUInt32BE(length, offset + 1);
    }
    buffer.copy(target, offset, start, end);
    offset += length;
  }
  return offset;
}

/**
 * Fills `out` with the msgpack array of bin (or str) at source[offset, end). Returns the offset behind it, or -1 when
 * the bytes are something else: the gateway calls this on bytes from strangers.
 */
export function readArgs(source: Buffer, offset: number, end: number, out: Args): number {
  if (offset >= end) return -1;
  const begin = offset;
  const first = source[offset] as number;
  let isBody = true;
  let count: number;
  if ((first & 0xf0) === 0x90) {
    count = first & 0x0f;
    offset += 1;
  } else if (first === 0xdc && offset + 3 <= end) {
    count = source.readUInt16BE(offset + 1);
    offset += 3;
  } else if (first === 0xdd && offset + 5 <= end) {
    count = source.readUInt32BE(offset + 1);
    offset += 5;
  } else {
    return -1;
  }
  if (count > end - offset) return -1;
  out.buffer = source;
  out.count = count;
  for (let i = 0; i < count; i++) {
    if (offset >= end) return -1;
    const type = source[offset] as number;
    // Strings are taken for what they hold, but a batch has binary ones only.
    if (type < 0xc4 || type > 0xc6) isBody = false;
    let length: number;
    if (type === 0xc4 || type === 0xd9) {
      if (offset + 2 > end) return -1;
      length = source[offset + 1] as number;
      offset += 2;
    } else if (type === 0xc5 || type === 0xda) {
      if (offset + 3 > end) return -1;
      length = source.readUInt16BE(offset + 1);
      offset += 3;
    } else if (type === 0xc6 || type === 0xdb) {
      if (offset + 5 > end) return -1;
      length = source.readUInt32BE(offset + 1);
      offset += 5;
    } else if ((type & 0xe0) === 0xa0) {
      length = type & 0x1f;
      offset += 1;
    } else {
      return -1;
    }
    if (length > end - offset) return -1;
    out.start[i] = offset;
    offset += length;
    out.end[i] = offset;
  }
  out.bodyStart = isBody ? begin : -1;
  out.bodyEnd = isBody ? offset : -1;
  return offset;
}
