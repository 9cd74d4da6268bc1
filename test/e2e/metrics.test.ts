/** Every metric that the documents promise is served, and counts what it says. */
import { readFile } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Redis } from 'ioredis';
import { connect } from '../../src/client/connect.ts';
import { startNode, temporaryDir } from '../support/node-process.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { parsePrometheus } from '../unit/observe/prometheus-parser.ts';
import { answerOf } from '../support/until.ts';

/** Those that move only when something is wrong, or are levels that are 0 when all is done. */
const QUIET = new Set([
  'skerry_node_silent',
  // The scrubber takes its time, and may find nothing to read.
  'skerry_scrub_bytes_total',
  'skerry_scrub_files_total',
  'skerry_scrub_passes_total',
  'skerry_scrub_damages_total',
  'skerry_scrub_progress_ratio',
  'skerry_raft_proposals_dropped_total',
  'skerry_raft_leaderless',
  // A follower that was away may as well find what it lacks in the leader's memory.
  'skerry_raft_read_back_entries_total',
  'skerry_raft_read_back_bytes_total',
  'skerry_damaged_replicas',
  'skerry_ring_fill_ratio',
  'skerry_ring_full_total',
  'skerry_peer_messages_dropped_total',
  'skerry_peer_queued_bytes',
  'skerry_peer_breaks_total',
  'skerry_checkpoint_failures_total',
  'skerry_wal_disk_full',
]);

const documented = async (): Promise<string[]> => {
  const page = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  return [...page.matchAll(/^\| `(skerry_\w+)`/gm)].map(([, name]) => name as string);
};

async function start(t: ExecutionContext, dir: string, ...flags: string[]): Promise<NodeProcess> {
  const node = await startNode(dir, ['--workers', '2', '--max-recovery-seconds', '1', ...flags]);
  t.teardown(async () => {
    if (node.child.exitCode === null && node.child.signalCode === null) await node.end('SIGKILL');
  });
  return node;
}

async function scrape({ httpPort }: NodeProcess): Promise<ReturnType<typeof parsePrometheus>> {
  return parsePrometheus(await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text());
}

/** What a family's samples add up to; of histograms, how much was recorded. */
function total(
  families: ReturnType<typeof parsePrometheus>,
  name: string,
  labels: Record<string, string> = {},
): number {
  const family = families.get(name);
  const wanted = family?.type === 'histogram' ? `${name}_count` : name;
  const samples = family?.samples.filter((sample) => {
    return sample.name === wanted && Object.entries(labels).every(([label, value]) => sample.labels[label] === value);
  });
  return (samples ?? []).reduce((sum, { value }) => sum + value, 0);
}

test('every documented metric is served, and those that work moves have moved', async (t) => {
  const dirs = await Promise.all([0, 1, 2].map(() => temporaryDir(t)));
  const [first, second, third] = dirs as [string, string, string];
  const one = await start(t, first, '--pre-split', 'm');
  const join = ['--join', `127.0.0.1:${one.peerPort}`];
  const two = await start(t, second, ...join);
  let three = await start(t, third, ...join);
  const kv = await connect(`skerry://127.0.0.1:${one.port}`, { as: 'text' });
  t.teardown(() => kv.close());
  await answerOf(
    'a write that others have, too',
    () => kv.set('z', '1', { explain: true }),
    ({ explanation }) => explanation.ranges.every((range) => range.kind === 'write' && range.replicationMs !== null),
  );
  await kv.set('soon', '1', { ttlMs: 1 });
  await kv.set('later', '1', { ttlMs: 3_600_000 });
  await t.throwsAsync(kv.splitRange('m'), { code: 'KV_STATE' }, 'a range begins there already');
  await kv.set('text', 'no number');
  await t.throwsAsync(kv.command('INCR', ['text']), { code: 'KV_REPLY' });
  const redis = new Redis(one.respPort, '127.0.0.1');
  await t.throwsAsync(redis.mset('a', '1', 'z', '1'), { message: /^CROSSRANGE/ });
  await t.throwsAsync(redis.incr('text'), { message: /not an integer/ });
  await redis.quit();
  const value = 'v'.repeat(64 * 1024);
  const checkpoints = async (): Promise<number> => total(await scrape(one), 'skerry_checkpoints_total');
  for (let i = 0; (await checkpoints()) === 0 && i < 8000;) {
    await Promise.all(Array.from({ length: 50 }, () => kv.set(`${i % 2 === 0 ? 'a' : 'z'}:${i++ % 300}`, value)));
  }
  // What is replayed and what is read at the next start.
  await three.end('SIGKILL');
  three = await start(t, third, ...join);
  const asked = await connect(`skerry://127.0.0.1:${three.port}`, { as: 'text' });
  t.is(await asked.get('text'), 'no number');
  await asked.close();

  const nodes = [one, two, three];
  const names = await documented();
  t.true(names.length > 40);
  const isStill = (pages: readonly ReturnType<typeof parsePrometheus>[]): string[] =>
    names.filter((name) => !QUIET.has(name) && pages.every((page) => !(total(page, name) > 0)));
  const isWhole = (page: ReturnType<typeof parsePrometheus>): boolean => names.every((name) => page.has(name));
  let pages = await Promise.all(nodes.map(scrape));
  // Some are published, or happen, some times a second.
  for (let left = 500; (isStill(pages).length > 0 || !pages.every(isWhole)) && left > 0; left--)
    pages = await Promise.all(nodes.map(scrape));
  t.deepEqual(isStill(pages), [], 'these have not moved');
  for (const page of pages) {
    t.deepEqual(
      names.filter((name) => !page.has(name)),
      [],
    );
    t.deepEqual(
      [...page.keys()].filter((name) => name.startsWith('skerry_') && !names.includes(name)),
      ['skerry_build_info'],
    );
  }
  const [page] = pages as [ReturnType<typeof parsePrometheus>];
  for (const code of ['KV_STATE', 'KV_REPLY', 'KV_CROSS_RANGE']) {
    t.true(total(page, 'skerry_errors_total', { code }) >= 1, code);
  }
  for (const phase of ['queue', 'wal_wait', 'fsync', 'notice', 'replication', 'apply']) {
    t.true(
      pages.some((each) => total(each, 'skerry_write_phase_seconds', { phase }) > 0),
      phase,
    );
  }
});
