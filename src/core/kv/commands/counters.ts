/** Numbers kept as decimal text: INCR, DECR and relatives. 64-bit integers are exact. */
import { argText } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import {
  addIntegers,
  command,
  find,
  INT64_MIN,
  integerArg,
  narrow,
  NOT_AN_INTEGER,
  parseInteger,
  putText,
} from './shared.ts';

function incrementBy(context: CommandContext, delta: number | bigint): void {
  const { reply, value } = context;
  const isPresent = find(context, 0);
  const old = isPresent ? parseInteger(value.buffer, value.start, value.end) : 0;
  if (old === null) {
    reply.error(NOT_AN_INTEGER);
    return;
  }
  const sum = addIntegers(old, delta);
  if (sum === null) {
    reply.error('ERR increment or decrement would overflow');
    return;
  }
  putText(context, 0, String(sum), isPresent ? value.expiresAtMs : 0);
  reply.integer(sum);
}

function incrby(context: CommandContext): void {
  const delta = integerArg(context.args, 1);
  if (delta === null) context.reply.error(NOT_AN_INTEGER);
  else incrementBy(context, delta);
}

function decrby(context: CommandContext): void {
  const delta = integerArg(context.args, 1);
  if (delta === null) context.reply.error(NOT_AN_INTEGER);
  else if (delta === INT64_MIN) context.reply.error('ERR decrement would overflow');
  else incrementBy(context, typeof delta === 'bigint' ? narrow(-delta) : -delta);
}

const NOT_A_FLOAT = 'ERR value is not a valid float';
const FLOAT = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)$/i;

/** The number in `text` as strtold reads it, blanks refused; null otherwise. */
function parseFloatText(text: string): number | null {
  if (!FLOAT.test(text)) return null;
  return /inf/i.test(text) ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text);
}

/** As Redis prints a long double: no exponent, at most 17 decimals, no trailing zeros. */
function floatText(value: number): string {
  // Doubles have 15 sure digits; Redis computes with 18. Rounding to them hides what binary fractions add.
  const rounded = Number(value.toPrecision(15));
  if (!Number.isInteger(rounded)) {
    const text = rounded.toString();
    return text.includes('e') ? rounded.toFixed(17).replace(/\.?0+$/, '') : text;
  }
  return BigInt(rounded).toString();
}

function incrbyfloat(context: CommandContext): void {
  const { args, reply, value } = context;
  const isPresent = find(context, 0);
  const old = isPresent ? parseFloatText(value.buffer.toString('latin1', value.start, value.end)) : 0;
  const delta = parseFloatText(argText(args, 1));
  if (old === null || delta === null) {
    reply.error(NOT_A_FLOAT);
    return;
  }
  const sum = old + delta;
  if (!Number.isFinite(sum)) {
    reply.error('ERR increment would produce NaN or Infinity');
    return;
  }
  const text = floatText(sum);
  putText(context, 0, text, isPresent ? value.expiresAtMs : 0);
  reply.text(text);
}

const COUNTER = {
  write: true,
  categories: ['write', 'string', 'fast'],
  flags: ['write', 'denyoom', 'fast'],
} as const;

export const counterCommands: readonly CommandSpec[] = [
  command({ ...COUNTER, name: 'INCR', op: 20, arity: 2, run: (context) => incrementBy(context, 1) }),
  command({ ...COUNTER, name: 'DECR', op: 21, arity: 2, run: (context) => incrementBy(context, -1) }),
  command({ ...COUNTER, name: 'INCRBY', op: 22, arity: 3, run: incrby }),
  command({ ...COUNTER, name: 'DECRBY', op: 23, arity: 3, run: decrby }),
  command({ ...COUNTER, name: 'INCRBYFLOAT', op: 24, arity: 3, run: incrbyfloat }),
];
