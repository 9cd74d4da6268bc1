// What a ring costs between two threads: records, and waking the other thread. Run it with
//
//     node src/sharedarraybuffer-ring/bench/ring.bench.ts
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { createDoorbell, createRing, Doorbell, RingConsumer } from '../index.ts';
import type { EchoOptions, FloodOptions } from './peer.worker.ts';
import { settle, Waking, WAKING_BYTES } from './waking.ts';

const CAPACITY_BYTES = 2 ** 20;
const RUNS = 5;
const ROUNDS = 3000;

function startPeer(workerData: FloodOptions | EchoOptions): Worker {
  return new Worker(new URL('peer.worker.ts', import.meta.url), { workerData });
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Takes records from another thread, which writes all their bytes; reads of each its length. Returns the seconds it took. */
async function measureFlood(records: number, recordBytes: number, recordsPerPublish: number): Promise<number> {
  const ring = createRing({ capacityBytes: CAPACITY_BYTES });
  const [consumerDoorbell, producerDoorbell] = [createDoorbell(), createDoorbell()];
  const peer = startPeer({
    task: 'flood',
    ring,
    consumerDoorbell,
    producerDoorbell,
    records,
    recordBytes,
    recordsPerPublish,
  });
  const exited = once(peer, 'exit');
  // This thread blocks below, and a worker needs its parent's event loop to start.
  await once(peer, 'online');
  const consumer = new RingConsumer(ring);
  const own = new Doorbell(consumerDoorbell);
  const room = new Doorbell(producerDoorbell);
  const ready = (): boolean => consumer.readable;
  own.wait(ready);
  const startedMs = performance.now();
  for (let left = records; left > 0;) {
    while (consumer.poll()) {
      let at = consumer.start;
      for (; at < consumer.end; left -= 1) at += consumer.buffer.readUInt32LE(at);
      consumer.consume(at - consumer.start);
      consumer.release();
      room.ring();
    }
    if (left > 0) own.wait(ready);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  await exited;
  return seconds;
}

/**
 * Wakes a sleeping thread and is woken from sleep by it. Returns the microseconds of the rounds in which this thread slept too:
 * in others the system ran the woken thread in its place, on the same core, and this one found its answer without parking.
 */
async function measureRoundTrips(waiting: EchoOptions['waiting']): Promise<number[]> {
  const shared = new SharedArrayBuffer(WAKING_BYTES);
  const [ownDoorbell, otherDoorbell] = [createDoorbell(), createDoorbell()];
  const peer = startPeer({
    task: 'echo',
    waking: shared,
    ownDoorbell: otherDoorbell,
    otherDoorbell: ownDoorbell,
    waiting,
  });
  await once(peer, 'online');
  const waking = new Waking(shared);
  const own = new Doorbell(ownDoorbell);
  const other = new Doorbell(otherDoorbell);
  const microseconds: number[] = [];
  // The first rounds meet code that is not compiled yet.
  for (let round = -ROUNDS / 10; round < ROUNDS; round += 1) {
    settle();
    const rungNs = waking.ask(other);
    let parked = false;
    while (!waking.isAskersTurn()) {
      parked = true;
      if (waiting === 'blocking') own.wait(waking.isAskersTurn);
      else {
        await new Promise<void>((resolve) => {
          if (!own.park(waking.isAskersTurn, resolve)) resolve();
        });
      }
    }
    const roundTripUs = waking.roundTripUs(rungNs);
    if (round >= 0 && parked) microseconds.push(roundTripUs);
  }
  await peer.terminate();
  return microseconds;
}

for (const [records, recordBytes] of [
  [2_000_000, 64],
  [2_000_000, 128],
  [200_000, 4096],
] as const) {
  for (const recordsPerPublish of [1, 64]) {
    const seconds: number[] = [];
    for (let run = 0; run < RUNS; run += 1) seconds.push(await measureFlood(records, recordBytes, recordsPerPublish));
    const perSecond = records / quantile(seconds, 0.5);
    const megabytes = (perSecond * recordBytes) / 1e6;
    const [slowest, fastest] = [records / Math.max(...seconds) / 1e6, records / Math.min(...seconds) / 1e6];
    process.stdout.write(
      `two threads, ${recordBytes} bytes, ${recordsPerPublish} to a publish: ${(perSecond / 1e6).toFixed(2)} M records/s, ` +
        `${megabytes.toFixed(0)} MB/s (median of ${RUNS}; ${slowest.toFixed(2)} to ${fastest.toFixed(2)} M)\n`,
    );
  }
}

for (const waiting of ['blocking', 'async'] as const) {
  const microseconds = await measureRoundTrips(waiting);
  process.stdout.write(
    `wake a sleeping thread and be woken by it, ${waiting}: p50 ${quantile(microseconds, 0.5).toFixed(0)} µs, ` +
      `p99 ${quantile(microseconds, 0.99).toFixed(0)} µs (${microseconds.length} of ${ROUNDS} rounds, in which both slept)\n`,
  );
}
