import test from 'ava';
import type { NodeId, RangeId } from '../../../src/core/brands.ts';
import { memberId } from '../../../src/core/member.ts';
import { confOf, encodeConfEntry } from '../../../src/core/raft/configuration.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { DataDir } from '../../../src/server/data-dir.ts';
import { expectLog, findWholeRanges, openLog } from '../../../src/server/healing.ts';
import type { HealingPorts } from '../../../src/server/healing.ts';
import { TYPE_CONFIG } from '../../../src/storage/wal/format.ts';
import { FaultyDisk } from '../../support/faulty-disk.ts';
import { WalHarness } from '../../support/wal-harness.ts';

const NODE = 1 as NodeId;
const MEMBER = memberId(NODE, 0, 1);

function nodeOnDisk(hasOthers: boolean): { ports: HealingPorts & { disk: FaultyDisk }; open: () => Promise<number> } {
  const disk = new FaultyDisk(1);
  const dir = new DataDir(disk, '/node');
  disk.mkdir('/node');
  dir.make();
  const open = (): Promise<number> => Promise.resolve(new WalHarness(disk, { dir: dir.walDir }).recovery.logId);
  return { ports: { nodeId: NODE, dir, disk, walDir: dir.walDir, hasOthers, log: silentLogger }, open };
}

/** A node with range 1, whose checkpoint cannot be read; its log says that these nodes vote. */
function damaged(voters: readonly number[]): HealingPorts {
  const { ports } = nodeOnDisk(true);
  const { dir, disk, walDir } = ports;
  const settings = { replicationFactor: 3, nodeName: () => 'first', workerCount: 1, splitKeys: [] };
  dir.bootstrap({ nodeId: NODE, ...settings });
  const wal = new WalHarness(disk, { dir: walDir });
  const conf = confOf(voters.map((nodeId) => memberId(nodeId as NodeId, 0, 1)));
  wal.append(1, 2, Buffer.from(encodeConfEntry(conf)), { type: TYPE_CONFIG });
  wal.flush();
  const [{ file } = { file: '' }] = dir.checkpoints.newest();
  disk.flipBit(file, 0, 0);
  return ports;
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

test('a member whose checkpoint cannot be read is given up unless the log says that nobody else votes any more (FAILURES 15)', (t) => {
  t.like(findWholeRanges(damaged([1, 2, 3])).damaged, [{ rangeId: 1, memberId: MEMBER }]);
  const alone = damaged([1]);
  t.throws(() => findWholeRanges(alone), { code: 'KV_CORRUPT' });
  t.like(alone.dir.checkpoints.find(), [{ tombstone: 0, member: { memberId: MEMBER } }]);
});
