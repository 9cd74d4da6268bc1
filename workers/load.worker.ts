/** Main of a generator thread of a load run. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../src/core/assert.ts';
import { serveJob, type ThreadJob, type ThreadMessage } from '../src/bench/thread.ts';

assert(parentPort !== null, 'this file is a thread');
const port = parentPort;
const whenToStart = new Promise<number>((resolve) => {
  port.once('message', (startAtMs: number) => resolve(startAtMs));
});
await serveJob(workerData as ThreadJob, (message: ThreadMessage) => port.postMessage(message), whenToStart);
