/** The writer's promises: durable before released, one sync for all, poison, segments in a circle, full disks. FAILURES 9, 10, 16. */
import test from 'ava';
import { limits } from '../../../../src/core/limits.ts';
import { BLOCK_BYTES, SEGMENT_BYTES_MIN, STATE_CLOSED, STATE_CONTINUED } from '../../../../src/storage/wal/format.ts';
import { createManifest } from '../../../../src/storage/wal/manifest.ts';
import { scanWal } from '../../../../src/storage/wal/recovery.ts';
import { segmentName } from '../../../../src/storage/wal/segment.ts';
import { WAL_FULL, WAL_POISONED, WAL_RUNNING, WAL_STOPPED } from '../../../../src/storage/wal/status.ts';
import type { WalStatus } from '../../../../src/storage/wal/status.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { fillUntil, readLog, segmentsOn, WAL_DIR, WalHarness } from '../../../support/wal-harness.ts';

/** Read anew each time: another thread may have changed it. */
function statusOf(log: WalHarness): WalStatus {
  return log.status.status;
}

test('what is written reads back: every field, all types, all rings', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { workers: 3 });
  log.append(1, 1, 'data', { worker: 0, term: 7 });
  log.append(2, 9, 'configuration', { worker: 1, term: 8, type: 3 });
  log.append(3, 5, '', { worker: 2, term: 9, type: 4 });
  log.hardState(3, 10, 2, 4, 2);
  log.checkpoint(1, 1, { worker: 0, term: 7 });
  log.flush();
  const { records, scan } = readLog(disk);
  t.deepEqual(
    records.map(({ type, flags, term, rangeId, index, data, sequence }) => {
      return [type, flags, term, rangeId, index, data.toString('latin1'), sequence];
    }),
    [
      [1, 0, 7, 1, 1, 'data', 1],
      [2, 0, 7, 1, 1, '', 2],
      [3, 0, 8, 2, 9, 'configuration', 3],
      [4, 0, 9, 3, 5, '', 4],
      [4, 4, 10, 3, 4, '\x02\0\0\0\0\0\0\0', 5],
    ],
  );
  t.deepEqual(scan.ranges.get(3)?.hardState, { term: 10, vote: 2, commit: 4 });
});

test('FAILURES 9, 10: nothing counts as durable before the sync that covers it has returned', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { workers: 2 });
  log.append(1, 1, 'first');
  log.flush();
  const seen: string[] = [];
  log.append(1, 2, 'second', { worker: 0 });
  log.append(2, 1, 'third', { worker: 1 });
  disk.faults.onOperation = (operation) => {
    const durable = log.appenders.map((appender) => appender.durable === appender.position);
    seen.push(`${operation} ${String(durable)}`);
  };
  log.turn();
  t.deepEqual(seen, ['write false,false', 'sync false,false']);
  t.true(log.isDurable);
});

test('FAILURES 9: a power failure right after the watermark has moved loses nothing', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const disk = new FaultyDisk(seed);
    const log = new WalHarness(disk);
    for (let index = 1; index <= 20; index++) {
      log.append(1, index, `value ${index}`);
      log.turn();
    }
    t.true(log.isDurable);
    disk.crash();
    t.is(readLog(disk).records.length, 20);
  }
});

test('everything that waits, of all workers, becomes durable by one write and one sync', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { workers: 4 });
  log.append(1, 1, 'opens the segment');
  log.flush();
  const before = disk.operations;
  for (let i = 0; i < 400; i++) log.append(1 + (i % 4), 2 + Math.floor(i / 4), `value ${i}`, { worker: i % 4 });
  t.true(log.turn());
  t.is(disk.operations - before, 2);
  t.true(log.isDurable);
  t.is(readLog(disk).records.length, 401);
});

test('batches begin at blocks, and no block is written twice', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  const file = `${WAL_DIR}/${segmentName(1)}`;
  log.append(1, 1, 'x');
  log.flush();
  const seen = new Set<number>();
  disk.faults.onOperation = (operation) => {
    if (operation !== 'sync') return;
    for (const block of disk.dirtyBlocks(file)) {
      if (seen.has(block)) t.fail(`block ${block} is written again`);
      seen.add(block);
    }
  };
  for (let index = 2; index < 100; index++) {
    log.append(1, index, Buffer.alloc(index * 83));
    log.flush();
  }
  log.writer.stop();
  t.is(Math.min(...seen), 1);
  t.true(seen.size > 98);
});

test('FAILURES 16: a failed sync poisons the log, releases nothing, and is never repeated', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { workers: 2 });
  log.append(1, 1, 'safe');
  log.flush();
  log.append(1, 2, 'lost', { worker: 0 });
  log.append(2, 1, 'lost too', { worker: 1 });
  disk.faults.failSyncAfter = 0;
  t.throws(() => log.writer.turn(), { code: 'EIO' });
  log.writer.poison();
  const syncs = disk.syncs;
  t.is(log.status.status, WAL_POISONED);
  t.false(log.isDurable);
  t.false(log.writer.turn());
  log.writer.stop();
  t.is(disk.syncs, syncs);
  t.is(log.status.status, WAL_POISONED);
  t.false(log.isDurable);
  disk.crash(() => 'old');
  t.deepEqual(
    readLog(disk).records.map(({ data }) => data.toString()),
    ['safe'],
  );
});

test('FAILURES 16: a failed write poisons the log as well', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  log.append(1, 1, 'safe');
  log.flush();
  log.append(1, 2, 'lost');
  disk.faults.onOperation = () => {
    throw Object.assign(new Error('EIO'), { code: 'EIO' });
  };
  t.throws(() => log.writer.turn(), { code: 'EIO' });
  t.false(log.isDurable);
});

test('a full ring refuses whole records and takes them later', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { ringBytes: 64 * 1024 });
  let index = 1;
  while (log.append(1, index, Buffer.alloc(1000, index))) index += 1;
  t.true(index > 40);
  t.false(log.hardState(1, 1, 1, 1) && log.hardState(1, 1, 1, 1) && log.append(1, index, Buffer.alloc(1000)));
  log.flush();
  t.true(log.append(1, index, Buffer.alloc(1000, index)));
  log.flush();
  t.is(readLog(disk).scan.ranges.get(1)?.lastIndex, index);
});

test('segments follow one another, sealed, and the log reads through them', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  const next = fillUntil(log, 4, 1, 1);
  log.writer.stop();
  const { scan } = readLog(disk);
  t.deepEqual(
    scan.segments.map(({ segmentId, state }) => [segmentId, state]),
    [
      [1, STATE_CONTINUED],
      [2, STATE_CONTINUED],
      [3, STATE_CONTINUED],
      [4, STATE_CLOSED],
    ],
  );
  t.is(scan.ranges.get(1)?.lastIndex, next - 1);
  t.is(scan.nextSequence, next);
  t.is(log.status.status, WAL_STOPPED);
  const sealed = log.events.filter(({ type }) => type === 'sealed');
  t.deepEqual(
    sealed.map((event) => event.type === 'sealed' && event.segmentId),
    [1, 2, 3, 4],
  );
});

test('a checkpoint frees the segments behind it; their files come back as later segments', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  let index = 1;
  for (let segmentId = 2; segmentId < 30; segmentId++) {
    index = fillUntil(log, segmentId, 1, index);
    log.checkpoint(1, index - 1);
    log.flush();
  }
  t.deepEqual(segmentsOn(disk), [29]);
  t.true(disk.list(WAL_DIR).length < 10, disk.list(WAL_DIR).join(' '));
  const prepared = log.events.filter(({ type }) => type === 'prepare').length;
  t.true(prepared < 8, `${prepared} files were made for 29 segments`);
  t.is(scanWal(disk, WAL_DIR).ranges.get(1)?.checkpoint?.index, index - 1);
});

test('a range that is not checkpointed holds its segments, and is named', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  log.append(2, 1, 'the laggard');
  const next = fillUntil(log, 3, 1, 1);
  log.checkpoint(1, next - 1);
  log.flush();
  t.deepEqual(segmentsOn(disk), [1, 2, 3]);
  t.deepEqual(log.writer.stats().laggards, [{ rangeId: 2, checkpointIndex: 1, needsHardState: false }]);
  t.true((log.writer.stats().bytesBehind.get(2) as number) > 0);
  log.writer.control({ type: 'removed', rangeId: 2 });
  log.flush();
  t.deepEqual(segmentsOn(disk), [3]);
});

test('no segment is used again before every range is replayed', (t) => {
  const disk = new FaultyDisk();
  const first = new WalHarness(disk);
  const next = fillUntil(first, 3, 1, 1);
  first.writer.stop();
  const second = new WalHarness(disk, { isReplayed: false });
  second.checkpoint(1, next - 1);
  second.flush();
  t.deepEqual(segmentsOn(disk), [1, 2, 3, 4]);
  second.writer.control({ type: 'replayed' });
  second.flush();
  t.deepEqual(segmentsOn(disk), [4]);
});

test('what a range that is gone had voted is not written again', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  log.hardState(1, 5, 3, 0);
  log.hardState(2, 6, 4, 0);
  log.cut(1, 0, 0);
  const next = fillUntil(log, 3, 2, 1);
  log.checkpoint(2, next - 1);
  log.flush();
  t.deepEqual(segmentsOn(disk), [3]);
  const { scan, records } = readLog(disk);
  t.deepEqual(scan.ranges.get(2)?.hardState, { term: 6, vote: 4, commit: 0 });
  t.false(records.some(({ rangeId }) => rangeId === 1));
});

test('a start that finds the end of a range in the log does not write its vote again either', (t) => {
  const disk = new FaultyDisk();
  const before = new WalHarness(disk);
  before.hardState(1, 5, 3, 0);
  before.cut(1, 0, 0);
  before.flush();
  const log = new WalHarness(disk);
  t.is(log.recovery.ranges.get(1)?.hardState, null);
  const next = fillUntil(log, 4, 2, 1);
  log.checkpoint(2, next - 1);
  log.flush();
  t.false(readLog(disk).records.some(({ rangeId }) => rangeId === 1));
});

test('the vote of an idle range is moved forward, not lost, when its segment is freed', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  log.hardState(2, 5, 3, 0);
  log.hardState(3, 6, 1, 9);
  log.hardState(1, 1, 1, 0);
  const next = fillUntil(log, 4, 1, 1);
  log.checkpoint(1, next - 1);
  log.flush();
  t.deepEqual(segmentsOn(disk), [4]);
  disk.crash();
  const { ranges } = scanWal(disk, WAL_DIR);
  t.deepEqual(ranges.get(2)?.hardState, { term: 5, vote: 3, commit: 0 });
  t.deepEqual(ranges.get(3)?.hardState, { term: 6, vote: 1, commit: 9 });
});

test('a record of a file’s earlier life is never taken for one of the present', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  let index = 1;
  for (let segmentId = 2; segmentId < 12; segmentId++) {
    index = fillUntil(log, segmentId, 1, index);
    log.checkpoint(1, index - 1);
    log.flush();
  }
  const file = `${WAL_DIR}/${segmentName(11)}`;
  t.false(
    disk.bytes(file, SEGMENT_BYTES_MIN - 20 * BLOCK_BYTES, 8 * BLOCK_BYTES).equals(Buffer.alloc(8 * BLOCK_BYTES)),
  );
  const live = readLog(disk).records.filter(({ type }) => type === 1);
  t.true(live.every((record) => record.index >= index - 2));
});

test('not even with the very sequence numbers that come next', (t) => {
  const disk = new FaultyDisk();
  const first = new WalHarness(disk);
  for (let index = 1; index <= 5; index++) {
    first.append(1, index, `old ${index}`);
    first.flush();
  }
  const { logId } = scanWal(disk, WAL_DIR);
  // As after a repair that had to give up the whole log: it begins anew, with files of its earlier life.
  for (const name of disk.list(WAL_DIR)) {
    if (name !== segmentName(1)) disk.unlink(`${WAL_DIR}/${name}`);
  }
  disk.rename(`${WAL_DIR}/${segmentName(1)}`, `${WAL_DIR}/spare-1.wal`);
  createManifest(disk, WAL_DIR, { generation: 1, logId, firstSegment: 2, openedSegment: 0 });
  const second = new WalHarness(disk);
  second.append(1, 1, 'new 1');
  second.flush();
  t.deepEqual(
    readLog(disk).records.map(({ data, sequence }) => [data.toString(), sequence]),
    [['new 1', 1]],
  );
});

test('a full disk: new writes are refused in time, what is in the rings still finds room, and writing resumes', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  disk.faults.budgetBytes = 5 * SEGMENT_BYTES_MIN;
  let index = 1;
  while (log.status.status === WAL_RUNNING) {
    t.true(log.append(1, index++, Buffer.alloc(60_000)));
    log.flush();
  }
  t.is(log.status.status, WAL_FULL);
  t.true(log.events.some(({ type }) => type === 'full'));
  // The hosts take no more now; whatever they have put into the ring before they looked must become durable.
  while (log.append(1, index, Buffer.alloc(3000))) index += 1;
  log.flush();
  t.true(log.isDurable);
  t.is(readLog(disk).scan.ranges.get(1)?.lastIndex, index - 1);
  disk.faults.budgetBytes = 8 * SEGMENT_BYTES_MIN;
  log.flush();
  t.is(statusOf(log), WAL_RUNNING);
  t.true(log.events.some(({ type }) => type === 'resumed'));
  fillUntil(log, 6, 1, index);
  t.true(log.isDurable);
});

test('a full disk that stays full: the log waits, loses nothing, and a checkpoint makes room', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { wal: { retryMs: 1e9 } });
  disk.faults.budgetBytes = 4 * SEGMENT_BYTES_MIN;
  let index = 1;
  // A host that never looks at the status: the ring alone holds it back.
  for (;;) {
    if (log.append(1, index, Buffer.alloc(60_000))) index += 1;
    else if (!log.turn()) break;
  }
  t.is(log.status.status, WAL_FULL);
  t.false(log.isDurable);
  log.writer.control({ type: 'checkpointed', rangeId: 1, index: 20 });
  log.flush();
  t.true(log.isDurable);
  // One segment came free and is in use; what the rings may need is not covered yet.
  t.is(log.status.status, WAL_FULL);
  log.writer.control({ type: 'checkpointed', rangeId: 1, index: index - 1 });
  log.flush();
  t.is(statusOf(log), WAL_RUNNING);
  disk.crash();
  t.notThrows(() => scanWal(disk, WAL_DIR));
});

test('an idle log marks its last batch once, and sleeps', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { wal: { idleMarkMs: 0 } });
  log.append(1, 1, 'x');
  t.true(log.turn());
  t.is(log.writer.waitMs, 0);
  t.true(log.turn());
  t.false(log.turn());
  t.is(log.writer.waitMs, Infinity);
  t.is(log.writer.stats().recordCount, 2);
  t.is(readLog(disk).records.length, 1);
});

test('a log of many segments in a few sizes survives a change of the segment size', (t) => {
  const disk = new FaultyDisk();
  const first = new WalHarness(disk);
  let index = fillUntil(first, 2, 1, 1);
  first.writer.stop();
  const second = new WalHarness(disk, { wal: { segmentBytes: SEGMENT_BYTES_MIN + 64 * BLOCK_BYTES } });
  index = fillUntil(second, 4, 1, index);
  t.is(readLog(disk).scan.ranges.get(1)?.lastIndex, index - 1);
  second.checkpoint(1, index - 1);
  second.flush();
  t.deepEqual(segmentsOn(disk), [4]);
});

test('a record of the largest size fits into the smallest segment', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { ringBytes: 8 * 1024 * 1024 });
  for (let index = 1; index <= 3; index++) log.append(1, index, Buffer.alloc(limits.walFragmentBytesMax - 16, index));
  log.flush();
  t.true(log.isDurable);
  t.deepEqual(
    readLog(disk).records.map(({ data }) => data.length),
    [1, 2, 3].map(() => limits.walFragmentBytesMax - 16),
  );
});
