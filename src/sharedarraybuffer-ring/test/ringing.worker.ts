// Thread main: one of many that ring the same doorbell as fast as they can, and counts how often it really notified.
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { Doorbell } from '../index.ts';
import { countNotifies } from './notifies.ts';

export interface RingingOptions {
  readonly doorbell: SharedArrayBuffer;
  /** Word 0 counts rings of all threads. Word 1 turns to 1 when they shall end. */
  readonly words: SharedArrayBuffer;
}

assert(parentPort !== null);
const port = parentPort;
const options = workerData as RingingOptions;
const words = new Int32Array(options.words);
const doorbell = new Doorbell(options.doorbell);

const notifies = countNotifies();

while (Atomics.load(words, 1) === 0) {
  Atomics.add(words, 0, 1);
  doorbell.ring();
}
port.postMessage(notifies.count());
