import test from 'ava';
import { scanWal } from '../../../../src/storage/wal/recovery.ts';
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
