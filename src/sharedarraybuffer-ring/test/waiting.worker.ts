// Thread main: blocks at a doorbell once, without a timeout, and tells when it was rung.
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { Doorbell } from '../index.ts';

assert(parentPort !== null);
const port = parentPort;
new Doorbell(workerData as SharedArrayBuffer).wait(() => false);
port.postMessage('rung');
