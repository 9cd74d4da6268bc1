/** Commands that touch no key: they run wherever they arrive. */
import type { CommandContext, CommandSpec } from '../spec.ts';
import { command } from './shared.ts';

function bulkArg({ args, reply }: CommandContext, i: number): void {
  reply.bulk(args.buffer, args.start[i] as number, args.end[i] as number);
}

function ping(context: CommandContext): void {
  const { args, reply } = context;
  if (args.count > 1) reply.error("ERR wrong number of arguments for 'ping' command");
  else if (args.count === 1) bulkArg(context, 0);
  else reply.simple('PONG');
}

function time({ reply, nowMs }: CommandContext): void {
  reply.array(2);
  reply.text(String(Math.floor(nowMs / 1000)));
  reply.text(String((nowMs % 1000) * 1000));
}

const LOCAL = {
  write: false,
  flags: ['loading', 'stale', 'fast'],
  categories: ['connection'],
  firstKey: 0,
  lastKey: 0,
  keyStep: 0,
} as const;

export const serverCommands: readonly CommandSpec[] = [
  command({ ...LOCAL, name: 'PING', op: 140, arity: -1, flags: ['fast'], run: ping }),
  command({ ...LOCAL, name: 'ECHO', op: 141, arity: 2, run: (context) => bulkArg(context, 0) }),
  command({ ...LOCAL, name: 'TIME', op: 142, arity: 1, categories: [], run: time }),
];
