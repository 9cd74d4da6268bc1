/** A shard worker as the main thread holds it. */
import type { Worker } from 'node:worker_threads';
import { SkerryError } from '../core/errors.ts';
import type { FromWorker } from '../../shards/messages.ts';

export interface WorkerThread {
  readonly thread: Worker;
  /** Resolves with the first message of the type. */
  readonly waiting: Map<FromWorker['type'], (message: FromWorker) => void>;
}

/** The worker's next message of the type. Rejects when it fails first. */
export function nextMessage({ thread, waiting }: WorkerThread, type: FromWorker['type']): Promise<FromWorker> {
  return new Promise((resolve, reject) => {
    waiting.set(type, resolve);
    waiting.set('failed', (message) => {
      reject(new SkerryError('KV_STATE', message.type === 'failed' ? message.message : 'the worker failed'));
    });
    thread.once('error', reject);
  });
}
