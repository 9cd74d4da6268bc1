/** Reading files that nobody reads, to find out that they can still be read: one slice at a time. */
import { SkerryError } from '../core/errors.ts';
import type { CheckpointSlice } from './checkpoint/index.ts';
import { scrubCheckpoint } from './checkpoint/index.ts';
import type { Disk } from './disk.ts';
import { scrubSegment } from './wal/recovery.ts';
import type { SegmentWalk } from './wal/reader.ts';

/** A file, and how far the reading of it has come; null: it begins. */
export type ScrubSlice =
  | { readonly kind: 'checkpoint'; readonly file: string; readonly from: CheckpointSlice | null }
  | {
      readonly kind: 'segment';
      readonly dir: string;
      readonly segmentId: number;
      readonly logId: number;
      readonly from: SegmentWalk | null;
    };

export interface ScrubResult {
  /** The slice that comes next; null: the file is read, or no longer there. */
  readonly next: ScrubSlice | null;
  /** What is damaged, for people; null: nothing. */
  readonly damage: string | null;
}

/** Verifies one slice of about `bytesMax` bytes. Throws the disk's own errors. */
export function scrubSlice(disk: Disk, slice: ScrubSlice, bytesMax: number): ScrubResult {
  try {
    if (slice.kind === 'checkpoint') {
      const from = scrubCheckpoint(disk, slice.file, slice.from, bytesMax);
      return { next: from === null ? null : { ...slice, from }, damage: null };
    }
    const from = scrubSegment(disk, slice.dir, slice.segmentId, slice.logId, slice.from, bytesMax);
    return { next: from === null ? null : { ...slice, from }, damage: null };
  } catch (error) {
    if (error instanceof SkerryError && error.code === 'KV_CORRUPT') {
      const { file, offset, what } = error.hint;
      return { next: null, damage: `${String(file)}, offset ${String(offset)}: ${String(what)}` };
    }
    // A checkpoint that a newer one replaced, a segment that is used again.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { next: null, damage: null };
    throw error;
  }
}
