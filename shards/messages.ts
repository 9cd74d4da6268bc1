/**
 * What the main thread and its shard workers tell each other. Control only: data goes through rings.
 *
 *     main ── boot ──────────────▶ worker      main ◀─ recovered ── worker
 *          ── listen ────────────▶                  ◀─ listening ──
 *          ── routes ────────────▶ (others' ranges)  ◀─ ranges ────  (its own have changed)
 *          ── split ─────────────▶ (the owner)       ◀─ askSplit ──  (a client wants it)
 *          ── orderAnswer ───────▶                   ◀─ askOrder ──  (a client asks something of the cluster)
 *          ◀─ checkpoint ────────  ── checkpointDone ─▶
 *          ── question ──────────▶ (all)             ◀─ ask ───────  (a client asks about the whole node)
 *          ── answers ───────────▶ (who asked)       ◀─ answer ────
 *          ── configure ─────────▶ (all)             ◀─ configure ─  (CONFIG SET)
 *
 * and in a cluster:
 *
 *     main ── listenPeers ───────▶ worker       main ◀─ peersListening ─ worker
 *          ── peers ─────────────▶ (who is there)    ◀─ report ────────  (its replicas; what led ones' members do)
 *          ── routes ────────────▶ (everybody's)     ◀─ catalog ───────  (its replica of range 1 has applied a change)
 *          ── proposeCatalog ────▶                   ◀─ catalogDone ───
 *          ── changeMembers ─────▶                   ◀─ changeDone ────
 *          ── transferLeader ────▶                   ◀─ changeDone ────
 *          ── dropReplica ───────▶
 *          ── recoverRange ──────▶                   ◀─ changeDone ────
 */
import type { MemberId, RangeId } from '../src/core/brands.ts';
import type { CatalogResult } from '../src/core/catalog/types.ts';
import type { DamagedReplica, RangeReport } from '../src/core/placement/report.ts';
import type { ConfChangeStep } from '../src/core/raft/types.ts';
import type { Route } from '../src/core/range.ts';
import type { LogFormat, LogLevel } from '../src/observe/log.ts';
import type { FrozenStore } from '../src/engine/engine.ts';
import type { CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import type { RangeRead, ReadEntry } from '../src/storage/wal/range-reader.ts';
import type { WalScan } from '../src/storage/wal/recovery.ts';

export type { DamagedReplica, MemberProgress, RangeReport } from '../src/core/placement/report.ts';

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
  readonly electionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  /** Of the snapshots that a worker sends, and loads, in a second; and while the machine is busy. */
  readonly snapshotRateBytes: number;
  readonly snapshotBusyRateBytes: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** Those that can change while the node runs. */
export type RunTimeOptions = Pick<
  WorkerOptions,
  'maxConnections' | 'idleTimeoutMs' | 'maxMemoryBytes' | 'maxRecoverySeconds' | 'logLevel'
>;

export interface WorkerBoot {
  readonly workerIndex: number;
  readonly workerCount: number;
  readonly options: WorkerOptions;
  readonly version: string;
  readonly walDir: string;
  readonly scan: WalScan;
  readonly checkpointsDir: string;
  /** Files of this worker's ranges. */
  readonly checkpoints: readonly string[];
  /** Snapshots for them that had arrived; the log says whether they count. */
  readonly staged: readonly string[];
  /** Ids of all ranges that have a checkpoint, or are gone from this node. */
  readonly checkpointed: ReadonlySet<number>;
  /** The last of this node's members of each range that is gone from here. */
  readonly tombstones: ReadonlyMap<RangeId, MemberId>;
  /** This worker's members that may have spoken. */
  readonly members: readonly { readonly rangeId: RangeId; readonly memberId: MemberId }[];
  /** This worker's members that were given up as damaged, and that their groups may still count on. */
  readonly damaged: readonly DamagedReplica[];
  /** Another thread finds the superseded puts of half of the keys. */
  readonly isHelped: boolean;
  /** Whether the node may go on without a range that is found damaged. */
  readonly mayHeal: boolean;
  /** By endpoint. */
  readonly doorbells: readonly SharedArrayBuffer[];
  readonly walRing: SharedArrayBuffer;
  readonly walSyncTimes: SharedArrayBuffer;
  readonly walDoorbell: SharedArrayBuffer;
  readonly walStatus: SharedArrayBuffer;
  /** Metrics areas of all workers; this worker writes its own. */
  readonly metricsAreas: readonly SharedArrayBuffer[];
  readonly scanCursors: SharedArrayBuffer;
  readonly startedAtMs: number;
  /** Of the node's admin HTTP; 0: it has none. */
  readonly httpPort: number;
}

export interface WorkerPorts {
  readonly native: number;
  readonly resp: number;
  /** The native port that only this worker listens on. */
  readonly own: number;
}

/** A node of the cluster as the workers need to know it. */
export interface PeerNode {
  readonly nodeId: number;
  /** The handshake compares it: another store under the same node id is refused. */
  readonly storeId: string;
  readonly host: string;
  /** By worker; empty while the node is not known to listen. Member ids say the worker (core/member.ts). */
  readonly peerPorts: readonly number[];
  /** By worker: the native port of its own, for clients. */
  readonly workerPorts: readonly number[];
}

export type ToWorker =
  | { readonly type: 'routes'; readonly routes: readonly Route[] }
  | { readonly type: 'topology'; readonly ports: readonly number[] }
  | { readonly type: 'listen'; readonly nativePort: number; readonly respPort: number }
  | { readonly type: 'split'; readonly id: number; readonly key: Uint8Array; readonly newRangeId: number }
  | { readonly type: 'splitAnswer'; readonly id: number; readonly error: string | null }
  | { readonly type: 'orderAnswer'; readonly id: number; readonly error: string | null; readonly value: unknown }
  | {
      readonly type: 'logRead';
      readonly id: number;
      readonly error: string | null;
      readonly entries: readonly ReadEntry[] | null;
    }
  | { readonly type: 'checkpointDone'; readonly id: number; readonly error: string | null; readonly bytes: number }
  | { readonly type: 'holdBack'; readonly rangeIds: readonly number[] }
  /** To be answered under its id. What is asked is the gateway's business (src/gateway/node-questions.ts). */
  | { readonly type: 'question'; readonly id: number; readonly question: unknown }
  /** To be answered under its id, with null, when it is done. */
  | { readonly type: 'configure'; readonly id: number; readonly changes: Partial<RunTimeOptions> }
  /** To what this worker asked under the id: one answer per worker, in any order. */
  | { readonly type: 'answers'; readonly id: number; readonly answers: readonly unknown[] }
  | { readonly type: 'stop' };

/** What main tells the workers of a node that is one of several. */
export type ClusterToWorker =
  /** Listen for the workers of other nodes (port 0: a free one). Before that a worker knows no peers. */
  | {
      readonly type: 'listenPeers';
      readonly host: string;
      readonly port: number;
      readonly clusterId: string;
      /** This node's own. */
      readonly storeId: string;
    }
  /** All nodes that are not INACTIVE, this one too, and the ids of those that are: they are refused. Sent when it changes. */
  | { readonly type: 'peers'; readonly nodes: readonly PeerNode[]; readonly removed: readonly number[] }
  /**
   * Put the change into the log of range 1, which this worker leads as far as main knows. Answer: catalogDone, when it
   * is applied here. `op`: codec/catalog.ts encodeCatalogOp().
   */
  | { readonly type: 'proposeCatalog'; readonly id: number; readonly op: Uint8Array }
  /**
   * Change the members of a range that this worker leads. Refused when the range's epoch.confVersion is another.
   * Answer: changeDone, when the change is committed and, if joint, its first half is.
   */
  | {
      readonly type: 'changeMembers';
      readonly id: number;
      readonly rangeId: RangeId;
      readonly confVersion: number;
      readonly changes: readonly ConfChangeStep[];
      /** Through a joint configuration even when one voter changes. It is left by itself. */
      readonly isJoint: boolean;
    }
  /** Go on with the range without its other voters. Answer: changeDone. */
  | { readonly type: 'recoverRange'; readonly id: number; readonly rangeId: RangeId }
  /** Hand the leadership of a range to one of its voters. Answer: changeDone, when it is handed over or given up. */
  | { readonly type: 'transferLeader'; readonly id: number; readonly rangeId: RangeId; readonly to: MemberId }
  /**
   * The member `memberId` of this worker is in no configuration since `confVersion`: destroy the replica, or if it was damaged,
   * speak of it no more. No answer.
   */
  | {
      readonly type: 'dropReplica';
      readonly rangeId: RangeId;
      readonly memberId: MemberId;
      readonly confVersion: number;
    };

export type ToWorkerInCluster = ToWorker | ClusterToWorker;

/** A worker's way to a worker of another node. */
export interface PeerReach {
  readonly nodeId: number;
  readonly isOpen: boolean;
  /** Why it is not open; null when it is, or was not needed yet. */
  readonly problem: string | null;
  /** Of the last ping; 0 = none was answered yet. */
  readonly roundTripMs: number;
}

export type FromWorker =
  | { readonly type: 'recovered' }
  | { readonly type: 'listening'; readonly ports: WorkerPorts }
  | { readonly type: 'ranges'; readonly routes: readonly Route[] }
  | { readonly type: 'askSplit'; readonly id: number; readonly key: Uint8Array }
  /** A client asks something of the cluster (src/server/cluster/orders.ts). Answer: orderAnswer. */
  | { readonly type: 'askOrder'; readonly id: number; readonly order: readonly string[] }
  | { readonly type: 'splitDone'; readonly id: number; readonly error: string | null }
  | {
      readonly type: 'checkpoint';
      readonly id: number;
      readonly frozen: FrozenStore;
      readonly info: CheckpointInfo;
    }
  /** This checkpoint is damaged: a newer one must not delete it. */
  | { readonly type: 'keepAside'; readonly file: string }
  /** Entries that have left memory. Answer: logRead. */
  | { readonly type: 'readLog'; readonly id: number; readonly wanted: RangeRead }
  | { readonly type: 'ask'; readonly id: number; readonly question: unknown }
  | { readonly type: 'configure'; readonly id: number; readonly changes: Partial<RunTimeOptions> }
  | { readonly type: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly type: 'peersListening'; readonly port: number }
  /**
   * This worker's replica of range 1 has a new state of the catalog: at the start, and after every change that it
   * applies. `bytes`: codec/catalog.ts encodeCatalog().
   */
  | { readonly type: 'catalog'; readonly revision: number; readonly bytes: Uint8Array }
  /** `result` is the catalog's answer; null when the change did not get so far: `error` says why ("NOTLEADER …"). */
  | {
      readonly type: 'catalogDone';
      readonly id: number;
      readonly result: CatalogResult | null;
      readonly error: string | null;
    }
  | { readonly type: 'changeDone'; readonly id: number; readonly error: string | null }
  /**
   * All replicas of this worker, range 1 too. Sent at once (with the turn) when a descriptor or a leader changes, and each
   * second.
   */
  | {
      readonly type: 'report';
      readonly ranges: readonly RangeReport[];
      readonly damaged: readonly DamagedReplica[];
      readonly peers: readonly PeerReach[];
    }
  /** A member of this node's is out of its group, as the state of a later one says. */
  | {
      readonly type: 'dropEarlier';
      readonly rangeId: RangeId;
      readonly memberId: MemberId;
      readonly confVersion: number;
    }
  /** Slabs were given up, which other threads may still refer to. */
  | { readonly type: 'gaveBack' }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'stopped' };

/** Bytes that crossed a thread come as plain arrays: makes Buffers of them again. */
export function reviveRoutes(routes: readonly Route[]): Route[] {
  return routes.map(({ range, ...route }) => ({
    ...route,
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
