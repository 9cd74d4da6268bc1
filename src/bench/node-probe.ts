/**
 * What a node says of itself while it is under load: its metrics at the start and at the end of measuring, and what lies
 * between. A server is asked over HTTP, an embedded store by its API.
 */
import { SkerryError } from '../core/errors.ts';
import type { Store } from '../client/store.ts';

export interface NodeReading {
  /** Of a monotonic clock. */
  readonly atMs: number;
  readonly fsyncs: number;
  /** Spent in writing and syncing the log. */
  readonly fsyncSeconds: number;
  /** Padding included. */
  readonly walBytes: number;
  readonly checkpointBytes: number;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly keys: number;
  /** Replicas that live here, once for each range. */
  readonly ranges: number;
  /** By worker: the longest stall of its event loop in the last half minute. */
  readonly stallMs: readonly number[];
}

export type NodeProbe = () => Promise<NodeReading>;

/** What the node did between two readings. Null where there is nothing to divide by. */
export interface NodeUse {
  readonly fsyncsPerSecond: number;
  /** One write and sync of the log, on average. */
  readonly meanFsyncMs: number | null;
  readonly commitsPerFsync: number | null;
  /** Written to the log for one write command, padding included. */
  readonly walBytesPerCommit: number | null;
  readonly checkpointBytes: number;
  /** Of all operations of the load. With an embedded store the generator's own share is in it. */
  readonly cpuUsPerOperation: number | null;
  /** Cores in use on average. */
  readonly cpuCores: number;
  readonly residentBytes: number;
  readonly keys: number;
  /** By worker, over all of the measuring. A worker remembers half a minute: of a short run it may be of before the start. */
  readonly longestStallMs: readonly number[];
  /** By worker: no longer than what was known at the start, so that it may be of before; then only a bound. */
  readonly stallMayBeOlder: readonly boolean[];
}

/** Reads GET /metrics of a node; rejects with KV_NETWORK. `address`: host:port of its admin HTTP. */
export function probeOverHttp(address: string): NodeProbe {
  const url = `http://${address}/metrics`;
  return async () => {
    try {
      const response = await fetch(url);
      const page = await response.text();
      if (response.ok) return parseMetricsPage(page, performance.now());
      throw new Error(`it answers ${response.status}`);
    } catch (cause) {
      const { message } = ((cause as Error).cause ?? cause) as Error;
      throw new SkerryError('KV_NETWORK', `${url} cannot be read: ${message}`, { cause });
    }
  };
}

/** A reading from the Prometheus page of a node. */
export function parseMetricsPage(page: string, atMs: number): NodeReading {
  const values = new Map<string, number[]>();
  for (const [, name = '', value = ''] of page.matchAll(/^(\w+)(?:\{.*\})? (\S+)$/gm)) {
    const all = values.get(name);
    if (all === undefined) values.set(name, [Number(value)]);
    else all.push(Number(value));
  }
  const sum = (name: string): number => (values.get(name) ?? []).reduce((total, value) => total + value, 0);
  return {
    atMs,
    fsyncs: sum('skerry_wal_fsyncs_total'),
    fsyncSeconds: sum('skerry_wal_fsync_duration_seconds_sum'),
    walBytes: sum('skerry_wal_written_bytes_total'),
    checkpointBytes: sum('skerry_checkpoint_bytes_total'),
    cpuSeconds: sum('process_cpu_seconds_total'),
    residentBytes: sum('process_resident_memory_bytes'),
    keys: sum('skerry_keys'),
    ranges: sum('skerry_ranges'),
    stallMs: (values.get('skerry_event_loop_stall_max_seconds') ?? []).map((seconds) => seconds * 1000),
  };
}

interface EmbeddedStatus {
  readonly metrics: {
    readonly totals: Readonly<Record<string, number>>;
    readonly workerStallSeconds: readonly number[];
    readonly distributions: Readonly<Record<string, { readonly count: number; readonly mean: number }>>;
  };
}

/** Reads the status of a store that runs in this process. */
export function probeEmbedded(store: Store): NodeProbe {
  return async () => {
    const { metrics } = (await store.status()) as unknown as EmbeddedStatus;
    const { totals, distributions, workerStallSeconds } = metrics;
    const { user, system } = process.cpuUsage();
    const total = (name: string): number => totals[name] ?? 0;
    const fsync = distributions['walFsync'];
    return {
      atMs: performance.now(),
      fsyncs: total('walFsyncs'),
      fsyncSeconds: fsync === undefined ? 0 : fsync.count * fsync.mean,
      walBytes: total('walBytes'),
      checkpointBytes: total('checkpointBytes'),
      cpuSeconds: (user + system) / 1e6,
      residentBytes: process.memoryUsage.rss(),
      keys: total('keys'),
      ranges: total('ranges'),
      stallMs: workerStallSeconds.map((seconds) => seconds * 1000),
    };
  };
}

/**
 * What happened from `from` to `to`, with the stalls that were read `between`. The rates are the load's own: the readings may
 * come some milliseconds late under load, so that what was counted between them is set against their own time.
 */
export function nodeUse(
  from: NodeReading,
  to: NodeReading,
  load: { readonly operationsPerSecond: number; readonly writesPerSecond: number },
  between: readonly NodeReading[] = [],
): NodeUse {
  const seconds = (to.atMs - from.atMs) / 1000;
  const fsyncs = to.fsyncs - from.fsyncs;
  const fsyncsPerSecond = fsyncs / seconds;
  const cpuCores = (to.cpuSeconds - from.cpuSeconds) / seconds;
  const longestStallMs = to.stallMs.map((ms, worker) =>
    Math.max(ms, ...between.map(({ stallMs }) => stallMs[worker] ?? 0)),
  );
  return {
    fsyncsPerSecond,
    meanFsyncMs: ratio((to.fsyncSeconds - from.fsyncSeconds) * 1000, fsyncs),
    commitsPerFsync: ratio(load.writesPerSecond, fsyncsPerSecond),
    walBytesPerCommit: ratio((to.walBytes - from.walBytes) / seconds, load.writesPerSecond),
    checkpointBytes: to.checkpointBytes - from.checkpointBytes,
    cpuUsPerOperation: ratio(cpuCores * 1e6, load.operationsPerSecond),
    cpuCores,
    residentBytes: to.residentBytes,
    keys: to.keys,
    longestStallMs,
    stallMayBeOlder: longestStallMs.map((ms, worker) => ms <= (from.stallMs[worker] ?? 0)),
  };
}

function ratio(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}
