/** Whole strings: SET and its relatives, GET and its relatives. Options and error texts are those of Redis 7. */
import { limits } from '../../limits.ts';
import type { Args } from '../args.ts';
import { argLength } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import {
  command,
  deleteKey,
  find,
  lookUp,
  integerArg,
  NOT_AN_INTEGER,
  oneValue,
  putString,
  REPLY_TOO_LARGE,
  replyBytes,
  safeIntegerArg,
  scratchBytes,
  SYNTAX_ERROR,
  TOO_LONG,
  toSafeInteger,
  valuePerArg,
} from './shared.ts';
import { expiryArg, parseStringOptions, resolveExpiry, stringOptions } from './string-options.ts';

function replyValue({ reply, value }: CommandContext): void {
  reply.bulk(value.buffer, value.start, value.end);
}

function get(context: CommandContext): void {
  if (lookUp(context, 0)) replyValue(context);
  else context.reply.null();
}

/** Stores argument `valueIndex` at key argument `keyIndex`. */
function putArg(context: CommandContext, keyIndex: number, valueIndex: number, expiresAtMs: number): void {
  const { args } = context;
  const start = args.start[valueIndex] as number;
  putString(context, keyIndex, args.buffer, start, args.end[valueIndex] as number, expiresAtMs);
}

/** As putArg; what is due already is not stored but deleted, which nobody can tell apart. */
function putArgUntil(context: CommandContext, keyIndex: number, valueIndex: number, expiresAtMs: number): void {
  if (expiresAtMs !== 0 && expiresAtMs <= context.nowMs) deleteKey(context, keyIndex);
  else putArg(context, keyIndex, valueIndex, expiresAtMs);
}

function set(context: CommandContext): void {
  const { args, reply } = context;
  if (args.count === 2) {
    putArg(context, 0, 1, 0);
    reply.simple('OK');
    return;
  }
  const chosen = stringOptions;
  if (!parseStringOptions(args, 2, 'SET', chosen)) {
    reply.error(SYNTAX_ERROR);
    return;
  }
  const { condition, wantsOld, keepsTtl } = chosen;
  const expiresAtMs = resolveExpiry(context, chosen, 'set');
  if (expiresAtMs === null) return;
  const looks = wantsOld || keepsTtl || condition !== 'always';
  const isPresent = looks && (wantsOld ? lookUp(context, 0) : find(context, 0));
  const oldExpiresAtMs = isPresent ? context.value.expiresAtMs : 0;
  const isWanted = condition === 'always' || (condition === 'ifPresent') === isPresent;
  // The old value lies in the store: it is sent before it is replaced.
  if (wantsOld) {
    if (isPresent) replyValue(context);
    else reply.null();
  } else if (isWanted) {
    reply.simple('OK');
  } else {
    reply.null();
  }
  if (isWanted) putArgUntil(context, 0, 1, keepsTtl ? oldExpiresAtMs : expiresAtMs);
}

function setWithExpiry(unitMs: number, name: string): (context: CommandContext) => void {
  return (context) => {
    const dueMs = expiryArg(context, 1, unitMs, false, name);
    if (dueMs === null) return;
    putArg(context, 0, 2, dueMs);
    context.reply.simple('OK');
  };
}

function setnx(context: CommandContext): void {
  const isAbsent = !find(context, 0);
  if (isAbsent) putArg(context, 0, 1, 0);
  context.reply.integer(isAbsent ? 1 : 0);
}

function getset(context: CommandContext): void {
  get(context);
  putArg(context, 0, 1, 0);
}

function getdel(context: CommandContext): void {
  get(context);
  deleteKey(context, 0);
}

function getex(context: CommandContext): void {
  const { args, reply, store, version, nowMs, value } = context;
  const chosen = stringOptions;
  if (!parseStringOptions(args, 1, 'GETEX', chosen)) {
    reply.error(SYNTAX_ERROR);
    return;
  }
  if (!lookUp(context, 0)) {
    reply.null();
    return;
  }
  const expiresAtMs = resolveExpiry(context, chosen, 'getex');
  if (expiresAtMs === null) return;
  replyValue(context);
  if (expiresAtMs === 0 && (!chosen.persists || value.expiresAtMs === 0)) return;
  if (expiresAtMs !== 0 && expiresAtMs <= nowMs) deleteKey(context, 0);
  else store.setExpiry(args.buffer, args.start[0] as number, args.end[0] as number, version, expiresAtMs);
}

const MGET_KEYS = { firstKey: 1, lastKey: -1, keyStep: 1 } as const;

function mget(context: CommandContext): void {
  const { args, reply, store } = context;
  // A look at the values themselves only where they could be too much.
  const mayBeTooMuch = args.count * store.longestValueBytes > limits.replyBytesMax;
  if (mayBeTooMuch && replyBytes(context, MGET_KEYS) > limits.replyBytesMax) {
    reply.error(REPLY_TOO_LARGE);
    return;
  }
  reply.array(args.count);
  for (let i = 0; i < args.count; i++) {
    if (lookUp(context, i)) replyValue(context);
    else reply.null();
  }
}

function hasPairs(context: CommandContext, name: string): boolean {
  if (context.args.count % 2 === 0) return true;
  context.reply.error(`ERR wrong number of arguments for '${name}' command`);
  return false;
}

function mset(context: CommandContext): void {
  if (!hasPairs(context, 'mset')) return;
  for (let i = 0; i < context.args.count; i += 2) putArg(context, i, i + 1, 0);
  context.reply.simple('OK');
}

function msetnx(context: CommandContext): void {
  if (!hasPairs(context, 'msetnx')) return;
  const { args, reply } = context;
  for (let i = 0; i < args.count; i += 2) {
    if (find(context, i)) {
      reply.integer(0);
      return;
    }
  }
  for (let i = 0; i < args.count; i += 2) putArg(context, i, i + 1, 0);
  reply.integer(1);
}

function append(context: CommandContext): void {
  const { args, reply, value, valueBytesMax } = context;
  const isPresent = find(context, 0);
  const oldBytes = isPresent ? value.end - value.start : 0;
  const bytes = oldBytes + argLength(args, 1);
  if (bytes > valueBytesMax) {
    reply.error(TOO_LONG);
    return;
  }
  const whole = scratchBytes(bytes);
  if (isPresent) value.buffer.copy(whole, 0, value.start, value.end);
  args.buffer.copy(whole, oldBytes, args.start[1] as number, args.end[1] as number);
  putString(context, 0, whole, 0, bytes, isPresent ? value.expiresAtMs : 0);
  reply.integer(bytes);
}

/** Bytes of the value at the command's key; APPEND copies them. */
function storedBytes(context: CommandContext): number {
  const { value } = context;
  return find(context, 0) ? value.end - value.start : 0;
}

function setrangeGrowth(context: CommandContext): number {
  const offset = safeIntegerArg(context.args, 1) ?? 0;
  return Math.min(storedBytes(context) + Math.max(0, offset), context.valueBytesMax);
}

function strlen(context: CommandContext): void {
  const { reply, value } = context;
  reply.integer(lookUp(context, 0) ? value.end - value.start : 0);
}

function setrange(context: CommandContext): void {
  const { args, reply, value, valueBytesMax } = context;
  const offset = safeIntegerArg(args, 1);
  if (offset === null || offset < 0) {
    reply.error(offset === null ? NOT_AN_INTEGER : 'ERR offset is out of range');
    return;
  }
  const isPresent = find(context, 0);
  const oldBytes = isPresent ? value.end - value.start : 0;
  const pieceBytes = argLength(args, 2);
  if (pieceBytes === 0) {
    reply.integer(oldBytes);
    return;
  }
  if (offset + pieceBytes > valueBytesMax) {
    reply.error(TOO_LONG);
    return;
  }
  const bytes = Math.max(oldBytes, offset + pieceBytes);
  const whole = scratchBytes(bytes);
  if (isPresent) value.buffer.copy(whole, 0, value.start, value.end);
  if (offset > oldBytes) whole.fill(0, oldBytes, offset);
  args.buffer.copy(whole, offset, args.start[2] as number, args.end[2] as number);
  putString(context, 0, whole, 0, bytes, isPresent ? value.expiresAtMs : 0);
  reply.integer(bytes);
}

function getrange(context: CommandContext): void {
  const { args, reply, value } = context;
  const from = integerArg(args, 1);
  const to = integerArg(args, 2);
  if (from === null || to === null) {
    reply.error(NOT_AN_INTEGER);
    return;
  }
  const bytes = lookUp(context, 0) ? value.end - value.start : 0;
  let first = toSafeInteger(from);
  let last = toSafeInteger(to);
  const isBackwards = first < 0 && last < 0 && from > to;
  if (first < 0) first = Math.max(0, bytes + first);
  if (last < 0) last = Math.max(0, bytes + last);
  last = Math.min(last, bytes - 1);
  if (isBackwards || bytes === 0 || first > last) reply.bulk(args.buffer, 0, 0);
  else reply.bulk(value.buffer, value.start + first, value.start + last + 1);
}

/** Only with options, of which GET is one. */
const oldValue = ({ count }: Args): number => (count > 2 ? 1 : 0);

const READ = { write: false, categories: ['string'] } as const;
const WRITE = { write: true, categories: ['string'] } as const;

export const stringCommands: readonly CommandSpec[] = [
  command({ ...READ, name: 'GET', op: 1, arity: 2, flags: ['readonly', 'fast'], repliesValues: oneValue, run: get }),
  command({ ...WRITE, name: 'SET', op: 2, arity: -3, flags: ['write', 'denyoom'], repliesValues: oldValue, run: set }),
  command({
    ...WRITE,
    name: 'SETEX',
    op: 3,
    arity: 4,
    flags: ['write', 'denyoom'],
    run: setWithExpiry(1000, 'setex'),
  }),
  command({
    ...WRITE,
    name: 'PSETEX',
    op: 4,
    arity: 4,
    flags: ['write', 'denyoom'],
    run: setWithExpiry(1, 'psetex'),
  }),
  command({ ...WRITE, name: 'SETNX', op: 5, arity: 3, flags: ['write', 'denyoom', 'fast'], run: setnx }),
  command({
    ...WRITE,
    name: 'GETSET',
    op: 6,
    arity: 3,
    flags: ['write', 'denyoom', 'fast'],
    repliesValues: oneValue,
    run: getset,
  }),
  command({
    ...WRITE,
    name: 'GETDEL',
    op: 7,
    arity: 2,
    flags: ['write', 'fast'],
    repliesValues: oneValue,
    run: getdel,
  }),
  command({ ...WRITE, name: 'GETEX', op: 8, arity: -2, flags: ['write', 'fast'], repliesValues: oneValue, run: getex }),
  command({
    ...READ,
    name: 'MGET',
    op: 9,
    arity: -2,
    flags: ['readonly', 'fast'],
    ...MGET_KEYS,
    acrossRanges: 'gather',
    gather: 'perKey',
    repliesValues: valuePerArg,
    run: mget,
  }),
  command({
    ...WRITE,
    name: 'MSET',
    op: 10,
    arity: -3,
    flags: ['write', 'denyoom'],
    lastKey: -1,
    keyStep: 2,
    acrossRanges: 'refuse',
    run: mset,
  }),
  command({
    ...WRITE,
    name: 'MSETNX',
    op: 11,
    arity: -3,
    flags: ['write', 'denyoom'],
    lastKey: -1,
    keyStep: 2,
    acrossRanges: 'refuse',
    run: msetnx,
  }),
  command({
    ...WRITE,
    name: 'APPEND',
    op: 12,
    arity: 3,
    flags: ['write', 'denyoom', 'fast'],
    growthBytes: storedBytes,
    run: append,
  }),
  command({ ...READ, name: 'STRLEN', op: 13, arity: 2, flags: ['readonly', 'fast'], run: strlen }),
  command({
    ...WRITE,
    name: 'SETRANGE',
    op: 14,
    arity: 4,
    flags: ['write', 'denyoom'],
    growthBytes: setrangeGrowth,
    run: setrange,
  }),
  command({ ...READ, name: 'GETRANGE', op: 15, arity: 4, flags: ['readonly'], repliesValues: oneValue, run: getrange }),
  command({ ...READ, name: 'SUBSTR', op: 16, arity: 4, flags: ['readonly'], repliesValues: oneValue, run: getrange }),
];
