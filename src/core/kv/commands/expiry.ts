/** When keys end: EXPIRE and relatives, TTL and relatives, PERSIST; and EXPIRED, by which the store deletes what is due. */
import { argText } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import { command, deleteKey, expiryTime, find, integerArg, invalidExpiry, NOT_AN_INTEGER } from './shared.ts';

/** Reads NX XX GT LT from argument 2 on. Null: the error was replied. */
function conditions(context: CommandContext): ReadonlySet<string> | null {
  const { args, reply } = context;
  const words = new Set<string>();
  for (let i = 2; i < args.count; i++) {
    const word = argText(args, i).toUpperCase();
    if (word !== 'NX' && word !== 'XX' && word !== 'GT' && word !== 'LT') {
      reply.error(`ERR Unsupported option ${argText(args, i)}`);
      return null;
    }
    words.add(word);
  }
  if (words.has('NX') && words.size > 1) {
    reply.error('ERR NX and XX, GT or LT options at the same time are not compatible');
    return null;
  }
  if (words.has('GT') && words.has('LT')) {
    reply.error('ERR GT and LT options at the same time are not compatible');
    return null;
  }
  return words;
}

function expire(name: string, unitMs: number, isAbsolute: boolean): (context: CommandContext) => void {
  return (context) => {
    const { args, reply, store, value, version, nowMs } = context;
    const amount = integerArg(args, 1);
    if (amount === null) {
      reply.error(NOT_AN_INTEGER);
      return;
    }
    const words = conditions(context);
    if (words === null) return;
    const dueMs = expiryTime(amount, unitMs, isAbsolute ? 0 : nowMs);
    if (dueMs === null) {
      reply.error(invalidExpiry(name));
      return;
    }
    if (!find(context, 0)) {
      reply.integer(0);
      return;
    }
    // A key without an expiry counts as one that ends infinitely late.
    const oldMs = value.expiresAtMs === 0 ? Infinity : value.expiresAtMs;
    const isRefused =
      (words.has('NX') && oldMs !== Infinity) ||
      (words.has('XX') && oldMs === Infinity) ||
      (words.has('GT') && dueMs <= oldMs) ||
      (words.has('LT') && dueMs >= oldMs);
    if (isRefused) {
      reply.integer(0);
      return;
    }
    if (dueMs <= nowMs) deleteKey(context, 0);
    else store.setExpiry(args.buffer, args.start[0] as number, args.end[0] as number, version, dueMs);
    reply.integer(1);
  };
}

/** -2 = no such key, -1 = no expiry. */
function remaining(unitMs: number, isAbsolute: boolean): (context: CommandContext) => void {
  return (context) => {
    const { reply, value, nowMs } = context;
    if (!find(context, 0)) reply.integer(-2);
    else if (value.expiresAtMs === 0) reply.integer(-1);
    else if (isAbsolute) reply.integer(Math.floor(value.expiresAtMs / unitMs));
    // TTL rounds to the nearest second, as Redis does.
    else reply.integer(Math.floor((value.expiresAtMs - nowMs + unitMs / 2) / unitMs));
  };
}

function pttl(context: CommandContext): void {
  const { reply, value, nowMs } = context;
  if (!find(context, 0)) reply.integer(-2);
  else reply.integer(value.expiresAtMs === 0 ? -1 : value.expiresAtMs - nowMs);
}

function persist(context: CommandContext): void {
  const { args, reply, store, value, version } = context;
  const isExpiring = find(context, 0) && value.expiresAtMs !== 0;
  if (isExpiring) store.setExpiry(args.buffer, args.start[0] as number, args.end[0] as number, version, 0);
  reply.integer(isExpiring ? 1 : 0);
}

function expired(context: CommandContext): void {
  const { args, store, value, nowMs, reply } = context;
  let deleted = 0;
  for (let i = 0; i < args.count; i++) {
    const isThere = store.get(args.buffer, args.start[i] as number, args.end[i] as number, value);
    if (isThere && value.expiresAtMs !== 0 && value.expiresAtMs <= nowMs && deleteKey(context, i)) deleted++;
  }
  reply.integer(deleted);
}

const WRITE = { write: true, flags: ['write', 'fast'], categories: ['keyspace', 'write', 'fast'] } as const;
const READ = { write: false, flags: ['readonly', 'fast'], categories: ['keyspace', 'read', 'fast'] } as const;

export const expiryCommands: readonly CommandSpec[] = [
  command({ ...WRITE, name: 'EXPIRE', op: 40, arity: -3, run: expire('expire', 1000, false) }),
  command({ ...WRITE, name: 'PEXPIRE', op: 41, arity: -3, run: expire('pexpire', 1, false) }),
  command({ ...WRITE, name: 'EXPIREAT', op: 42, arity: -3, run: expire('expireat', 1000, true) }),
  command({ ...WRITE, name: 'PEXPIREAT', op: 43, arity: -3, run: expire('pexpireat', 1, true) }),
  command({ ...READ, name: 'TTL', op: 44, arity: 2, run: remaining(1000, false) }),
  command({ ...READ, name: 'PTTL', op: 45, arity: 2, run: pttl }),
  command({ ...READ, name: 'EXPIRETIME', op: 46, arity: 2, run: remaining(1000, true) }),
  command({ ...READ, name: 'PEXPIRETIME', op: 47, arity: 2, run: remaining(1, true) }),
  command({ ...WRITE, name: 'PERSIST', op: 48, arity: 2, run: persist }),
  command({
    ...WRITE,
    name: 'EXPIRED',
    op: 49,
    arity: -2,
    flags: ['write', 'internal'],
    lastKey: -1,
    acrossRanges: 'refuse',
    run: expired,
  }),
];
