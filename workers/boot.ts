/**
 * What a shard worker hears before it recovers, on a port of its own: the thread is started first, so that its modules are loaded
 * by the time that the main thread knows what there is to recover.
 *
 *     main ── WorkerBoot ────────▶ worker
 *          ── Superseded | null ─▶           when isHelped: the helper's share; null: it has failed
 */
import { on } from 'node:events';
import type { MessagePort } from 'node:worker_threads';
import type { LinkEnd } from '../src/gateway/gateway.ts';
import type { Disk } from '../src/storage/disk.ts';
import { findSuperseded, joinShares, logToLookThrough } from '../shards/find-superseded.ts';
import type { Superseded } from '../shards/find-superseded.ts';
import type { WorkerBoot } from '../shards/messages.ts';

export type Boot = WorkerBoot & { readonly links: readonly LinkEnd[] };

export interface BootPort {
  readonly boot: Boot;
  /** What the replay may leave out. Of a helper that has failed, its share is replayed. Called once. */
  superseded(disk: Disk): Promise<Superseded>;
}

export async function receiveBoot(port: MessagePort): Promise<BootPort> {
  const messages = on(port, 'message') as AsyncIterator<[unknown]>;
  const next = async (): Promise<unknown> => ((await messages.next()).value as [unknown])[0];
  const boot = (await next()) as Boot;
  return {
    boot,
    async superseded(disk) {
      const log = logToLookThrough(boot);
      if (!boot.isHelped) return findSuperseded(disk, log);
      const own = findSuperseded(disk, log, { index: 0, of: 2 });
      const helpers = (await next()) as Superseded | null;
      return helpers === null ? own : joinShares(own, helpers);
    },
  };
}
