import test from 'ava';
import type { NodeId, RangeId } from '../../../src/core/brands.ts';
import { memberId } from '../../../src/core/member.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { DataDir } from '../../../src/server/data-dir.ts';
import { expectLog, openLog } from '../../../src/server/healing.ts';
import type { HealingPorts } from '../../../src/server/healing.ts';
import { FaultyDisk } from '../../support/faulty-disk.ts';
import { WalHarness } from '../../support/wal-harness.ts';

const NODE = 1 as NodeId;
const MEMBER = memberId(NODE, 0, 1);

function nodeOnDisk(hasOthers: boolean): { ports: HealingPorts; open: () => Promise<number> } {
  const disk = new FaultyDisk(1);
  const dir = new DataDir(disk, '/node');
  disk.mkdir('/node');
  dir.make();
  const open = (): Promise<number> => Promise.resolve(new WalHarness(disk, { dir: dir.walDir }).recovery.logId);
  return { ports: { nodeId: NODE, dir, disk, walDir: dir.walDir, hasOthers, log: silentLogger }, open };
}

test('a log that a node has written is missed when it is gone, or is another one', async (t) => {
  const { ports, open } = nodeOnDisk(false);
  const { disk, walDir } = ports;
  t.notThrows(() => expectLog(disk, walDir, 0), 'a node that has not started yet has none');
  t.throws(() => expectLog(disk, walDir, 7), { code: 'KV_CORRUPT', message: /the log is missing/ });
  const logId = await openLog(open, 0, ports);
  t.notThrows(() => expectLog(disk, walDir, logId));
  t.throws(() => expectLog(disk, walDir, logId + 1), { code: 'KV_CORRUPT', message: /belongs to another log/ });
  await t.throwsAsync(openLog(open, logId + 1, ports), { code: 'KV_CORRUPT' }, 'it is alone');
});

test('a member that has voted and nothing else is given up with the log that had its vote (FAILURES 17)', async (t) => {
  const { ports, open } = nodeOnDisk(true);
  const range = 2 as RangeId;
  t.false(ports.dir.checkpoints.isNamed(range));
  ports.dir.checkpoints.born(range, MEMBER);
  t.true((await openLog(open, 7, ports)) > 0, 'a new log begins');
  t.like(ports.dir.checkpoints.find(), [{ rangeId: range, tombstone: MEMBER, member: null }]);
  t.true(ports.dir.checkpoints.isNamed(range), 'so no member without a state votes in its place');
});
