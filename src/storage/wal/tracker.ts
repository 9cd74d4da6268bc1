/**
 * Which segment holds what of which range, and so which segments can be used again. A pure data structure: no disk, no clock.
 *
 *     segment     12          13          14 (open)
 *     range 1     5–9  ·····  10–14 ····  15–15       checkpoint through 11  →  12 is free of range 1, 13 is not
 *     range 2     1–3                                 hard state in 12       →  12 is held by range 2 until it is checkpointed
 *                                                                              and its hard state is written again
 *
 * Segments go in order: one can be used again when it and all older ones are free.
 */
import { assert } from '../../core/assert.ts';

/** What one segment holds of one range. Indexes are 0 while it holds hard states only. */
export interface SegmentShare {
  firstIndex: number;
  lastIndex: number;
  bytes: number;
  /** A later record of the segment voids an earlier one of it. */
  isRewritten: boolean;
}

/** A segment with entries of a range. No later segment voids those up to `lastIndex`. */
export interface HoldingSegment {
  readonly segmentId: number;
  readonly lastIndex: number;
  readonly isRewritten: boolean;
}

interface TrackedRange {
  /** Durable checkpoint through this index; 0 = none. */
  checkpointIndex: number;
  /** Last index of the range's log. */
  lastIndex: number;
  /** Segment with the range's newest hard state; 0 = none in the log. */
  hardStateSegment: number;
  /** Segment in which an entry begins whose last record has not come yet; 0 = there is none. */
  unfinishedFrom: number;
  /** The share of the open segment, and that segment's id, so that the common case needs no second look-up. */
  share: SegmentShare | null;
  shareSegment: number;
}

export interface TrackedSegment {
  readonly segmentId: number;
  readonly ranges: Map<number, SegmentShare>;
}

/** A range that holds back the oldest segment, and what would free it. */
export interface Laggard {
  readonly rangeId: number;
  /** A checkpoint through this index is needed; 0 = none. */
  readonly checkpointIndex: number;
  /** The hard state must be written again. */
  readonly needsHardState: boolean;
}

/** A tracker's contents, fit for structured cloning. */
export interface TrackerSnapshot {
  readonly segments: readonly TrackedSegment[];
  readonly ranges: ReadonlyMap<
    number,
    { readonly checkpointIndex: number; readonly lastIndex: number; readonly hardStateSegment: number }
  >;
}

export class WalTracker {
  #segments: TrackedSegment[] = [];
  readonly #ranges = new Map<number, TrackedRange>();
  readonly #removed = new Set<number>();

  /** Goes on from another tracker's contents. */
  constructor(snapshot?: TrackerSnapshot) {
    if (snapshot === undefined) return;
    for (const { segmentId, ranges } of snapshot.segments) {
      const copy = [...ranges].map(([id, share]) => [id, { ...share }] as const);
      this.#segments.push({ segmentId, ranges: new Map(copy) });
    }
    for (const [id, range] of snapshot.ranges) this.#ranges.set(id, { ...untracked(), ...range });
  }

  snapshot(): TrackerSnapshot {
    const ranges = [...this.#ranges].map(([id, { checkpointIndex, lastIndex, hardStateSegment }]) => {
      return [id, { checkpointIndex, lastIndex, hardStateSegment }] as const;
    });
    return { segments: this.#segments, ranges: new Map(ranges) };
  }

  /** Records from now on lie in this segment. */
  opened(segmentId: number): void {
    assert(segmentId > (this.#segments.at(-1)?.segmentId ?? 0), 'wal tracker: segments are opened in order');
    this.#segments.push({ segmentId, ranges: new Map() });
  }

  /**
   * An entry, or a piece of one, was appended. `isStart`, `isEnd`: it is the entry's first, its last record. Until the last
   * one has come, what the entry overwrites is valid: a crash now would bring it back.
   */
  entry(rangeId: number, index: number, bytes: number, isStart: boolean, isEnd: boolean): void {
    if (this.#removed.has(rangeId)) return;
    const range = this.#range(rangeId);
    const share = this.#share(rangeId, range);
    share.bytes += bytes;
    if (isStart) range.unfinishedFrom = range.shareSegment;
    if (!isEnd || range.unfinishedFrom === 0) return;
    if (index <= range.lastIndex) this.#void(rangeId, index, range.unfinishedFrom);
    range.lastIndex = index;
    if (range.unfinishedFrom === range.shareSegment) holdsAlso(share, index);
    else this.#heldFrom(range.unfinishedFrom, rangeId, index);
    range.unfinishedFrom = 0;
  }

  hardState(rangeId: number, bytes: number): void {
    if (this.#removed.has(rangeId)) return;
    const range = this.#range(rangeId);
    this.#share(rangeId, range).bytes += bytes;
    range.hardStateSegment = range.shareSegment;
  }

  /** The range has a durable checkpoint through `index`: no entry up to there is needed. */
  checkpointed(rangeId: number, index: number): void {
    if (this.#removed.has(rangeId)) return;
    const range = this.#range(rangeId);
    if (index > range.checkpointIndex) range.checkpointIndex = index;
  }

  /** The log of the range so far is void; it goes on behind `index`. At 0 its votes are, too: the member is gone. */
  cut(rangeId: number, index: number): void {
    if (this.#removed.has(rangeId)) return;
    this.#void(rangeId, 0, this.#segments.at(-1)?.segmentId ?? 0);
    const range = this.#range(rangeId);
    range.checkpointIndex = index;
    range.lastIndex = index;
    range.unfinishedFrom = 0;
    if (index === 0) range.hardStateSegment = 0;
  }

  /** Nothing of the range is needed, now or later: its id is never used again. */
  removed(rangeId: number): void {
    this.#removed.add(rangeId);
    this.#ranges.delete(rangeId);
    for (const segment of this.#segments) segment.ranges.delete(rangeId);
  }

  /** Segments with entries of the range from `index` on, oldest first; none when that one is not in the log any more. */
  holding(rangeId: number, index: number): HoldingSegment[] {
    const found: HoldingSegment[] = [];
    // Where two segments have an index, it is overwritten, or its pieces lie in both: it is whole where the later one ends it.
    let bound = Infinity;
    let oldestFirst = 0;
    for (const { segmentId, ranges } of this.#segments.toReversed()) {
      const share = ranges.get(rangeId);
      if (share === undefined || share.firstIndex === 0 || share.lastIndex < index) continue;
      found.unshift({ segmentId, lastIndex: Math.min(share.lastIndex, bound), isRewritten: share.isRewritten });
      oldestFirst = share.firstIndex;
      bound = Math.min(bound, oldestFirst - 1);
    }
    return oldestFirst <= index ? found : [];
  }

  /** Segments that can be used again, oldest first; never the newest one. */
  reusable(): number[] {
    const ids: number[] = [];
    for (let i = 0; i < this.#segments.length - 1; i++) {
      const segment = this.#segments[i] as TrackedSegment;
      if (this.#holders(segment).length > 0 || this.#isUnfinished(segment)) break;
      ids.push(segment.segmentId);
    }
    return ids;
  }

  /** Forgets segments up to and including this one: they were used again. */
  dropThrough(segmentId: number): void {
    this.#segments = this.#segments.filter((segment) => segment.segmentId > segmentId);
  }

  /** The ranges that hold back the oldest segment; none when it is the only one. */
  laggards(): Laggard[] {
    const oldest = this.#segments[0];
    return oldest === undefined || this.#segments.length === 1 ? [] : this.#holders(oldest);
  }

  /**
   * Bytes of the log that replaying the range from its checkpoint takes. Segments that the checkpoint cuts through count
   * by the share of their indexes behind it.
   */
  bytesBehind(rangeId: number): number {
    const range = this.#ranges.get(rangeId);
    if (range === undefined) return 0;
    let bytes = 0;
    for (const segment of this.#segments) {
      const share = segment.ranges.get(rangeId);
      if (share === undefined || share.lastIndex <= range.checkpointIndex) continue;
      const first = Math.max(share.firstIndex, range.checkpointIndex + 1);
      bytes += (share.bytes * (share.lastIndex - first + 1)) / (share.lastIndex - share.firstIndex + 1);
    }
    return Math.ceil(bytes);
  }

  get rangeIds(): number[] {
    return [...this.#ranges.keys()];
  }

  /** Ids of all segments that are still needed or open, oldest first. */
  get segmentIds(): number[] {
    return this.#segments.map((segment) => segment.segmentId);
  }

  #holders({ segmentId, ranges }: TrackedSegment): Laggard[] {
    const holders: Laggard[] = [];
    for (const [rangeId, share] of ranges) {
      const range = this.#range(rangeId);
      const needsHardState = range.hardStateSegment === segmentId;
      const behind = share.lastIndex > range.checkpointIndex;
      if (!behind && !needsHardState) continue;
      holders.push({ rangeId, checkpointIndex: behind ? share.lastIndex : 0, needsHardState });
    }
    return holders;
  }

  #range(rangeId: number): TrackedRange {
    let range = this.#ranges.get(rangeId);
    if (range === undefined) {
      range = untracked();
      this.#ranges.set(rangeId, range);
    }
    return range;
  }

  #share(rangeId: number, range: TrackedRange): SegmentShare {
    const open = this.#segments.at(-1);
    assert(open !== undefined, 'wal tracker: a segment is open');
    if (range.share !== null && range.shareSegment === open.segmentId) return range.share;
    const share = open.ranges.get(rangeId) ?? { firstIndex: 0, lastIndex: 0, bytes: 0, isRewritten: false };
    open.ranges.set(rangeId, share);
    range.share = share;
    range.shareSegment = open.segmentId;
    return share;
  }

  /** An entry of the range begins in the segment and has not ended: nobody could name a checkpoint that frees it. */
  #isUnfinished({ segmentId, ranges }: TrackedSegment): boolean {
    for (const rangeId of ranges.keys()) if (this.#ranges.get(rangeId)?.unfinishedFrom === segmentId) return true;
    return false;
  }

  /** The pieces of the entry lie in these segments. */
  #heldFrom(segmentId: number, rangeId: number, index: number): void {
    for (const segment of this.#segments) {
      const share = segment.segmentId < segmentId ? undefined : segment.ranges.get(rangeId);
      if (share !== undefined) holdsAlso(share, index);
    }
  }

  /**
   * The log of the range goes on from `index` again, by a record in segment `from`: what was there from that index on is void.
   * Without this, an idle range could never be checkpointed far enough to free the older segments.
   */
  #void(rangeId: number, index: number, from: number): void {
    for (const { segmentId, ranges } of this.#segments) {
      const share = ranges.get(rangeId);
      if (share === undefined || share.lastIndex < index) continue;
      if (segmentId >= from) share.isRewritten = true;
      share.lastIndex = index - 1;
      if (share.firstIndex >= index) share.firstIndex = 0;
      if (share.firstIndex === 0) share.lastIndex = 0;
    }
  }
}

function untracked(): TrackedRange {
  return { checkpointIndex: 0, lastIndex: 0, hardStateSegment: 0, unfinishedFrom: 0, share: null, shareSegment: 0 };
}

function holdsAlso(share: SegmentShare, index: number): void {
  if (share.firstIndex === 0 || index < share.firstIndex) share.firstIndex = index;
  if (index > share.lastIndex) share.lastIndex = index;
}
