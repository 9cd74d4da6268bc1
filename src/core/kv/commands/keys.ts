/** The key space: what keys there are, and moving, copying and deleting whole values. */
import { argCopy, argText } from '../args.ts';
import type { StoreCursor } from '../store.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import { globMatches } from './glob.ts';
import { argIs, command, deleteKey, find, NOT_AN_INTEGER, putString, safeIntegerArg, SYNTAX_ERROR } from './shared.ts';

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
  for (let i = 0; i < args.count; i++) if (find(context, i)) present++;
  reply.integer(present);
}

function type(context: CommandContext): void {
  context.reply.simple(find(context, 0) ? 'string' : 'none');
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
  if ((!replaces && find(context, 1)) || !find(context, 0)) {
    reply.integer(0);
    return;
  }
  putFound(context, 1);
  reply.integer(1);
}

function object(context: CommandContext): void {
  const { args, reply, value } = context;
  const word = argText(args, 0).toUpperCase();
  if (!['ENCODING', 'REFCOUNT', 'IDLETIME', 'FREQ'].includes(word) || args.count !== 2) {
    reply.error(`ERR unknown subcommand or wrong number of arguments for '${argText(args, 0)}'. Try OBJECT HELP.`);
  } else if (!find(context, 1)) {
    reply.null();
  } else if (word === 'ENCODING') {
    const text = value.buffer.toString('latin1', value.start, Math.min(value.end, value.start + 21));
    const isInteger = /^(?:0|-?[1-9]\d{0,18})$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text);
    reply.text(isInteger ? 'int' : value.end - value.start <= 44 ? 'embstr' : 'raw');
  } else if (word === 'REFCOUNT') {
    reply.integer(1);
  } else if (word === 'IDLETIME') {
    reply.integer(0);
  } else {
    reply.error('ERR An LFU maxmemory policy is not selected, access frequency not tracked.');
  }
}

function dbsize({ store, reply }: CommandContext): void {
  reply.integer(store.keyCount);
}

function flush(context: CommandContext): void {
  const { args, reply, store, version } = context;
  const hasMode = args.count === 1 && (argIs(args, 0, 'SYNC') || argIs(args, 0, 'ASYNC'));
  if (args.count > 0 && !hasMode) {
    reply.error(SYNTAX_ERROR);
    return;
  }
  store.clear(version);
  reply.simple('OK');
}

function isLive(cursor: StoreCursor, nowMs: number): boolean {
  const { expiresAtMs } = cursor.value;
  return expiresAtMs === 0 || expiresAtMs > nowMs;
}

function keys(context: CommandContext): void {
  const { args, reply, store, nowMs } = context;
  const found: Buffer[] = [];
  const cursor = store.cursor();
  for (let more = cursor.first(); more; more = cursor.next()) {
    const { keyBuffer, keyStart, keyEnd } = cursor;
    const { buffer, start, end } = args;
    if (!isLive(cursor, nowMs)) continue;
    if (globMatches(buffer, start[0] as number, end[0] as number, keyBuffer, keyStart, keyEnd)) {
      found.push(Buffer.from(keyBuffer.subarray(keyStart, keyEnd)));
    }
  }
  reply.array(found.length);
  for (const key of found) reply.bulk(key, 0, key.length);
}

/** A key whose rank is the reading of the range's newest version: any key may come, and nothing random is needed. */
function randomkey(context: CommandContext): void {
  const { store, reply, nowMs } = context;
  const cursor = store.cursor();
  const { keyCount } = store;
  // The clock's low bits differ from call to call; a multiplicative hash spreads them (Knuth, vol. 3, §6.4).
  let rank = keyCount === 0 ? 0 : (Math.imul(nowMs ^ (context.version % 2 ** 31), 0x9e3779b1) >>> 0) % keyCount;
  for (let tries = 0; tries < keyCount; tries++, rank = (rank + 1) % keyCount) {
    if (store.seekRank(cursor, rank) && isLive(cursor, nowMs)) {
      reply.bulk(cursor.keyBuffer, cursor.keyStart, cursor.keyEnd);
      return;
    }
  }
  reply.null();
}

/**
 * SCANRANGE from count pattern: what the gateway runs on one range after another for SCAN. Looks at `count` keys from `from`
 * on and replies [next key to look at, or null at the range's end, key …]. An empty pattern matches all.
 */
function scanRange(context: CommandContext): void {
  const { args, reply, store, nowMs } = context;
  const cursor = store.cursor();
  const count = safeIntegerArg(args, 1) ?? 10;
  const pattern = argCopy(args, 2);
  const found: Buffer[] = [];
  let looked = 0;
  let more = cursor.seek(args.buffer, args.start[0] as number, args.end[0] as number);
  for (; more && looked < count; more = cursor.next(), looked++) {
    const { keyBuffer, keyStart, keyEnd } = cursor;
    const isWanted = pattern.length === 0 || globMatches(pattern, 0, pattern.length, keyBuffer, keyStart, keyEnd);
    if (isWanted && isLive(cursor, nowMs)) found.push(Buffer.from(keyBuffer.subarray(keyStart, keyEnd)));
  }
  reply.array(found.length + 1);
  if (more) reply.bulk(cursor.keyBuffer, cursor.keyStart, cursor.keyEnd);
  else reply.null();
  for (const key of found) reply.bulk(key, 0, key.length);
}

function unreachableScan({ reply }: CommandContext): void {
  reply.error('ERR SCAN runs on all ranges, not on one');
}

const READ = { write: false, flags: ['readonly', 'fast'], categories: ['keyspace', 'read', 'fast'] } as const;
const WRITE = { write: true, flags: ['write'], categories: ['keyspace', 'write', 'slow'] } as const;
const ALL_KEYS = { lastKey: -1, acrossRanges: 'gather', gather: 'sum' } as const;
const NO_KEYS = { firstKey: 0, lastKey: 0, keyStep: 0, acrossRanges: 'gather' } as const;

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
    run: copy,
  }),
  command({ ...READ, name: 'OBJECT', op: 68, arity: -2, flags: ['readonly'], firstKey: 2, lastKey: 2, run: object }),
  command({ ...READ, ...NO_KEYS, gather: 'sum', name: 'DBSIZE', op: 69, arity: 1, run: dbsize }),
  command({ ...WRITE, ...NO_KEYS, gather: 'ok', name: 'FLUSHDB', op: 70, arity: -1, run: flush }),
  command({ ...WRITE, ...NO_KEYS, gather: 'ok', name: 'FLUSHALL', op: 71, arity: -1, run: flush }),
  command({ ...READ, ...NO_KEYS, gather: 'concat', name: 'KEYS', op: 72, arity: 2, flags: ['readonly'], run: keys }),
  command({
    ...READ,
    ...NO_KEYS,
    gather: 'walk',
    name: 'RANDOMKEY',
    op: 73,
    arity: 1,
    flags: ['readonly'],
    run: randomkey,
  }),
  command({
    ...READ,
    ...NO_KEYS,
    gather: 'walk',
    name: 'SCAN',
    op: 74,
    arity: -2,
    flags: ['readonly'],
    run: unreachableScan,
  }),
  command({
    ...READ,
    name: 'SCANRANGE',
    op: 75,
    arity: 4,
    flags: ['readonly', 'internal'],
    firstKey: 0,
    lastKey: 0,
    keyStep: 0,
    run: scanRange,
  }),
];
