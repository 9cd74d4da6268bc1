/** The key space: what keys there are, and moving, copying and deleting whole values. */
import { hlcToMs } from '../../hlc.ts';
import { argText } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import {
  argIs,
  command,
  deleteKey,
  find,
  lookUp,
  NOT_AN_INTEGER,
  parseInteger,
  printableArg,
  putString,
  safeIntegerArg,
  SYNTAX_ERROR,
} from './shared.ts';

function del(context: CommandContext): void {
  const { args, reply } = context;
  let deleted = 0;
  for (let i = 0; i < args.count; i++) {
    // An expired key is deleted too, but it was not there.
    const isPresent = find(context, i);
    if (deleteKey(context, i) && isPresent) deleted++;
  }
  reply.integer(deleted);
}

function exists(context: CommandContext): void {
  const { args, reply } = context;
  let present = 0;
  for (let i = 0; i < args.count; i++) if (lookUp(context, i)) present++;
  reply.integer(present);
}

function type(context: CommandContext): void {
  context.reply.simple(lookUp(context, 0) ? 'string' : 'none');
}

/** Copies the value that find() found at one key to key argument `to`, with its expiry. */
function putFound(context: CommandContext, to: number): void {
  const { value } = context;
  putString(context, to, value.buffer, value.start, value.end, value.expiresAtMs);
}

function isSameKey({ args }: CommandContext): boolean {
  const { buffer, start, end } = args;
  return buffer.compare(buffer, start[1], end[1], start[0], end[0]) === 0;
}

function rename(context: CommandContext): void {
  if (!find(context, 0)) {
    context.reply.error('ERR no such key');
    return;
  }
  if (!isSameKey(context)) {
    putFound(context, 1);
    deleteKey(context, 0);
  }
  context.reply.simple('OK');
}

function renamenx(context: CommandContext): void {
  if (!find(context, 0)) {
    context.reply.error('ERR no such key');
    return;
  }
  if (find(context, 1)) {
    context.reply.integer(0);
    return;
  }
  find(context, 0);
  putFound(context, 1);
  deleteKey(context, 0);
  context.reply.integer(1);
}

function dbError(db: number | null): string {
  if (db === null) return NOT_AN_INTEGER;
  if (db === (db | 0)) return 'ERR DB index is out of range';
  return 'ERR value is out of range, value must between -2147483648 and 2147483647';
}

function copy(context: CommandContext): void {
  const { args, reply } = context;
  let replaces = false;
  for (let i = 2; i < args.count; i++) {
    if (argIs(args, i, 'REPLACE')) {
      replaces = true;
    } else if (argIs(args, i, 'DB') && i + 1 < args.count) {
      const db = safeIntegerArg(args, ++i);
      if (db !== 0) {
        reply.error(dbError(db));
        return;
      }
    } else {
      reply.error(SYNTAX_ERROR);
      return;
    }
  }
  if (isSameKey(context)) {
    reply.error('ERR source and destination objects are the same');
    return;
  }
  if (!lookUp(context, 0) || (!replaces && find(context, 1))) {
    reply.integer(0);
    return;
  }
  find(context, 0);
  putFound(context, 1);
  reply.integer(1);
}

function copyGrowth(context: CommandContext): number {
  const { value } = context;
  return find(context, 0) ? value.end - value.start : 0;
}

const OBJECT_HELP = [
  'OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:',
  'ENCODING <key>',
  '    Return the kind of internal representation used in order to store the value',
  '    associated with a <key>.',
  'FREQ <key>',
  '    Return the access frequency index of the <key>. The returned integer is',
  '    proportional to the logarithm of the recent access frequency of the key.',
  'IDLETIME <key>',
  '    Return the idle time of the <key>, that is the approximated number of',
  '    seconds elapsed since the last access to the key.',
  'REFCOUNT <key>',
  '    Return the number of references of the value associated with the specified',
  '    <key>.',
  'HELP',
  '    Prints this help.',
];
const NO_LFU =
  'ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.';

/** The longest string that Redis keeps in one allocation with its header. */
const EMBSTR_BYTES_MAX = 44;

/** Answers what Redis would say of a value that was just set; the store has one kind of representation. */
function object(context: CommandContext): void {
  const { args, reply, value, nowMs } = context;
  const word = argText(args, 0).toLowerCase();
  if (word === 'help' && args.count === 1) {
    reply.array(OBJECT_HELP.length);
    for (const line of OBJECT_HELP) reply.simple(line);
  } else if (word !== 'encoding' && word !== 'refcount' && word !== 'idletime' && word !== 'freq') {
    reply.error(`ERR unknown subcommand '${printableArg(args, 0)}'. Try OBJECT HELP.`);
  } else if (args.count !== 2) {
    reply.error(`ERR wrong number of arguments for 'object|${word}' command`);
  } else if (!lookUp(context, 1)) {
    reply.null();
  } else if (word === 'freq') {
    reply.error(NO_LFU);
  } else if (word === 'idletime') {
    reply.integer(Math.max(0, Math.floor((nowMs - hlcToMs(value.version)) / 1000)));
  } else {
    const number = parseInteger(value.buffer, value.start, value.end);
    // Redis shares the numbers below 10,000, and says so with the largest count there is.
    const isShared = typeof number === 'number' && number >= 0 && number < 10_000;
    if (word === 'refcount') reply.integer(isShared ? 2_147_483_647 : 1);
    else if (number !== null) reply.text('int');
    else reply.text(value.end - value.start <= EMBSTR_BYTES_MAX ? 'embstr' : 'raw');
  }
}

const READ = { write: false, flags: ['readonly', 'fast'], categories: ['keyspace'] } as const;
const WRITE = { write: true, flags: ['write'], categories: ['keyspace'] } as const;
const ALL_KEYS = { lastKey: -1, acrossRanges: 'gather', gather: 'sum' } as const;

export const keyCommands: readonly CommandSpec[] = [
  command({ ...WRITE, ...ALL_KEYS, name: 'DEL', op: 60, arity: -2, run: del }),
  command({ ...WRITE, ...ALL_KEYS, name: 'UNLINK', op: 61, arity: -2, flags: ['write', 'fast'], run: del }),
  command({ ...READ, ...ALL_KEYS, name: 'EXISTS', op: 62, arity: -2, run: exists }),
  command({ ...READ, ...ALL_KEYS, name: 'TOUCH', op: 63, arity: -2, run: exists }),
  command({ ...READ, name: 'TYPE', op: 64, arity: 2, run: type }),
  command({ ...WRITE, name: 'RENAME', op: 65, arity: 3, lastKey: 2, acrossRanges: 'refuse', run: rename }),
  command({
    ...WRITE,
    name: 'RENAMENX',
    op: 66,
    arity: 3,
    flags: ['write', 'fast'],
    lastKey: 2,
    acrossRanges: 'refuse',
    run: renamenx,
  }),
  command({
    ...WRITE,
    name: 'COPY',
    op: 67,
    arity: -3,
    flags: ['write', 'denyoom'],
    lastKey: 2,
    acrossRanges: 'refuse',
    growthBytes: copyGrowth,
    run: copy,
  }),
  command({ ...READ, name: 'OBJECT', op: 68, arity: -2, flags: ['readonly'], firstKey: 2, lastKey: 2, run: object }),
];
