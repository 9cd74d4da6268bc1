/** What the commands have in common that talk to a running node. */
import type { Command } from 'commander';
import { connect } from '../client/connect.ts';
import type { Store } from '../client/store.ts';

export interface ClientFlags {
  readonly server: string;
  readonly json?: boolean;
  readonly timeout: string;
}

const DEFAULT_SERVER = process.env['SKERRY_SERVER'] ?? '127.0.0.1:7370';

/** Adds the options that all client commands have. */
export function withServer(command: Command): Command {
  return command
    .option('--server <host:port>', 'Native address of any node.', DEFAULT_SERVER)
    .option('--timeout <ms>', 'Milliseconds before giving up.', '10000')
    .option('--json', 'Print JSON.');
}

/** Runs `action` with a connection, which is closed afterwards. */
export async function withStore(flags: ClientFlags, action: (store: Store) => Promise<void>): Promise<void> {
  const timeoutMs = Number(flags.timeout);
  const store = await connect(`skerry://${flags.server}`, { timeoutMs, connectTimeoutMs: timeoutMs, retries: 4 });
  try {
    await action(store);
  } finally {
    await store.close();
  }
}
