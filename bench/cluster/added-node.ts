/**
 * What it costs that a node joins a loaded cluster with a gibibyte of data: throughput from when its process starts until it
 * has its share of the replicas and no other is on its way, beside that before. The new process lives on the same cores as
 * everything else, and goes on to do so: what four nodes do on cores that three had for themselves is given apart.
 */
import { connect } from '../../src/client/connect.ts';
import { fill, load, planOf } from '../harness/loads.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { nodeFlags, startCluster, startSkerry, untilPlaced } from '../harness/servers.ts';
import type { SkerryNode } from '../harness/servers.ts';
import { spreadOf } from '../harness/statistics.ts';

const NODES = 3;
const KEYS = 1_000_000;
const VALUE_BYTES = 1024;
const RANGES = 8;
const SPLIT_KEYS = Array.from(
  { length: RANGES - 1 },
  (_, i) => `key:${String(Math.round(((i + 1) * KEYS) / RANGES)).padStart(12, '0')}`,
);
/** Of the new node: of three replicas of each range, spread over four nodes. */
const FAIR_SHARE = Math.floor((RANGES * NODES) / (NODES + 1));
const LOAD = { clients: 16, pipeline: 4, keyCount: KEYS, valueBytes: VALUE_BYTES, warmUpMs: 200 };
/** What was just written is still checkpointed in the first of them, which do not count. */
const SETTLING_RUNS = 3;
const BEFORE_RUNS = 5;
const AFTER_RUNS = 5;

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

async function measure({ seconds, say }: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const cluster = await startCluster(NODES, SPLIT_KEYS, stack);
  const [first] = cluster as readonly [SkerryNode];
  await fill(first.respPort, KEYS, VALUE_BYTES);
  const server = cluster.map(({ host, port }) => `${host}:${port}`).join(',');
  const throughput = async (phase: string): Promise<number> => {
    const run = await load(planOf('ycsb-a', seconds, LOAD), { kind: 'native', server });
    say(`${phase}: ${run.operationsPerSecond.toFixed(0)}/s, p99 ${run.latency.p99Ms.toFixed(1)} ms`);
    return run.operationsPerSecond;
  };
  // oxlint-disable-next-line no-await-in-loop
  for (let i = 0; i < SETTLING_RUNS; i++) await throughput('not counted');
  const before: number[] = [];
  // oxlint-disable-next-line no-await-in-loop
  for (let i = 0; i < BEFORE_RUNS; i++) before.push(await throughput('before'));
  const startMs = performance.now();
  let isJoined = false;
  const joined = (async () => {
    const node = await startSkerry([...(await nodeFlags(NODES + 1)), '--join', `${first.host}:${first.peerPort}`]);
    stack.defer(() => node.stop());
    await untilPlaced(first, { ranges: RANGES, replicas: NODES, nodeId: NODES + 1, least: FAIR_SHARE });
    isJoined = true;
  })();
  const during: number[] = [];
  try {
    // oxlint-disable-next-line no-await-in-loop
    while (!isJoined) during.push(await throughput('while it joins'));
  } finally {
    await joined;
  }
  const joinedMs = performance.now() - startMs;
  const after: number[] = [];
  // oxlint-disable-next-line no-await-in-loop
  for (let i = 0; i < AFTER_RUNS; i++) after.push(await throughput('after'));
  await using store = await connect(`skerry://${server}`);
  const { nodes } = await store.cluster();
  // All that was done in that time, not what was usual in it.
  const cost = 100 * (1 - mean(during) / mean(before));
  return {
    figures: [
      figure('throughput lost while it joins', '%', cost, 'lower', { must: 30, aim: 30 }),
      figure('before', '/s', spreadOf(before), 'higher'),
      figure('while it joins', '/s', spreadOf(during), 'higher'),
      figure('afterwards', '/s', spreadOf(after), 'higher'),
      figure(`until it has ${FAIR_SHARE} of ${RANGES * NODES} replicas`, 's', joinedMs / 1000, 'lower'),
    ],
    details: { nodes: nodes.length, before, during, after },
  };
}

export const addedNodeRow: Row = {
  id: 'added-node',
  title: 'A fourth node joins three under load, 1 GiB of data, all on this machine',
  lacks: () => null,
  run: measure,
};
