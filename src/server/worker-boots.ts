/** What each shard worker of a node is started with. */
import { availableParallelism } from 'node:os';
import type { NodeId } from '../core/brands.ts';
import type { LinkEnd } from '../gateway/gateway.ts';
import { createCursorTable } from '../gateway/router/cursor-table.ts';
import type { WalHandle } from '../storage/wal/pool.ts';
import type { WorkerBoot } from '../../shards/messages.ts';
import type { DataDir, FoundRanges } from './data-dir.ts';
import { ofWorker } from './data-dir.ts';
import type { Settings } from './settings.ts';
import { version } from './version.ts';

/** A log of less is looked through sooner than a thread is there that helps. */
const HELPED_LOG_BYTES_MIN = 128 * 2 ** 20;

export interface BootParts {
  readonly nodeId: NodeId;
  readonly settings: Settings;
  readonly dir: DataDir;
  readonly found: FoundRanges;
  /** Damaged ranges have replicas elsewhere, as far as is known; this node may go on without them. */
  readonly mayHeal: boolean;
  readonly wal: WalHandle;
  /** By endpoint. */
  readonly doorbells: readonly SharedArrayBuffer[];
  /** By worker: its ring to the log. */
  readonly rings: readonly SharedArrayBuffer[];
  /** By worker: createSyncTimes(). */
  readonly syncTimes: readonly SharedArrayBuffer[];
  /** By endpoint: its links to the others. */
  readonly links: readonly (readonly LinkEnd[])[];
  readonly metricsAreas: readonly SharedArrayBuffer[];
  readonly startedAtMs: number;
  readonly httpPort: number;
}

/** One for each worker. */
export function workerBoots(parts: BootParts): (WorkerBoot & { readonly links: readonly LinkEnd[] })[] {
  const { nodeId, settings, dir, found, mayHeal, wal, doorbells, rings, links, metricsAreas } = parts;
  const { cluster, network, memory, raft, recovery, threads, log } = settings;
  const shared = {
    workerCount: threads.workers,
    version,
    options: {
      nodeId,
      host: network.host,
      maxConnections: network.maxConnections,
      maxOutputBytes: network.maxOutputBytes,
      idleTimeoutMs: network.idleTimeoutMs,
      maxMemoryBytes: memory.maxMemoryBytes,
      maxValueBytes: memory.maxValueBytes,
      maxRecoverySeconds: recovery.maxRecoverySeconds,
      electionTimeoutMs: raft.electionTimeoutMs,
      heartbeatIntervalMs: raft.heartbeatIntervalMs,
      snapshotRateBytes: cluster.snapshotRateBytes,
      snapshotBusyRateBytes: cluster.snapshotBusyRateBytes,
      logLevel: log.level,
      logFormat: log.format,
    },
    walDir: wal.dir,
    scan: wal.recovery,
    checkpointsDir: dir.checkpointsDir,
    checkpointed: new Set([...found.checkpoints.map(({ rangeId }) => rangeId), ...found.tombstones.keys()]),
    tombstones: found.tombstones,
    mayHeal,
    isHelped: isHelped(parts),
    doorbells,
    walDoorbell: wal.doorbell,
    walStatus: wal.status,
    metricsAreas,
    scanCursors: createCursorTable(),
    startedAtMs: parts.startedAtMs,
    httpPort: parts.httpPort,
  };
  return rings.map((walRing, workerIndex) => ({
    ...shared,
    workerIndex,
    walRing,
    walSyncTimes: parts.syncTimes[workerIndex] as SharedArrayBuffer,
    links: links[workerIndex] ?? [],
    checkpoints: ofWorker(found.checkpoints, workerIndex, threads.workers).map(({ file }) => file),
    staged: ofWorker(found.staged, workerIndex, threads.workers).map(({ file }) => file),
    members: ofWorker(found.members, workerIndex, threads.workers),
    damaged: ofWorker(found.damaged, workerIndex, threads.workers),
  }));
}

/** Each worker needs a thread beside it, and a CPU for that. */
function isHelped({ settings, wal }: BootParts): boolean {
  const { workers, cpuThreads } = settings.threads;
  const logBytes = wal.recovery.segments.reduce((sum, { dataEnd }) => sum + dataEnd, 0);
  return logBytes >= HELPED_LOG_BYTES_MIN && cpuThreads >= workers && availableParallelism() >= 2 * workers;
}
