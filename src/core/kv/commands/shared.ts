/**
 * What the command families have in common: looking keys up with expiry, reading numbers as Redis does, its error texts.
 */
import { limits } from '../../limits.ts';
import type { Args } from '../args.ts';
import { argLength, argText } from '../args.ts';
import type { CommandContext, CommandSpec, KeyPositions } from '../spec.ts';
import { keyIndexes, UNKNOWN_VALUES } from '../spec.ts';

export const SYNTAX_ERROR = 'ERR syntax error';
export const NOT_AN_INTEGER = 'ERR value is not an integer or out of range';
export const TOO_LONG = 'ERR string exceeds maximum allowed size (proto-max-bulk-len)';

export const INT64_MIN = -(2n ** 63n);
export const INT64_MAX = 2n ** 63n - 1n;

/** Tag of string values, the only kind so far. */
const TAG_STRING = 0;

/** A table row with the parts that most commands share, and the categories that follow from its flags. */
export function command(
  row: Pick<CommandSpec, 'name' | 'op' | 'arity' | 'write' | 'flags' | 'categories' | 'run'> & Partial<CommandSpec>,
): CommandSpec {
  const { flags } = row;
  const categories = [...row.categories];
  if (flags.includes('write')) categories.push('write');
  if (flags.includes('readonly')) categories.push('read');
  categories.push(flags.includes('fast') ? 'fast' : 'slow');
  return { firstKey: 1, lastKey: 1, keyStep: 1, acrossRanges: 'one', repliesValues: noValue, ...row, categories };
}

const noValue = (): number => 0;

// For CommandSpec.repliesValues:
export const oneValue = (): number => 1;
export const valuePerArg = ({ count }: Args): number => count;
export const unknownValues = (): number => UNKNOWN_VALUES;

/** Fills context.value with the value of key argument `i`. False: the key is absent, or expired, which is the same. */
export function find(context: CommandContext, i: number): boolean {
  const { args, store, value, nowMs } = context;
  if (!store.get(args.buffer, args.start[i] as number, args.end[i] as number, value)) return false;
  return value.expiresAtMs === 0 || value.expiresAtMs > nowMs;
}

/** As find(), where Redis counts a hit or a miss: what reads a key for its reply, not what looks before it writes. */
export function lookUp(context: CommandContext, i: number): boolean {
  const isFound = find(context, i);
  const { lookups } = context;
  const at = isFound ? 0 : 1;
  lookups[at] = (lookups[at] as number) + 1;
  return isFound;
}

export const REPLY_TOO_LARGE = `TOOLARGE the values that were asked for have more than ${limits.replyBytesMax} bytes together; ask for fewer at a time`;

/** Bytes of the values at the key arguments of a command, which are what its reply holds at most. The same on every replica. */
export function replyBytes(context: CommandContext, spec: KeyPositions): number {
  const { args, value } = context;
  let bytes = 0;
  for (const i of keyIndexes(spec, args.count)) if (find(context, i)) bytes += value.end - value.start;
  return bytes;
}

/** Writes source[start, end) as the string at key argument `i`. */
export function putString(
  context: CommandContext,
  i: number,
  source: Buffer,
  start: number,
  end: number,
  expiresAtMs: number,
): void {
  const { args, store, version } = context;
  const keyStart = args.start[i] as number;
  store.put(args.buffer, keyStart, args.end[i] as number, source, start, end, version, expiresAtMs, TAG_STRING);
}

export function deleteKey(context: CommandContext, i: number): boolean {
  const { args, store, version } = context;
  return store.delete(args.buffer, args.start[i] as number, args.end[i] as number, version);
}

/** Whether argument `i` is `word` (given in upper case), in any case. */
export function argIs(args: Args, i: number, word: string): boolean {
  const start = args.start[i] as number;
  if ((args.end[i] as number) - start !== word.length) return false;
  for (let at = 0; at < word.length; at++) {
    const byte = args.buffer[start + at] as number;
    const upper = byte >= 0x61 && byte <= 0x7a ? byte - 32 : byte;
    if (upper !== word.charCodeAt(at)) return false;
  }
  return true;
}

/**
 * The decimal integer in source[start, end), if Redis takes it for one: no sign but '-', no leading zeros, no blanks, within
 * 64 bits. A bigint only beyond 2^53. Null otherwise.
 */
export function parseInteger(source: Buffer, start: number, end: number): number | bigint | null {
  const length = end - start;
  if (length === 0 || length > 20) return null;
  const isNegative = source[start] === 0x2d;
  let at = isNegative ? start + 1 : start;
  const first = source[at];
  if (first === undefined || at >= end) return null;
  if (first === 0x30) return length === 1 ? 0 : null;
  let value = 0;
  const digits = end - at;
  for (; at < end; at++) {
    const digit = (source[at] as number) - 0x30;
    if (digit < 0 || digit > 9) return null;
    value = value * 10 + digit;
  }
  if (digits <= 15) return isNegative ? -value : value;
  const exact = BigInt(source.toString('latin1', start, end));
  return exact < INT64_MIN || exact > INT64_MAX ? null : narrow(exact);
}

/** The integer of argument `i`, or null. */
export function integerArg(args: Args, i: number): number | bigint | null {
  return parseInteger(args.buffer, args.start[i] as number, args.end[i] as number);
}

/** The nearest safe integer: beyond them nothing of the kind (offsets, counts) can be meant. */
export function toSafeInteger(value: number | bigint): number {
  if (typeof value === 'number') return value;
  return value > 0n ? Number.MAX_SAFE_INTEGER : Number.MIN_SAFE_INTEGER;
}

/** As integerArg, shortened to the safe integers. */
export function safeIntegerArg(args: Args, i: number): number | null {
  const value = integerArg(args, i);
  return value === null ? null : toSafeInteger(value);
}

/** A plain number where that is exact. */
export function narrow(value: bigint): number | bigint {
  return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;
}

/** left + right, or null when it does not fit 64 bits. */
export function addIntegers(left: number | bigint, right: number | bigint): number | bigint | null {
  if (typeof left === 'number' && typeof right === 'number') {
    const sum = left + right;
    if (Number.isSafeInteger(sum)) return sum;
  }
  const sum = BigInt(left) + BigInt(right);
  return sum < INT64_MIN || sum > INT64_MAX ? null : narrow(sum);
}

/** The latest expiry there is: 2^53 - 1 ms, in the year 287396. What Redis takes beyond is shortened to it. */
const EXPIRY_MAX_MS = Number.MAX_SAFE_INTEGER;

/**
 * When an expiry given as `amount` of `unitMs`, counted from `baseMs`, is due, in Unix milliseconds. Null when it does not
 * fit 64 bits. May lie in the past.
 */
export function expiryTime(amount: number | bigint, unitMs: number, baseMs: number): number | null {
  if (typeof amount === 'number') {
    const dueMs = amount * unitMs + baseMs;
    if (Number.isSafeInteger(dueMs)) return dueMs;
  }
  const scaled = BigInt(amount) * BigInt(unitMs);
  if (scaled < INT64_MIN || scaled > INT64_MAX || scaled + BigInt(baseMs) > INT64_MAX) return null;
  return scaled > 0n ? EXPIRY_MAX_MS : -EXPIRY_MAX_MS;
}

export function invalidExpiry(name: string): string {
  return `ERR invalid expire time in '${name}' command`;
}

/** Argument `i` for an error's text, its bytes as latin1, as C's %s would print it. */
export function printableArg(args: Args, i: number): string {
  const text = argText(args, i);
  const nul = text.indexOf('\0');
  return nul < 0 ? text : text.slice(0, nul);
}

const SCRATCH_BYTES_KEPT = 1024 * 1024;
const smallScratch = Buffer.allocUnsafeSlow(64 * 1024);
let scratch = smallScratch;

/** A buffer of at least `bytes`, for building one value. Its content is gone at the next call. */
export function scratchBytes(bytes: number): Buffer {
  if (bytes <= scratch.length) return scratch;
  const larger = Buffer.allocUnsafeSlow(bytes <= SCRATCH_BYTES_KEPT ? SCRATCH_BYTES_KEPT : bytes);
  // A value of many megabytes is built now and then; its buffer is not kept from one to the next.
  if (bytes <= SCRATCH_BYTES_KEPT) scratch = larger;
  return larger;
}

/** Writes `text` (latin1) as the string at key argument `i`. */
export function putText(context: CommandContext, i: number, text: string, expiresAtMs: number): void {
  const bytes = scratchBytes(text.length);
  bytes.write(text, 0, text.length, 'latin1');
  putString(context, i, bytes, 0, text.length, expiresAtMs);
}

/** Writes an integer in decimal as the string at key argument `i`. */
export function putInteger(context: CommandContext, i: number, value: number | bigint, expiresAtMs: number): void {
  if (typeof value === 'bigint' || value < 0 || value >= 2 ** 31) {
    putText(context, i, String(value), expiresAtMs);
    return;
  }
  // Digit by digit: no string is made on the way of a counter.
  let start = 10;
  let rest = value;
  do {
    const next = Math.floor(rest / 10);
    smallScratch[--start] = 0x30 + rest - next * 10;
    rest = next;
  } while (rest > 0);
  putString(context, i, smallScratch, start, 10, expiresAtMs);
}

/** Why a command cannot be taken as it is, whatever the store holds; null when it can. */
export function oversize(spec: CommandSpec, args: Args, valueBytesMax: number): string | null {
  for (let i = 0; i < args.count; i++) if (argLength(args, i) > valueBytesMax) return TOO_LONG;
  if (spec.firstKey === 0 || !spec.write) return null;
  const last = spec.lastKey < 0 ? args.count + spec.lastKey : Math.min(spec.lastKey, args.count) - 1;
  for (let i = spec.firstKey - 1; i <= last; i += spec.keyStep) {
    const bytes = argLength(args, i);
    if (bytes > limits.keyBytesMax) return `ERR the key has ${bytes} bytes; at most ${limits.keyBytesMax} are allowed`;
  }
  return null;
}
