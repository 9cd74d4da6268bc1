/** What a shard is told when it is made: settings, and what the node's folder says. */
import type { MemberId, NodeId, RangeId } from '../src/core/brands.ts';
import { workerOf } from '../src/core/member.ts';
import type { WorkerBoot } from './messages.ts';
import { createSnapshotRate } from './snapshot-rate.ts';

export interface ShardOptions {
  readonly nodeId: NodeId;
  readonly seed: number;
  readonly valueBytesMax: number;
  readonly maxRecoverySeconds: number;
  readonly tickMs: number;
  /** A follower waits one to two times so many ticks before it stands for election. */
  readonly electionTicks: number;
  /** A group that nobody has asked anything of for so many ticks rests. */
  readonly restAfterTicks: number;
  readonly requestTimeoutMs: number;
  readonly diskStallMs: number;
  /** Bytes a second of snapshots that may be loaded now, uncompressed. Without it, or with 0, there is no limit. */
  readonly snapshotRate?: () => number;
  /** The last of this node's members of each range that is gone from here. */
  readonly tombstones: ReadonlyMap<RangeId, MemberId>;
  /** Whether a member of this node's lives on this worker. */
  readonly owns: (member: MemberId) => boolean;
}

/** How long a command may wait for a leader, and a write in the log for its end. */
export const REQUEST_TIMEOUT_MS = 5000;
const DISK_STALL_MS = 1000;
const REST_AFTER_MS = 1000;

export function shardOptions({ workerIndex, workerCount, options, tombstones }: WorkerBoot): ShardOptions {
  const { nodeId, maxValueBytes, maxRecoverySeconds, electionTimeoutMs, heartbeatIntervalMs } = options;
  return {
    nodeId: nodeId as NodeId,
    // Members that wait as long as each other would stand for election together, again and again.
    seed: Date.now() + nodeId * 1_000_003 + workerIndex,
    valueBytesMax: maxValueBytes,
    maxRecoverySeconds,
    tickMs: heartbeatIntervalMs,
    electionTicks: Math.ceil(electionTimeoutMs / heartbeatIntervalMs),
    restAfterTicks: Math.ceil(REST_AFTER_MS / heartbeatIntervalMs),
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    diskStallMs: DISK_STALL_MS,
    snapshotRate: createSnapshotRate(options),
    tombstones,
    owns: (member) => workerOf(member) % workerCount === workerIndex,
  };
}
