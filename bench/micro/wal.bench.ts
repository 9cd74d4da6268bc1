/**
 * The log's own costs: putting a record into the ring, completing it in a batch, and reading a log back. The disk is left
 * out: batches go to memory, and the log to be scanned lies in the page cache.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { LogIndex, RangeId, Term } from '../../src/core/brands.ts';
import {
  createDoorbell,
  createRing,
  Doorbell,
  RingConsumer,
  RingProducer,
} from '../../src/sharedarraybuffer-ring/index.ts';
import { nodeDisk } from '../../src/storage/disk.ts';
import { Batch } from '../../src/storage/wal/batch.ts';
import { TYPE_DATA } from '../../src/storage/wal/format.ts';
import { createIoPool, startWal } from '../../src/storage/wal/pool.ts';
import { WalAppender } from '../../src/storage/wal/record.ts';
import { replayWal, scanWal } from '../../src/storage/wal/recovery.ts';
import { runSuite } from './suite.ts';

const MiB = 1024 * 1024;
const TERM = 1 as Term;
const RANGE = 1 as RangeId;
/** Records at a time. */
const THOUSAND = 1000;
const FEW = 4;
const target = { nextSequence: 1, batchNumber: 0, seed: 12345, roomBytes: 64 * MiB, dataChecksum: 0 };

/** `count` records of `dataBytes` through the ring: encoded; or encoded, completed, and released. */
function records(dataBytes: number, count: number): { encode: () => void; complete: () => void } {
  const ring = createRing({ capacityBytes: 16 * MiB });
  const appender = new WalAppender(new RingProducer(ring, null));
  const consumer = new RingConsumer(ring);
  const batch = new Batch(() => undefined);
  const data = Buffer.alloc(dataBytes, 'x');
  let index = 0;
  const encode = (): void => {
    for (let i = 0; i < count; i++) appender.append(TYPE_DATA, 0, TERM, RANGE, ++index as LogIndex, data, 0, dataBytes);
    appender.publish();
  };
  const drain = (): void => {
    while (consumer.poll()) consumer.consume(consumer.end - consumer.start);
    consumer.release();
  };
  return {
    encode() {
      encode();
      drain();
    },
    complete() {
      encode();
      batch.begin(target);
      batch.take(consumer);
      batch.seal();
      consumer.release();
    },
  };
}

/** A closed log of about `bytes`, in records of `dataBytes`. */
async function makeLog(bytes: number, dataBytes: number): Promise<string> {
  const dir = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-bench-')), 'wal');
  const ring = createRing({ capacityBytes: 8 * MiB });
  const doorbell = createDoorbell();
  const pool = createIoPool(2);
  const wal = await startWal({ dir, pool, workers: [{ ring, doorbell }] });
  const appender = new WalAppender(new RingProducer(ring, new Doorbell(wal.doorbell)));
  const data = Buffer.alloc(dataBytes, 'x');
  for (let index = 1; index * dataBytes < bytes; index++) {
    while (!appender.append(TYPE_DATA, 0, TERM, RANGE, index as LogIndex, data, 0, dataBytes)) {
      appender.publish();
      await new Promise(setImmediate);
    }
  }
  appender.publish();
  await wal.stop();
  await pool.destroy();
  return dir;
}

const small = records(100, THOUSAND);
const medium = records(4096, THOUSAND);
const large = records(900_000, FEW);
const logs = { small: await makeLog(64 * MiB, 200), large: await makeLog(256 * MiB, 500_000) };
const scans = { small: scanWal(nodeDisk, logs.small), large: scanWal(nodeDisk, logs.large) };

await runSuite('wal', [
  { name: 'encode a record of 100 B', run: small.encode, per: THOUSAND },
  { name: 'encode and complete a record of 100 B', run: small.complete, per: THOUSAND },
  { name: 'encode a record of 4 KiB', run: medium.encode, per: THOUSAND },
  { name: 'encode and complete a record of 4 KiB', run: medium.complete, per: THOUSAND },
  { name: 'encode a record of 900 kB', run: large.encode, per: FEW },
  { name: 'encode and complete a record of 900 kB', run: large.complete, per: FEW },
  {
    name: `scan ${scans.small.recordCount} records of 200 B, ${Math.round(scans.small.bytesRead / MiB)} MiB`,
    run: () => {
      scanWal(nodeDisk, logs.small);
    },
  },
  {
    name: `scan ${scans.large.recordCount} records of 500 kB, ${Math.round(scans.large.bytesRead / MiB)} MiB`,
    run: () => {
      scanWal(nodeDisk, logs.large);
    },
  },
  {
    name: 'replay the latter',
    run: () =>
      replayWal(
        nodeDisk,
        logs.large,
        scans.large,
        () => true,
        () => undefined,
      ),
  },
]);

for (const dir of Object.values(logs)) fs.rmSync(path.dirname(dir), { recursive: true });
