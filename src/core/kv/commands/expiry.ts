/** When keys end: EXPIRE and relatives, TTL and relatives, PERSIST; and EXPIRED, by which the store deletes what is due. */
import type { CommandContext, CommandSpec } from '../spec.ts';
import {
  argIs,
  command,
  deleteKey,
  expiryTime,
  find,
  lookUp,
  integerArg,
  invalidExpiry,
  NOT_AN_INTEGER,
  printableArg,
} from './shared.ts';

const NX = 1;
const XX = 2;
const GT = 4;
const LT = 8;

/** Reads NX XX GT LT from argument 2 on, as bits. -1: the error was replied. */
function conditions({ args, reply }: CommandContext): number {
  let given = 0;
  for (let i = 2; i < args.count; i++) {
    if (argIs(args, i, 'NX')) given |= NX;
    else if (argIs(args, i, 'XX')) given |= XX;
    else if (argIs(args, i, 'GT')) given |= GT;
    else if (argIs(args, i, 'LT')) given |= LT;
    else {
      reply.error(`ERR Unsupported option ${printableArg(args, i)}`);
      return -1;
    }
  }
  if ((given & NX) !== 0 && given !== NX) {
    reply.error('ERR NX and XX, GT or LT options at the same time are not compatible');
    return -1;
  }
  if ((given & GT) !== 0 && (given & LT) !== 0) {
    reply.error('ERR GT and LT options at the same time are not compatible');
    return -1;
  }
  return given;
}

function expire(name: string, unitMs: number, isAbsolute: boolean): (context: CommandContext) => void {
  return (context) => {
    const { args, reply, store, value, version, nowMs } = context;
    const given = conditions(context);
    if (given < 0) return;
    const amount = integerArg(args, 1);
    if (amount === null) {
      reply.error(NOT_AN_INTEGER);
      return;
    }
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
      ((given & NX) !== 0 && oldMs !== Infinity) ||
      ((given & XX) !== 0 && oldMs === Infinity) ||
      ((given & GT) !== 0 && dueMs <= oldMs) ||
      ((given & LT) !== 0 && dueMs >= oldMs);
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
function time(unitMs: number, isAbsolute: boolean): (context: CommandContext) => void {
  return (context) => {
    const { reply, value, nowMs } = context;
    if (!lookUp(context, 0)) reply.integer(-2);
    else if (value.expiresAtMs === 0) reply.integer(-1);
    // Seconds are rounded to the nearest, as Redis does.
    else reply.integer(Math.floor((value.expiresAtMs - (isAbsolute ? 0 : nowMs) + (unitMs >>> 1)) / unitMs));
  };
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

const WRITE = { write: true, flags: ['write', 'fast'], categories: ['keyspace'] } as const;
const READ = { write: false, flags: ['readonly', 'fast'], categories: ['keyspace'] } as const;

export const expiryCommands: readonly CommandSpec[] = [
  command({ ...WRITE, name: 'EXPIRE', op: 40, arity: -3, run: expire('expire', 1000, false) }),
  command({ ...WRITE, name: 'PEXPIRE', op: 41, arity: -3, run: expire('pexpire', 1, false) }),
  command({ ...WRITE, name: 'EXPIREAT', op: 42, arity: -3, run: expire('expireat', 1000, true) }),
  command({ ...WRITE, name: 'PEXPIREAT', op: 43, arity: -3, run: expire('pexpireat', 1, true) }),
  command({ ...READ, name: 'TTL', op: 44, arity: 2, run: time(1000, false) }),
  command({ ...READ, name: 'PTTL', op: 45, arity: 2, run: time(1, false) }),
  command({ ...READ, name: 'EXPIRETIME', op: 46, arity: 2, run: time(1000, true) }),
  command({ ...READ, name: 'PEXPIRETIME', op: 47, arity: 2, run: time(1, true) }),
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
