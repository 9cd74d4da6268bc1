/** COMMAND: what clients and redis-cli ask of the command table. */
import type { Args } from '../../core/kv/args.ts';
import { argText } from '../../core/kv/args.ts';
import type { ReplySink } from '../../core/kv/reply.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import { allCommands, lookupCommand } from '../../core/kv/table.ts';

const visible = allCommands.filter(({ flags }) => !flags.includes('internal') && !flags.includes('native'));

export function runCommandCommand(args: Args, sink: ReplySink): void {
  const sub = args.count === 0 ? '' : argText(args, 0).toUpperCase();
  switch (sub) {
    case '':
      sink.array(visible.length);
      for (const spec of visible) describe(spec, sink);
      break;
    case 'COUNT':
      sink.integer(visible.length);
      break;
    case 'LIST':
      sink.array(visible.length);
      for (const { name } of visible) sink.text(name.toLowerCase());
      break;
    case 'INFO':
      if (args.count === 1) {
        sink.array(visible.length);
        for (const spec of visible) describe(spec, sink);
        break;
      }
      sink.array(args.count - 1);
      for (let i = 1; i < args.count; i++) {
        const spec = lookupCommand(args.buffer, args.start[i] as number, args.end[i] as number);
        if (spec === undefined) sink.nullArray();
        else describe(spec, sink);
      }
      break;
    case 'DOCS':
      sink.map(0);
      break;
    case 'GETKEYS':
      getKeys(args, sink);
      break;
    default:
      sink.error(`ERR unknown subcommand '${argText(args, 0)}'. Try COMMAND HELP.`);
  }
}

function describe(spec: CommandSpec, sink: ReplySink): void {
  sink.array(10);
  sink.text(spec.name.toLowerCase());
  sink.integer(spec.arity);
  sink.set(spec.flags.length);
  for (const flag of spec.flags) sink.simple(flag);
  sink.integer(spec.firstKey);
  sink.integer(spec.lastKey);
  sink.integer(spec.keyStep);
  sink.set(spec.categories.length);
  for (const category of spec.categories) sink.simple(`@${category}`);
  sink.array(0);
  sink.array(0);
  sink.array(0);
}

function getKeys(args: Args, sink: ReplySink): void {
  const spec = args.count < 2 ? undefined : lookupCommand(args.buffer, args.start[1] as number, args.end[1] as number);
  if (spec === undefined) {
    sink.error('ERR Invalid command specified');
    return;
  }
  const count = args.count - 1;
  const isArityRight = spec.arity < 0 ? count >= -spec.arity : count === spec.arity;
  if (!isArityRight || spec.firstKey === 0) {
    sink.error(
      isArityRight ? 'ERR The command has no key arguments' : 'ERR Invalid number of arguments specified for command',
    );
    return;
  }
  const last = spec.lastKey < 0 ? count + spec.lastKey : spec.lastKey;
  const keys: number[] = [];
  for (let i = spec.firstKey; i <= last; i += spec.keyStep) keys.push(i + 1);
  sink.array(keys.length);
  for (const i of keys) sink.bulk(args.buffer, args.start[i] as number, args.end[i] as number);
}
