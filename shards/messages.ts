/**
 * What the main thread and its shard workers tell each other. Control only: data goes through rings.
 *
 *     main ── boot (workerData) ─▶ worker      main ◀─ recovered ── worker
 *          ── listen ────────────▶                  ◀─ listening ──
 *          ── routes ────────────▶ (others' ranges)  ◀─ ranges ────  (its own have changed)
 *          ── split ─────────────▶ (the owner)       ◀─ askSplit ──  (a client wants it)
 *          ◀─ checkpoint ────────  ── checkpointDone ─▶
 */
import type { RangeDescriptor } from '../src/core/range.ts';
import type { LogFormat, LogLevel } from '../src/observe/log.ts';
import type { FrozenStore } from '../src/engine/engine.ts';
import type { CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import type { WalScan } from '../src/storage/wal/recovery.ts';

/** The settings that concern a worker. */
export interface WorkerOptions {
  readonly nodeId: number;
  readonly host: string;
  readonly maxConnections: number;
  readonly maxOutputBytes: number;
  /** 0 = never. */
  readonly idleTimeoutMs: number;
  readonly maxMemoryBytes: number;
  readonly maxValueBytes: number;
  readonly maxRecoverySeconds: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

export interface WorkerBoot {
  readonly workerIndex: number;
  readonly workerCount: number;
  readonly options: WorkerOptions;
  readonly version: string;
  readonly walDir: string;
  readonly scan: WalScan;
  /** Files of this worker's ranges. */
  readonly checkpoints: readonly string[];
  /** Ids of all ranges that have a checkpoint. */
  readonly checkpointed: ReadonlySet<number>;
  /** By endpoint. */
  readonly doorbells: readonly SharedArrayBuffer[];
  readonly walRing: SharedArrayBuffer;
  readonly walDoorbell: SharedArrayBuffer;
  readonly walStatus: SharedArrayBuffer;
  /** Metrics areas of all workers; this worker writes its own. */
  readonly metricsAreas: readonly SharedArrayBuffer[];
  readonly scanCursors: SharedArrayBuffer;
  readonly startedAtMs: number;
}

export interface RouteMessage {
  readonly range: RangeDescriptor;
  readonly workerIndex: number;
}

export interface WorkerPorts {
  readonly native: number;
  readonly resp: number;
  /** The native port that only this worker listens on. */
  readonly own: number;
}

export type ToWorker =
  | { readonly type: 'routes'; readonly routes: readonly RouteMessage[] }
  | { readonly type: 'topology'; readonly ports: readonly number[] }
  | { readonly type: 'listen'; readonly nativePort: number; readonly respPort: number }
  | { readonly type: 'split'; readonly id: number; readonly key: Uint8Array; readonly newRangeId: number }
  | { readonly type: 'splitAnswer'; readonly id: number; readonly error: string | null }
  | { readonly type: 'checkpointDone'; readonly id: number; readonly error: string | null; readonly bytes: number }
  | { readonly type: 'holdBack'; readonly rangeIds: readonly number[] }
  | { readonly type: 'stop' };

export type FromWorker =
  | { readonly type: 'recovered' }
  | { readonly type: 'listening'; readonly ports: WorkerPorts }
  | { readonly type: 'ranges'; readonly routes: readonly RouteMessage[] }
  | { readonly type: 'askSplit'; readonly id: number; readonly key: Uint8Array }
  | { readonly type: 'splitDone'; readonly id: number; readonly error: string | null }
  | {
      readonly type: 'checkpoint';
      readonly id: number;
      readonly frozen: FrozenStore;
      readonly info: CheckpointInfo;
    }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'stopped' };

/** Bytes that crossed a thread come as plain arrays: makes Buffers of them again. */
export function reviveRoutes(routes: readonly RouteMessage[]): RouteMessage[] {
  return routes.map(({ range, workerIndex }) => ({
    workerIndex,
    range: {
      ...range,
      startKey: asBuffer(range.startKey),
      endKey: range.endKey === null ? null : asBuffer(range.endKey),
    },
  }));
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
