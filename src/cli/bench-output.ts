/** How `skerry bench` shows a load: a line while it runs, tables that fit a terminal of 80 columns when it is over, and what to beware of. */
import type { LoadProgress } from '../bench/load.ts';
import type { MeasuredRun } from '../bench/measured-run.ts';
import type { NodeUse } from '../bench/node-probe.ts';
import { printLine, printTable } from './output.ts';

const COLUMNS = 80;
/** From here on a generator thread may be what limits the load. */
const GENERATOR_SHARE_MAX = 0.9;
/** Of the rate asked for: less is said. */
const RATE_SHARE_MIN = 0.95;

export interface NamedRun extends MeasuredRun {
  readonly workload: string;
}

/** Where progress is shown: standard error. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** A line that is written over while the load runs, cut to the terminal's width; nothing when the stream is no terminal. */
export function showBenchProgress(
  label: string,
  stream: ProgressStream = process.stderr,
): { progress(now: LoadProgress): void; end(): void } {
  const isTerminal = stream.isTTY === true;
  return {
    progress({ phase, elapsedMs, totalMs, operations, operationsMax, perSecond, errors }) {
      if (!isTerminal) return;
      const share = operationsMax === null ? elapsedMs / totalMs : operations / operationsMax;
      const failed = errors === 0 ? '' : `, ${errors} failed`;
      const percent = `${Math.min(100, Math.round(share * 100))} %`;
      const line = `${label}: ${phase}, ${percent}, ${perSecond.toFixed(0)} requests/s${failed}`;
      // What runs over the edge would stay on the screen.
      stream.write(`\r\x1b[K${line.slice(0, (stream.columns ?? COLUMNS) - 1)}`);
    },
    end() {
      if (isTerminal) stream.write('\r\x1b[K');
    },
  };
}

type Row = readonly string[];

function clientsOf({ plan: { clients, pipeline } }: NamedRun): string {
  return pipeline === 1 ? `${clients}` : `${clients} × ${pipeline}`;
}

export function printBenchTables(runs: readonly NamedRun[]): void {
  const print = (head: Row, cells: (run: NamedRun) => Row): void =>
    printTable([head, ...runs.map((run) => [run.workload, clientsOf(run), ...cells(run)])]);
  print(
    ['workload', 'clients', 'requests/s', 'p50 ms', 'p90 ms', 'p99 ms', 'p99.9 ms', 'max ms'],
    ({ operationsPerSecond, latency: { p50Ms, p90Ms, p99Ms, p999Ms, maxMs } }) => [
      operationsPerSecond.toFixed(0),
      ...[p50Ms, p90Ms, p99Ms, p999Ms, maxMs].map((ms) => ms.toFixed(3)),
    ],
  );
  if (runs.some(({ node }) => node !== null)) {
    const ofNode = (cells: (node: NodeUse) => Row) => (run: NamedRun) => (run.node === null ? [] : cells(run.node));
    printLine('');
    print(
      ['its log', 'clients', 'fsyncs/s', 'fsync ms', 'writes/fsync', 'bytes/write', 'checkpoints MiB'],
      ofNode((node) => [
        node.fsyncsPerSecond.toFixed(0),
        decimals(node.meanFsyncMs, 3),
        decimals(node.commitsPerFsync, 1),
        decimals(node.walBytesPerCommit, 1),
        decimals(node.checkpointBytes / 2 ** 20, 1),
      ]),
    );
    printLine('');
    print(
      ['its node', 'clients', 'CPU µs/request', 'cores', 'RSS MiB', 'longest stalls ms'],
      ofNode((node) => [
        decimals(node.cpuUsPerOperation, 1),
        decimals(node.cpuCores, 2),
        decimals(node.residentBytes / 2 ** 20, 0),
        stallsOf(node),
      ]),
    );
  }
  printLine('');
  print(
    ['asked by', 'clients', 'failed', 'unanswered', 'no such key', 'CPU µs/request', 'of a core'],
    ({ errors, unanswered, unsent, misses, generator }) => [
      `${errors}`,
      `${unanswered + unsent}`,
      `${misses}`,
      generator.cpuUsPerOperation.toFixed(1),
      percent(generator.cpuSharePerThread),
    ],
  );
}

/** What a reader of the numbers may overlook, a sentence each. */
export function remarksOn(run: NamedRun): string[] {
  const { workload, plan, misses, latencyByKind, operationsPerSecond, generator } = run;
  const remarks: string[] = [];
  if (misses > 0) {
    const reads = (latencyByKind['read']?.count ?? 0) + (latencyByKind['read-modify-write']?.count ?? 0);
    remarks.push(`${misses} of ${reads} reads were of keys that are not there; --load writes them first`);
  }
  if (plan.ratePerSecond !== null && operationsPerSecond < plan.ratePerSecond * RATE_SHARE_MIN) {
    remarks.push(`the rate was not reached: ${operationsPerSecond.toFixed(0)} of ${plan.ratePerSecond} requests/s`);
  }
  if (generator.cpuSharePerThread > GENERATOR_SHARE_MAX) {
    remarks.push(`the generator had no time left (${percent(generator.cpuSharePerThread)} of a core): more --threads`);
  }
  return remarks.map((remark) => `${workload}, clients ${clientsOf(run)}: ${remark}`);
}

function stallsOf({ longestStallMs, stallMayBeOlder }: NodeUse): string {
  return longestStallMs.map((ms, worker) => `${stallMayBeOlder[worker] === true ? '≤' : ''}${ms.toFixed(1)}`).join(' ');
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function decimals(value: number | null, digits: number): string {
  return value === null ? '-' : value.toFixed(digits);
}
