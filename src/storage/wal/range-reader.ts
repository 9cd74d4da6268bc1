/**
 * Reads back entries of one range that have left memory, for a follower that lags: from the segments that hold them, sealed or
 * open, while the log goes on.
 *
 *     segments that the tracker names ─▶ records of the range ─▶ entries first … last, as many as fit ─▶ where that ended
 *                                              ▲                                                              │
 *                                              └──────────────── the next read goes on there ─────────────────┘
 *
 * A read ends as soon as it has enough, unless the segment voids some of what it holds: then at the segment's end.
 *
 * A segment that was used again meanwhile is recognised by its headers and by the checksums of its records; then there is no
 * answer, and none for a range whose log was cut: a snapshot must do.
 */
import path from 'node:path';
import type { Disk } from '../disk.ts';
import { EntryAssembler } from './entries.ts';
import { FLAG_CUT, FLAG_HARD_STATE, isEntryStart, segmentSeed, TYPE_CHECKPOINT } from './format.ts';
import type { RecordType } from './format.ts';
import { createWindow, SegmentReader, startWalk, walkSegment } from './reader.ts';
import type { RecordView, SegmentWalk } from './reader.ts';
import { readSegmentHeaders, segmentName } from './segment.ts';
import type { HoldingSegment } from './tracker.ts';

/** How far a read goes before it looks whether it has enough. */
const STRIDE_BYTES = 256 * 1024;
/** How many followers may lag at a time before their reads disturb each other. */
const ENDS_MAX = 1024;

/** Entries of a range that are durable and committed here. */
export interface RangeRead {
  readonly rangeId: number;
  readonly first: number;
  readonly last: number;
  /** Of data; one entry more than fits may come. */
  readonly bytesMax: number;
}

/** Where they lie. */
export interface RangePlace {
  readonly logId: number;
  /** What WalTracker.holding() names. */
  readonly segments: readonly HoldingSegment[];
}

/** What is needed to walk on from a record. */
type WalkPlace = Pick<Readonly<SegmentWalk>, 'position' | 'sequence' | 'batch' | 'inBatch'>;

/** Where a record lies. */
export interface RecordPlace {
  readonly segmentId: number;
  readonly at: WalkPlace;
}

export interface ReadEntry {
  readonly index: number;
  readonly term: number;
  readonly type: RecordType;
  readonly data: Uint8Array;
}

export interface RangeAnswer {
  /** At least one. */
  readonly entries: readonly ReadEntry[];
  /** Of the last of them. */
  readonly end: RecordPlace;
}

/** Where the latest reads ended: whoever goes on with the entry that one ended with need not search for it. */
export class ReadEnds {
  readonly #ends = new Map<string, RecordPlace>();

  /** Where the range's entry `index` begins, when a read ended with it not too long ago. */
  find(rangeId: number, index: number): RecordPlace | null {
    return this.#ends.get(`${rangeId}:${index}`) ?? null;
  }

  note(rangeId: number, { entries, end }: RangeAnswer): void {
    const key = `${rangeId}:${entries.at(-1)?.index}`;
    this.#ends.delete(key);
    this.#ends.set(key, end);
    for (const oldest of this.#ends.keys()) {
      if (this.#ends.size <= ENDS_MAX) break;
      this.#ends.delete(oldest);
    }
  }
}

/** Collects what the records leave of the entries asked for: a later record of an index voids the one before it. */
class Entries {
  readonly read: ReadEntry[] = [];
  /** Where each of them begins. */
  readonly places: RecordPlace[] = [];
  readonly #wanted: RangeRead;
  #bytes = 0;

  constructor(wanted: RangeRead) {
    this.#wanted = wanted;
  }

  get isEnough(): boolean {
    const { first, last, bytesMax } = this.#wanted;
    return this.#bytes >= bytesMax || first + this.read.length > last;
  }

  cutFrom(index: number): void {
    const kept = Math.max(0, index - this.#wanted.first);
    for (const { data } of this.read.splice(kept)) this.#bytes -= data.length;
    this.places.length = this.read.length;
  }

  add(entry: ReadEntry, place: RecordPlace): void {
    this.cutFrom(entry.index);
    if (entry.index !== this.#wanted.first + this.read.length || this.isEnough) return;
    this.read.push(entry);
    this.places.push(place);
    this.#bytes += entry.data.length;
  }
}

/**
 * The entries from wanted.first on; null when they are not, or not all, where they should be. `from`: where the first one begins,
 * if that is known. Throws what the disk throws.
 */
export function readRange(
  disk: Disk,
  dir: string,
  { logId, segments }: RangePlace,
  wanted: RangeRead,
  from: RecordPlace | null = null,
): RangeAnswer | null {
  const entries = new Entries(wanted);
  let start: RecordPlace | null = null;
  let lastIndex = 0;
  const assembler = new EntryAssembler((type, flags, term, _rangeId, index, buffer, dataStart, dataEnd) => {
    if ((flags & FLAG_HARD_STATE) !== 0) return;
    if (type === TYPE_CHECKPOINT) {
      if ((flags & FLAG_CUT) !== 0) entries.cutFrom(0);
    } else if (start !== null && index <= lastIndex) {
      const data = Uint8Array.prototype.slice.call(buffer, dataStart, dataEnd);
      entries.add({ index, term, type, data }, start);
    }
  }, true);
  const window = createWindow();
  const known = segments.findIndex(({ segmentId }) => segmentId === from?.segmentId);
  for (const { segmentId, lastIndex: last, isRewritten } of segments.slice(Math.max(0, known))) {
    lastIndex = last;
    const name = path.join(dir, segmentName(segmentId));
    const begin = from?.segmentId === segmentId ? from.at : null;
    const isThere = walkRecords(disk, name, { segmentId, logId, window, begin }, (record, at) => {
      if (record.rangeId === wanted.rangeId) {
        if (isEntryStart(record.flags)) start = { segmentId, at };
        assembler.push(record, window);
      }
      return isRewritten || !entries.isEnough;
    });
    if (!isThere) return null;
    if (entries.isEnough) break;
  }
  const end = entries.places.at(-1);
  return end === undefined ? null : { entries: entries.read, end };
}

interface SegmentWish {
  readonly segmentId: number;
  readonly logId: number;
  readonly window: Buffer;
  readonly begin: WalkPlace | null;
}

/** Visits the segment's records until `visit` says that it wants no more. False: the segment is not, or not whole, there. */
function walkRecords(
  disk: Disk,
  name: string,
  { segmentId, logId, window, begin }: SegmentWish,
  visit: (record: RecordView, at: WalkPlace) => boolean,
): boolean {
  if (!disk.exists(name)) return false;
  const file = disk.openFile(name, 'r');
  try {
    const { opened, sealed } = readSegmentHeaders(file, segmentId, logId);
    const header = sealed ?? opened;
    if (header === null) return false;
    const end = sealed === null ? file.size() : sealed.dataEnd;
    const reader = new SegmentReader(file, segmentSeed(segmentId, logId), end, window);
    const walk = { ...startWalk(header.startSequence), ...begin };
    let isWanted = true;
    while (isWanted && walk.position < end && walk.reason === null) {
      walkSegment(reader, walk, Math.min(end, walk.position + STRIDE_BYTES), (record) => {
        const { position, sequence, batch, inBatch } = walk;
        isWanted = visit(record, { position, sequence, batch, inBatch });
      });
    }
    // What is behind the last valid record of the open segment is not written yet.
    return sealed === null || walk.reason === null;
  } finally {
    file.close();
  }
}
