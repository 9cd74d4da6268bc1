/** Reads the log for a worker whose followers lag (shards/outgoing-snapshots.ts). */
import type { FromWorker, ToWorker } from '../../shards/messages.ts';
import type { WalHandle } from '../storage/wal/pool.ts';

export async function readLog(
  wal: WalHandle | null,
  { id, wanted }: Extract<FromWorker, { type: 'readLog' }>,
  tell: (answer: ToWorker) => void,
): Promise<void> {
  try {
    tell({ type: 'logRead', id, error: null, entries: (await wal?.read(wanted)) ?? null });
  } catch (error) {
    tell({ type: 'logRead', id, error: (error as Error).message, entries: null });
  }
}
