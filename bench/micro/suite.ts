/** One suite of micro benchmarks: benny times each case, and V8 says how much each call allocates on its heap. */
import { getHeapStatistics } from 'node:v8';
import { add, cycle, suite } from 'benny';

export interface Case {
  readonly name: string;
  readonly run: () => unknown;
  /** Operations in one call, when it is more than one: figures are for one of them. */
  readonly per?: number;
}

const ALLOCATION_CALLS_MAX = 10_000;
const ALLOCATION_MS = 500;

/** Runs and prints a suite. Cases run one after another, in this process. */
export async function runSuite(name: string, cases: readonly Case[]): Promise<void> {
  const timed = cases.map((one) => add(one.name, () => void one.run()));
  // Without a text of its own for each cycle, benny draws over the terminal.
  const { results } = await suite(
    name,
    ...timed,
    cycle(() => ''),
  );
  const rows = results.map(({ ops, margin }, i) => {
    const { name: title, run, per = 1 } = cases[i] as Case;
    const opsPerSecond = ops * per;
    return [
      title,
      `${Math.round(opsPerSecond).toLocaleString('en-US')} ops/s`,
      `± ${margin.toFixed(1)} %`,
      nanoseconds(1e9 / opsPerSecond),
      `${Math.round(bytesPerCall(run) / per).toLocaleString('en-US')} B/op`,
    ];
  });
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), []);
  for (const [title = '', ...numbers] of rows) {
    console.log(
      [title.padEnd(widths[0] ?? 0), ...numbers.map((cell, i) => cell.padStart(widths[i + 1] ?? 0))].join('  '),
    );
  }
}

function nanoseconds(value: number): string {
  if (value < 1000) return `${value.toFixed(value < 100 ? 1 : 0)} ns`;
  return value < 1e6 ? `${(value / 1000).toFixed(1)} µs` : `${(value / 1e6).toFixed(2)} ms`;
}

/** Bytes that one call allocates on the heap; memory of buffers lies outside of it. */
function bytesPerCall(run: () => unknown): number {
  const own = allocatedBytes(() => undefined, 1);
  const endMs = performance.now() + ALLOCATION_MS;
  let calls = 0;
  let bytes = 0;
  for (let step = 1; calls < ALLOCATION_CALLS_MAX && performance.now() < endMs; step *= 2) {
    bytes += Math.max(0, allocatedBytes(run, step) - own);
    calls += step;
  }
  return bytes / calls;
}

function allocatedBytes(run: () => unknown, calls: number): number {
  const before = totalAllocatedBytes();
  for (let i = 0; i < calls; i++) run();
  return totalAllocatedBytes() - before;
}

function totalAllocatedBytes(): number {
  // Newer than its types.
  const statistics: { readonly total_allocated_bytes?: number } = getHeapStatistics();
  return statistics.total_allocated_bytes ?? Number.NaN;
}
