/** A SET on three nodes with 64 clients: how long each waits until a majority has it on its disks. */
import { load, planOf } from '../harness/loads.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import type { SkerryNode } from '../harness/servers.ts';
import { PRE_SPLIT_KEY, startCluster } from '../harness/servers.ts';
import { spreadOf } from '../harness/statistics.ts';
import type { LoadTarget } from '../../src/bench/load.ts';

const CLIENTS = 64;

async function measure({ pairs, seconds, say }: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const cluster = await startCluster(3, [PRE_SPLIT_KEY], stack);
  const [first] = cluster as readonly [SkerryNode];
  const server = cluster.map(({ host, port }) => `${host}:${port}`).join(',');
  const sides: readonly { readonly name: string; readonly target: LoadTarget }[] = [
    { name: 'native client', target: { kind: 'native', server } },
    { name: 'Redis protocol, one node asked', target: { kind: 'resp', host: first.host, port: first.respPort } },
  ];
  const runs = sides.map(({ name, target }) => ({ name, target, p50Ms: [] as number[], perSecond: [] as number[] }));
  for (let i = 0; i < pairs; i++) {
    for (const { name, target, p50Ms, perSecond } of runs) {
      // oxlint-disable-next-line no-await-in-loop
      const { latency, operationsPerSecond } = await load(planOf('set', seconds, { clients: CLIENTS }), target);
      p50Ms.push(latency.p50Ms);
      perSecond.push(operationsPerSecond);
      say(`${i + 1}: ${name} p50 ${latency.p50Ms.toFixed(2)} ms, ${operationsPerSecond.toFixed(0)}/s`);
    }
  }
  const figures = runs.flatMap(({ name, p50Ms, perSecond }) => [
    figure(`${name}: p50`, 'ms', spreadOf(p50Ms), 'lower', { must: 5, aim: 5 }),
    figure(name, '/s', spreadOf(perSecond), 'higher'),
  ]);
  return { figures, details: { clients: CLIENTS, runs: runs.map(({ name, p50Ms }) => ({ name, p50Ms })) } };
}

export const replicatedRow: Row = {
  id: 'replicated-set',
  title: 'SET, 64 clients, one request at a time each, three nodes on this machine',
  lacks: () => null,
  run: measure,
};
