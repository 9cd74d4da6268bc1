/** Numbers kept as decimal text: INCR, DECR and relatives. 64-bit integers are exact, and so are the digits of INCRBYFLOAT. */
import { argText } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import { addLongDoubles, formatLongDouble, parseLongDouble } from './long-double.ts';
import {
  addIntegers,
  command,
  find,
  INT64_MIN,
  integerArg,
  narrow,
  NOT_AN_INTEGER,
  parseInteger,
  putInteger,
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
  putInteger(context, 0, sum, isPresent ? value.expiresAtMs : 0);
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
const ZERO = { isNegative: false, mantissa: 0n, exponent: 0 } as const;
function incrbyfloat(context: CommandContext): void {
  const { args, reply, value } = context;
  const isPresent = find(context, 0);
  const old = isPresent ? parseLongDouble(value.buffer.toString('latin1', value.start, value.end)) : ZERO;
  const delta = parseLongDouble(argText(args, 1));
  if (old === null || delta === null) {
    reply.error(NOT_A_FLOAT);
    return;
  }
  const sum = addLongDoubles(old, delta);
  if (sum === null) {
    reply.error('ERR increment would produce NaN or Infinity');
    return;
  }
  const text = formatLongDouble(sum);
  putText(context, 0, text, isPresent ? value.expiresAtMs : 0);
  reply.text(text);
}

const COUNTER = {
  write: true,
  categories: ['string'],
  flags: ['write', 'denyoom', 'fast'],
} as const;

export const counterCommands: readonly CommandSpec[] = [
  command({ ...COUNTER, name: 'INCR', op: 20, arity: 2, run: (context) => incrementBy(context, 1) }),
  command({ ...COUNTER, name: 'DECR', op: 21, arity: 2, run: (context) => incrementBy(context, -1) }),
  command({ ...COUNTER, name: 'INCRBY', op: 22, arity: 3, run: incrby }),
  command({ ...COUNTER, name: 'DECRBY', op: 23, arity: 3, run: decrby }),
  command({ ...COUNTER, name: 'INCRBYFLOAT', op: 24, arity: 3, run: incrbyfloat }),
];
