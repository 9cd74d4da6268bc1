// Thread main: a consumer that checks records and releases them one by one until it is terminated.
import { workerData } from 'node:worker_threads';
import { Doorbell, RingConsumer } from '../index.ts';
import { readRecord } from './traffic.ts';

export interface CrashOptions {
  readonly ring: SharedArrayBuffer;
  readonly consumerDoorbell: SharedArrayBuffer;
  readonly producerDoorbell: SharedArrayBuffer;
  /** Sequence number of the first record that is not released. */
  readonly sequence: number;
  /** Consume so many records further than is released. */
  readonly lag: number;
}

const options = workerData as CrashOptions;
const consumer = new RingConsumer(options.ring);
const consumerDoorbell = new Doorbell(options.consumerDoorbell);
const producerDoorbell = new Doorbell(options.producerDoorbell);
const ready = (): boolean => consumer.readable;
const held: number[] = [];
let { sequence } = options;

for (;;) {
  while (consumer.poll()) {
    consumer.consume(readRecord(consumer, sequence));
    sequence += 1;
    held.push(consumer.position);
    const durable = held.length > options.lag ? held.shift() : undefined;
    if (durable !== undefined) consumer.releaseTo(durable);
    producerDoorbell.ring();
  }
  consumerDoorbell.wait(ready);
}
