/** Real nodes explain their replies: to clients over TCP, to the process that embeds a store, and to people. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import type { Explanation, RangeExplanation, ReadExplanation, WriteExplanation } from '../../src/index.ts';
import { open } from '../../src/index.ts';
import { LAUNCHER, startNode, temporaryDir, withNode } from '../support/node-process.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { answerOf } from '../support/until.ts';

const run = promisify(execFile);

/** Rounding to the microsecond, six times. */
const ROUNDING_MS = 0.01;

function sumOfPhases(range: RangeExplanation): number {
  if (range.kind === 'read') return range.queueMs + (range.readIndexMs ?? 0) + range.readMs;
  const { queueMs, walWaitMs, fsyncMs, noticeMs, replicationMs, applyMs } = range;
  return queueMs + (walWaitMs ?? 0) + (fsyncMs ?? 0) + (noticeMs ?? 0) + (replicationMs ?? 0) + applyMs;
}

/** Each clock contains the one inside it. */
function checkSums(t: ExecutionContext, { totalMs, roundTripMs, server, ranges }: Explanation): void {
  t.true(ranges.length > 0);
  for (const range of ranges) {
    t.true(Math.abs(sumOfPhases(range) - range.totalMs) < ROUNDING_MS, JSON.stringify(range));
    t.true(range.totalMs <= server.totalMs + ROUNDING_MS);
  }
  t.true(server.totalMs <= roundTripMs + ROUNDING_MS);
  t.true(roundTripMs <= totalMs + ROUNDING_MS);
}

test('a write and a read over TCP say where their time went, whichever worker has the key', async (t) => {
  const { port } = await withNode(t);
  await using kv = await connect(`skerry://127.0.0.1:${port}`, { as: 'text' });
  for (const key of ['a', 'z']) {
    const written = await kv.set(key, '1', { explain: true });
    t.true(written.result);
    checkSums(t, written.explanation);
    const [range] = written.explanation.ranges as [WriteExplanation];
    t.like(range, { kind: 'write', nodeId: 1, batchCommands: 1, replicationMs: null });
    t.true((range.fsyncMs as number) > 0, 'the disk takes its time');
    t.true(range.index > 0);
    t.is(written.explanation.attempts, 1);

    const read = await kv.get(key, { explain: true });
    t.is(read.result, '1');
    checkSums(t, read.explanation);
    t.like(read.explanation.ranges[0], {
      kind: 'read',
      restsOn: 'lease',
      rangeId: range.rangeId,
      worker: range.worker,
    });
  }
  t.is(await kv.get('a'), '1', 'without the option there is the value alone');
});

test('a command over several ranges is explained by each of them, an absent key and an error as they are', async (t) => {
  const { port } = await withNode(t);
  await using kv = await connect(`skerry://127.0.0.1:${port}`, { as: 'text' });
  await kv.batch([{ type: 'put', key: 'a', value: '1' }]);
  const many = await kv.getMany(['a', 'z'], { explain: true });
  t.deepEqual(many.result, ['1', undefined]);
  t.deepEqual(many.explanation.ranges.map(({ rangeId }) => rangeId).sort(), [1, 2]);
  checkSums(t, many.explanation);
  const absent = await kv.get('nobody', { explain: true });
  t.is(absent.result, undefined);
  checkSums(t, absent.explanation);
  const long = 'x'.repeat(2 ** 20);
  t.true((await kv.set('long', long, { explain: true })).result);
  t.is((await kv.get('long', { explain: true })).result, long);
  await t.throwsAsync(kv.command('INCR', ['a', 'b'], { explain: true }), { code: 'KV_INVALID' });
  await kv.set('text', 'no number');
  await t.throwsAsync(kv.command('INCR', ['text'], { explain: true }), { message: /integer/ });
  t.is((await kv.batch([{ type: 'delete', key: 'a' }], { explain: true })).explanation.ranges.length, 1);
  t.deepEqual((await kv.batch([], { explain: true })).explanation.ranges, []);
});

test('an embedded store explains itself, too', async (t) => {
  const dir = await temporaryDir(t);
  await using kv = await open(dir, { as: 'text', settings: { threads: { workers: 2 } } });
  const written = await kv.set('a', '1', { explain: true });
  checkSums(t, written.explanation);
  t.like(written.explanation.ranges[0], { kind: 'write', rangeId: 1 });
  const read = await kv.get('a', { consistency: 'linearizable', explain: true });
  t.is(read.result, '1');
  t.like(read.explanation.ranges[0], { kind: 'read', restsOn: 'readIndex' });
  checkSums(t, read.explanation);
});

test('on three nodes the leader explains what another node was asked', async (t) => {
  const nodes: NodeProcess[] = [];
  for (let i = 0; i < 3; i++) {
    const join = i === 0 ? [] : ['--join', `127.0.0.1:${(nodes[0] as NodeProcess).peerPort}`];
    const node = await startNode(await temporaryDir(t), ['--workers', '1', ...join]);
    nodes.push(node);
    t.teardown(() => node.end('SIGKILL'));
  }
  const stores = await Promise.all(nodes.map(({ port }) => connect(`skerry://127.0.0.1:${port}`, { as: 'text' })));
  t.teardown(async () => void (await Promise.all(stores.map((store) => store.close()))));
  const [kv] = stores as [(typeof stores)[0]];
  // With three voters a write waits for one of the others.
  const { explanation } = await answerOf(
    'a write that others have, too',
    () => kv.set('a', '1', { explain: true }),
    (set) => (set.explanation.ranges[0] as WriteExplanation).replicationMs !== null,
  );
  checkSums(t, explanation);
  // The first request of a client goes to the node that it was given.
  const seen = await Promise.all(
    nodes.map(async ({ port }) => {
      await using store = await connect(`skerry://127.0.0.1:${port}`, { as: 'text' });
      const { result, explanation } = await store.get('a', { consistency: 'linearizable', explain: true });
      t.is(result, '1');
      checkSums(t, explanation);
      return { asked: explanation.server.nodeId, range: explanation.ranges[0] as ReadExplanation };
    }),
  );
  t.deepEqual(seen.map(({ asked }) => asked).sort(), [1, 2, 3]);
  t.is(
    new Set(seen.map(({ range }) => range.nodeId)).size,
    1,
    'one node leads, and says so to those that another asked',
  );
  t.true(seen.every(({ range }) => range.restsOn === 'readIndex' && range.readIndexMs !== null));
});

test('`skerry set --explain` and `get --explain` show a table to people and JSON to programs', async (t) => {
  const { port } = await withNode(t);
  const skerry = (...args: string[]) => run(process.execPath, [LAUNCHER, ...args, '--server', `127.0.0.1:${port}`]);
  const set = await skerry('set', 'a', '1', '--explain');
  for (const phase of ['queue', 'WAL wait', 'fsync', 'notice', 'replication', 'apply', 'server', 'network', 'total']) {
    t.regex(set.stderr, new RegExp(`^ +(\\d+\\.\\d{3}|-) ms  ${phase} `, 'm'));
  }
  const get = await skerry('get', 'a', '--explain', '--linearizable');
  t.is(get.stdout, '1\n');
  t.regex(get.stderr, /ms {2}read index/);
  const json = await skerry('set', 'a', '2', '--explain', '--json');
  const { stored, explanation } = JSON.parse(json.stdout) as { stored: boolean; explanation: Explanation };
  t.true(stored);
  t.is(json.stderr, '');
  checkSums(t, explanation);
});
