/** Loads of our own generator, as the rows use them. */
import type { LoadTarget } from '../../src/bench/load.ts';
import { runLoad } from '../../src/bench/load.ts';
import type { MeasuredRun } from '../../src/bench/measured-run.ts';
import { runMeasured } from '../../src/bench/measured-run.ts';
import type { NodeProbe } from '../../src/bench/node-probe.ts';
import { parseWorkload } from '../../src/bench/operations.ts';
import type { LoadPlan } from '../../src/bench/plan.ts';
import { loadingPlan } from '../../src/bench/plan.ts';

const WARM_UP_MS = 1000;

/** 50 clients, values of 100 bytes, a million keys, closed loop, one thread, unless something else is said. */
export function planOf(workload: string, seconds: number, changes: Partial<LoadPlan> = {}): LoadPlan {
  return {
    clients: 50,
    pipeline: 1,
    threads: 1,
    ...parseWorkload(workload),
    keyCount: 1_000_000,
    valueBytes: 100,
    ratePerSecond: null,
    warmUpMs: WARM_UP_MS,
    durationMs: seconds * 1000,
    operations: null,
    seed: 1,
    ...changes,
  };
}

/** Puts a load on a target; a failed request fails the row. */
export async function load(plan: LoadPlan, target: LoadTarget, probe: NodeProbe | null = null): Promise<MeasuredRun> {
  const run = await runMeasured(plan, target, probe, () => undefined);
  if (run.firstError !== null) throw new Error(`${run.errors} requests failed, the first with: ${run.firstError}`);
  return run;
}

/** Writes every key once, through the Redis protocol. */
export async function fill(respPort: number, keyCount: number, valueBytes = 100): Promise<void> {
  const plan = loadingPlan(planOf('set', 0, { pipeline: 64, valueBytes }), keyCount);
  const { firstError } = await runLoad(plan, { kind: 'resp', host: '127.0.0.1', port: respPort });
  if (firstError !== null) throw new Error(`the keys could not be written: ${firstError}`);
}
