// Records for the tests with real threads: each carries its length, a sequence number and a checksum over random bytes, and
// both ends of a stream of them. A step goes on until it has to wait; how the thread waits is its main's business.
//
//   ┌─────────┬──────────┬────────────────────┬─────────┐
//   │ u32 len │ u32 seq  │ u32 crc32(payload) │ payload │
//   └─────────┴──────────┴────────────────────┴─────────┘
import { crc32 } from 'node:zlib';
import type { Doorbell, RingConsumer, RingProducer } from '../index.ts';

export const HEADER_BYTES = 12;
const POOL_BYTES = 1 << 16;
const POOL = Buffer.alloc(POOL_BYTES, 'no two windows of this pool are alike, for its length is odd; ');

/** Marsaglia's xorshift32: the same sizes in every run of a seed. Returns an unsigned 32-bit integer. */
export function xorshift32(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Writes a record of `bytes` in all (≥ HEADER_BYTES) at `offset`. */
export function writeRecord(buffer: Buffer, offset: number, bytes: number, sequence: number, random: number): void {
  const payloadBytes = bytes - HEADER_BYTES;
  const from = random % (POOL_BYTES - payloadBytes);
  const payload = offset + HEADER_BYTES;
  POOL.copy(buffer, payload, from, from + payloadBytes);
  buffer.writeUInt32LE(bytes, offset);
  buffer.writeUInt32LE(sequence, offset + 4);
  buffer.writeUInt32LE(crc32(buffer.subarray(payload, payload + payloadBytes)), offset + 8);
}

/** Checks the record at `start` and returns its length in bytes. Throws when it is not what was written. */
export function readRecord(consumer: RingConsumer, sequence: number): number {
  const { buffer, start, end } = consumer;
  const bytes = buffer.readUInt32LE(start);
  if (bytes < HEADER_BYTES || start + bytes > end) {
    throw new Error(`record ${sequence} has ${bytes} bytes, and ${end - start} are there`);
  }
  const found = buffer.readUInt32LE(start + 4);
  if (found !== sequence) throw new Error(`record ${found} came where ${sequence} was due`);
  const crc = crc32(buffer.subarray(start + HEADER_BYTES, start + bytes));
  if (crc !== buffer.readUInt32LE(start + 8)) throw new Error(`record ${sequence} is damaged`);
  return bytes;
}

/** One end of a stream. `step` returns true at its end; false when it has to wait until `ready`. */
export interface Stream {
  step(): boolean;
  ready(): boolean;
  finalPosition(): number;
}

/** Writes `records` records of random sizes, publishes in batches of random length, and ends when all are released. */
export function producing(producer: RingProducer, records: number, recordBytesMax: number, seed: number): Stream {
  const random = xorshift32(seed);
  let sequence = 0;
  let bytes = 0;
  const drawSize = (): void => {
    // Mostly short records, now and then a long one.
    const max = (random() & 31) === 0 ? recordBytesMax : Math.min(recordBytesMax, 160);
    bytes = HEADER_BYTES + (random() % (max - HEADER_BYTES + 1));
  };
  drawSize();
  return {
    step: () => {
      while (sequence < records) {
        const offset = producer.reserve(bytes);
        if (offset === -1) {
          producer.publish();
          return false;
        }
        writeRecord(producer.buffer, offset, bytes, sequence >>> 0, random());
        producer.commit(bytes);
        if ((random() & 7) === 0) producer.publish();
        sequence += 1;
        drawSize();
      }
      producer.publish();
      return producer.released() === producer.position;
    },
    ready: () => (sequence < records ? producer.reserve(bytes) !== -1 : producer.released() === producer.position),
    finalPosition: () => producer.position,
  };
}

/** Reads and checks `records` records; releases now and then, and everything before it waits. */
export function consuming(consumer: RingConsumer, records: number, producerDoorbell: Doorbell, seed: number): Stream {
  const random = xorshift32(seed);
  let sequence = 0;
  const give = (): void => {
    consumer.release();
    producerDoorbell.ring();
  };
  return {
    step: () => {
      while (consumer.poll()) {
        while (consumer.start < consumer.end) {
          consumer.consume(readRecord(consumer, sequence));
          sequence += 1;
          if ((random() & 15) === 0) give();
        }
      }
      give();
      return sequence === records;
    },
    ready: () => consumer.readable,
    finalPosition: () => consumer.position,
  };
}
