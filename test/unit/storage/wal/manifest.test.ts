import test from 'ava';
import { scanWal } from '../../../../src/storage/wal/recovery.ts';
import { repairWal } from '../../../../src/storage/wal/repair.ts';
import { listSegments, segmentName } from '../../../../src/storage/wal/segment.ts';
import { verifyWal } from '../../../../src/storage/wal/inspect.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { WAL_DIR, WalHarness } from '../../../support/wal-harness.ts';

test('FAILURES 16: a manifest whose fsync failed is made durable before a start gives up files by it', (t) => {
  const disk = new FaultyDisk(3);
  const wal = { segmentBytes: 64 * 1024 };
  const log = new WalHarness(disk, { wal });
  let index = 0;
  for (let batch = 0; batch < 60; batch++) {
    log.append(1, ++index, Buffer.alloc(2000));
    log.flush();
  }
  const segments = scanWal(disk, WAL_DIR).segments.length;
  t.true(segments > 3, `${segments} segments`);
  log.checkpoint(1, index);
  log.turn();
  disk.faults.failSyncAfter = 0;
  t.throws(() => log.flush(), { code: 'EIO' });
  log.writer.poison();
  disk.kill();
  // The next process reads the manifest from the page cache, and gives up the segments that it says nobody needs.
  new WalHarness(disk, { wal }).flush();
  disk.crash(() => 'old');
  t.is(new WalHarness(disk, { wal }).recovery.ranges.get(1)?.checkpoint?.index, index);
});

test('a log all of whose segments are missing is missed, however long ago the manifest heard of one', (t) => {
  const disk = new FaultyDisk(4);
  const log = new WalHarness(disk, { wal: { segmentBytes: 64 * 1024 } });
  let index = 0;
  while (scanWal(disk, WAL_DIR).segments.length < 4) {
    log.append(1, ++index, Buffer.alloc(2000));
    log.flush();
  }
  log.checkpoint(1, index);
  log.flush();
  log.append(1, ++index, 'acknowledged');
  log.flush();
  log.writer.stop();
  const ids = listSegments(disk, WAL_DIR);
  t.true((ids[0] as number) > 2, ids.join());
  for (const id of ids) disk.unlink(`${WAL_DIR}/${segmentName(id)}`);
  t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT', message: /the file is missing/ });
  t.false(verifyWal(disk, WAL_DIR).isUsable);
  // What is lost may be given up; but no id is used again, or records of that life would count in this one.
  repairWal(disk, WAL_DIR, 'cut-1', 1);
  const again = new WalHarness(disk);
  again.append(1, index + 1, 'goes on');
  again.flush();
  t.true((listSegments(disk, WAL_DIR)[0] as number) > (ids[0] as number));
  t.is(scanWal(disk, WAL_DIR).ranges.get(1)?.lastIndex, index + 1);
});
