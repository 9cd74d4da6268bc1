/** What a thousand ranges cost that nobody uses, on one node and on three. */
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSecondsOf } from '../harness/processes.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startCluster } from '../harness/servers.ts';
import { spreadOf } from '../harness/statistics.ts';

const RANGES = 1000;
const SETTLE_MS = 5000;
const WATCH_MS = 5000;
const SPLIT_KEYS = Array.from({ length: RANGES - 1 }, (_, i) => `key:${String(i + 1).padStart(12, '0')}`);

/** The figure is that of the busiest node. */
async function measure(nodes: number, { pairs, say }: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const cluster = await startCluster(nodes, SPLIT_KEYS, stack);
  await sleep(SETTLE_MS);
  const shares: number[] = [];
  for (let i = 0; i < pairs; i++) {
    const before = cluster.map(({ pid }) => cpuSecondsOf(pid));
    const startMs = performance.now();
    // oxlint-disable-next-line no-await-in-loop
    await sleep(WATCH_MS);
    const tookMs = performance.now() - startMs;
    const each = cluster.map(({ pid }, k) => ((cpuSecondsOf(pid) - (before[k] as number)) * 1000 * 100) / tookMs);
    shares.push(Math.max(...each));
    say(`${i + 1}: ${each.map((share) => `${share.toFixed(2)} %`).join(', ')} of a core`);
  }
  const what = nodes === 1 ? 'CPU' : 'CPU of the busiest node';
  return {
    figures: [figure(what, '% of a core', spreadOf(shares), 'lower', { must: 5, aim: 1 })],
    details: { shares },
  };
}

function row(id: string, title: string, nodes: number): Row {
  return {
    id,
    title,
    lacks: () => (process.platform === 'linux' ? null : 'CPU time is read from /proc, which is Linux'),
    run: (options) => measure(nodes, options),
  };
}

export const idleRows = [
  row('idle', '1,000 idle ranges', 1),
  row('idle-three', '1,000 idle ranges on three nodes', 3),
] as const;
