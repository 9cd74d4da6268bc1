/**
 * A node that was away comes back to what it missed: from the leaders' memory when that is little, from their logs when memory
 * has it no longer, and by a snapshot when the logs were cut.
 */
import test from 'ava';
import { connect } from '../../src/client/connect.ts';
import { createPrng } from '../../src/core/prng.ts';
import { ClusterLab } from '../support/cluster-lab.ts';
import { namespacesMissing } from '../support/namespaces.ts';
import { answerOf } from '../support/until.ts';
import { parsePrometheus } from '../unit/observe/prometheus-parser.ts';

/** The least that these can be: a checkpoint comes with the ninth segment, long before a restart would take too long. */
const SMALL_LOG = ['--wal-ring', '4mb', '--wal-segment', '8mb', '--max-recovery-seconds', '3600'];
const VALUE_BYTES = 64 * 1024;
const AT_ONCE = 16;
const withNodes = namespacesMissing() === null ? test : test.skip;

/** Samples of a node's metrics, added up. */
async function metric(lab: ClusterLab, i: number, name: string, labels: Record<string, string> = {}): Promise<number> {
  const page = await (await fetch(`http://${lab.hosts.address(i)}:7371/metrics`)).text();
  const samples = parsePrometheus(page).get(name)?.samples ?? [];
  return samples
    .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0);
}

/** Writes `count` new keys by way of node 1, half of them to each range. */
async function write(lab: ClusterLab, written: Map<string, string>, count: number): Promise<void> {
  await using store = await connect(`skerry://${lab.url(1)}`, { as: 'text', timeoutMs: 30_000 });
  const write = async (): Promise<void> => {
    const key = `${written.size % 2 === 0 ? 'a' : 'z'}${written.size}`;
    const value = `${key}-`.padEnd(VALUE_BYTES, 'x');
    written.set(key, value);
    await store.set(key, value);
  };
  for (let i = 0; i < count; i += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, write));
}

/** Leaders keep in memory what a member lacks that has answered a moment ago. */
async function untilSilent(lab: ClusterLab, silent: number): Promise<void> {
  await using store = await connect(`skerry://${lab.url(1)}`, { timeoutMs: 30_000 });
  await answerOf(
    `node ${silent} is silent`,
    () => store.cluster(),
    ({ nodes }) => nodes.some(({ nodeId, isSilent }) => nodeId === silent && isSilent),
  );
}

withNodes('a node that was away catches up from the leaders’ logs, and by a snapshot when they were cut', async (t) => {
  t.timeout(300_000);
  const lab = await ClusterLab.start(t, { nodes: 3, prng: createPrng(1), flags: SMALL_LOG });
  const written = new Map<string, string>();
  const untilCaughtUp = (): Promise<number> =>
    answerOf(
      'all keys on node 3',
      () => metric(lab, 3, 'skerry_keys'),
      (keys) => keys === written.size,
    );
  const onLeaders = async (name: string, labels?: Record<string, string>): Promise<number> =>
    (await metric(lab, 1, name, labels)) + (await metric(lab, 2, name, labels));
  await write(lab, written, 32);
  await untilCaughtUp();

  // Four segments: more than memory keeps for one that does not answer, less than leads to a checkpoint.
  await lab.node(3).end('SIGKILL');
  await untilSilent(lab, 3);
  const checkpoints = await onLeaders('skerry_checkpoints_total');
  await write(lab, written, 512);
  t.is(await onLeaders('skerry_checkpoints_total'), checkpoints, 'the logs were not cut');
  const readBefore = await onLeaders('skerry_raft_read_back_bytes_total');
  await lab.startNode(3);
  await untilCaughtUp();
  const readBack = (await onLeaders('skerry_raft_read_back_bytes_total')) - readBefore;
  t.true(readBack > 500 * VALUE_BYTES, `${readBack} bytes`);
  t.true((await onLeaders('skerry_raft_read_back_entries_total')) > 0);
  t.is(await metric(lab, 3, 'skerry_snapshots_total', { direction: 'in' }), 0);

  // So long that the logs are cut behind it.
  await lab.node(3).end('SIGKILL');
  const cuts = await onLeaders('skerry_checkpoints_total');
  await write(lab, written, 1024);
  await answerOf(
    'checkpoints',
    () => onLeaders('skerry_checkpoints_total'),
    (now) => now > cuts,
  );
  await lab.startNode(3);
  await untilCaughtUp();
  t.true((await metric(lab, 3, 'skerry_snapshots_total', { direction: 'in' })) > 0);

  // What it has, it has without the others.
  await Promise.all([1, 2].map((i) => lab.node(i).end('SIGKILL')));
  await using store = await connect(`skerry://${lab.url(3)}`, { as: 'text', timeoutMs: 30_000 });
  for (const [key, value] of written) {
    if ((await store.get(key, { consistency: 'stale' })) !== value) t.fail(`${key} is not what was written`);
  }
});
