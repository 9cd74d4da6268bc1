/** Commands over all keys of a range: counting, listing, choosing, deleting them. The gateway puts several ranges together. */
import { compareBytes } from '../../range.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import type { StoreCursor } from '../store.ts';
import { globMatches, literalPrefixBytes } from './glob.ts';
import { ItemList } from './item-list.ts';
import { argIs, command, safeIntegerArg, SYNTAX_ERROR, unknownValues } from './shared.ts';

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

/** Whether the key at the cursor begins with pattern[start, start + bytes). */
function hasPrefix(cursor: StoreCursor, pattern: Buffer, start: number, bytes: number): boolean {
  const { keyBuffer, keyStart, keyEnd } = cursor;
  if (keyEnd - keyStart < bytes) return false;
  for (let i = 0; i < bytes; i++) if (keyBuffer[keyStart + i] !== pattern[start + i]) return false;
  return true;
}

function keys(context: CommandContext): void {
  const { args, reply, store, nowMs } = context;
  const pattern = args.buffer;
  const start = args.start[0] as number;
  const end = args.end[0] as number;
  const prefixBytes = literalPrefixBytes(pattern, start, end);
  const found = new ItemList();
  const cursor = store.cursor();
  let more = cursor.seek(pattern, start, start + prefixBytes);
  for (; more && hasPrefix(cursor, pattern, start, prefixBytes); more = cursor.next()) {
    const { keyBuffer, keyStart, keyEnd } = cursor;
    if (isLive(cursor, nowMs) && globMatches(pattern, start, end, keyBuffer, keyStart, keyEnd)) {
      found.add(keyBuffer, keyStart, keyEnd);
    }
  }
  reply.array(found.count);
  found.replyAll(reply);
}

const RANDOM_TRIES = 100;

function randomkey(context: CommandContext): void {
  const { store, reply, nowMs } = context;
  const { keyCount } = store;
  const cursor = store.cursor();
  const triesMax = keyCount === 0 ? 0 : RANDOM_TRIES;
  for (let tries = 0; tries < triesMax; tries++) {
    if (store.seekRank(cursor, scramble(context.seed + tries) % keyCount) && isLive(cursor, nowMs)) {
      reply.bulk(cursor.keyBuffer, cursor.keyStart, cursor.keyEnd);
      return;
    }
  }
  // Nearly all keys have expired and wait for their deletion: the first one that has not will do.
  for (let more = cursor.first(); more; more = cursor.next()) {
    if (isLive(cursor, nowMs)) {
      reply.bulk(cursor.keyBuffer, cursor.keyStart, cursor.keyEnd);
      return;
    }
  }
  reply.null();
}

/** Spreads a number evenly over 32 bits (the finalizer of MurmurHash3, Austin Appleby). */
function scramble(seed: number): number {
  let hash = seed >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Keys that one SCANRANGE looks at, however many are asked for: others wait for the thread. */
const SCAN_COUNT_MAX = 65_536;

/**
 * SCANRANGE from count pattern: what the gateway runs on one range after another for SCAN. Looks at `count` keys from
 * `from` on and replies [next key to look at, or null at the range's end, key …]. An empty pattern matches all.
 *
 * A key that is in the range from before the first call until after the last is always returned: `next` is a place in the
 * order of keys, which does not move when other keys come and go.
 */
function scanRange(context: CommandContext): void {
  const { args, reply, store, nowMs } = context;
  const pattern = args.buffer;
  const start = args.start[2] as number;
  const end = args.end[2] as number;
  const count = Math.min(safeIntegerArg(args, 1) ?? 0, SCAN_COUNT_MAX);
  if (count < 1) {
    reply.error(SYNTAX_ERROR);
    return;
  }
  const prefixBytes = literalPrefixBytes(pattern, start, end);
  const cursor = store.cursor();
  const fromStart = args.start[0] as number;
  const fromEnd = args.end[0] as number;
  const isBeforePrefix = compareBytes(args.buffer, fromStart, fromEnd, pattern, start, start + prefixBytes) < 0;
  let more = isBeforePrefix
    ? cursor.seek(pattern, start, start + prefixBytes)
    : cursor.seek(args.buffer, fromStart, fromEnd);
  const found = new ItemList();
  let looked = 0;
  for (; more && looked < count; more = cursor.next(), looked++) {
    if (!hasPrefix(cursor, pattern, start, prefixBytes)) {
      more = false;
      break;
    }
    const { keyBuffer, keyStart, keyEnd } = cursor;
    const isWanted = end === start || globMatches(pattern, start, end, keyBuffer, keyStart, keyEnd);
    if (isWanted && isLive(cursor, nowMs)) found.add(keyBuffer, keyStart, keyEnd);
  }
  reply.array(found.count + 1);
  if (more) reply.bulk(cursor.keyBuffer, cursor.keyStart, cursor.keyEnd);
  else reply.null();
  found.replyAll(reply);
}

function unreachableScan({ reply }: CommandContext): void {
  reply.error('ERR SCAN runs on all ranges, not on one');
}

const READ = { write: false, flags: ['readonly', 'fast'], categories: ['keyspace'] } as const;
const WRITE = { write: true, flags: ['write'], categories: ['keyspace', 'dangerous'] } as const;
const NO_KEYS = { firstKey: 0, lastKey: 0, keyStep: 0, acrossRanges: 'gather' } as const;

export const scanCommands: readonly CommandSpec[] = [
  command({ ...READ, ...NO_KEYS, gather: 'sum', name: 'DBSIZE', op: 69, arity: 1, run: dbsize }),
  command({ ...WRITE, ...NO_KEYS, gather: 'ok', name: 'FLUSHDB', op: 70, arity: -1, run: flush }),
  command({ ...WRITE, ...NO_KEYS, gather: 'ok', name: 'FLUSHALL', op: 71, arity: -1, run: flush }),
  command({
    ...READ,
    ...NO_KEYS,
    gather: 'concat',
    name: 'KEYS',
    op: 72,
    arity: 2,
    categories: ['keyspace', 'dangerous'],
    flags: ['readonly'],
    repliesValues: unknownValues,
    run: keys,
  }),
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
    repliesValues: unknownValues,
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
    repliesValues: unknownValues,
    run: scanRange,
  }),
];
