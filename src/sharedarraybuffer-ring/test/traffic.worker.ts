// Thread main: one end of a stream of records, waiting as it is told: blocked, or with its event loop running.
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { Doorbell, RingConsumer, RingProducer } from '../index.ts';
import { consuming, producing } from './traffic.ts';

export interface TrafficOptions {
  readonly role: 'producer' | 'consumer';
  readonly waiting: 'blocking' | 'async';
  readonly ring: SharedArrayBuffer;
  readonly producerDoorbell: SharedArrayBuffer;
  readonly consumerDoorbell: SharedArrayBuffer;
  readonly records: number;
  readonly recordBytesMax: number;
  readonly seed: number;
}

export interface TrafficReport {
  readonly finalPosition: number;
  readonly parkings: number;
}

assert(parentPort !== null);
const port = parentPort;
const options = workerData as TrafficOptions;
const producerDoorbell = new Doorbell(options.producerDoorbell);
const consumerDoorbell = new Doorbell(options.consumerDoorbell);
const own = options.role === 'producer' ? producerDoorbell : consumerDoorbell;
const stream =
  options.role === 'producer'
    ? producing(new RingProducer(options.ring, consumerDoorbell), options.records, options.recordBytesMax, options.seed)
    : consuming(new RingConsumer(options.ring), options.records, producerDoorbell, options.seed);

let parkings = 0;

function finish(): void {
  const report: TrafficReport = { finalPosition: stream.finalPosition(), parkings };
  port.postMessage(report);
  port.close();
}

function turn(): void {
  do {
    if (stream.step()) {
      finish();
      return;
    }
    parkings += 1;
  } while (!own.park(stream.ready, turn));
}

if (options.waiting === 'blocking') {
  while (!stream.step()) {
    parkings += 1;
    own.wait(stream.ready);
  }
  finish();
} else {
  // A pending park keeps no thread alive: the open port does.
  port.on('message', () => undefined);
  turn();
}
