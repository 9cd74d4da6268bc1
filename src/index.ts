/** Skerry: a durable, linearizable, sharded key-value store, embedded or served. */
import path from 'node:path';
import { connect, openStore } from './client/connect.ts';
import type { Format, OpenOptions } from './client/options.ts';
import type { Store } from './client/store.ts';

export { Store } from './client/store.ts';
export type {
  BatchOperation,
  CallOptions,
  Consistency,
  Entry,
  Format,
  Key,
  ListOptions,
  OpenOptions,
  ReadOptions,
  SetOptions,
  Value,
} from './client/options.ts';
export { FatalError, SkerryError } from './core/errors.ts';
export type { Explained, ExplainOption, Explanation } from './client/explanation.ts';
export type { ClusterNode, ClusterStatus, RangeRecovery, SurvivingReplica } from './client/store.ts';
export type { RangeExplanation, ReadExplanation, WriteExplanation } from './core/kv/explanation.ts';
export type { ErrorCode } from './core/errors.ts';
export { parseSettings } from './server/config.ts';
export type { Settings, SettingsInput } from './server/config.ts';
export { startServer } from './server/server.ts';
export type { RunningServer, ServerAddresses, StartOptions } from './server/types.ts';

/**
 * Opens a store: `skerry://host:port` connects to a server, anything else is a folder whose store runs in this process.
 * Use it with `await using`, or close() it. Rejects with SkerryError.
 */
export async function open<As extends Format = 'bytes'>(
  location: string,
  options: OpenOptions<As> = {},
): Promise<Store<As>> {
  if (location.includes('://')) return await connect<As>(location, options);
  // Only those who embed a store load its engine and start its threads.
  const { openEmbedded } = await import('./server/embedded.ts');
  return await openStore<As>(await openEmbedded(path.resolve(location), options.settings), options);
}
