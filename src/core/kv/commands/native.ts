/** Commands of the native protocol, and what the gateway needs for WATCH. No Redis client reaches them. */
import { argText } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import { ItemList } from './item-list.ts';
import { argIs, command, deleteKey, find, putString, safeIntegerArg, unknownValues } from './shared.ts';

/** Bytes of keys and values after which LIST ends its page. */
const LIST_BYTES_MAX = 1024 * 1024;

/**
 * LIST start end limit flags: keys from `start` on, below `end` (empty = no end), at most `limit`. Flags: R = from the end
 * backwards, K = keys only, A = `start` itself is not wanted. Replies [next, key, value, key, value …]; `next` is null
 * when the range has nothing more between the bounds, else the last key sent: go on behind (R: before) it.
 */
function list(context: CommandContext): void {
  const { args, reply, store, nowMs } = context;
  const limit = safeIntegerArg(args, 2);
  if (limit === null || limit < 1) {
    reply.error('ERR the limit of LIST is not a positive integer');
    return;
  }
  const flags = argText(args, 3);
  const isReverse = flags.includes('R');
  const keysOnly = flags.includes('K');
  const { buffer } = args;
  const [start, startEnd] = [args.start[0] as number, args.end[0] as number];
  const [end, endEnd] = [args.start[1] as number, args.end[1] as number];
  const hasEnd = endEnd > end;
  const cursor = store.cursor();
  const isInside = (): boolean => {
    const { keyBuffer, keyStart, keyEnd } = cursor;
    if (!isReverse) return !hasEnd || keyBuffer.compare(buffer, end, endEnd, keyStart, keyEnd) < 0;
    const order = keyBuffer.compare(buffer, start, startEnd, keyStart, keyEnd);
    return flags.includes('A') ? order > 0 : order >= 0;
  };
  let more = isReverse
    ? hasEnd
      ? cursor.seekBefore(buffer, end, endEnd)
      : cursor.last()
    : cursor.seek(buffer, start, startEnd, flags.includes('A'));
  const found = new ItemList();
  let count = 0;
  let isCut = false;
  for (; more && isInside(); more = isReverse ? cursor.previous() : cursor.next()) {
    const { value, keyBuffer, keyStart, keyEnd } = cursor;
    if (value.expiresAtMs !== 0 && value.expiresAtMs <= nowMs) continue;
    if (count === limit || found.byteLength >= LIST_BYTES_MAX) {
      isCut = true;
      break;
    }
    found.add(keyBuffer, keyStart, keyEnd);
    if (!keysOnly) found.add(value.buffer, value.start, value.end);
    count++;
  }
  reply.array(found.count + 1);
  if (isCut) found.replyItem(reply, found.count - (keysOnly ? 1 : 2));
  else reply.null();
  found.replyAll(reply);
}

/** The types of BATCH's changes; a time to live stays well below 2^53 ms. */
const CHANGE = /^(?:D|P([1-9]\d{0,14})?)$/;

/**
 * BATCH key type value …: all or nothing, in the order given. Type P = put, D = delete (the value is ignored). A type
 * P followed by digits puts with an expiry of so many milliseconds.
 */
function batch(context: CommandContext): void {
  const { args, reply, nowMs } = context;
  if (args.count % 3 !== 0) {
    reply.error('ERR BATCH takes key, type and value for each change');
    return;
  }
  const expiries: number[] = [];
  for (let i = 0; i < args.count; i += 3) {
    const kind = CHANGE.exec(argText(args, i + 1));
    if (kind === null) {
      reply.error('ERR a change of BATCH is neither P (put) nor D (delete)');
      return;
    }
    expiries.push(kind[1] === undefined ? 0 : nowMs + Number(kind[1]));
  }
  for (let i = 0; i < args.count; i += 3) {
    if (argIs(args, i + 1, 'D')) deleteKey(context, i);
    else {
      const valueStart = args.start[i + 2] as number;
      putString(context, i, args.buffer, valueStart, args.end[i + 2] as number, expiries[i / 3] as number);
    }
  }
  reply.simple('OK');
}

/** VERSIONS key …: the versions of the values, 0 for absent keys. */
function versions(context: CommandContext): void {
  const { args, reply } = context;
  reply.array(args.count);
  for (let i = 0; i < args.count; i++) reply.integer(find(context, i) ? context.value.version : 0);
}

export const nativeCommands: readonly CommandSpec[] = [
  command({
    name: 'LIST',
    op: 120,
    arity: 5,
    write: false,
    flags: ['readonly', 'native'],
    categories: [],
    firstKey: 0,
    lastKey: 0,
    keyStep: 0,
    gather: 'walk',
    repliesValues: unknownValues,
    run: list,
  }),
  command({
    name: 'BATCH',
    op: 121,
    arity: -4,
    write: true,
    flags: ['write', 'denyoom', 'native'],
    categories: [],
    lastKey: -1,
    keyStep: 3,
    acrossRanges: 'refuse',
    run: batch,
  }),
  command({
    name: 'VERSIONS',
    op: 122,
    arity: -2,
    write: false,
    flags: ['readonly', 'internal'],
    categories: [],
    lastKey: -1,
    acrossRanges: 'gather',
    gather: 'perKey',
    run: versions,
  }),
];
