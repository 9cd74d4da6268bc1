/** The longest time that a worker did not turn its loop, with five million keys, under load, while checkpoints are written. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fill, load, planOf } from '../harness/loads.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startSkerry } from '../harness/servers.ts';
import type { NodeReading } from '../../src/bench/node-probe.ts';
import { probeOverHttp } from '../../src/bench/node-probe.ts';

const KEYS = 5_000_000;
/** A node remembers its stalls for half a minute: what filling did must be forgotten before the load begins. */
const FORGET_MS = 31_000;
const SLICE_SECONDS = 10;
const SLICES = 3;

async function measure({ say }: RowOptions): Promise<RowResult> {
  const skerry = await startSkerry(['--pre-split', 'key:000002500000']);
  const readings: NodeReading[] = [];
  const runs = [];
  let fillingMs: readonly number[] = [];
  try {
    const probe = probeOverHttp(`${skerry.host}:${skerry.httpPort}`);
    await fill(skerry.respPort, KEYS);
    fillingMs = (await probe()).stallMs;
    await sleep(FORGET_MS);
    readings.push({ ...(await probe()), stallMs: [] });
    for (let slice = 0; slice < SLICES; slice++) {
      const plan = planOf('set', SLICE_SECONDS, { pipeline: 16, keyCount: KEYS, seed: slice, warmUpMs: 0 });
      // oxlint-disable-next-line no-await-in-loop
      runs.push(await load(plan, { kind: 'resp', host: skerry.host, port: skerry.respPort }));
      // oxlint-disable-next-line no-await-in-loop
      readings.push(await probe());
      const { stallMs, checkpointBytes } = readings.at(-1) as NodeReading;
      say(`stalls ${stallMs.map((ms) => ms.toFixed(1)).join(' ')} ms, checkpoints ${checkpointBytes} B so far`);
    }
  } finally {
    await skerry.stop();
  }
  const checkpointBytes = (readings.at(-1)?.checkpointBytes ?? 0) - (readings[0]?.checkpointBytes ?? 0);
  if (checkpointBytes === 0) throw new Error('no checkpoint was written while the load ran');
  const worst = Math.max(...readings.flatMap(({ stallMs }) => stallMs));
  const slowest = Math.max(...runs.map(({ latency }) => latency.maxMs));
  return {
    figures: [
      figure('longest stall of any worker', 'ms', worst, 'lower', { must: 50, aim: 10 }),
      figure('the same in the last half minute of writing the 5 million keys', 'ms', Math.max(...fillingMs), 'lower'),
      figure('slowest SET', 'ms', slowest, 'lower'),
      figure('checkpoints written meanwhile', 'MiB', checkpointBytes / 2 ** 20, 'higher'),
    ],
    details: { readings, fillingMs, runs },
  };
}

export const stallRow: Row = {
  id: 'stall',
  title: 'Longest stall of any worker: 5 million keys, under load, a checkpoint running',
  lacks: () => null,
  run: measure,
};
