/** The threads for long computations: checkpoints are compressed and written there, and a worker that recovers is helped. */
import path from 'node:path';
import { Piscina } from 'piscina';
import type { Logger } from '../observe/log.ts';
import type { LogToLookThrough, Superseded } from '../../shards/find-superseded.ts';

/** The same files are .ts in a checkout and .js in the published package. */
const CPU_WORKER = new URL(`../../workers/cpu.worker${path.extname(import.meta.url)}`, import.meta.url);
/** Starting a thread costs more than most checkpoints; an idle one has 15 MB, and holds the states that it read last. */
const CPU_THREAD_IDLE_MS = 3000;

export function createCpuPool(threads: number): Piscina {
  return new Piscina({
    filename: CPU_WORKER.href,
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: CPU_THREAD_IDLE_MS,
  });
}

/** The second share of what a replay may leave out; null when the thread fails: then that much more is replayed. */
export async function helpToRecover(pool: Piscina, log: LogToLookThrough, logger: Logger): Promise<Superseded | null> {
  try {
    return (await pool.run({ kind: 'superseded', log, share: { index: 1, of: 2 } })) as Superseded;
  } catch (error) {
    logger.warn({ err: error }, 'the thread that helps to recover has failed: the start takes longer');
    return null;
  }
}
