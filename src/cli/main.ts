/**
 * The command line. Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found.
 */
import { Command, CommanderError } from 'commander';
import { SkerryError } from '../core/errors.ts';
import { version } from '../server/version.ts';
import { registerBench } from './commands/bench.ts';
import { registerClientCommands } from './commands/client.ts';
import { registerNode } from './commands/node.ts';
import { registerServe } from './commands/serve.ts';
import { registerStatus } from './commands/status.ts';
import { registerWal } from './commands/wal.ts';
import { EXIT_FAILED, EXIT_USAGE } from './exit-codes.ts';

/** Runs the command line and sets the process's exit code. */
export async function run(argv: readonly string[]): Promise<void> {
  // Whoever reads us (head, less) may have seen enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  const program = new Command('skerry')
    .description('A durable, linearizable, sharded key-value store')
    .version(version, '-V, --version')
    .showSuggestionAfterError()
    .exitOverride();
  registerServe(program);
  registerClientCommands(program);
  registerNode(program);
  registerStatus(program);
  registerBench(program);
  registerWal(program);
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    command.exitOverride().showSuggestionAfterError().showHelpAfterError('(add --help for help)');
  }
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has said what is wrong; help and version are no errors.
      process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
      return;
    }
    process.stderr.write(`skerry: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof SkerryError && error.code === 'KV_INVALID' ? EXIT_USAGE : EXIT_FAILED;
  }
}
