/**
 * What the command families have in common: looking keys up with expiry, reading numbers as Redis does, its error texts.
 */
import type { Args } from '../args.ts';
import { argText } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';

export const SYNTAX_ERROR = 'ERR syntax error';
export const NOT_AN_INTEGER = 'ERR value is not an integer or out of range';
export const TOO_LONG = 'ERR string exceeds maximum allowed size (proto-max-bulk-len)';

export const INT64_MIN = -(2n ** 63n);
export const INT64_MAX = 2n ** 63n - 1n;

/** Tag of string values, the only kind so far. */
export const TAG_STRING = 0;

/** A table row with the parts that most commands share. */
export function command(
  row: Pick<CommandSpec, 'name' | 'op' | 'arity' | 'write' | 'flags' | 'categories' | 'run'> & Partial<CommandSpec>,
): CommandSpec {
  return { firstKey: 1, lastKey: 1, keyStep: 1, acrossRanges: 'one', ...row };
}

/** Fills context.value with the value of key argument `i`. False: the key is absent, or expired, which is the same. */
export function find(context: CommandContext, i: number): boolean {
  const { args, store, value, nowMs } = context;
  if (!store.get(args.buffer, args.start[i] as number, args.end[i] as number, value)) return false;
  return value.expiresAtMs === 0 || value.expiresAtMs > nowMs;
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

/** As integerArg, within the safe integers: beyond them nothing of the kind (offsets, counts) can be meant. */
export function safeIntegerArg(args: Args, i: number): number | null {
  const value = integerArg(args, i);
  if (typeof value !== 'bigint') return value;
  return value > 0n ? Number.MAX_SAFE_INTEGER : Number.MIN_SAFE_INTEGER;
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

/** Largest expiry: 2^53 - 1 ms, in the year 287396. */
const EXPIRY_MAX_MS = Number.MAX_SAFE_INTEGER;

/**
 * When an expiry given as `amount` of `unitMs`, counted from `baseMs`, is due, in Unix milliseconds. Null when it is out of
 * range. May lie in the past.
 */
export function expiryTime(amount: number | bigint, unitMs: number, baseMs: number): number | null {
  const dueMs = Number(amount) * unitMs + baseMs;
  return Math.abs(dueMs) > EXPIRY_MAX_MS || typeof amount === 'bigint' ? null : dueMs;
}

export function invalidExpiry(name: string): string {
  return `ERR invalid expire time in '${name}' command`;
}

let scratch = Buffer.allocUnsafeSlow(64 * 1024);

/** A buffer of at least `bytes`, for building one value. Its content is gone at the next call. */
export function scratchBytes(bytes: number): Buffer {
  if (scratch.length < bytes) scratch = Buffer.allocUnsafeSlow(Math.max(bytes, Math.min(scratch.length * 2, 2 ** 29)));
  return scratch;
}

/** Writes `text` (latin1) as the string at key argument `i`. */
export function putText(context: CommandContext, i: number, text: string, expiresAtMs: number): void {
  const bytes = scratchBytes(text.length);
  bytes.write(text, 0, 'latin1');
  putString(context, i, bytes, 0, text.length, expiresAtMs);
}

/** Expiry options of SET and GETEX, by word: unit in milliseconds, and whether the number is a point in time. */
const EXPIRY_WORDS: Readonly<Record<string, readonly [unitMs: number, isAbsolute: boolean]>> = {
  EX: [1000, false],
  PX: [1, false],
  EXAT: [1000, true],
  PXAT: [1, true],
};

/**
 * Reads an expiry option at argument `i` and its number behind it. Returns the time due in Unix milliseconds; -1: argument
 * `i` is no such option; null: the error was replied.
 */
export function expiryOption(context: CommandContext, i: number, name: string): number | null {
  const { args, reply, nowMs } = context;
  const kind = EXPIRY_WORDS[argText(args, i).toUpperCase()];
  if (kind === undefined || i + 1 >= args.count) return -1;
  const [unitMs, isAbsolute] = kind;
  const amount = integerArg(args, i + 1);
  if (amount === null) {
    reply.error(NOT_AN_INTEGER);
    return null;
  }
  const dueMs = amount > 0 ? expiryTime(amount, unitMs, isAbsolute ? 0 : nowMs) : null;
  if (dueMs === null) reply.error(invalidExpiry(name));
  return dueMs;
}
