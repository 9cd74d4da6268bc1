/** Nodes come and go while clients write: nothing acknowledged is lost, and nobody is refused. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Redis } from 'ioredis';
import { connect } from '../../src/client/connect.ts';
import type { ClusterStatus } from '../../src/index.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { LAUNCHER, withNode } from '../support/node-process.ts';
import { answerOf } from '../support/until.ts';

const run = promisify(execFile);

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

/** Three nodes of one cluster, which end with the test. */
async function startThree(t: ExecutionContext): Promise<NodeProcess[]> {
  const nodes: NodeProcess[] = [];
  for (let i = 0; i < 3; i++) {
    const join = nodes[0] === undefined ? [] : ['--join', `127.0.0.1:${nodes[0].peerPort}`];
    nodes.push(await withNode(t, ['--workers', '1', ...join]));
  }
  return nodes;
}

test('one node becomes three, one drains, one dies and is replaced: every write is there in the end', async (t) => {
  t.timeout(240_000);
  const nodes = new Map<number, NodeProcess>();
  const start = async (nodeId: number): Promise<NodeProcess> => {
    const first = nodes.get(2) ?? nodes.get(1);
    const join = first === undefined ? ['--pre-split', 'm'] : ['--join', `127.0.0.1:${first.peerPort}`];
    const flags = ['--workers', '1', '--replace-after-seconds', '5', '--node-name', `n${nodeId}`, ...join];
    const node = await withNode(t, flags);
    nodes.set(nodeId, node);
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

test('a drain that would leave too few is not done, and can be called back', async (t) => {
  t.timeout(180_000);
  const [first, second, third] = (await startThree(t)) as [NodeProcess, NodeProcess, NodeProcess];
  const skerry = (...args: string[]) =>
    run(process.execPath, [LAUNCHER, 'node', ...args, '--server', `127.0.0.1:${first.port}`]);
  const stateOf = async (): Promise<string | undefined> => (await statusOf(first)).cluster.nodes[2]?.state;
  await until(first, (status) => isPlain(status) && votersOf(status).every((voters) => voters === '1,2,3'));
  // With the second node silent, a majority of the two that would stay is not heard of.
  second.child.kill('SIGSTOP');
  const drain = t.throwsAsync(skerry('drain', '3', '--wait', '--timeout', '60000'), { message: /drains no longer/ });
  await answerOf('the third node is leaving', stateOf, (state) => state === 'LEAVING');
  t.is((await skerry('drain', '3', '--cancel', '--timeout', '60000')).stdout, 'node 3 is ACTIVE\n');
  await drain;
  second.child.kill('SIGCONT');
  await until(first, (status) => isPlain(status) && votersOf(status).every((voters) => voters === '1,2,3'));
  await using kv = await connect(`skerry://127.0.0.1:${third.port}`, { as: 'text', timeoutMs: 60_000 });
  await kv.set('a', '1');
  t.is(third.child.exitCode, null);
});

test('FAILURES 33: a watched key tells of a change that came under another leader, and of none that did not', async (t) => {
  t.timeout(180_000);
  const nodes = await startThree(t);
  const [first] = nodes as [NodeProcess];
  const { ranges } = await until(
    first,
    (status) => isPlain(status) && votersOf(status).every((voters) => voters === '1,2,3'),
  );
  const leader = ranges[0]?.leader as number;
  const { respPort } = nodes.find((_, i) => i + 1 !== leader) as NodeProcess;
  const [writer, changed, untouched] = [1, 2, 3].map(() => new Redis(respPort)) as [Redis, Redis, Redis];
  t.teardown(() => [writer, changed, untouched].forEach((client) => client.disconnect()));
  await writer.set('a', 'before');
  await writer.set('b', 'before');
  await changed.watch('a');
  await untouched.watch('b');
  await nodes[leader - 1]?.end('SIGKILL');
  await answerOf(
    'the next leader takes a write',
    () => writer.set('a', 'after').catch(String),
    (answer) => answer === 'OK',
  );
  t.is(await changed.multi().set('a', 'mine').exec(), null);
  t.deepEqual(await untouched.multi().set('b', 'mine').exec(), [[null, 'OK']]);
  t.deepEqual(await writer.mget('a', 'b'), ['after', 'mine']);
});
