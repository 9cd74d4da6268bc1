/**
 * Frames of the native protocol: docs/native-protocol.md is the specification, this file its only implementation.
 * Little-endian. Between threads, frames of another shape have the same bodies (gateway/router/forward-frame.ts).
 *
 *     request                                        response
 *      0  u32 length      of what follows              0  u32 length     of what follows
 *      4  u64 requestId   below 2^53, not 0            4  u64 requestId  0 = answers nobody: a notice
 *     12  u64 rangeId     0 = not known               12  u8  status     see below
 *     20  u32 rangeEpoch  0 = not known               13  u8  flags      1 = an explanation follows the value
 *     24  u16 op                                      14  u8[2]          0
 *     26  u8  flags       1 = an identity follows     16  one msgpack value
 *                         2 = explain the reply          [explanation: explanation.ts]
 *     27  u8  consistency bits 0–1: 0 lease, 1 linearizable, 2 stale; bits 2–7: patience
 *     28 [u64 clientId, u64 sequence, u64 floor]
 *         msgpack array of bin or str: the arguments
 *
 * From `op` on, a write's request is byte for byte a command of a Raft entry (core/kv/batch.ts) behind its length.
 */
import { SkerryError } from '../../core/errors.ts';
import type { Args } from '../../core/kv/args.ts';
import { createArgs } from '../../core/kv/args.ts';
import type { RequestId } from '../../core/kv/batch.ts';
import { COMMAND_HAS_REQUEST_ID, REQUEST_ID_BYTES, readArgs, readU64, writeU64 } from '../../core/kv/batch.ts';
import { CONSISTENCY_STALE } from '../../core/kv/spec.ts';

export const LENGTH_BYTES = 4;
export const REQUEST_HEADER_BYTES = 28;
export const RESPONSE_HEADER_BYTES = 16;
/** Where the part of a request starts that is also a command of a Raft entry. */
export const REQUEST_COMMAND_OFFSET = 24;

export const PROTOCOL_MAGIC = 'SKERRY';
export const PROTOCOL_VERSION = 1;

/** Codes of the protocol itself; smaller ones are commands of the store (core/kv/table.ts). */
export const FIRST_PROTOCOL_OP = 0xf000;
export const OP_HELLO = 0xf000;
export const OP_TOPOLOGY = 0xf001;
export const OP_RANGE_SPLIT = 0xf003;
export const OP_STATUS = 0xf004;
export const OP_PING = 0xf005;
export const OP_CLUSTER = 0xf006;

export const FLAG_IDENTITY = COMMAND_HAS_REQUEST_ID;
export const FLAG_EXPLAIN = 2;

const CONSISTENCY_MASK = 0x03;
const PATIENCE_SHIFT = 2;
/** A request's patience is counted in steps of so many milliseconds. */
export const PATIENCE_STEP_MS = 100;
export const PATIENCE_MAX = 63;

/** The value is the reply. */
export const STATUS_OK = 0;
/** The value is an EXT_COMMAND_ERROR: the command's own error. */
const STATUS_COMMAND_ERROR = 1;
/** The value is an EXT_STORE_ERROR: the request failed before or beside the command. With request id 0: the whole connection did. */
export const STATUS_STORE_ERROR = 2;
/** A notice (request id 0): the value is a new topology. */
export const STATUS_TOPOLOGY = 3;

/** msgpack extension type of a command's error: UTF-8 text "WORD message". May also lie inside an array. */
export const EXT_COMMAND_ERROR = 0x21;
/** msgpack extension type of an error of the store: a map {code, message, retryable, hint}. */
export const EXT_STORE_ERROR = 0x22;

/** The peer does not speak this protocol, or breaks one of its limits. The connection is not usable any more. */
export class ProtocolError extends SkerryError {
  override readonly name = 'ProtocolError';
}

/** One request, in place: `args` point into the frame's bytes. Filled anew for each frame. */
export interface RequestFrame {
  requestId: number;
  rangeId: number;
  rangeEpoch: number;
  op: number;
  flags: number;
  consistency: number;
  /** How many steps the request may wait for its range to have a leader; 0 = as long as the store lets requests wait. */
  patience: number;
  /** Holds only when flags & FLAG_IDENTITY. */
  readonly identity: RequestId;
  readonly args: Args;
}

export function createRequestFrame(): RequestFrame {
  return {
    requestId: 0,
    rangeId: 0,
    rangeEpoch: 0,
    op: 0,
    flags: 0,
    consistency: 0,
    patience: 0,
    identity: { clientId: 0, sequence: 0, floor: 0 },
    args: createArgs(),
  };
}

/**
 * Fills `out` with the request whose length field is at `start` and whose last byte is before `end`. Returns what is
 * wrong with it, or null. After a fault of the body `out.requestId` and `out.op` still hold, so that it can be answered.
 */
export function readRequest(source: Buffer, start: number, end: number, out: RequestFrame): string | null {
  let at = start + REQUEST_HEADER_BYTES;
  if (at > end) return 'the frame is shorter than its header';
  out.requestId = readU64(source, start + 4);
  out.rangeId = readU64(source, start + 12);
  out.rangeEpoch = source.readUInt32LE(start + 20);
  out.op = source.readUInt16LE(start + 24);
  out.flags = source[start + 26] as number;
  const howRead = source[start + 27] as number;
  out.consistency = howRead & CONSISTENCY_MASK;
  out.patience = howRead >>> PATIENCE_SHIFT;
  if (out.requestId === 0 || !Number.isSafeInteger(out.requestId)) return 'the request id is not in 1 … 2^53 - 1';
  if (!Number.isSafeInteger(out.rangeId)) return 'the range id is not below 2^53';
  if ((out.flags & ~(FLAG_IDENTITY | FLAG_EXPLAIN)) !== 0) return 'unknown flags are set';
  if (out.consistency > CONSISTENCY_STALE) return 'the consistency is unknown';
  if ((out.flags & FLAG_IDENTITY) !== 0) {
    if (at + REQUEST_ID_BYTES > end) return 'the frame is shorter than its header';
    const { identity } = out;
    identity.clientId = readU64(source, at);
    identity.sequence = readU64(source, at + 8);
    identity.floor = readU64(source, at + 16);
    if (
      !Number.isSafeInteger(identity.clientId) ||
      !Number.isSafeInteger(identity.sequence) ||
      identity.floor > identity.sequence
    ) {
      return 'the request identity is not three numbers below 2^53 with floor ≤ sequence';
    }
    at += REQUEST_ID_BYTES;
  }
  if (readArgs(source, at, end, out.args) !== end) return 'the body is not one msgpack array of binary strings';
  return null;
}

/** An argument as callers have it. Strings are sent as UTF-8. */
export type Argument = Uint8Array | string;

/** An upper bound of the bytes that a request with these arguments needs. */
export function requestBytesMax(args: readonly Argument[]): number {
  let bytes = REQUEST_HEADER_BYTES + REQUEST_ID_BYTES + 5;
  for (const arg of args) {
    // UTF-8 takes at most three bytes for one UTF-16 unit.
    bytes += 5 + (typeof arg === 'string' ? (arg.length <= 85 ? arg.length * 3 : Buffer.byteLength(arg)) : arg.length);
  }
  return bytes;
}

/** What a request with these arguments takes at most, strings counted exactly: slower than requestBytesMax(). */
export function requestBytes(args: readonly Argument[]): number {
  let bytes = REQUEST_HEADER_BYTES + REQUEST_ID_BYTES + 5;
  for (const arg of args) bytes += 5 + (typeof arg === 'string' ? Buffer.byteLength(arg) : arg.length);
  return bytes;
}

/** Writes a whole request at `offset`; `target` has room for requestBytesMax(). Returns the offset behind it. */
export function writeRequest(
  target: Buffer,
  offset: number,
  requestId: number,
  rangeId: number,
  rangeEpoch: number,
  op: number,
  consistency: number,
  identity: RequestId | null,
  args: readonly Argument[],
  isExplained = false,
  patience = 0,
): number {
  const begin = offset;
  writeU64(target, requestId, begin + 4);
  writeU64(target, rangeId, begin + 12);
  target.writeUInt32LE(rangeEpoch, begin + 20);
  target.writeUInt16LE(op, begin + 24);
  target[begin + 26] = (identity === null ? 0 : FLAG_IDENTITY) | (isExplained ? FLAG_EXPLAIN : 0);
  target[begin + 27] = consistency | (patience << PATIENCE_SHIFT);
  let at = begin + REQUEST_HEADER_BYTES;
  if (identity !== null) {
    writeU64(target, identity.clientId, at);
    writeU64(target, identity.sequence, at + 8);
    writeU64(target, identity.floor, at + 16);
    at += REQUEST_ID_BYTES;
  }
  at = writeArguments(target, at, args);
  target.writeUInt32LE(at - begin - LENGTH_BYTES, begin);
  return at;
}

/** Writes the arguments as a msgpack array of bin. Returns the offset behind it. */
export function writeArguments(target: Buffer, offset: number, args: readonly Argument[]): number {
  let at = offset;
  const count = args.length;
  if (count < 16) {
    target[at++] = 0x90 | count;
  } else if (count < 65536) {
    target[at++] = 0xdc;
    at = target.writeUInt16BE(count, at);
  } else {
    target[at++] = 0xdd;
    at = target.writeUInt32BE(count, at);
  }
  for (let i = 0; i < count; i++) at = writeArgument(target, at, args[i] as Argument);
  return at;
}

function writeArgument(target: Buffer, offset: number, arg: Argument): number {
  if (typeof arg === 'string') {
    if (arg.length <= 85) {
      // Fits into bin 8 whatever its characters are, so the length can be filled in afterwards.
      const length = target.write(arg, offset + 2, 'utf8');
      target[offset] = 0xc4;
      target[offset + 1] = length;
      return offset + 2 + length;
    }
    const at = writeBinHeader(target, offset, Buffer.byteLength(arg));
    return at + target.write(arg, at, 'utf8');
  }
  const at = writeBinHeader(target, offset, arg.length);
  target.set(arg, at);
  return at + arg.length;
}

/** Writes the header of a msgpack bin of `length` bytes. Returns the offset behind it (2, 3 or 5 bytes on). */
export function writeBinHeader(target: Buffer, offset: number, length: number): number {
  if (length < 256) {
    target[offset] = 0xc4;
    target[offset + 1] = length;
    return offset + 2;
  }
  if (length < 65536) {
    target[offset] = 0xc5;
    return target.writeUInt16BE(length, offset + 1);
  }
  target[offset] = 0xc6;
  return target.writeUInt32BE(length, offset + 1);
}

/**
 * Writes a response's header at `offset`; `bodyBytes` of msgpack follow at offset + RESPONSE_HEADER_BYTES. `flags`: whether an
 * explanation is among them.
 */
export function writeResponseHeader(
  target: Buffer,
  offset: number,
  requestId: number,
  status: number,
  bodyBytes: number,
  flags = 0,
): void {
  target.writeUInt32LE(RESPONSE_HEADER_BYTES - LENGTH_BYTES + bodyBytes, offset);
  writeU64(target, requestId, offset + 4);
  target.writeUInt32LE(status | (flags << 8), offset + 12);
}

/** Where the text of an encoded error begins, behind the header of its ext 8, 16 or 32. */
export function errorTextStart(source: Buffer, start: number): number {
  return start + (source[start] === 0xc7 ? 3 : source[start] === 0xc8 ? 4 : 6);
}

/** The status that goes with an encoded reply: errors are told by their first bytes (ext 8, 16 or 32). */
export function statusOfReply(source: Buffer, start: number): number {
  const first = source[start] as number;
  if (first < 0xc7 || first > 0xc9) return STATUS_OK;
  const type = source[start + (first === 0xc7 ? 2 : first === 0xc8 ? 3 : 5)];
  return type === EXT_COMMAND_ERROR ? STATUS_COMMAND_ERROR : type === EXT_STORE_ERROR ? STATUS_STORE_ERROR : STATUS_OK;
}
