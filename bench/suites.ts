/** All rows, in the order of the page of results. */
import { addedNodeRow } from './cluster/added-node.ts';
import { failoverRow } from './cluster/failover.ts';
import { replicatedRow } from './cluster/replicated.ts';
import type { Row } from './harness/row.ts';
import { curveRows } from './node/curve.ts';
import { embeddedRow } from './node/embedded.ts';
import { generatorRow } from './node/generator.ts';
import { idleRows } from './node/idle.ts';
import { memoryRow } from './node/memory.ts';
import { oneClientRow } from './node/one-client.ts';
import { recoveryRow } from './node/recovery.ts';
import { restartRow } from './node/restart.ts';
import { stallRow } from './node/stall.ts';
import { etcdRows, etcdThreeRows } from './peers/etcd.ts';
import { redisRows } from './peers/redis.ts';

const peerRows: readonly Row[] = [...redisRows, ...etcdRows];
const [idleRow, idleThreeRow] = idleRows;

const ownRows: readonly Row[] = [
  oneClientRow,
  embeddedRow,
  memoryRow,
  restartRow,
  recoveryRow,
  idleRow,
  stallRow,
  ...curveRows,
  generatorRow,
];

export const suites: Readonly<Record<string, readonly Row[]>> = {
  peers: peerRows,
  node: [...peerRows, ...ownRows],
  cluster: [...etcdThreeRows, replicatedRow, failoverRow, addedNodeRow, idleThreeRow],
};

/** The rows of the page of results. */
export const rowOrder: readonly string[] = [...(suites['node'] ?? []), ...(suites['cluster'] ?? [])].map(
  ({ id }) => id,
);
