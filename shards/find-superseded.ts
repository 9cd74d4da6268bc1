/**
 * The first pass over the log: what its replay (recovery.ts) may leave out (superseded.ts).
 *
 * Of each range that this member decides about alone, so that all its entries are committed, and whose log voids nothing. Each is
 * followed as far as nothing but batches changes it: what the replay counts as its commands stands in the same order here.
 */
import type { NodeId } from '../src/core/brands.ts';
import { BATCH_KIND, batchRangeVersion } from '../src/core/kv/batch.ts';
import { readCheckpointInfo } from '../src/storage/checkpoint/index.ts';
import type { Disk } from '../src/storage/disk.ts';
import { FLAG_HARD_STATE, TYPE_CHECKPOINT, TYPE_DATA, TYPE_NOOP } from '../src/storage/wal/format.ts';
import type { WalScan } from '../src/storage/wal/recovery.ts';
import { replayWal } from '../src/storage/wal/recovery.ts';
import { CATALOG_KIND, decodeRangeMeta } from './entry.ts';
import type { WorkerBoot } from './messages.ts';
import { decidesAlone, ownMember } from './membership.ts';
import type { Share, SupersededBits } from './superseded.ts';
import { ALL_KEYS, joinBits, SupersededPuts } from './superseded.ts';

/** Fit for structured cloning: another thread may do it. */
export interface LogToLookThrough {
  readonly nodeId: NodeId;
  readonly walDir: string;
  readonly scan: WalScan;
  /** The newest checkpoint of each range, behind which its log is replayed. */
  readonly checkpoints: readonly string[];
  readonly valueBytesMax: number;
}

/** What a worker has to recover. */
export function logToLookThrough({ options, walDir, scan, checkpoints }: WorkerBoot): LogToLookThrough {
  return { nodeId: options.nodeId as NodeId, walDir, scan, checkpoints, valueBytesMax: options.maxValueBytes };
}

/** By range. Of those that are missing, everything is run. */
export type Superseded = ReadonlyMap<number, SupersededBits>;

interface Followed {
  /** Index of the next entry. */
  next: number;
  readonly rangeVersion: number;
  readonly puts: SupersededPuts;
}

/** The superseded puts of a share of the keys, in one pass over the log. */
export function findSuperseded(disk: Disk, log: LogToLookThrough, share: Share = ALL_KEYS): Superseded {
  const { walDir, scan } = log;
  const ranges = new Map<number, Followed>();
  for (const file of log.checkpoints) {
    const { rangeId, appliedIndex, meta } = readCheckpointInfo(disk, file);
    const { descriptor, conf } = decodeRangeMeta(meta);
    const { cutSequence = 0, rewriteSequence = 0 } = scan.ranges.get(rangeId) ?? {};
    if (cutSequence > 0 || rewriteSequence > 0 || !decidesAlone(ownMember(descriptor, log.nodeId), conf)) continue;
    const puts = new SupersededPuts(log.valueBytesMax, share);
    ranges.set(rangeId, { next: appliedIndex + 1, rangeVersion: descriptor.epoch.version, puts });
  }
  const followed = new Map(ranges);
  const isFollowed = (rangeId: number): boolean => followed.has(rangeId);
  replayWal(disk, walDir, scan, isFollowed, (type, flags, _term, rangeId, index, buffer, start, end) => {
    const range = followed.get(rangeId);
    if (range === undefined || (flags & FLAG_HARD_STATE) !== 0 || type === TYPE_CHECKPOINT) return;
    if (index < range.next) return;
    const kind = type === TYPE_DATA ? buffer[start] : null;
    const changesNothing = type === TYPE_NOOP || kind === CATALOG_KIND;
    if (index > range.next || (kind !== BATCH_KIND && !changesNothing)) {
      followed.delete(rangeId);
      return;
    }
    range.next++;
    if (kind !== BATCH_KIND) return;
    const batch = buffer.subarray(start, end);
    if (batchRangeVersion(batch) === range.rangeVersion) range.puts.note(batch);
  });
  return new Map([...ranges].map(([rangeId, { puts }]) => [rangeId, puts.finish()]));
}

/** What two shares of the keys have found in the same log. */
export function joinShares(one: Superseded, other: Superseded): Superseded {
  return new Map(
    [...one].map(([rangeId, bits]) => {
      const others = other.get(rangeId);
      return [rangeId, others === undefined ? bits : joinBits(bits, others)];
    }),
  );
}
