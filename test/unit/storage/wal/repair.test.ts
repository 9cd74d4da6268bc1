/** dump, verify and repair: all damage is found and named; what repair gives up is kept and told. */
import test from 'ava';
import { crc32 } from '../../../../src/codec/crc.ts';
import { BLOCK_BYTES, DATA_OFFSET } from '../../../../src/storage/wal/format.ts';
import { dumpWal, formatRecord, formatVerdict, verifyWal } from '../../../../src/storage/wal/inspect.ts';
import type { DumpedRecord } from '../../../../src/storage/wal/inspect.ts';
import { scanWal } from '../../../../src/storage/wal/recovery.ts';
import { repairWal } from '../../../../src/storage/wal/repair.ts';
import { segmentName } from '../../../../src/storage/wal/segment.ts';
import { FaultyDisk, SimulatedCrash } from '../../../support/faulty-disk.ts';
import { readLog, WAL_DIR, WalHarness } from '../../../support/wal-harness.ts';
import type { LogRecord } from '../../../support/wal-harness.ts';

const SIDE = 'cut-1';
const file = (segmentId: number): string => `${WAL_DIR}/${segmentName(segmentId)}`;

/** Records in a form that compares quickly. */
function digest(records: LogRecord[]): string[] {
  return records.map(({ sequence, type, rangeId, index, data }) => {
    return `${sequence} ${type} ${rangeId}/${index} ${crc32(data, 0, data.length)}`;
  });
}

/** Three segments; ranges 1 and 2 in turns, one batch per pair. Closed. */
function threeSegments(): FaultyDisk {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  log.hardState(1, 1, 1, 0);
  for (let index = 1; log.writer.stats().segmentIds.length < 3; index++) {
    log.append(1, index, Buffer.alloc(20_000, index));
    log.append(2, index, Buffer.alloc(20_000, index));
    log.flush();
  }
  log.writer.stop();
  return disk;
}

test('a good log: verify finds nothing and repair changes nothing', (t) => {
  const disk = threeSegments();
  const verdict = verifyWal(disk, WAL_DIR);
  t.true(verdict.isUsable);
  t.deepEqual(verdict.damages, []);
  t.deepEqual(
    verdict.segments.map(({ state }) => state),
    ['continued', 'continued', 'closed'],
  );
  const operations = disk.operations;
  t.true(repairWal(disk, WAL_DIR, SIDE, 1).wasGood);
  t.is(disk.operations, operations);
  t.regex(formatVerdict(verdict).at(-1) as string, /^The log is good: \d+ valid records in 3 segments\.$/);
});

test('a dump names every record, filters by range, and reads on behind damage', (t) => {
  const disk = threeSegments();
  const all: DumpedRecord[] = [];
  dumpWal(disk, WAL_DIR, (record) => all.push(record));
  t.is(all.length, scanWal(disk, WAL_DIR).recordCount);
  t.deepEqual(all[0], {
    segment: 1,
    offset: DATA_OFFSET,
    sequence: 1,
    batch: 0,
    type: 'hardState',
    fragment: 'whole',
    endsBatch: false,
    rangeId: 1,
    index: 0,
    term: 1,
    vote: 1,
    time: '2023-11-14T22:13:20.000000Z',
    dataBytes: 8,
  });
  t.regex(formatRecord(all[1] as DumpedRecord), /range 1 index 1 term 1 {2}data 20000 B$/);
  const ofTwo: DumpedRecord[] = [];
  dumpWal(disk, WAL_DIR, (record) => ofTwo.push(record), { rangeId: 2 });
  t.deepEqual(
    ofTwo,
    all.filter(({ rangeId }) => rangeId === 2),
  );

  disk.flipBit(file(1), (all[3] as DumpedRecord).offset + 100, 0);
  const damaged: number[] = [];
  const rest: DumpedRecord[] = [];
  dumpWal(disk, WAL_DIR, (record) => rest.push(record), { onDamage: ({ offset }) => damaged.push(offset) });
  t.deepEqual(damaged, [(all[3] as DumpedRecord).offset]);
  t.deepEqual(
    rest,
    all.filter((_, i) => i !== 3),
  );
});

test('verify lists every damage of every kind, with file and offset', (t) => {
  const disk = threeSegments();
  const records: DumpedRecord[] = [];
  dumpWal(disk, WAL_DIR, (record) => records.push(record));
  const inFirst = records.filter(({ segment }) => segment === 1);
  const [a, b] = [inFirst[5], inFirst[9]] as [DumpedRecord, DumpedRecord];
  disk.flipBit(file(1), a.offset + 40, 1);
  disk.flipBit(file(1), b.offset + 40, 1);
  disk.flipBit(file(2), 12, 1);
  disk.flipBit(file(2), BLOCK_BYTES + 12, 1);
  disk.flipBit(file(3), 12, 1);
  const verdict = verifyWal(disk, WAL_DIR);
  t.false(verdict.isUsable);
  t.deepEqual(
    verdict.damages.map(({ kind, segmentId, offset, isHarmless }) => [kind, segmentId, offset, isHarmless]),
    [
      ['record', 1, a.offset, false],
      ['record', 1, b.offset, false],
      ['header', 2, 0, false],
      ['header', 3, 0, true],
    ],
  );
  t.is(verdict.records, records.length - 2);
});

test('verify names a missing segment, a truncated one, and a torn tail as no damage', (t) => {
  const missing = threeSegments();
  missing.unlink(file(2));
  t.deepEqual(
    verifyWal(missing, WAL_DIR).damages.map(({ kind, segmentId }) => [kind, segmentId]),
    [['missing', 2]],
  );
  const short = threeSegments();
  short.openFile(file(2), 'r+').truncate(100 * BLOCK_BYTES);
  const kinds = verifyWal(short, WAL_DIR).damages.map(({ kind, segmentId }) => `${kind} ${segmentId}`);
  t.true(kinds.includes('size 2'), kinds.join());

  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  log.append(1, 1, 'a');
  log.flush();
  log.append(1, 2, Buffer.alloc(3000, 'x'));
  log.append(1, 3, Buffer.alloc(3000, 'x'));
  log.flush();
  disk.patch(file(1), DATA_OFFSET + 2 * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES));
  const torn = verifyWal(disk, WAL_DIR);
  t.true(torn.isUsable);
  t.is(torn.tornTail?.file, file(1));
});

test('repair cuts at the first damage, keeps what it cuts, and says what is lost', (t) => {
  const disk = threeSegments();
  const records: DumpedRecord[] = [];
  dumpWal(disk, WAL_DIR, (record) => records.push(record));
  const all = readLog(disk).records;
  const position = records.findIndex(({ segment }) => segment === 2) + 7;
  const harmed = records[position] as DumpedRecord;
  const third = disk.bytes(file(3), 0, 40 * BLOCK_BYTES);
  disk.flipBit(file(2), harmed.offset + 1000, 5);
  t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT' });

  const report = repairWal(disk, WAL_DIR, SIDE, 1_700_000_000_000_000);
  t.deepEqual(report.cut?.file, file(2));
  t.is(report.cut?.offset, harmed.offset);
  t.is(report.unreadableRecords, 1);
  const lostRecords = report.lost.reduce((sum, range) => sum + range.records, 0);
  t.is(lostRecords, records.length - position - 1);
  for (const { rangeId, firstIndex, lastIndex } of report.lost) {
    const lost = records.slice(position + 1).filter((record) => record.rangeId === rangeId);
    t.deepEqual([firstIndex, lastIndex], [lost[0]?.index, lost.at(-1)?.index]);
  }
  t.deepEqual(disk.list(`${WAL_DIR}/${SIDE}`), [`${segmentName(2)}.from-${harmed.offset}`, segmentName(3)]);
  t.true(disk.bytes(`${WAL_DIR}/${SIDE}/${segmentName(3)}`, 0, third.length).equals(third));

  t.deepEqual(digest(readLog(disk).records), digest(all.slice(0, position)));
  t.true(verifyWal(disk, WAL_DIR).isUsable);
  const log = new WalHarness(disk);
  log.append(7, 1, 'goes on');
  log.flush();
  t.is(readLog(disk).records.at(-1)?.data.toString(), 'goes on');
});

test('repair of a missing segment ends the log before it; of the first one, at its beginning', (t) => {
  for (const [missing, kept] of [
    [2, 1],
    [1, 0],
    [3, 2],
  ] as const) {
    const disk = threeSegments();
    const expected = readLog(disk)
      .scan.segments.slice(0, kept)
      .reduce((sum, { entryCount }) => sum + entryCount, 0);
    disk.unlink(file(missing));
    const report = repairWal(disk, WAL_DIR, SIDE, 1);
    t.is(report.cut?.file, file(missing));
    t.is(readLog(disk).records.length, expected);
    const log = new WalHarness(disk);
    log.append(7, 1, 'goes on');
    log.flush();
    t.is(readLog(disk).records.length, expected + 1);
  }
});

test('a damaged manifest and a damaged header are rebuilt without loss', (t) => {
  const disk = threeSegments();
  const all = readLog(disk).records;
  disk.patch(`${WAL_DIR}/manifest`, 0, Buffer.alloc(2 * BLOCK_BYTES));
  t.deepEqual(repairWal(disk, WAL_DIR, SIDE, 1).rebuilt, [`${WAL_DIR}/manifest`]);
  t.deepEqual(digest(readLog(disk).records), digest(all));

  for (const segmentId of [1, 2]) {
    disk.flipBit(file(segmentId), 12, 1);
    disk.flipBit(file(segmentId), BLOCK_BYTES + 12, 1);
    t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT' });
    const report = repairWal(disk, WAL_DIR, SIDE, 1);
    t.deepEqual([report.rebuilt, report.cut], [[file(segmentId)], null]);
    t.deepEqual(digest(readLog(disk).records), digest(all));
  }
});

test('a repair that is cut off by a crash at any step is finished by the next one', (t) => {
  const good = threeSegments();
  const records: DumpedRecord[] = [];
  dumpWal(good, WAL_DIR, (record) => records.push(record));
  const all = readLog(good).records;
  const position = records.findIndex(({ segment }) => segment === 2) + 7;
  good.flipBit(file(2), (records[position] as DumpedRecord).offset + 1000, 5);
  const steps = ((): number => {
    const copy = good.clone();
    repairWal(copy, WAL_DIR, SIDE, 1);
    return copy.operations;
  })();
  for (let step = 0; step < steps; step++) {
    const disk = good.clone(step + 1);
    disk.faults.crashAfter = step;
    t.throws(() => repairWal(disk, WAL_DIR, SIDE, 1), { instanceOf: SimulatedCrash });
    disk.crash();
    repairWal(disk, WAL_DIR, `${SIDE}-again`, 1);
    t.deepEqual(digest(readLog(disk).records), digest(all.slice(0, position)), `crash at step ${step}`);
  }
});

test('with neither manifest nor headers nothing is guessed', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk);
  log.append(1, 1, 'a');
  log.flush();
  disk.patch(`${WAL_DIR}/manifest`, 0, Buffer.alloc(2 * BLOCK_BYTES));
  disk.patch(file(1), 0, Buffer.alloc(DATA_OFFSET));
  t.throws(() => repairWal(disk, WAL_DIR, SIDE, 1), { code: 'KV_CORRUPT' });
});
