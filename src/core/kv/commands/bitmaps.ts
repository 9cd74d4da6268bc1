/** Strings as arrays of bits, most significant bit of each byte first. */
import { argText } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import {
  command,
  deleteKey,
  find,
  integerArg,
  NOT_AN_INTEGER,
  putString,
  safeIntegerArg,
  scratchBytes,
  SYNTAX_ERROR,
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

function getbit(context: CommandContext): void {
  const { reply, value } = context;
  const offset = offsetArg(context, 1);
  if (offset === null) return;
  const at = Math.floor(offset / 8);
  const isInside = find(context, 0) && at < value.end - value.start;
  const byte = isInside ? (value.buffer[value.start + at] as number) : 0;
  reply.integer((byte >>> (7 - (offset % 8))) & 1);
}

interface BitRange {
  readonly firstBit: number;
  /** Behind the last one. */
  readonly endBit: number;
  readonly hasEnd: boolean;
}

/** Reads [start [end [BYTE|BIT]]] from argument `first` on, against a string of `bytes`. Null: the error was replied. */
function bitRange({ args, reply }: CommandContext, first: number, bytes: number): BitRange | null {
  if (args.count > first + 3) {
    reply.error(SYNTAX_ERROR);
    return null;
  }
  const unit = args.count === first + 3 ? argText(args, first + 2).toUpperCase() : 'BYTE';
  if (unit !== 'BYTE' && unit !== 'BIT') {
    reply.error(SYNTAX_ERROR);
    return null;
  }
  const perUnit = unit === 'BIT' ? 1 : 8;
  const total = (bytes * 8) / perUnit;
  let start = args.count > first ? safeIntegerArg(args, first) : 0;
  let end = args.count > first + 1 ? safeIntegerArg(args, first + 1) : -1;
  if (start === null || end === null) {
    reply.error(NOT_AN_INTEGER);
    return null;
  }
  const hasEnd = args.count > first + 1;
  if (start < 0 && end < 0 && start > end) return { firstBit: 0, endBit: 0, hasEnd };
  if (start < 0) start = Math.max(0, total + start);
  if (end < 0) end = Math.max(0, total + end);
  end = Math.min(end, total - 1);
  return { firstBit: start * perUnit, endBit: start > end ? start * perUnit : (end + 1) * perUnit, hasEnd };
}

function bitcount(context: CommandContext): void {
  const { args, reply, value } = context;
  if (args.count === 2) {
    reply.error(SYNTAX_ERROR);
    return;
  }
  const isPresent = find(context, 0);
  const range = bitRange(context, 1, isPresent ? value.end - value.start : 0);
  if (range === null) return;
  const { firstBit, endBit } = range;
  let count = 0;
  if (isPresent && endBit > firstBit) {
    const { buffer, start } = value;
    const firstByte = Math.floor(firstBit / 8);
    const lastByte = Math.floor((endBit - 1) / 8);
    for (let at = firstByte; at <= lastByte; at++) {
      let byte = buffer[start + at] as number;
      if (at === firstByte) byte &= 0xff >>> (firstBit % 8);
      if (at === lastByte && endBit % 8 !== 0) byte &= 0xff << (8 - (endBit % 8));
      count += POPULATION[byte] as number;
    }
  }
  reply.integer(count);
}

function bitpos(context: CommandContext): void {
  const { args, reply, value } = context;
  const bit = integerArg(args, 1);
  if (bit !== 0 && bit !== 1) {
    reply.error(bit === null ? NOT_AN_INTEGER : 'ERR The bit argument must be 1 or 0.');
    return;
  }
  const isPresent = find(context, 0);
  const range = bitRange(context, 2, isPresent ? value.end - value.start : 0);
  if (range === null) return;
  if (!isPresent) {
    reply.integer(bit === 1 ? -1 : 0);
    return;
  }
  const { firstBit, endBit, hasEnd } = range;
  const { buffer, start } = value;
  // Bytes that cannot hold the bit are passed over whole.
  const skipped = bit === 1 ? 0x00 : 0xff;
  for (let at = firstBit; at < endBit;) {
    const byte = buffer[start + Math.floor(at / 8)] as number;
    if (at % 8 === 0 && byte === skipped) {
      at += 8;
      continue;
    }
    if (((byte >>> (7 - (at % 8))) & 1) === bit) {
      reply.integer(at);
      return;
    }
    at++;
  }
  // Without an end, a string is followed by endless zeros.
  reply.integer(bit === 0 && !hasEnd && endBit > firstBit ? endBit : -1);
}

function bitop(context: CommandContext): void {
  const { args, reply, value } = context;
  const operation = argText(args, 0).toUpperCase();
  if (!['AND', 'OR', 'XOR', 'NOT'].includes(operation)) {
    reply.error(SYNTAX_ERROR);
    return;
  }
  if (operation === 'NOT' && args.count !== 3) {
    reply.error('ERR BITOP NOT must be called with a single source key.');
    return;
  }
  const sources: Buffer[] = [];
  for (let i = 2; i < args.count; i++) {
    sources.push(find(context, i) ? value.buffer.subarray(value.start, value.end) : value.buffer.subarray(0, 0));
  }
  const bytes = Math.max(...sources.map((source) => source.length));
  if (bytes === 0) {
    deleteKey(context, 1);
    reply.integer(0);
    return;
  }
  const whole = scratchBytes(bytes);
  const [first, ...others] = sources as [Buffer, ...Buffer[]];
  for (let at = 0; at < bytes; at++) {
    let byte = first[at] ?? 0;
    if (operation === 'NOT') byte = ~byte;
    for (const source of others) {
      const other = source[at] ?? 0;
      if (operation === 'AND') byte &= other;
      else if (operation === 'OR') byte |= other;
      else byte ^= other;
    }
    whole[at] = byte;
  }
  putString(context, 1, whole, 0, bytes, 0);
  reply.integer(bytes);
}

const WRITE = { write: true, flags: ['write', 'denyoom'], categories: ['write', 'bitmap', 'slow'] } as const;
const READ = { write: false, flags: ['readonly'], categories: ['read', 'bitmap', 'slow'] } as const;

export const bitmapCommands: readonly CommandSpec[] = [
  command({ ...WRITE, name: 'SETBIT', op: 80, arity: 4, run: setbit }),
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
    run: bitop,
  }),
];
