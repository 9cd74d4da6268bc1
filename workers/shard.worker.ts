/** Main of a shard worker: connects its ranges to sockets, to the other workers' rings, to the WAL and to the main thread. */
import { parentPort, workerData } from 'node:worker_threads';
import { startShardWorker } from '../src/server/shard-worker.ts';
import type { WorkerBoot } from '../src/server/worker-protocol.ts';

if (parentPort === null) throw new Error('shard.worker.ts is the main of a worker thread; run `skerry serve`');
startShardWorker(workerData as WorkerBoot, parentPort);
