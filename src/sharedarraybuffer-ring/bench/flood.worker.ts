// Produces `count` records of `recordBytes` as fast as the ring takes them.
import { workerData } from 'node:worker_threads';
import { Doorbell, RingProducer } from '../index.ts';

const { ring, consumerDoorbell, producerDoorbell, count, recordBytes } = workerData as {
  ring: SharedArrayBuffer;
  consumerDoorbell: SharedArrayBuffer;
  producerDoorbell: SharedArrayBuffer;
  count: number;
  recordBytes: number;
};
const producer = new RingProducer(ring, new Doorbell(consumerDoorbell));
const room = new Doorbell(producerDoorbell);
for (let i = 0; i < count; i++) {
  let at = producer.reserve(recordBytes);
  if (at < 0) {
    producer.publish();
    while (at < 0) {
      room.wait(() => producer.reserve(recordBytes) >= 0);
      at = producer.reserve(recordBytes);
    }
  }
  producer.buffer[at] = i;
  producer.commit(recordBytes);
  if (i % 64 === 63) producer.publish();
}
producer.publish();
