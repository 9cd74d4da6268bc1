/** A node that is stopped in order makes nobody wait for an election. */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { withNode } from '../support/node-process.ts';
import { answerOf } from '../support/until.ts';

/** Nobody stands for election by himself within the time of this test. */
const FLAGS = ['--workers', '1', '--raft-election-timeout-ms', '60000'];
const NODES = 3;

interface Status {
  readonly ranges: readonly { readonly leader: number; readonly replicas: readonly { readonly role: string }[] }[];
}

async function statusOf({ httpPort }: NodeProcess): Promise<Status> {
  return (await (await fetch(`http://127.0.0.1:${httpPort}/status`)).json()) as Status;
}

function isReplicated({ ranges }: Status): boolean {
  return ranges.every(({ replicas }) => replicas.filter(({ role }) => role === 'voter').length === NODES);
}

/** Nodes that all vote in all of two ranges. */
async function startCluster(t: ExecutionContext): Promise<NodeProcess[]> {
  const nodes: NodeProcess[] = [];
  for (let i = 1; i <= NODES; i++) {
    const forms = i === 1 ? ['--pre-split', 'm'] : ['--join', `127.0.0.1:${nodes[0]?.peerPort}`];
    nodes.push(await withNode(t, [...FLAGS, '--node-name', `n${i}`, ...forms]));
  }
  await answerOf('three voters of each range', () => statusOf(nodes[0] as NodeProcess), isReplicated);
  return nodes;
}

test('a node that is told to stop hands its leaderships over first', async (t) => {
  t.timeout(120_000);
  const nodes = await startCluster(t);
  const leader = (await statusOf(nodes[0] as NodeProcess)).ranges[0]?.leader as number;
  const servers = nodes.map(({ port }) => `127.0.0.1:${port}`).join(',');
  await using kv = await connect(`skerry://${servers}`, { as: 'text', timeoutMs: 20_000 });
  await kv.set('a', '1');
  await kv.set('z', '1');
  const stopping = nodes[leader - 1] as NodeProcess;
  t.is(await stopping.end('SIGTERM'), 0);
  await kv.set('a', '2');
  await kv.set('z', '2');
  t.is(await kv.get('a'), '2');
  t.is(await kv.get('z'), '2');
});

test('a node that has lost the others, and so cannot know what becomes of a write, stops all the same', async (t) => {
  t.timeout(120_000);
  const nodes = await startCluster(t);
  const leader = (await statusOf(nodes[0] as NodeProcess)).ranges[0]?.leader as number;
  const stopping = nodes[leader - 1] as NodeProcess;
  await using kv = await connect(`skerry://127.0.0.1:${stopping.port}`, { timeoutMs: 1000, retries: 0 });
  await kv.set('a', '1');
  await Promise.all(nodes.map((node) => (node === stopping ? null : node.end('SIGKILL'))));
  await t.throwsAsync(kv.set('a', '2'), { code: 'KV_UNKNOWN_RESULT' });
  t.is(await stopping.end('SIGTERM'), 0);
});
