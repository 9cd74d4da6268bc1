/** One load together with what the node under it says of itself, and the machine and versions that a result is worth nothing without. */
import os from 'node:os';
import type { LoadProgress, LoadResult, LoadTarget } from './load.ts';
import { runLoad } from './load.ts';
import type { NodeProbe, NodeReading, NodeUse } from './node-probe.ts';
import { nodeUse } from './node-probe.ts';
import type { LoadPlan } from './plan.ts';

export interface MeasuredRun extends LoadResult {
  /** Null when the target is no Skerry node, or its metrics cannot be read. */
  readonly node: NodeUse | null;
}

/** `probe`: null when the target has no metrics of ours. Rejects as runLoad does. */
export async function runMeasured(
  plan: LoadPlan,
  target: LoadTarget,
  probe: NodeProbe | null,
  onProgress: (progress: LoadProgress) => void,
): Promise<MeasuredRun> {
  if (probe === null) return { ...(await runLoad(plan, target, { onProgress })), node: null };
  const readings: NodeReading[] = [];
  const read = async (): Promise<void> => void readings.push(await probe());
  const result = await runLoad(plan, target, { atMeasureStart: read, atMeasureEnd: read, onProgress });
  const [from, to] = readings;
  return { ...result, node: from === undefined || to === undefined ? null : nodeUse(from, to, result) };
}

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
}

export function thisMachine(): Machine {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    cpus: cpus.length,
    memoryBytes: os.totalmem(),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
  };
}
