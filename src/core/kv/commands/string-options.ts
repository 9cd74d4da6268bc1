/** The options of SET and GETEX (parseExtendedStringArgumentsOrReply in Redis's t_string.c), and expiries given by clients. */
import type { Args } from '../args.ts';
import type { CommandContext } from '../spec.ts';
import { argIs, expiryTime, integerArg, invalidExpiry, NOT_AN_INTEGER } from './shared.ts';

export interface StringOptions {
  condition: 'always' | 'ifAbsent' | 'ifPresent';
  wantsOld: boolean;
  keepsTtl: boolean;
  persists: boolean;
  /** Argument that holds the expiry's number; 0 = no expiry. */
  expiryArg: number;
  unitMs: number;
  /** The number is a point in time. */
  isAbsolute: boolean;
}

/** One for all commands: its fields hold until the next command is parsed. */
export const stringOptions: StringOptions = {
  condition: 'always',
  wantsOld: false,
  keepsTtl: false,
  persists: false,
  expiryArg: 0,
  unitMs: 0,
  isAbsolute: false,
};

/** Fills `out` with the options from argument `first` on. False: a syntax error. */
export function parseStringOptions(args: Args, first: number, command: 'SET' | 'GETEX', out: StringOptions): boolean {
  const isSet = command === 'SET';
  out.condition = 'always';
  out.wantsOld = false;
  out.keepsTtl = false;
  out.persists = false;
  out.expiryArg = 0;
  for (let i = first; i < args.count; i++) {
    if (isSet && argIs(args, i, 'NX') && out.condition !== 'ifPresent') out.condition = 'ifAbsent';
    else if (isSet && argIs(args, i, 'XX') && out.condition !== 'ifAbsent') out.condition = 'ifPresent';
    else if (isSet && argIs(args, i, 'GET')) out.wantsOld = true;
    else if (isSet && argIs(args, i, 'KEEPTTL') && out.expiryArg === 0) out.keepsTtl = true;
    else if (!isSet && argIs(args, i, 'PERSIST') && out.expiryArg === 0) out.persists = true;
    else if (i + 1 < args.count && !out.keepsTtl && !out.persists && parseExpiryWord(args, i, out)) i++;
    else return false;
  }
  return true;
}

/** Takes EX, PX, EXAT or PXAT at argument `i`; the same one may come again, and the last one counts. */
function parseExpiryWord(args: Args, i: number, out: StringOptions): boolean {
  let unitMs: number;
  let isAbsolute: boolean;
  if (argIs(args, i, 'EX')) [unitMs, isAbsolute] = [1000, false];
  else if (argIs(args, i, 'PX')) [unitMs, isAbsolute] = [1, false];
  else if (argIs(args, i, 'EXAT')) [unitMs, isAbsolute] = [1000, true];
  else if (argIs(args, i, 'PXAT')) [unitMs, isAbsolute] = [1, true];
  else return false;
  if (out.expiryArg !== 0 && (out.unitMs !== unitMs || out.isAbsolute !== isAbsolute)) return false;
  out.expiryArg = i + 1;
  out.unitMs = unitMs;
  out.isAbsolute = isAbsolute;
  return true;
}

/** When the parsed expiry is due, in Unix milliseconds; 0 = none was given; null = the error was replied. */
export function resolveExpiry(context: CommandContext, options: StringOptions, name: string): number | null {
  if (options.expiryArg === 0) return 0;
  return expiryArg(context, options.expiryArg, options.unitMs, options.isAbsolute, name);
}

/** When the expiry whose number is argument `i` is due, in Unix milliseconds, above 0. Null: the error was replied. */
export function expiryArg(
  context: CommandContext,
  i: number,
  unitMs: number,
  isAbsolute: boolean,
  name: string,
): number | null {
  const { args, reply, nowMs } = context;
  const amount = integerArg(args, i);
  if (amount === null) {
    reply.error(NOT_AN_INTEGER);
    return null;
  }
  const dueMs = amount > 0 ? expiryTime(amount, unitMs, isAbsolute ? 0 : nowMs) : null;
  if (dueMs === null) reply.error(invalidExpiry(name));
  return dueMs;
}
