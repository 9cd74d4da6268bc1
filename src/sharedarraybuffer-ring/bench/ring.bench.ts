// What a ring costs: one thread by itself (benny), and records between two threads. Run it with
//   node src/sharedarraybuffer-ring/bench/ring.bench.ts
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import benny from 'benny';
import { createDoorbell, createRing, Doorbell, RingConsumer, RingProducer } from '../index.ts';

const CAPACITY_BYTES = 4 * 1024 * 1024;

await benny.suite(
  'ring, one thread',
  benny.add('reserve, commit, publish, poll, consume, release: 128 bytes', () => {
    const ring = createRing({ capacityBytes: CAPACITY_BYTES });
    const producer = new RingProducer(ring, null);
    const consumer = new RingConsumer(ring);
    return () => {
      const at = producer.reserve(128);
      producer.buffer[at] = 1;
      producer.commit(128);
      producer.publish();
      consumer.poll();
      consumer.consume(128);
      consumer.release();
    };
  }),
  benny.add('the same, 64 records to a publish', () => {
    const ring = createRing({ capacityBytes: CAPACITY_BYTES });
    const producer = new RingProducer(ring, null);
    const consumer = new RingConsumer(ring);
    return () => {
      for (let i = 0; i < 64; i++) {
        producer.reserve(128);
        producer.commit(128);
      }
      producer.publish();
      while (consumer.poll()) consumer.consume(consumer.end - consumer.start);
      consumer.release();
    };
  }),
  benny.cycle(),
  benny.complete(),
);

for (const [recordBytes, count] of [
  [64, 5_000_000],
  [128, 5_000_000],
  [4096, 500_000],
] as const) {
  const seconds = await flood(recordBytes, count);
  const perSecond = count / seconds;
  const line = `two threads, ${recordBytes} bytes: ${(perSecond / 1e6).toFixed(2)} M records/s, ${((perSecond * recordBytes) / 1e6).toFixed(0)} MB/s`;
  process.stdout.write(`${line}\n`);
}

/** Takes `count` records from another thread; seconds from the first to the last. */
async function flood(recordBytes: number, count: number): Promise<number> {
  const ring = createRing({ capacityBytes: CAPACITY_BYTES });
  const consumerDoorbell = createDoorbell();
  const producerDoorbell = createDoorbell();
  const worker = new Worker(new URL('./flood.worker.ts', import.meta.url), {
    workerData: { ring, consumerDoorbell, producerDoorbell, count, recordBytes },
  });
  const consumer = new RingConsumer(ring);
  const news = new Doorbell(consumerDoorbell);
  const room = new Doorbell(producerDoorbell);
  // The worker's thread starts on its own; waiting for it must not block the loop that starts it.
  await once(worker, 'online');
  const beginMs = performance.now();
  for (let left = count * recordBytes; left > 0;) {
    news.wait(() => consumer.readable);
    while (consumer.poll()) {
      const bytes = consumer.end - consumer.start;
      consumer.consume(bytes);
      left -= bytes;
    }
    consumer.release();
    room.ring();
  }
  const seconds = (performance.now() - beginMs) / 1000;
  await worker.terminate();
  return seconds;
}
