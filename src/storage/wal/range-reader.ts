/**
 * Reads back entries of one range that have left memory, for a follower that lags: from the segments that hold them, sealed or
 * open, while the log goes on.
 *
 *     segments that the tracker names ─▶ records of the range ─▶ entries first … last, as many as fit
 *
 * A segment that was used again meanwhile is recognised by its headers and by the checksums of its records; then there is no
 * answer, and none for a range whose log was cut: a snapshot must do.
 */
import path from 'node:path';
import type { Disk } from '../disk.ts';
import { EntryAssembler } from './entries.ts';
import { FLAG_CUT, FLAG_HARD_STATE, segmentSeed, TYPE_CHECKPOINT } from './format.ts';
import type { RecordType } from './format.ts';
import { createWindow, SegmentReader, startWalk, walkSegment } from './reader.ts';
import { readSegmentHeaders, segmentName } from './segment.ts';

/** Entries of a range that are durable and committed here. */
export interface RangeRead {
  readonly rangeId: number;
  readonly first: number;
  readonly last: number;
  /** Of data; one entry more than fits may come. */
  readonly bytesMax: number;
}

/** Where they lie: what WalTracker.holding() names. */
export interface RangePlace {
  readonly logId: number;
  readonly segmentIds: readonly number[];
}

export interface ReadEntry {
  readonly index: number;
  readonly term: number;
  readonly type: RecordType;
  readonly data: Uint8Array;
}

/** Collects what the records leave of the entries asked for: a later record of an index voids the one before it. */
class Entries {
  readonly read: ReadEntry[] = [];
  readonly #wanted: RangeRead;
  #bytes = 0;

  constructor(wanted: RangeRead) {
    this.#wanted = wanted;
  }

  cutFrom(index: number): void {
    const kept = Math.max(0, index - this.#wanted.first);
    for (const { data } of this.read.splice(kept)) this.#bytes -= data.length;
  }

  add(entry: ReadEntry): void {
    const { first, last, bytesMax } = this.#wanted;
    this.cutFrom(entry.index);
    const isNext = entry.index === first + this.read.length && entry.index <= last;
    if (!isNext || this.#bytes >= bytesMax) return;
    this.read.push(entry);
    this.#bytes += entry.data.length;
  }
}

/** The entries from wanted.first on; null when they are not, or not all, where they should be. Throws what the disk throws. */
export function readRange(disk: Disk, dir: string, place: RangePlace, wanted: RangeRead): ReadEntry[] | null {
  const entries = new Entries(wanted);
  const assembler = new EntryAssembler((type, flags, term, _rangeId, index, buffer, start, end) => {
    if ((flags & FLAG_HARD_STATE) !== 0) return;
    if (type !== TYPE_CHECKPOINT) {
      entries.add({ index, term, type, data: Uint8Array.prototype.slice.call(buffer, start, end) });
    } else if ((flags & FLAG_CUT) !== 0) {
      entries.cutFrom(0);
    }
  }, true);
  const window = createWindow();
  for (const segmentId of place.segmentIds) {
    const name = path.join(dir, segmentName(segmentId));
    if (!disk.exists(name)) return null;
    const file = disk.openFile(name, 'r');
    try {
      const { opened, sealed } = readSegmentHeaders(file, segmentId, place.logId);
      const header = sealed ?? opened;
      if (header === null) return null;
      const end = sealed === null ? file.size() : sealed.dataEnd;
      const reader = new SegmentReader(file, segmentSeed(segmentId, place.logId), end, window);
      const walk = startWalk(header.startSequence);
      walkSegment(reader, walk, end, (record) => {
        if (record.rangeId === wanted.rangeId) assembler.push(record, window);
      });
      // What is behind the last valid record of the open segment is not written yet.
      if (sealed !== null && walk.reason !== null) return null;
    } finally {
      file.close();
    }
  }
  return entries.read.length === 0 ? null : entries.read;
}
