import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import type { NodeId } from '../../../src/core/brands.ts';
import { HLC_LOGICAL_RANGE } from '../../../src/core/hlc.ts';
import { requireCommand } from '../../../src/core/kv/table.ts';
import { createLogger } from '../../../src/observe/log.ts';
import { createCpuPool, helpToRecover } from '../../../src/server/cpu-pool.ts';
import { DataDir } from '../../../src/server/data-dir.ts';
import { nodeDisk } from '../../../src/storage/disk.ts';
import { findSuperseded, joinShares } from '../../../shards/find-superseded.ts';
import type { LogToLookThrough } from '../../../shards/find-superseded.ts';
import { argsOf, encodeBatch } from '../../support/kv-machine.ts';
import { WalHarness } from '../../support/wal-harness.ts';

const FIRST_VERSION = 1_700_000_000_000 * HLC_LOGICAL_RANGE;
const logger = createLogger({ level: 'silent', format: 'json', thread: 'main' });
const dir = mkdtempSync(path.join(tmpdir(), 'skerry-help-'));
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

/** 1000 SETs over 50 keys, behind the checkpoint that a new store begins with. */
function writtenLog(): LogToLookThrough {
  const data = new DataDir(nodeDisk, dir);
  data.make();
  const nodeId = 1 as NodeId;
  data.bootstrap({ nodeId, replicationFactor: 3, nodeName: () => 'first', workerCount: 1, splitKeys: [] });
  const wal = new WalHarness(nodeDisk, { dir: data.walDir });
  for (let i = 0; i < 10; i++) {
    const items = Array.from({ length: 100 }, (_, j) => ({
      spec: requireCommand('SET'),
      args: argsOf([`key ${(j * 7) % 50}`, `${i}`]),
    }));
    wal.append(1, i + 2, encodeBatch(FIRST_VERSION + 100 * i, items, 1));
  }
  wal.flush();
  const { recovery } = new WalHarness(nodeDisk, { dir: data.walDir });
  const checkpoints = data.findRanges(nodeId).checkpoints.map(({ file }) => file);
  return { nodeId, walDir: data.walDir, scan: recovery, checkpoints, valueBytesMax: 1000 };
}

test('a worker and the thread that helps it find together what one alone would; a thread that fails finds nothing', async (t) => {
  const log = writtenLog();
  const pool = createCpuPool(1);
  t.teardown(() => pool.destroy());
  const helped = await helpToRecover(pool, log, logger);
  if (helped === null) throw new Error('the thread has failed');
  const own = findSuperseded(nodeDisk, log, { index: 0, of: 2 });
  const all = findSuperseded(nodeDisk, log);
  t.deepEqual(joinShares(own, helped), all);
  t.is(all.get(1)?.count, 1000);
  t.notDeepEqual(own, all);
  t.notDeepEqual(helped, all);
  t.is(await helpToRecover(pool, { ...log, walDir: path.join(dir, 'elsewhere') }, logger), null);
});
