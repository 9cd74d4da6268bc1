/** What a start makes of a log after a crash: the torn tail is cut, damage anywhere else is refused. FAILURES 9, 12, 14, 15. */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { crc32 } from '../../../../src/codec/crc.ts';
import type { SkerryError } from '../../../../src/core/errors.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import { BLOCK_BYTES, DATA_OFFSET, FLAG_BATCH_LAST, FLAGS_AT } from '../../../../src/storage/wal/format.ts';
import { replayWal, scanWal } from '../../../../src/storage/wal/recovery.ts';
import type { ScannedSegment } from '../../../../src/storage/wal/recovery.ts';
import { openWal } from '../../../../src/storage/wal/run.ts';
import { segmentName } from '../../../../src/storage/wal/segment.ts';
import { FaultyDisk, SimulatedCrash } from '../../../support/faulty-disk.ts';
import { collectRecords, readLog, WAL_DIR, WalHarness } from '../../../support/wal-harness.ts';
import type { LogRecord } from '../../../support/wal-harness.ts';

const SEGMENT_1 = `${WAL_DIR}/${segmentName(1)}`;

/** A value that names its writer: no two records have the same. */
function valueOf(rangeId: number, index: number, bytes: number): Buffer {
  const value = Buffer.alloc(bytes, (rangeId * 31 + index) % 251);
  value.write(`${rangeId}/${index};`);
  return value;
}

/** A log of `batches` batches, each of several records of two ranges, the last one synced too. */
function writeLog(disk: FaultyDisk, batches: number, recordsPerBatch = 4, bytes = 700): LogRecord[] {
  const log = new WalHarness(disk);
  for (let batch = 0; batch < batches; batch++) {
    for (let i = 0; i < recordsPerBatch; i++) {
      const rangeId = 1 + (i % 2);
      const index = 1 + Math.floor((batch * recordsPerBatch + i) / 2);
      log.append(rangeId, index, valueOf(rangeId, index, bytes));
    }
    log.turn();
  }
  return readLog(disk).records;
}

/** Where each batch of segment 1 begins and ends. */
function batchesOf(disk: FaultyDisk): { start: number; end: number; records: number }[] {
  const batches: { start: number; end: number; records: number }[] = [];
  let position = DATA_OFFSET;
  for (;;) {
    const start = position;
    let records = 0;
    for (;;) {
      const header = disk.bytes(SEGMENT_1, position, 32);
      const length = header.readUInt32LE(24);
      if (length === 0) return batches;
      records += 1;
      position += 32 + Math.ceil(length / 8) * 8;
      if (((header[FLAGS_AT] as number) & FLAG_BATCH_LAST) !== 0) break;
    }
    position = Math.ceil(position / BLOCK_BYTES) * BLOCK_BYTES;
    batches.push({ start, end: position, records });
  }
}

/** Opens, checks that the log is a prefix with at least `least` records, goes on writing, and reads it all back. */
function assertRecovers(t: ExecutionContext, disk: FaultyDisk, all: LogRecord[], least: number): void {
  const before = readLog(disk).records;
  t.true(before.length >= least, `${before.length} of at least ${least} records`);
  t.deepEqual(before, all.slice(0, before.length));
  const log = new WalHarness(disk);
  log.append(9, 1, 'written after the crash');
  log.flush();
  t.true(log.isDurable);
  const after = readLog(disk).records;
  t.deepEqual(after.slice(0, before.length), before);
  t.is(after.length, before.length + 1);
  t.is(after.at(-1)?.data.toString(), 'written after the crash');
}

test('every byte position of the last block torn: acknowledged records stay, the log goes on', (t) => {
  const disk = new FaultyDisk(1);
  const all = writeLog(disk, 3);
  const last = batchesOf(disk).at(-1) as { start: number; end: number; records: number };
  const acknowledged = all.length - last.records;
  const whole = disk.bytes(SEGMENT_1, last.start, last.end - last.start);
  const block = last.end - BLOCK_BYTES - last.start;
  for (let cut = 0; cut <= BLOCK_BYTES; cut++) {
    const torn = disk.clone();
    const bytes = Buffer.from(whole);
    bytes.fill(0, block + cut);
    torn.patch(SEGMENT_1, last.start, bytes);
    const { records } = readLog(torn);
    if (records.length < acknowledged) t.fail(`cut at ${cut}: ${records.length} records`);
    for (const [i, record] of records.entries()) {
      if (!record.data.equals((all[i] as LogRecord).data)) t.fail(`cut at ${cut}: record ${i} is not what was written`);
    }
    if (cut % 256 === 0) assertRecovers(t, torn, all, acknowledged);
  }
});

test('any subset of the last batch’s blocks lost: a torn tail, acknowledged records stay', (t) => {
  const disk = new FaultyDisk(1);
  const all = writeLog(disk, 3, 12, 3000);
  const last = batchesOf(disk).at(-1) as { start: number; end: number; records: number };
  const blocks = (last.end - last.start) / BLOCK_BYTES;
  t.true(blocks >= 8);
  for (let subset = 0; subset < 2 ** blocks; subset += blocks > 8 ? 3 : 1) {
    const torn = disk.clone();
    for (let i = 0; i < blocks; i++) {
      if ((subset & (1 << i)) === 0) torn.patch(SEGMENT_1, last.start + i * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES));
    }
    const { records } = readLog(torn);
    if (records.length < all.length - last.records) t.fail(`subset ${subset}: ${records.length} records`);
    if (subset % 64 === 0) assertRecovers(t, torn, all, all.length - last.records);
  }
});

test('the same over a recycled segment, whose stale records lie where the lost blocks were', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk);
  let index = 0;
  const zeros = Buffer.alloc(BLOCK_BYTES);
  for (;;) {
    for (let i = 0; i < 3; i++) log.append(1, ++index, valueOf(1, index, 3000));
    log.flush();
    const last = scanWal(disk, WAL_DIR).segments.at(-1) as ScannedSegment;
    const behind = disk.bytes(`${WAL_DIR}/${segmentName(last.segmentId)}`, last.dataEnd + BLOCK_BYTES, BLOCK_BYTES);
    if (!behind.equals(zeros) && last.entryCount > 6) break;
    if (last.entryCount > 200) log.checkpoint(1, index);
  }
  const all = readLog(disk).records;
  const { segmentId, dataEnd, lastBatchStart } = scanWal(disk, WAL_DIR).segments.at(-1) as ScannedSegment;
  const file = `${WAL_DIR}/${segmentName(segmentId)}`;
  // What is on the platter where a block was lost: the file's earlier life.
  const stale = disk.bytes(file, dataEnd + BLOCK_BYTES, BLOCK_BYTES);
  for (let at = lastBatchStart; at < dataEnd; at += BLOCK_BYTES) {
    const torn = disk.clone();
    torn.patch(file, at, stale);
    assertRecovers(t, torn, all, all.length - 3);
  }
});

test('FAILURES 15: a flipped bit in an acknowledged batch is refused with file and offset, never cut off', (t) => {
  const disk = new FaultyDisk(1);
  writeLog(disk, 4);
  const batches = batchesOf(disk);
  const prng = createPrng(7);
  for (const { start, end } of batches.slice(0, -1)) {
    const size = end - start;
    for (let i = 0; i < 150; i++) {
      const offset = start + prng.below(size);
      const harmed = disk.clone();
      harmed.flipBit(SEGMENT_1, offset, prng.below(8));
      const before = harmed.bytes(SEGMENT_1, 0, 4 * BLOCK_BYTES);
      const outcome = attempt(() => scanWal(harmed, WAL_DIR));
      if (outcome === null) {
        // Padding carries nothing.
        const records = readLog(harmed).records.length;
        if (records !== 16) t.fail(`bit at ${offset}: ${records} records and no error`);
        continue;
      }
      if (outcome.code !== 'KV_CORRUPT') t.fail(`bit at ${offset}: ${outcome.message}`);
      const { offset: told } = outcome.hint as { offset: number };
      if (!(told >= start && told <= offset)) t.fail(`bit at ${offset}: told ${told}`);
      t.true(outcome.message.includes(SEGMENT_1) && outcome.message.includes('skerry wal verify'));
      t.true(harmed.bytes(SEGMENT_1, 0, 4 * BLOCK_BYTES).equals(before));
    }
  }
});

test('FAILURES 15: once the log was idle, a flipped bit in its last batch is refused too', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk, { wal: { idleMarkMs: 0 } });
  log.append(1, 1, valueOf(1, 1, 100));
  log.turn();
  log.turn();
  t.is(log.writer.stats().syncCount, 2);
  t.is(readLog(disk).records.length, 1);
  disk.flipBit(SEGMENT_1, DATA_OFFSET + 60, 3);
  t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT' });
});

test('FAILURES 15: a whole block of an acknowledged batch zeroed is refused', (t) => {
  const disk = new FaultyDisk(1);
  writeLog(disk, 3, 12, 3000);
  const first = batchesOf(disk)[0] as { start: number; end: number };
  for (let at = first.start; at < first.end - BLOCK_BYTES; at += BLOCK_BYTES) {
    const harmed = disk.clone();
    harmed.patch(SEGMENT_1, at, Buffer.alloc(BLOCK_BYTES));
    t.throws(() => scanWal(harmed, WAL_DIR), { code: 'KV_CORRUPT' });
  }
});

test('a missing segment is refused: the first, one in the middle, the last, all', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk);
  for (let index = 1; log.writer.stats().segmentIds.length < 4; index++) {
    log.append(1, index, valueOf(1, index, 60_000));
    log.flush();
  }
  log.writer.stop();
  for (const missing of [[1], [2], [3], [4], [3, 4], [1, 2, 3, 4]]) {
    const harmed = disk.clone();
    for (const id of missing) harmed.unlink(`${WAL_DIR}/${segmentName(id)}`);
    const error = t.throws(() => scanWal(harmed, WAL_DIR), { code: 'KV_CORRUPT' });
    t.true(error?.message.includes(segmentName(missing[0] as number)), error?.message);
    t.throws(() => openWal(harmed, WAL_DIR, log.segmentBytes), { code: 'KV_CORRUPT' });
  }
});

test('the last segment missing is refused after a clean stop and a new start, too', (t) => {
  const disk = new FaultyDisk(1);
  const first = new WalHarness(disk);
  first.append(1, 1, 'a');
  first.flush();
  first.writer.stop();
  const second = new WalHarness(disk);
  second.append(1, 2, 'b');
  second.flush();
  disk.unlink(`${WAL_DIR}/${segmentName(2)}`);
  t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT', message: /0000000000000002\.wal/ });
});

test('a truncated segment is refused', (t) => {
  const disk = new FaultyDisk(1);
  writeLog(disk, 3);
  for (const bytes of [0, 100, DATA_OFFSET, DATA_OFFSET + BLOCK_BYTES, 500_000]) {
    const harmed = disk.clone();
    harmed.openFile(SEGMENT_1, 'r+').truncate(bytes);
    t.throws(() => scanWal(harmed, WAL_DIR), { code: 'KV_CORRUPT' });
  }
});

test('a damaged header is refused while the segment is open, and made good by its seal afterwards', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk);
  log.append(1, 1, 'a');
  log.flush();
  const open = disk.clone();
  open.flipBit(SEGMENT_1, 20, 1);
  t.throws(() => scanWal(open, WAL_DIR), { code: 'KV_CORRUPT' });
  log.writer.stop();
  disk.flipBit(SEGMENT_1, 20, 1);
  t.is(readLog(disk).records.length, 1);
});

test('a manifest with one damaged slot is good, with two it is refused', (t) => {
  const disk = new FaultyDisk(1);
  writeLog(disk, 2);
  disk.flipBit(`${WAL_DIR}/manifest`, 9, 1);
  t.is(readLog(disk).records.length, 8);
  disk.flipBit(`${WAL_DIR}/manifest`, BLOCK_BYTES + 9, 1);
  t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT', message: /manifest/ });
});

test('records of the sealed part that do not match the seal are refused', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk);
  log.append(1, 1, 'a');
  log.flush();
  log.append(1, 2, 'b');
  log.flush();
  log.writer.stop();
  disk.patch(SEGMENT_1, DATA_OFFSET + BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES));
  t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT' });
});

test('recovering twice, or crashing at any step of a recovery, gives the same log', (t) => {
  const disk = new FaultyDisk(3);
  const all = writeLog(disk, 3);
  const last = batchesOf(disk).at(-1) as { start: number; end: number; records: number };
  disk.patch(SEGMENT_1, last.start + 1500, Buffer.alloc(3000));
  const expected = readLog(disk).records;
  t.true(expected.length >= all.length - last.records && expected.length < all.length);
  const steps = ((): number => {
    const copy = disk.clone();
    openWal(copy, WAL_DIR, 1024 * 1024 + DATA_OFFSET + BLOCK_BYTES);
    return copy.operations;
  })();
  t.true(steps >= 4);
  for (let step = 0; step <= steps; step++) {
    for (let seed = 1; seed <= 8; seed++) {
      const copy = disk.clone(seed * 100 + step);
      copy.faults.crashAfter = step;
      const crashed = attempt(() => openWal(copy, WAL_DIR, 1024 * 1024 + DATA_OFFSET + BLOCK_BYTES));
      t.true(crashed === null || crashed instanceof SimulatedCrash, String(crashed));
      copy.crash();
      t.deepEqual(readLog(copy).records, expected);
      assertRecovers(t, copy, expected, expected.length);
    }
  }
});

test('a crash at any operation of a busy log loses nothing that was acknowledged', (t) => {
  for (let seed = 1; seed <= 120; seed++) {
    const prng = createPrng(seed);
    const disk = new FaultyDisk(seed);
    let acknowledged: [number, number][] = [];
    const written = new Map<string, string>();
    let round = 0;
    const next = [0, 0, 0, 0];
    // Three lives of the process, each ended by a power failure at a random operation.
    for (let life = 0; life < 3; life++) {
      disk.faults.crashAfter = 3 + prng.below(120);
      try {
        const log = new WalHarness(disk, { workers: 2 });
        for (const [id, range] of log.recovery.ranges)
          next[id] = Math.max(range.lastIndex, range.checkpoint?.index ?? 0);
        for (;;) {
          const appended: [number, number][] = [];
          for (let i = prng.below(5); i >= 0; i--) {
            const rangeId = 1 + prng.below(3);
            const index = (next[rangeId] as number) + 1;
            const value = `${rangeId}/${index}/${++round}/${'x'.repeat(prng.below(40_000))}`;
            if (!log.append(rangeId, index, value, { worker: rangeId % 2 })) break;
            next[rangeId] = index;
            written.set(`${rangeId}/${index}`, value);
            appended.push([rangeId, index]);
          }
          log.flush();
          t.true(log.isDurable);
          acknowledged.push(...appended);
          if (prng.chance(0.2)) {
            const rangeId = 1 + prng.below(3);
            const index = next[rangeId] as number;
            // From here on the log may do without these, whether the record of it is acknowledged or not.
            acknowledged = acknowledged.filter(([id, i]) => id !== rangeId || i > index);
            log.checkpoint(rangeId, index);
            log.flush();
          }
        }
      } catch (error) {
        if (!(error instanceof SimulatedCrash)) throw error;
      }
      if (prng.chance(0.3)) disk.kill();
      else disk.crash();
      const found = new Map<string, string>();
      for (const { type, rangeId, index, data } of readLog(disk).records) {
        if (type === 1) found.set(`${rangeId}/${index}`, data.toString());
      }
      for (const [rangeId, index] of acknowledged) {
        const key = `${rangeId}/${index}`;
        if (found.get(key) !== written.get(key))
          t.fail(`seed ${seed}, life ${life}: ${key} was acknowledged and is gone`);
      }
    }
  }
  t.pass();
});

test('what an fsync that failed left in the page cache is written again before it counts', (t) => {
  const disk = new FaultyDisk(5);
  const log = new WalHarness(disk);
  log.append(1, 1, 'first');
  log.flush();
  disk.faults.failSyncAfter = 0;
  log.append(1, 2, 'second');
  t.throws(() => log.writer.turn(), { code: 'EIO' });
  log.writer.poison();
  disk.kill();
  // The restarted process reads the lost record from the page cache, and may acknowledge what rests on it.
  t.is(new WalHarness(disk).recovery.ranges.get(1)?.lastIndex, 2);
  disk.crash(() => 'old');
  t.deepEqual(
    readLog(disk).records.map(({ data }) => data.toString()),
    ['first', 'second'],
  );
});

test('records of every size and at every place of the reading window read back, and damage among them is found', (t) => {
  const prng = createPrng(11);
  const segmentBytes = 12 * 1024 * 1024;
  for (let round = 0; round < 4; round++) {
    const disk = new FaultyDisk(round);
    const log = new WalHarness(disk, { ringBytes: 8 * 1024 * 1024, wal: { segmentBytes, spareCount: 0 } });
    const written: string[] = [];
    for (let bytes = 0, index = 1; bytes < 9 * 1024 * 1024; index++) {
      const size = prng.chance(0.1) ? prng.below(1_000_000) : prng.below(round === 0 ? 64 : 5000);
      const value = Buffer.alloc(size, `${index}.`);
      log.append(1, index, value);
      written.push(`${index} ${crc32(value, 0, size)}`);
      if (prng.chance(0.05)) log.flush();
      bytes += size + 48;
    }
    log.flush();
    const { scan, records } = readLog(disk);
    const read = records.map(({ index, data }) => `${index} ${crc32(data, 0, data.length)}`);
    t.is(read.join(), written.join());
    const lastBatchStart = scan.segments[0]?.lastBatchStart as number;
    for (let i = 0; i < 20; i++) {
      const harmed = disk.clone();
      const offset = DATA_OFFSET + prng.below(lastBatchStart - DATA_OFFSET - 20_000);
      harmed.patch(SEGMENT_1, offset, Buffer.alloc(20_000, 0xee));
      t.throws(() => scanWal(harmed, WAL_DIR), { code: 'KV_CORRUPT' });
    }
    const replayed: LogRecord[] = [];
    replayWal(disk, WAL_DIR, scan, () => true, collectRecords(replayed));
    t.is(replayed.map(({ index, data }) => `${index} ${crc32(data, 0, data.length)}`).join(), written.join());
  }
});

test('replay gives each worker the records of its ranges only, with long entries whole', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk);
  const long = Buffer.alloc(900_000, 'long');
  log.append(1, 1, 'one');
  log.append(2, 1, long);
  log.flush();
  log.hardState(2, 3, 1, 1);
  log.append(1, 2, 'two');
  log.flush();
  const { scan, records } = readLog(disk);
  for (const wanted of [1, 2, 3]) {
    const replayed: LogRecord[] = [];
    replayWal(disk, WAL_DIR, scan, (rangeId) => rangeId === wanted, collectRecords(replayed));
    t.deepEqual(
      replayed,
      records.filter(({ rangeId }) => rangeId === wanted),
    );
  }
  t.true(records.some(({ data }) => data.equals(long)));
});

test('an index that is missing between valid records is refused', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk);
  log.append(1, 1, 'a');
  log.append(1, 3, 'c');
  log.flush();
  t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT', message: /range 1 jumps from index 1 to 3/ });
});

test('a log goes on behind a snapshot that took its place', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk);
  log.append(1, 1, 'a');
  log.checkpoint(1, 50, { term: 4 });
  log.append(1, 51, 'b', { term: 4 });
  log.flush();
  t.like(scanWal(disk, WAL_DIR).ranges.get(1), {
    firstIndex: 51,
    lastIndex: 51,
    lastTerm: 4,
    checkpoint: { index: 50, term: 4 },
  });
});

function attempt(step: () => unknown): SkerryError | null {
  try {
    step();
    return null;
  } catch (error) {
    return error as SkerryError;
  }
}
