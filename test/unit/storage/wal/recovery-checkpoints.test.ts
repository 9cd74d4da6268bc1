import test from 'ava';
import { scanWal } from '../../../../src/storage/wal/recovery.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { WAL_DIR, WalHarness } from '../../../support/wal-harness.ts';

test('a checkpoint is written down late: what followed it may lie in a segment that is used again since (FAILURES 13)', (t) => {
  let isReused = false;
  // Wherever in a segment the late record falls.
  for (let before = 3; before <= 12; before++) {
    const disk = new FaultyDisk(1);
    let log = new WalHarness(disk);
    const value = Buffer.alloc(log.segmentBytes / 8);
    let index = 0;
    const fill = (entries: number): void => {
      for (let i = 0; i < entries; i++) {
        log.append(1, ++index, value);
        log.flush();
      }
    };
    fill(before);
    // The checkpoint at 2 was begun long ago; the next one lets the first segments go.
    log.checkpoint(1, 2);
    log.flush();
    fill(2);
    log.checkpoint(1, before + 1);
    log.flush();
    fill(16);
    log = new WalHarness(disk);
    const { firstIndex, lastIndex, checkpoint } = log.recovery.ranges.get(1) ?? {};
    t.deepEqual({ lastIndex, checkpoint }, { lastIndex: before + 18, checkpoint: { index: before + 1, term: 1 } });
    isReused ||= (firstIndex ?? 0) > 3;
  }
  t.true(isReused, 'segments were used again');
});

test('a log that begins behind what its newest checkpoint covers is refused', (t) => {
  const disk = new FaultyDisk(1);
  const log = new WalHarness(disk);
  log.checkpoint(1, 2);
  log.append(1, 5, 'e');
  log.flush();
  t.throws(() => scanWal(disk, WAL_DIR), { code: 'KV_CORRUPT', message: /range 1 jumps from index 2 to 5/ });
});
