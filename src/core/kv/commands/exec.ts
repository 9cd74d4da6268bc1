/**
 * EXEC: the queued commands of a transaction as one command of one range, so that all of them run or none.
 *
 *     args   watchCount, then key and version of each watched key,
 *            then of each queued command: op, argc, its arguments      (numbers as decimal text)
 *
 * If a watched key's version is no longer the one that was seen, nothing runs and the reply is a null array. An error of
 * one command does not undo the others, as in Redis.
 */
import type { Args } from '../args.ts';
import { createArgs } from '../args.ts';
import { limits } from '../../limits.ts';
import type { CommandContext, CommandSpec, KeySet } from '../spec.ts';
import { keyIndexes } from '../spec.ts';
import { command, find, oversize, REPLY_TOO_LARGE, replyBytes, safeIntegerArg, valuePerArg } from './shared.ts';

/** Fills `out` with `count` arguments from `first` on. */
function slice(args: Args, first: number, count: number, out: Args): void {
  out.buffer = args.buffer;
  out.count = count;
  for (let i = 0; i < count; i++) {
    out.start[i] = args.start[first + i] as number;
    out.end[i] = args.end[first + i] as number;
  }
}

interface Queued {
  readonly spec: CommandSpec;
  readonly first: number;
  readonly count: number;
}

/** Makes EXEC over the table that its queued commands are looked up in. */
export function createExecCommand(commandByOp: (op: number) => CommandSpec | undefined): CommandSpec {
  /** The queued commands from argument `at` on; null when the arguments are none. */
  function parseQueued(args: Args, at: number): Queued[] | null {
    const queued: Queued[] = [];
    while (at < args.count) {
      const spec = commandByOp(safeIntegerArg(args, at) ?? -1);
      const count = at + 1 < args.count ? safeIntegerArg(args, at + 1) : null;
      const first = at + 2;
      if (spec === undefined || spec.flags.includes('internal')) return null;
      if (count === null || count < 0 || first + count > args.count) return null;
      if (spec.arity < 0 ? count + 1 < -spec.arity : count + 1 !== spec.arity) return null;
      queued.push({ spec, first, count });
      at = first + count;
    }
    return queued;
  }

  function touched(args: Args): KeySet {
    const watchCount = safeIntegerArg(args, 0) ?? 0;
    const keys = { ...createArgs(), buffer: args.buffer };
    const add = (i: number): void => {
      keys.start[keys.count] = args.start[i] as number;
      keys.end[keys.count] = args.end[i] as number;
      keys.count++;
    };
    for (let at = 1; at < 1 + watchCount * 2 && at < args.count; at += 2) add(at);
    let everything = false;
    for (const { spec, first, count } of parseQueued(args, 1 + watchCount * 2) ?? []) {
      for (const i of keyIndexes(spec, count)) add(first + i);
      if (spec.firstKey === 0 && spec.gather !== undefined) everything = true;
    }
    return { keys, everything };
  }

  function exec(context: CommandContext): void {
    const { args, reply, value, valueBytesMax } = context;
    const watchCount = safeIntegerArg(args, 0);
    const firstQueued = watchCount === null || watchCount < 0 ? Infinity : 1 + watchCount * 2;
    const queued = firstQueued <= args.count ? parseQueued(args, firstQueued) : null;
    if (queued === null) {
      reply.error('ERR EXEC has malformed arguments');
      return;
    }
    for (let at = 1; at < firstQueued; at += 2) {
      const version = find(context, at) ? value.version : 0;
      if (version !== safeIntegerArg(args, at + 1)) {
        reply.nullArray();
        return;
      }
    }
    reply.array(queued.length);
    let replied = 0;
    const inner = createArgs();
    context.args = inner;
    for (const { spec, first, count } of queued) {
      slice(args, first, count, inner);
      context.seed++;
      const bytes = spec.repliesValues(inner) === 0 ? 0 : replyBytes(context, spec);
      const refused = replied + bytes > limits.replyBytesMax ? REPLY_TOO_LARGE : oversize(spec, inner, valueBytesMax);
      if (refused === null) {
        replied += bytes;
        spec.run(context);
      } else {
        reply.error(refused);
      }
    }
    context.args = args;
  }

  function growthBytes(context: CommandContext): number {
    const { args } = context;
    const queued = parseQueued(args, 1 + (safeIntegerArg(args, 0) ?? 0) * 2) ?? [];
    const inner = createArgs();
    let bytes = 0;
    context.args = inner;
    for (const { spec, first, count } of queued) {
      slice(args, first, count, inner);
      bytes += spec.growthBytes?.(context) ?? 0;
    }
    context.args = args;
    return bytes;
  }

  return command({
    name: 'EXEC',
    op: 160,
    arity: -2,
    write: true,
    flags: ['write', 'denyoom', 'internal'],
    categories: ['transaction'],
    firstKey: 0,
    lastKey: 0,
    keyStep: 0,
    acrossRanges: 'refuse',
    touched,
    repliesValues: valuePerArg,
    growthBytes,
    run: exec,
  });
}
