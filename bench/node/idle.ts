/** What a thousand ranges cost that nobody uses. */
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSecondsOf } from '../harness/processes.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startSkerry } from '../harness/servers.ts';
import { spreadOf } from '../harness/statistics.ts';

const RANGES = 1000;
const SETTLE_MS = 5000;
const WATCH_MS = 5000;

async function measure({ pairs, say }: RowOptions): Promise<RowResult> {
  const keys = Array.from({ length: RANGES - 1 }, (_, i) => `key:${String(i + 1).padStart(12, '0')}`);
  const skerry = await startSkerry(['--pre-split', keys.join(',')]);
  const shares: number[] = [];
  try {
    await sleep(SETTLE_MS);
    for (let i = 0; i < pairs; i++) {
      const before = cpuSecondsOf(skerry.pid);
      const startMs = performance.now();
      // oxlint-disable-next-line no-await-in-loop
      await sleep(WATCH_MS);
      shares.push(((cpuSecondsOf(skerry.pid) - before) * 1000 * 100) / (performance.now() - startMs));
      say(`${i + 1}: ${shares.at(-1)?.toFixed(2)} % of a core`);
    }
  } finally {
    await skerry.stop();
  }
  return {
    figures: [figure(`${RANGES} idle ranges`, '% of a core', spreadOf(shares), 'lower', { must: 5, aim: 1 })],
    details: { shares },
  };
}

export const idleRow: Row = {
  id: 'idle',
  title: '1,000 idle ranges',
  lacks: () => (process.platform === 'linux' ? null : 'CPU time is read from /proc, which is Linux'),
  run: measure,
};
