/** How many replicas a range has, and where they stand, while nodes come and an operator changes his mind. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { connect } from '../../src/client/connect.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { LAUNCHER, withNode } from '../support/node-process.ts';
import { answerOf } from '../support/until.ts';

const run = promisify(execFile);

interface Status {
  readonly ranges: readonly { readonly replicas: readonly { readonly nodeId: number; readonly role: string }[] }[];
}

/** Of each range, the nodes of its voters; a learner shows as 0. */
async function votersOf({ httpPort }: NodeProcess): Promise<number[][]> {
  const { ranges } = (await (await fetch(`http://127.0.0.1:${httpPort}/status`)).json()) as Status;
  return ranges.map(({ replicas }) => replicas.map(({ nodeId, role }) => (role === 'voter' ? nodeId : 0)).toSorted());
}

test('one replica becomes three with the third node and five by order, and three again in places that differ most', async (t) => {
  t.timeout(240_000);
  const places = ['dc=a,rack=1', 'dc=a,rack=2', 'dc=b,rack=1', 'dc=b,rack=1', 'dc=c,rack=1'];
  const nodes: NodeProcess[] = [];
  const start = async (): Promise<NodeProcess> => {
    const place = places[nodes.length] as string;
    const form = nodes[0] === undefined ? ['--pre-split', 'm'] : ['--join', `127.0.0.1:${nodes[0].peerPort}`];
    const node = await withNode(t, ['--workers', '1', '--locality', place, ...form]);
    nodes.push(node);
    return node;
  };
  const first = await start();
  const skerry = async (...args: string[]): Promise<string> => {
    return (await run(process.execPath, [LAUNCHER, ...args, '--server', `127.0.0.1:${first.port}`])).stdout.trim();
  };
  const until = (what: string, condition: (voters: number[]) => boolean): Promise<number[][]> =>
    answerOf(
      what,
      () => votersOf(first),
      (ranges) => ranges.length === 2 && ranges.every(condition),
    );
  await using kv = await connect(`skerry://127.0.0.1:${first.port}`, { as: 'text', timeoutMs: 60_000 });
  await kv.set('a', '1');
  await kv.set('z', '2');
  await start();
  await until('one replica on two nodes', (voters) => voters.length === 1);
  await start();
  await until('three replicas on three nodes', (voters) => voters.join() === '1,2,3');
  await start();
  await start();
  t.is(await skerry('range', 'replication'), '3');
  await t.throwsAsync(skerry('range', 'replication', '4'), { message: /is an odd number from 1 to 7, and not 4/ });
  t.is(await skerry('range', 'replication', '5'), '5');
  await until('five replicas', (voters) => voters.join() === '1,2,3,4,5');
  t.is(await skerry('range', 'replication', '3'), '3');
  const isSpread = (voters: number[]): boolean => {
    const centres = voters.map((nodeId) => places[nodeId - 1]?.split(',')[0]);
    return voters.length === 3 && new Set(centres).size === 3;
  };
  await until('three replicas, one in each data centre', isSpread);
  t.deepEqual([await kv.get('a'), await kv.get('z')], ['1', '2']);
  for (const node of nodes) {
    await using other = await connect(`skerry://127.0.0.1:${node.port}`, { as: 'text', timeoutMs: 60_000 });
    t.is(await other.get('z', { consistency: 'linearizable' }), '2');
  }
  // The data centre whose only node leaves is no place any more.
  t.is(await skerry('node', 'drain', '5', '--wait', '--timeout', '60000'), 'node 5 is INACTIVE');
  t.is(await nodes[4]?.exited, 0);
  await until(
    'three replicas on those that stay',
    (voters) => voters.length === 3 && !voters.includes(5) && voters[0] !== 0,
  );
});
