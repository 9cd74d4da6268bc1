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

/** Workers remember their stalls for half a minute. */
const STALLS_READ_EVERY_MS = 20_000;

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
  const between: Promise<NodeReading>[] = [];
  let timer: NodeJS.Timeout | undefined;
  const readBetween = (): void => {
    const reading = probe();
    // It is awaited at the end.
    reading.catch(() => undefined);
    between.push(reading);
  };
  const atMeasureStart = async (): Promise<void> => {
    timer = setInterval(readBetween, STALLS_READ_EVERY_MS);
    await read();
  };
  const atMeasureEnd = async (): Promise<void> => {
    clearInterval(timer);
    await read();
  };
  try {
    const result = await runLoad(plan, target, { atMeasureStart, atMeasureEnd, onProgress });
    const [from, to] = readings;
    if (from === undefined || to === undefined) return { ...result, node: null };
    return { ...result, node: nodeUse(from, to, result, await Promise.all(between)) };
  } finally {
    clearInterval(timer);
  }
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
