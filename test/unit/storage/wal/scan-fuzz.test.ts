/**
 * Logs with random corruptions: a scan either returns a true prefix of what was written, or refuses with KV_CORRUPT; it never
 * returns a wrong record, and never fails in another way. Survey and repair bear with everything too.
 */
import test from 'ava';
import { crc32 } from '../../../../src/codec/crc.ts';
import { SkerryError } from '../../../../src/core/errors.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import type { Prng } from '../../../../src/core/prng.ts';
import { BLOCK_BYTES, DATA_OFFSET, SEGMENT_BYTES_MIN, STATE_CLOSED } from '../../../../src/storage/wal/format.ts';
import { dumpWal, verifyWal } from '../../../../src/storage/wal/inspect.ts';
import { repairWal } from '../../../../src/storage/wal/repair.ts';
import { listSegments, segmentName } from '../../../../src/storage/wal/segment.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { readLog, WAL_DIR, WalHarness } from '../../../support/wal-harness.ts';
import type { LogRecord } from '../../../support/wal-harness.ts';

interface Log {
  readonly disk: FaultyDisk;
  readonly written: readonly string[];
  /** Records of batches that later ones, or a seal, prove to be complete: these may never be cut off. */
  readonly proven: number;
}

function digestOf({ sequence, type, flags, term, rangeId, index, data }: LogRecord): string {
  return `${sequence} ${type} ${flags} ${term} ${rangeId}/${index} ${data.length} ${crc32(data, 0, data.length)}`;
}

/** A log of a few segments, some recycled, some batches long, at times closed. */
function writeLog(seed: number): Log {
  const prng = createPrng(seed);
  const disk = new FaultyDisk(seed);
  // Some logs have segments larger than the reader's window.
  const segmentBytes = seed % 4 === 0 ? 3 * 1024 * 1024 : SEGMENT_BYTES_MIN;
  const idleMarkMs = prng.chance(0.3) ? 0 : Infinity;
  const log = new WalHarness(disk, { workers: 2, wal: { idleMarkMs, segmentBytes } });
  const next = [1, 1, 1, 1];
  const isRecycling = prng.chance(0.5);
  const segments = isRecycling ? 7 : 2;
  while ((log.writer.stats().segmentIds.at(-1) ?? 0) < segments) {
    for (let i = prng.below(6); i >= 0; i--) {
      const rangeId = prng.below(4);
      const bytes = prng.chance(0.2) ? prng.below(150_000) : prng.below(3000);
      const value = Buffer.alloc(bytes, `${rangeId}.${String(next[rangeId])}.`);
      const isTaken = log.append(rangeId + 1, next[rangeId] as number, value, { worker: rangeId % 2 });
      if (isTaken) next[rangeId] = (next[rangeId] as number) + 1;
    }
    if (prng.chance(0.1)) log.hardState(1, 1 + prng.below(5), prng.below(3), 0);
    if (isRecycling && prng.chance(0.05)) {
      for (const id of [0, 1, 2, 3]) log.checkpoint(id + 1, (next[id] as number) - 1, { worker: id % 2 });
    }
    log.flush();
  }
  if (prng.chance(0.3)) log.writer.stop();
  const { records, scan } = readLog(disk);
  let lastBatch = { segment: 0, batch: -1, sequence: 0 };
  dumpWal(disk, WAL_DIR, ({ segment, batch, sequence }) => {
    if (segment !== lastBatch.segment || batch !== lastBatch.batch) lastBatch = { segment, batch, sequence };
  });
  const isClosed = scan.segments.at(-1)?.state === STATE_CLOSED;
  const proven = isClosed ? records.length : records.filter(({ sequence }) => sequence < lastBatch.sequence).length;
  return { disk, written: records.map(digestOf), proven };
}

/** Does one random harm to the log's files. */
function harm(disk: FaultyDisk, prng: Prng): string {
  const ids = listSegments(disk, WAL_DIR);
  const segmentId = ids[prng.below(ids.length)] as number;
  const file = `${WAL_DIR}/${segmentName(segmentId)}`;
  const size = disk.openFile(file, 'r').size();
  const offset = prng.chance(0.3) ? prng.below(DATA_OFFSET + 20 * BLOCK_BYTES) : prng.below(size);
  const block = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
  switch (prng.below(8)) {
    case 0:
    case 1:
      disk.flipBit(file, offset, prng.below(8));
      return `bit flipped in ${segmentId} at ${offset}`;
    case 2:
      disk.patch(file, block, Buffer.alloc(BLOCK_BYTES));
      return `block zeroed in ${segmentId} at ${block}`;
    case 3: {
      const garbage = Buffer.from(Array.from({ length: 1 + prng.below(5000) }, () => prng.below(256)));
      disk.patch(file, offset, garbage.subarray(0, size - offset));
      return `garbage in ${segmentId} at ${offset}`;
    }
    case 4: {
      const from = Math.floor(prng.below(size) / BLOCK_BYTES) * BLOCK_BYTES;
      disk.patch(file, block, disk.bytes(file, from, BLOCK_BYTES));
      return `block ${from} over ${block} in ${segmentId}`;
    }
    case 5: {
      const other = `${WAL_DIR}/${segmentName(ids[prng.below(ids.length)] as number)}`;
      disk.patch(file, block, disk.bytes(other, block, BLOCK_BYTES));
      return `block ${block} of ${other} in ${segmentId}`;
    }
    case 6:
      disk.openFile(file, 'r+').truncate(offset);
      return `${segmentId} truncated to ${offset}`;
    default:
      disk.patch(`${WAL_DIR}/manifest`, prng.below(2 * BLOCK_BYTES), Buffer.of(prng.below(256)));
      return 'manifest';
  }
}

const LOGS = 12;
const HARMS = 60;

for (let seed = 1; seed <= LOGS; seed++) {
  test(`log ${seed}: a harmed log is read truly or refused, and repaired to a true prefix`, (t) => {
    const { disk, written, proven } = writeLog(seed);
    let refused = 0;
    for (let i = 0; i < HARMS; i++) {
      const prng = createPrng(seed * 1000 + i);
      const harmed = disk.clone();
      const story: string[] = [];
      for (let count = prng.below(3); count >= 0; count--) story.push(harm(harmed, prng));
      const told = `seed ${seed}, ${i}: ${story.join(', ')}`;
      const records = scanned(harmed, told);
      if (records === null) refused += 1;
      else if (!isTruePart(records, written)) t.fail(`${told}: a record that was never written`);
      // One harm within a block: damage and a torn tail cannot be mistaken for each other. (Two may look like a torn tail.)
      const isSmall = story.length === 1 && !told.includes('garbage');
      if (isSmall && records !== null && records.length < proven)
        t.fail(`${told}: ${records.length} of ${proven} records`);
      const verdict = verifyWal(harmed, WAL_DIR);
      if (verdict.isUsable !== (records !== null)) t.fail(`${told}: verify says usable = ${verdict.isUsable}`);
      if (i % 3 !== 0) continue;
      try {
        repairWal(harmed, WAL_DIR, 'cut', 1);
      } catch (error) {
        if (!(error instanceof SkerryError) || error.code !== 'KV_CORRUPT') throw new Error(told, { cause: error });
        continue;
      }
      const repaired = scanned(harmed, told);
      if (repaired === null) t.fail(`${told}: repaired, and still refused`);
      else if (!isTruePart(repaired, written)) t.fail(`${told}: repaired to what was never written`);
    }
    t.true(refused > HARMS / 6 && refused < HARMS, `${refused} of ${HARMS} refused`);
  });
}

/** Null when the scan refuses. */
function scanned(disk: FaultyDisk, told: string): string[] | null {
  try {
    return readLog(disk).records.map(digestOf);
  } catch (error) {
    if (error instanceof SkerryError && error.code === 'KV_CORRUPT') return null;
    throw new Error(told, { cause: error });
  }
}

/** What was written, from the beginning, without holes. */
function isTruePart(records: readonly string[], written: readonly string[]): boolean {
  return records.every((record, i) => record === written[i]);
}
