/** Nodes come and go while clients write: nothing acknowledged is lost, and nobody is refused. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import { connect } from '../../src/client/connect.ts';
import type { ClusterStatus } from '../../src/index.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { startNode } from '../support/node-process.ts';
import { answerOf } from '../support/until.ts';

interface RangeStatus {
  readonly rangeId: number;
  readonly leader: number;
  readonly replicas: readonly { readonly nodeId: number; readonly role: string }[];
}

interface NodeStatus {
  readonly cluster: ClusterStatus;
  readonly ranges: readonly RangeStatus[];
}

async function statusOf({ httpPort }: NodeProcess): Promise<NodeStatus> {
  return (await (await fetch(`http://127.0.0.1:${httpPort}/status`)).json()) as NodeStatus;
}

const until = (node: NodeProcess, condition: (status: NodeStatus) => boolean): Promise<NodeStatus> =>
  answerOf(`${condition}`, () => statusOf(node), condition);

const votersOf = ({ ranges }: NodeStatus): string[] =>
  ranges.map(({ replicas }) => {
    return replicas
      .filter(({ role }) => role === 'voter')
      .map(({ nodeId }) => nodeId)
      .toSorted()
      .join();
  });

const isPlain = ({ ranges }: NodeStatus): boolean =>
  ranges.every(({ replicas }) => replicas.every(({ role }) => role === 'voter'));

test('one node becomes three, one drains, one dies and is replaced: every write is there in the end', async (t) => {
  t.timeout(240_000);
  const nodes = new Map<number, NodeProcess>();
  const start = async (nodeId: number): Promise<NodeProcess> => {
    const dir = await mkdtemp(path.join(tmpdir(), 'skerry-cluster-'));
    t.teardown(() => rm(dir, { recursive: true, force: true }));
    const first = nodes.get(2) ?? nodes.get(1);
    const join = first === undefined ? ['--pre-split', 'm'] : ['--join', `127.0.0.1:${first.peerPort}`];
    const flags = ['--workers', '1', '--replace-after-seconds', '5', '--node-name', `n${nodeId}`, ...join];
    const node = await startNode(dir, flags);
    nodes.set(nodeId, node);
    t.teardown(async () => {
      if (node.child.exitCode === null && node.child.signalCode === null) await node.end('SIGKILL');
    });
    return node;
  };
  const first = await start(1);
  const second = await start(2);

  const written = new Map<string, string>();
  await using kv = await connect(`skerry://127.0.0.1:${second.port}`, { as: 'text', timeoutMs: 60_000 });
  let isDone = false;
  const writers = ['a', 'm', 'z'].map(async (letter) => {
    for (let i = 0; !isDone; i++) {
      const key = `${letter}${i % 50}`;
      await kv.set(key, String(i));
      written.set(key, String(i));
    }
  });
  await start(3);
  await until(second, (status) => votersOf(status).every((voters) => voters === '1,2,3'));
  await start(4);
  await kv.changeNode('drain', 'n1');
  t.is(await first.exited, 0, 'a node that has drained ends well');
  t.notRegex(first.stderr(), /fatal/i, 'and calls that no failure');
  const drained = await until(second, (status) => votersOf(status).every((voters) => voters === '2,3,4'));
  t.is(drained.cluster.nodes[0]?.state, 'INACTIVE');
  t.is(new Set(drained.cluster.nodes.map(({ nodeId }) => nodeId)).size, 4);

  await start(5);
  await nodes.get(3)?.end('SIGKILL');
  await until(second, (status) => isPlain(status) && votersOf(status).every((voters) => voters === '2,4,5'));
  isDone = true;
  await Promise.all(writers);
  t.true(written.size > 100);
  for (const nodeId of [2, 4, 5]) {
    await using other = await connect(`skerry://127.0.0.1:${nodes.get(nodeId)?.port}`, { as: 'text' });
    for (const [key, value] of written) t.is(await other.get(key), value, `${key} read on node ${nodeId}`);
  }
});
