/** Entries that are larger than a record or the ring come in pieces, and are there whole or not at all. */
import test from 'ava';
import { scanWal } from '../../../../src/storage/wal/recovery.ts';
import { WAL_FULL } from '../../../../src/storage/wal/status.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { fillUntil, readLog, segmentsOn, WAL_DIR, WalHarness } from '../../../support/wal-harness.ts';

test('an entry larger than the ring passes through it, and other ranges go on between its pieces', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { ringBytes: 64 * 1024 });
  const value = Buffer.alloc(700_001, 'a long value ');
  t.true(log.append(1, 1, value));
  const [appender] = log.appenders;
  t.true(appender?.isPending);
  t.true(log.append(2, 1, 'short'));
  t.false(log.append(1, 2, 'behind it'));
  log.flush();
  t.true(log.append(1, 2, 'behind it'));
  log.flush();
  const { records } = readLog(disk);
  t.deepEqual(
    records.map(({ rangeId, index, data }) => [rangeId, index, data.length]),
    [
      [2, 1, 5],
      [1, 1, 700_001],
      [1, 2, 9],
    ],
  );
  t.true(records[1]?.data.equals(value));
});

test('an entry of which the last piece is missing is not there at all', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { ringBytes: 64 * 1024 });
  log.append(1, 1, 'before');
  log.append(1, 2, Buffer.alloc(300_000, 1));
  log.turn();
  t.true(log.appenders[0]?.isPending);
  disk.crash();
  const again = new WalHarness(disk);
  t.is(again.recovery.ranges.get(1)?.lastIndex, 1);
  again.append(1, 2, 'another');
  again.flush();
  t.deepEqual(
    readLog(disk).records.map(({ index, data }) => [index, data.toString()]),
    [
      [1, 'before'],
      [2, 'another'],
    ],
  );
});

test('a vote that is moved forward between the pieces of a long entry leaves the entry whole', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { workers: 2, ringBytes: 64 * 1024 });
  log.hardState(1, 5, 3, 0);
  const next = fillUntil(log, 3, 2, 1);
  const value = Buffer.alloc(300_000, 'a long value ');
  log.append(1, 1, value);
  log.turn();
  t.true(log.appenders[0]?.isPending);
  // Nothing but the vote of range 1 holds the oldest segments now.
  log.checkpoint(2, next - 1, { worker: 1 });
  log.flush();
  t.deepEqual(segmentsOn(disk), [3]);
  disk.crash();
  const { scan, records } = readLog(disk);
  t.deepEqual(scan.ranges.get(1)?.hardState, { term: 5, vote: 3, commit: 0 });
  t.true(records.find(({ rangeId, index }) => rangeId === 1 && index === 1)?.data.equals(value));
});

test('what a long entry overwrites holds its segments until the last piece has come', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { workers: 2, ringBytes: 64 * 1024 });
  const second = fillUntil(log, 2, 1, 1);
  const last = fillUntil(log, 3, 1, second) - 1;
  log.checkpoint(1, second);
  log.flush();
  log.append(1, second + 1, Buffer.alloc(300_000, 'a long value '), { term: 2 });
  log.turn();
  t.true(log.appenders[0]?.isPending);
  // With each vote the log looks which segments it can give up.
  log.hardState(2, 1, 1, 0, 1);
  log.turn();
  log.turn();
  t.deepEqual(segmentsOn(disk), [2, 3]);
  disk.crash();
  const { ranges } = scanWal(disk, WAL_DIR);
  t.is(ranges.get(1)?.lastIndex, last);
  t.is(ranges.get(1)?.lastTerm, 1);
});

test('a long entry waits while the disk is full', (t) => {
  const disk = new FaultyDisk();
  const log = new WalHarness(disk, { ringBytes: 64 * 1024 });
  log.append(1, 1, 'x');
  log.flush();
  log.append(1, 2, Buffer.alloc(200_000));
  Object.assign(log.status, { status: WAL_FULL });
  const { position } = log.appenders[0] as { position: number };
  log.turn();
  t.false(log.appenders[0]?.pump());
  t.is(log.appenders[0]?.position, position);
});
