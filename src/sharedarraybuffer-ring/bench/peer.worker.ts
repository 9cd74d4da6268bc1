// Thread main: the other side of the two-thread measurements.
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { Doorbell, RingProducer } from '../index.ts';
import { Waking } from './waking.ts';

export interface FloodOptions {
  readonly task: 'flood';
  readonly ring: SharedArrayBuffer;
  readonly consumerDoorbell: SharedArrayBuffer;
  readonly producerDoorbell: SharedArrayBuffer;
  readonly records: number;
  readonly recordBytes: number;
  readonly recordsPerPublish: number;
}

export interface EchoOptions {
  readonly task: 'echo';
  readonly waking: SharedArrayBuffer;
  readonly ownDoorbell: SharedArrayBuffer;
  readonly otherDoorbell: SharedArrayBuffer;
  readonly waiting: 'blocking' | 'async';
}

assert(parentPort !== null);
const port = parentPort;
const options = workerData as FloodOptions | EchoOptions;

/** Writes every byte of every record: a length in front, then a payload that is copied in. */
function flood({ records, recordBytes, recordsPerPublish, ...shared }: FloodOptions): void {
  const producer = new RingProducer(shared.ring, new Doorbell(shared.consumerDoorbell));
  const room = new Doorbell(shared.producerDoorbell);
  const payload = Buffer.alloc(recordBytes - 4, 'payload');
  const ready = (): boolean => producer.reserve(recordBytes) !== -1;
  for (let record = 1; record <= records; record += 1) {
    let offset = producer.reserve(recordBytes);
    while (offset === -1) {
      producer.publish();
      room.wait(ready);
      offset = producer.reserve(recordBytes);
    }
    producer.buffer.writeUInt32LE(recordBytes, offset);
    payload.copy(producer.buffer, offset + 4);
    producer.commit(recordBytes);
    if (record % recordsPerPublish === 0) producer.publish();
  }
  producer.publish();
}

function echo({ waking: shared, ownDoorbell, otherDoorbell, waiting }: EchoOptions): void {
  const waking = new Waking(shared);
  const own = new Doorbell(ownDoorbell);
  const other = new Doorbell(otherDoorbell);
  const ready = waking.isAnswerersTurn;
  const answer = (): void => {
    if (ready()) waking.answer(other);
  };
  if (waiting === 'blocking') {
    for (;;) {
      own.wait(ready);
      answer();
    }
  }
  // A pending park keeps no thread alive: the open port does.
  port.on('message', () => undefined);
  const turn = (): void => {
    do answer();
    while (!own.park(ready, turn));
  };
  turn();
}

if (options.task === 'flood') flood(options);
else echo(options);
