/** The ring with both ends in one thread: what writing, publishing, reading and releasing a record of 128 bytes costs by itself. */
import {
  createDoorbell,
  createRing,
  Doorbell,
  RingConsumer,
  RingProducer,
} from '../../src/sharedarraybuffer-ring/index.ts';
import { runSuite } from './suite.ts';

const CAPACITY_BYTES = 2 ** 20;
const RECORD_BYTES = 128;
const BATCH = 64;

/** Passes `records` records with one publish and one release. */
function passing(records: number): () => void {
  const ring = createRing({ capacityBytes: CAPACITY_BYTES });
  const producer = new RingProducer(ring, new Doorbell(createDoorbell()));
  const consumer = new RingConsumer(ring);
  return () => {
    for (let record = 0; record < records; record++) {
      producer.buffer[producer.reserve(RECORD_BYTES)] = record;
      producer.commit(RECORD_BYTES);
    }
    producer.publish();
    while (consumer.poll()) consumer.consume(consumer.end - consumer.start);
    consumer.release();
  };
}

await runSuite('ring, both ends in one thread', [
  { name: 'a record: reserve … release', run: passing(1) },
  { name: 'the same, 64 to a publish', run: passing(BATCH), per: BATCH },
]);
