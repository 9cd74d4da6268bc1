/** Two workers that log and end at once, and a main thread that exits the process with a last word: for log.test.ts. */
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { createLogger } from '../../../src/observe/log.ts';

const thread = isMainThread ? 'main' : `worker ${String(workerData)}`;
const log = createLogger({ level: 'info', format: 'json', thread });

if (isMainThread) {
  const workers = [0, 1].map((index) => new Worker(new URL(import.meta.url), { workerData: index }));
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
  log.fatal({ number: -1 }, 'stopping');
  process.exit(70);
} else {
  for (let number = 0; number < 2000; number++) log.info({ number, padding: 'x'.repeat(100) }, 'line');
  process.exit(1);
}
