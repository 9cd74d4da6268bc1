/** The threads for long computations: checkpoints are compressed and written there. */
import path from 'node:path';
import { Piscina } from 'piscina';

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
