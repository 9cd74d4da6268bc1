/** Strings as arrays of bits, most significant bit of each byte first. */
import type { Args } from '../args.ts';
import { argText } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import {
  argIs,
  command,
  deleteKey,
  find,
  lookUp,
  integerArg,
  NOT_AN_INTEGER,
  putString,
  safeIntegerArg,
  scratchBytes,
  SYNTAX_ERROR,
  toSafeInteger,
} from './shared.ts';

const BAD_OFFSET = 'ERR bit offset is not an integer or out of range';
const BAD_BIT = 'ERR bit is not an integer or out of range';

/** Bits set in each byte value. */
const POPULATION = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length);

/** The bit offset of argument `i`, or null (replied) when it is none or the string would get too long. */
function offsetArg({ args, reply, valueBytesMax }: CommandContext, i: number): number | null {
  const offset = integerArg(args, i);
  if (typeof offset !== 'number' || offset < 0 || Math.floor(offset / 8) >= valueBytesMax) {
    reply.error(BAD_OFFSET);
    return null;
  }
  return offset;
}

function setbit(context: CommandContext): void {
  const { args, reply, value } = context;
  const offset = offsetArg(context, 1);
  if (offset === null) return;
  const bit = integerArg(args, 2);
  if (bit !== 0 && bit !== 1) {
    reply.error(BAD_BIT);
    return;
  }
  const isPresent = find(context, 0);
  const oldBytes = isPresent ? value.end - value.start : 0;
  const at = Math.floor(offset / 8);
  const bytes = Math.max(oldBytes, at + 1);
  const whole = scratchBytes(bytes);
  if (isPresent) value.buffer.copy(whole, 0, value.start, value.end);
  whole.fill(0, oldBytes, bytes);
  const mask = 0x80 >>> (offset % 8);
  const byte = whole[at] as number;
  whole[at] = bit === 1 ? byte | mask : byte & ~mask;
  putString(context, 0, whole, 0, bytes, isPresent ? value.expiresAtMs : 0);
  reply.integer((byte & mask) === 0 ? 0 : 1);
}

/** The string that SETBIT makes: what is there, or as far as its bit. */
function setbitGrowth(context: CommandContext): number {
  const { args, value, valueBytesMax } = context;
  const oldBytes = find(context, 0) ? value.end - value.start : 0;
  return Math.min(Math.max(oldBytes, Math.ceil(((safeIntegerArg(args, 1) ?? 0) + 1) / 8)), valueBytesMax);
}

function getbit(context: CommandContext): void {
  const { reply, value } = context;
  const offset = offsetArg(context, 1);
  if (offset === null) return;
  const at = Math.floor(offset / 8);
  const isInside = lookUp(context, 0) && at < value.end - value.start;
  const byte = isInside ? (value.buffer[value.start + at] as number) : 0;
  reply.integer((byte >>> (7 - (offset % 8))) & 1);
}

/** Bits [firstBit, endBit) of a string. One for all commands. */
const range = { firstBit: 0, endBit: 0 };

/** Fills `range` from start and end as clients give them, in units of `unitBits`, both inclusive, negative = from the end. */
function setRange(start: number, end: number, unitBits: number, bytes: number): void {
  const total = (bytes * 8) / unitBits;
  const first = start < 0 ? Math.max(0, total + start) : start;
  const last = Math.min(end < 0 ? Math.max(0, total + end) : end, total - 1);
  range.firstBit = first * unitBits;
  range.endBit = first > last ? range.firstBit : (last + 1) * unitBits;
}

/** Bits of the unit named by argument `i`; 0 = neither BIT nor BYTE. */
function unitArg(args: Args, i: number): number {
  return argIs(args, i, 'BIT') ? 1 : argIs(args, i, 'BYTE') ? 8 : 0;
}

function bitcount(context: CommandContext): void {
  const { args, reply, value } = context;
  if (!lookUp(context, 0)) {
    reply.integer(0);
    return;
  }
  const bytes = value.end - value.start;
  if (args.count === 1) {
    setRange(0, -1, 8, bytes);
  } else if (args.count === 3 || args.count === 4) {
    const start = integerArg(args, 1);
    const end = integerArg(args, 2);
    if (start === null || end === null) {
      reply.error(NOT_AN_INTEGER);
      return;
    }
    const isEmpty = start < 0 && end < 0 && start > end;
    const unitBits = args.count === 4 && !isEmpty ? unitArg(args, 3) : 8;
    if (unitBits === 0) {
      reply.error(SYNTAX_ERROR);
      return;
    }
    if (isEmpty) range.firstBit = range.endBit = 0;
    else setRange(toSafeInteger(start), toSafeInteger(end), unitBits, bytes);
  } else {
    reply.error(SYNTAX_ERROR);
    return;
  }
  reply.integer(countBits(value.buffer, value.start, range.firstBit, range.endBit));
}

/** Bits set in [firstBit, endBit) of the string at `start`. */
function countBits(buffer: Buffer, start: number, firstBit: number, endBit: number): number {
  if (endBit <= firstBit) return 0;
  const firstByte = Math.floor(firstBit / 8);
  const lastByte = Math.floor((endBit - 1) / 8);
  let head = (buffer[start + firstByte] as number) & (0xff >>> (firstBit % 8));
  const tailMask = endBit % 8 === 0 ? 0xff : 0xff << (8 - (endBit % 8));
  if (firstByte === lastByte) return POPULATION[head & tailMask & 0xff] as number;
  let count = POPULATION[head] as number;
  let at = start + firstByte + 1;
  const last = start + lastByte;
  for (; at + 4 <= last; at += 4) {
    // Four bytes at once, in any order (Warren, Hacker's Delight, §5-1).
    head = buffer.readInt32LE(at);
    head -= (head >>> 1) & 0x55555555;
    head = (head & 0x33333333) + ((head >>> 2) & 0x33333333);
    count += Math.imul((head + (head >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }
  for (; at < last; at++) count += POPULATION[buffer[at] as number] as number;
  return count + (POPULATION[(buffer[last] as number) & tailMask & 0xff] as number);
}

function bitpos(context: CommandContext): void {
  const { args, reply, value } = context;
  const bit = integerArg(args, 1);
  if (bit !== 0 && bit !== 1) {
    reply.error(bit === null ? NOT_AN_INTEGER : 'ERR The bit argument must be 1 or 0.');
    return;
  }
  if (!lookUp(context, 0)) {
    reply.integer(bit === 1 ? -1 : 0);
    return;
  }
  if (args.count > 5) {
    reply.error(SYNTAX_ERROR);
    return;
  }
  const start = args.count > 2 ? safeIntegerArg(args, 2) : 0;
  const unitBits = args.count > 4 && start !== null ? unitArg(args, 4) : 8;
  if (unitBits === 0) {
    reply.error(SYNTAX_ERROR);
    return;
  }
  const hasEnd = args.count > 3;
  const end = hasEnd ? safeIntegerArg(args, 3) : -1;
  if (start === null || end === null) {
    reply.error(NOT_AN_INTEGER);
    return;
  }
  setRange(start, end, unitBits, value.end - value.start);
  const { firstBit, endBit } = range;
  const found = findBit(value.buffer, value.start, firstBit, endBit, bit);
  // Without an end, a string is followed by endless zeros.
  reply.integer(found < 0 && bit === 0 && !hasEnd && endBit > firstBit ? endBit : found);
}

/** The first bit of [firstBit, endBit) that is `bit`, or -1. */
function findBit(buffer: Buffer, start: number, firstBit: number, endBit: number, bit: 0 | 1): number {
  // Bytes that cannot hold the bit are passed over whole.
  const skipped = bit === 1 ? 0x00 : 0xff;
  for (let at = firstBit; at < endBit;) {
    const byte = buffer[start + Math.floor(at / 8)] as number;
    if (at % 8 === 0 && byte === skipped) at += 8;
    else if (((byte >>> (7 - (at % 8))) & 1) === bit) return at;
    else at++;
  }
  return -1;
}

function bitop(context: CommandContext): void {
  const { args, reply, value } = context;
  const operation = argText(args, 0).toUpperCase();
  if (operation !== 'AND' && operation !== 'OR' && operation !== 'XOR' && operation !== 'NOT') {
    reply.error(SYNTAX_ERROR);
    return;
  }
  if (operation === 'NOT' && args.count !== 3) {
    reply.error('ERR BITOP NOT must be called with a single source key.');
    return;
  }
  const sources: Buffer[] = [];
  for (let i = 2; i < args.count; i++) {
    sources.push(lookUp(context, i) ? value.buffer.subarray(value.start, value.end) : value.buffer.subarray(0, 0));
  }
  let bytes = 0;
  for (const source of sources) bytes = Math.max(bytes, source.length);
  if (bytes === 0) {
    deleteKey(context, 1);
    reply.integer(0);
    return;
  }
  const whole = scratchBytes(bytes);
  const first = sources[0] as Buffer;
  first.copy(whole, 0);
  whole.fill(0, first.length, bytes);
  if (operation === 'NOT') for (let at = 0; at < bytes; at++) whole[at] = ~(whole[at] as number);
  for (const source of sources.slice(1)) combine(operation, whole, source);
  if (operation === 'AND') for (const source of sources) whole.fill(0, source.length, bytes);
  putString(context, 1, whole, 0, bytes, 0);
  reply.integer(bytes);
}

function bitopGrowth(context: CommandContext): number {
  const { args, value } = context;
  let bytes = 0;
  for (let i = 2; i < args.count; i++) if (find(context, i)) bytes = Math.max(bytes, value.end - value.start);
  return bytes;
}

/** whole = whole (operation) source, as far as source goes. */
function combine(operation: string, whole: Buffer, source: Buffer): void {
  const bytes = source.length;
  if (operation === 'AND')
    for (let at = 0; at < bytes; at++) whole[at] = (whole[at] as number) & (source[at] as number);
  if (operation === 'OR') for (let at = 0; at < bytes; at++) whole[at] = (whole[at] as number) | (source[at] as number);
  if (operation === 'XOR')
    for (let at = 0; at < bytes; at++) whole[at] = (whole[at] as number) ^ (source[at] as number);
}

const WRITE = { write: true, flags: ['write', 'denyoom'], categories: ['bitmap'] } as const;
const READ = { write: false, flags: ['readonly'], categories: ['bitmap'] } as const;

export const bitmapCommands: readonly CommandSpec[] = [
  command({ ...WRITE, name: 'SETBIT', op: 80, arity: 4, growthBytes: setbitGrowth, run: setbit }),
  command({ ...READ, name: 'GETBIT', op: 81, arity: 3, flags: ['readonly', 'fast'], run: getbit }),
  command({ ...READ, name: 'BITCOUNT', op: 82, arity: -2, run: bitcount }),
  command({ ...READ, name: 'BITPOS', op: 83, arity: -3, run: bitpos }),
  command({
    ...WRITE,
    name: 'BITOP',
    op: 84,
    arity: -4,
    firstKey: 2,
    lastKey: -1,
    acrossRanges: 'refuse',
    growthBytes: bitopGrowth,
    run: bitop,
  }),
];
