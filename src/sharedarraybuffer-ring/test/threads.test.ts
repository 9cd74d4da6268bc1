// Two real threads at one ring: nothing lost, nothing torn, nothing hangs.
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { createDoorbell, createRing, Doorbell, RingConsumer, RingProducer } from '../index.ts';
import type { CrashOptions } from './crash.worker.ts';
import { runReporting } from './reporting.ts';
import { HEADER_BYTES, readRecord, writeRecord, xorshift32 } from './traffic.ts';
import type { TrafficOptions, TrafficReport } from './traffic.worker.ts';

interface Traffic {
  readonly capacityBytes: number;
  readonly startPosition: number;
  readonly records: number;
  readonly recordBytesMax: number;
  readonly producer: TrafficOptions['waiting'];
  readonly consumer: TrafficOptions['waiting'];
}

function runEnd(options: TrafficOptions): Promise<TrafficReport> {
  return runReporting('traffic.worker.ts', options);
}

async function runTraffic(t: ExecutionContext, traffic: Traffic): Promise<void> {
  const { capacityBytes, startPosition, records, recordBytesMax } = traffic;
  const shared = {
    ring: createRing({ capacityBytes, startPosition }),
    producerDoorbell: createDoorbell(),
    consumerDoorbell: createDoorbell(),
    records,
    recordBytesMax,
    seed: 20_260_101,
  };
  const startedMs = performance.now();
  const [consumed, produced] = await Promise.all([
    runEnd({ ...shared, role: 'consumer', waiting: traffic.consumer }),
    runEnd({ ...shared, role: 'producer', waiting: traffic.producer }),
  ]);
  const bytes = produced.finalPosition - startPosition;
  t.is(consumed.finalPosition, produced.finalPosition);
  t.true(bytes > records * HEADER_BYTES);
  t.true(produced.parkings > 0, 'the ring was never full');
  t.log(
    `${records} records, ${Math.round(bytes / 2 ** 20)} MiB, ${Math.round(performance.now() - startedMs)} ms; ` +
      `parked: producer ${produced.parkings}, consumer ${consumed.parkings} times`,
  );
}

test.serial('millions of records of random sizes arrive whole and in order, across the wrap of u32', async (t) => {
  t.timeout(60_000);
  await runTraffic(t, {
    capacityBytes: 2 ** 16,
    startPosition: 2 ** 32 - 50_000_001,
    records: 2_000_000,
    recordBytesMax: 2 ** 12,
    producer: 'blocking',
    consumer: 'blocking',
  });
});

test.serial('a full ring holds a blocking producer back until there is room', async (t) => {
  t.timeout(60_000);
  await runTraffic(t, {
    capacityBytes: 512,
    startPosition: 2 ** 31 - 100_001,
    records: 100_000,
    recordBytesMax: 256,
    producer: 'blocking',
    consumer: 'async',
  });
});

test.serial('a full ring holds a producer with an event loop back until there is room', async (t) => {
  t.timeout(60_000);
  await runTraffic(t, {
    capacityBytes: 512,
    startPosition: 2 ** 32 - 100_001,
    records: 100_000,
    recordBytesMax: 256,
    producer: 'async',
    consumer: 'blocking',
  });
});

test.serial('two event loops exchange a million records', async (t) => {
  t.timeout(60_000);
  await runTraffic(t, {
    capacityBytes: 2 ** 16,
    startPosition: 0,
    records: 1_000_000,
    recordBytesMax: 2 ** 15,
    producer: 'async',
    consumer: 'async',
  });
});

test.serial(
  'when a consumer dies the ring stands still, and the next one goes on at the released position',
  async (t) => {
    t.timeout(60_000);
    const ring = createRing({ capacityBytes: 1024, startPosition: 2 ** 32 - 20_000 });
    const doorbells = { consumerDoorbell: createDoorbell(), producerDoorbell: createDoorbell() };
    const consumerDoorbell = new Doorbell(doorbells.consumerDoorbell);
    const producerDoorbell = new Doorbell(doorbells.producerDoorbell);
    const producer = new RingProducer(ring, consumerDoorbell);
    const random = xorshift32(77);
    const ends = [producer.position];
    const fill = (): void => {
      for (;;) {
        const bytes = HEADER_BYTES + (random() % 100);
        const offset = producer.reserve(bytes);
        if (offset === -1) break;
        writeRecord(producer.buffer, offset, bytes, ends.length - 1, random());
        producer.commit(bytes);
        ends.push(producer.position);
      }
      producer.publish();
    };
    const mayGoOn = (): boolean => producer.reserve(HEADER_BYTES + 100) !== -1;
    // Which record a position ends: a skip behind it may be released with it.
    const sequenceAt = (position: number): number => ends.findLastIndex((end) => end <= position);

    for (let life = 0; life < 12; life += 1) {
      const sequence = sequenceAt(producer.released());
      const lag = life % 4;
      const crash: CrashOptions = { ring, ...doorbells, sequence, lag };
      const worker = new Worker(new URL('crash.worker.ts', import.meta.url), { workerData: crash });
      const failed = once(worker, 'error');
      const target = ends.length + 500 + (random() % 500);
      while (ends.length < target) {
        fill();
        const woken = new Promise<void>((resolve) => {
          if (!producerDoorbell.park(mayGoOn, resolve)) resolve();
        });
        await Promise.race([
          woken,
          failed.then(([error]) => {
            throw error as Error;
          }),
        ]);
        producerDoorbell.unpark();
      }
      await worker.terminate();

      const released = producer.released();
      fill();
      t.false(mayGoOn(), 'a ring without a consumer fills up');
      producer.publish();
      await nextTurn();
      t.is(producer.released(), released, 'nobody releases in the name of the dead');
      t.is(new RingConsumer(ring).position, released);
    }

    const last = new RingConsumer(ring);
    let sequence = sequenceAt(last.position);
    for (; last.poll(); sequence += 1) last.consume(readRecord(last, sequence));
    last.release();
    t.is(sequence, ends.length - 1, 'every record was seen');
    t.is(producer.released(), producer.position);
    t.true(producer.position > 2 ** 32);
  },
);
