/** How long a restart takes with a gibibyte of log behind the last checkpoint: killed under load, started anew on copies of what it left. */
import { cpSync, rmSync } from 'node:fs';
import path from 'node:path';
import { load, planOf } from '../harness/loads.ts';
import { makeBenchDir } from '../harness/processes.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { PRE_SPLIT_KEY, startSkerry } from '../harness/servers.ts';
import { spreadOf } from '../harness/statistics.ts';
import { probeOverHttp } from '../../src/bench/node-probe.ts';

const LOG_BYTES = 2 ** 30;
const RESTARTS_MAX = 3;
/** Large segments and no hurry to recover: nothing makes the node write a checkpoint before the log is long enough. */
const NO_CHECKPOINTS = ['--wal-segment', '512mb', '--max-recovery-seconds', '3600', '--pre-split', PRE_SPLIT_KEY];
const FILL_SECONDS = 2;

async function makeLog(dir: string, say: (text: string) => void): Promise<number> {
  const node = await startSkerry(NO_CHECKPOINTS, dir);
  const probe = probeOverHttp(`${node.host}:${node.httpPort}`);
  const target = { kind: 'resp', host: node.host, port: node.respPort } as const;
  let reading = await probe();
  while (reading.walBytes < LOG_BYTES) {
    // oxlint-disable-next-line no-await-in-loop
    await load(planOf('set', FILL_SECONDS, { pipeline: 64, warmUpMs: 0, seed: Math.round(reading.walBytes) }), target);
    // oxlint-disable-next-line no-await-in-loop
    reading = await probe();
    say(`${(reading.walBytes / 2 ** 20).toFixed(0)} MiB of log`);
  }
  if (reading.checkpointBytes > 0)
    throw new Error('the node wrote a checkpoint, so that less than a GiB lies behind it');
  await node.stop({ signal: 'SIGKILL', keepDir: true });
  return reading.walBytes;
}

async function measure({ pairs, say }: RowOptions): Promise<RowResult> {
  const dir = makeBenchDir();
  const seconds: number[] = [];
  let logBytes = 0;
  try {
    logBytes = await makeLog(dir, say);
    for (let i = 0; i < Math.min(pairs, RESTARTS_MAX); i++) {
      const copy = makeBenchDir();
      cpSync(path.join(dir, 'data'), path.join(copy, 'data'), { recursive: true });
      const startMs = performance.now();
      // oxlint-disable-next-line no-await-in-loop
      const node = await startSkerry(['--wal-segment', '512mb'], copy);
      seconds.push((performance.now() - startMs) / 1000);
      // oxlint-disable-next-line no-await-in-loop
      await node.stop({ signal: 'SIGKILL' });
      say(`${i + 1}: ${seconds.at(-1)?.toFixed(2)} s`);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const limits = { must: 10, aim: 3 };
  return {
    figures: [
      figure('from the start of the process until it serves', 's', spreadOf(seconds), 'lower', limits),
      figure('log that was replayed', 'MiB', logBytes / 2 ** 20, 'higher'),
    ],
    details: { seconds, logBytes, pageCache: 'warm: the files were copied just before' },
  };
}

export const restartRow: Row = {
  id: 'restart',
  title: 'Restart with 1 GiB of log behind the last checkpoint',
  lacks: () => null,
  run: measure,
};
