/**
 * EXEC: the queued commands of a transaction as one command of one range, so that all of them run or none.
 *
 *     args   watchCount, then key and version of each watched key,
 *            then of each queued command: op, argc, its arguments      (numbers as decimal text)
 *
 * If a watched key's version is no longer the one that was seen, nothing runs and the reply is a null array. An error of
 * one command does not undo the others, as in Redis.
 */
import { assert } from '../../assert.ts';
import type { Args } from '../args.ts';
import { createArgs } from '../args.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import { command, find, safeIntegerArg } from './shared.ts';

function numberAt(args: Args, i: number): number {
  const value = i < args.count ? safeIntegerArg(args, i) : null;
  assert(value !== null, 'exec: a number is missing');
  return value;
}

/** Fills `out` with the arguments from `first` on. */
function slice(args: Args, first: number, count: number, out: Args): void {
  assert(first + count <= args.count, 'exec: arguments are missing');
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
  readonly argc: number;
}

/** Makes EXEC over the table that its queued commands are looked up in. */
export function createExecCommand(commandByOp: (op: number) => CommandSpec | undefined): CommandSpec {
  function exec(context: CommandContext): void {
    const { args, reply, value } = context;
    const watchCount = numberAt(args, 0);
    let at = 1;
    for (let i = 0; i < watchCount; i++, at += 2) {
      const seen = numberAt(args, at + 1);
      const version = find(context, at) ? value.version : 0;
      if (version !== seen) {
        reply.nullArray();
        return;
      }
    }
    const queued: Queued[] = [];
    while (at < args.count) {
      const spec = commandByOp(numberAt(args, at));
      const argc = numberAt(args, at + 1);
      assert(spec !== undefined, 'exec: an unknown command');
      queued.push({ spec, first: at + 2, argc });
      at += 2 + argc;
    }
    reply.array(queued.length);
    const inner: Args = createArgs();
    const own = context.args;
    context.args = inner;
    for (const { spec, first, argc } of queued) {
      slice(own, first, argc, inner);
      spec.run(context);
    }
    context.args = own;
  }
  return command({
    name: 'EXEC',
    op: 160,
    arity: -1,
    write: true,
    flags: ['write', 'denyoom', 'internal'],
    categories: ['transaction'],
    firstKey: 0,
    lastKey: 0,
    keyStep: 0,
    acrossRanges: 'refuse',
    run: exec,
  });
}
