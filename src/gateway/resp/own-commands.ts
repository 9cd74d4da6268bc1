/** All commands that the session answers itself, and how they are found. */
import type { Args } from '../../core/kv/args.ts';
import { argText } from '../../core/kv/args.ts';
import { clientCommand } from './commands/client.ts';
import { createCommandCommand } from './commands/command.ts';
import { connectionCommands } from './commands/connection.ts';
import { nodeCommands } from './commands/node.ts';
import { transactionCommands } from './commands/transaction.ts';
import type { OwnCommand, SingleCommand } from './own-command.ts';
import { isArityRight, wrongArity } from './own-command.ts';

const own: readonly OwnCommand[] = [...connectionCommands, ...transactionCommands, ...nodeCommands, clientCommand];

const byName: ReadonlyMap<string, OwnCommand> = new Map(
  [...own, createCommandCommand(own)].map((command) => [command.name, command]),
);

/**
 * The command of the session that `name` (in any case) and its arguments call for: itself or its subcommand, with its
 * arity checked; the error reply when there is something wrong; undefined when the session has no such command.
 */
export function findOwnCommand(name: string, args: Args): SingleCommand | string | undefined {
  const command = byName.get(name.toUpperCase());
  if (command === undefined) return undefined;
  let found: SingleCommand;
  if (command.kind !== 'container') {
    found = command;
  } else if (args.count === 0) {
    if (command.alone === undefined) return wrongArity(command.name);
    found = command.alone;
  } else {
    const word = argText(args, 0);
    const sub = command.subcommands.get(word.toUpperCase());
    if (sub === undefined) return `ERR unknown subcommand '${word.slice(0, 128)}'. Try ${command.name} HELP.`;
    found = sub;
  }
  return isArityRight(found.arity, args.count + 1) ? found : wrongArity(found.name);
}
