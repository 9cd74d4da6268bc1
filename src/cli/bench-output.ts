/** How `skerry bench` shows a load: a line while it runs, a table when it is over. */
import type { LoadProgress } from '../bench/load.ts';
import type { MeasuredRun } from '../bench/measured-run.ts';
import { printLine, printTable } from './output.ts';

/** A line on stderr that is written over while the load runs; nothing when stderr is no terminal. */
export function showBenchProgress(label: string): { progress(now: LoadProgress): void; end(): void } {
  const isTerminal = process.stderr.isTTY;
  return {
    progress({ phase, elapsedMs, totalMs, operations, operationsMax, perSecond, errors }) {
      if (!isTerminal) return;
      const share = operationsMax === null ? elapsedMs / totalMs : operations / operationsMax;
      const failed = errors === 0 ? '' : `, ${errors} failed`;
      const percent = `${Math.min(100, Math.round(share * 100))} %`;
      process.stderr.write(`\r\x1b[K${label}: ${phase}, ${percent}, ${perSecond.toFixed(0)} requests/s${failed}`);
    },
    end() {
      if (isTerminal) process.stderr.write('\r\x1b[K');
    },
  };
}

export function printBenchTable(runs: readonly (MeasuredRun & { readonly workload: string })[]): void {
  printTable([
    ['workload', 'clients', 'requests/s', 'p50 ms', 'p90 ms', 'p99 ms', 'p99.9 ms', 'max ms', 'failed', 'generator'],
    ...runs.map(({ workload, plan, operationsPerSecond, latency, errors, unanswered, unsent, generator }) => [
      workload,
      plan.pipeline === 1 ? `${plan.clients}` : `${plan.clients} × ${plan.pipeline}`,
      operationsPerSecond.toFixed(0),
      ...[latency.p50Ms, latency.p90Ms, latency.p99Ms, latency.p999Ms, latency.maxMs].map((ms) => ms.toFixed(3)),
      `${errors + unanswered + unsent}`,
      `${(generator.cpuSharePerThread * 100).toFixed(0)} % of a core`,
    ]),
  ]);
  const nodes = runs.flatMap(({ workload, node, plan }) => (node === null ? [] : [{ workload, node, plan }]));
  if (nodes.length === 0) return;
  printLine('');
  printTable([
    [
      'the node',
      'clients',
      'fsyncs/s',
      'fsync ms',
      'writes/fsync',
      'log B/write',
      'CPU µs/request',
      'cores',
      'RSS MiB',
      'longest stall ms',
    ],
    ...nodes.map(({ workload, node, plan }) => [
      workload,
      `${plan.clients}`,
      node.fsyncsPerSecond.toFixed(0),
      node.meanFsyncMs === null ? '-' : node.meanFsyncMs.toFixed(3),
      decimal(node.commitsPerFsync),
      decimal(node.walBytesPerCommit),
      decimal(node.cpuUsPerOperation),
      node.cpuCores.toFixed(2),
      (node.residentBytes / 2 ** 20).toFixed(0),
      node.longestStallMs.map((ms) => ms.toFixed(1)).join(' '),
    ]),
  ]);
}

function decimal(value: number | null): string {
  return value === null ? '-' : value.toFixed(1);
}
