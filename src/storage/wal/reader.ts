/**
 * Reads one segment: a window that slides over the file in large reads, the check of a record, the walk from batch to
 * batch, and the search for valid records behind damage.
 *
 *     file     ├──────────────[━━━━━━━━━ window ━━━━━━━━━]───────────────┤
 *                                 ▲ position, moves on; the window is refilled from the position's block
 */
import { crc32 } from '../../codec/crc.ts';
import { assert } from '../../core/assert.ts';
import { readU64 } from '../../core/kv/batch.ts';
import type { DiskFile } from '../disk.ts';
import {
  alignToBlock,
  BATCH_AT,
  BLOCK_BYTES,
  CHECKSUM_AT,
  DATA_OFFSET,
  FLAG_BATCH_LAST,
  FLAGS_AT,
  LENGTH_AT,
  PAYLOAD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  RECORD_PREFIX_BYTES,
  recordBytes,
  recordChecksum,
  SEQUENCE_AT,
  TERM_AT,
  TIMESTAMP_AT,
  TYPE_AT,
  TYPE_DATA,
  TYPE_NOOP,
} from './format.ts';

const WINDOW_BYTES = 2 * 1024 * 1024;
assert(WINDOW_BYTES >= recordBytes(PAYLOAD_BYTES_MAX) + BLOCK_BYTES, 'wal: a record fits into the window');
const RECORD_BYTES_MIN = recordBytes(RECORD_PREFIX_BYTES);

/** The memory of a reader; one serves many segments, one after another, of at most `segmentBytes`. */
export function createWindow(segmentBytes = WINDOW_BYTES): Buffer {
  return Buffer.from(new ArrayBuffer(Math.min(WINDOW_BYTES, alignToBlock(segmentBytes))));
}

/** A record in place: its header's fields, and where its payload lies in the reader's buffer. Valid until the reader moves on. */
export interface RecordView {
  position: number;
  sequence: number;
  term: number;
  checksum: number;
  timestampUs: number;
  type: number;
  flags: number;
  batch: number;
  rangeId: number;
  index: number;
  /** Payload behind the prefix: buffer[dataStart, dataEnd). */
  dataStart: number;
  dataEnd: number;
  /** Bytes of the whole record. */
  bytes: number;
}

export class SegmentReader {
  /** The window; `record` points into it. */
  readonly buffer: Buffer;
  readonly record: RecordView = {
    position: 0,
    sequence: 0,
    term: 0,
    checksum: 0,
    timestampUs: 0,
    type: 0,
    flags: 0,
    batch: 0,
    rangeId: 0,
    index: 0,
    dataStart: 0,
    dataEnd: 0,
    bytes: 0,
  };
  readonly #file: DiskFile;
  readonly #seed: number;
  readonly #endPosition: number;
  readonly #words: Uint32Array;
  #windowStart = 0;
  #windowBytes = 0;

  /** Reads no further than `endPosition`. `seed`: see segmentSeed(). */
  constructor(file: DiskFile, seed: number, endPosition: number, window: Buffer) {
    this.#file = file;
    this.#seed = seed;
    this.#endPosition = endPosition;
    this.buffer = window;
    this.#words = new Uint32Array(window.buffer, window.byteOffset, window.length / 4);
  }

  /** Bytes read from the file. */
  bytesRead = 0;

  /** Where `position` lies in the buffer, with `bytes` behind it (fewer at the end of what may be read). */
  #load(position: number, bytes: number): number {
    const windowEnd = this.#windowStart + this.#windowBytes;
    if (position < this.#windowStart || Math.min(position + bytes, this.#endPosition) > windowEnd) {
      const start = Math.floor(position / BLOCK_BYTES) * BLOCK_BYTES;
      let kept = 0;
      if (start >= this.#windowStart && start < windowEnd) {
        kept = windowEnd - start;
        this.buffer.copyWithin(0, start - this.#windowStart, this.#windowBytes);
      }
      const wanted = Math.min(this.buffer.length, this.#endPosition - start) - kept;
      const read = wanted > 0 ? this.#file.read(this.buffer, kept, wanted, start + kept) : 0;
      this.bytesRead += read;
      this.#windowStart = start;
      this.#windowBytes = kept + read;
    }
    return position - this.#windowStart;
  }

  #available(at: number): number {
    return this.#windowBytes - at;
  }

  /**
   * Looks at the record at `position` and fills `record`. Returns null when it is valid, else what is wrong with it.
   * With `trusted` the checksums are not computed: somebody has verified this very record before.
   */
  check(position: number, trusted = false): string | null {
    const { buffer, record } = this;
    let at = this.#load(position, RECORD_BYTES_MIN);
    if (this.#available(at) < RECORD_BYTES_MIN) return 'the segment ends inside a record';
    const payloadBytes = buffer.readUInt32LE(at + LENGTH_AT);
    const type = buffer[at + TYPE_AT] as number;
    if (type < TYPE_DATA || type > TYPE_NOOP) return `there is no entry type ${type}`;
    if (payloadBytes < RECORD_PREFIX_BYTES || payloadBytes > PAYLOAD_BYTES_MAX) {
      return `a data length of ${payloadBytes} is impossible`;
    }
    const bytes = recordBytes(payloadBytes);
    at = this.#load(position, bytes);
    if (this.#available(at) < bytes) return 'the segment ends inside a record';
    const payload = at + RECORD_HEADER_BYTES;
    const payloadEnd = payload + payloadBytes;
    const checksum = buffer.readUInt32LE(at + CHECKSUM_AT);
    if (!trusted && recordChecksum(buffer, at, crc32(buffer, payload, payloadEnd), this.#seed) !== checksum) {
      return 'the checksum does not match';
    }
    record.position = position;
    record.sequence = readU64(buffer, at + SEQUENCE_AT);
    record.term = buffer.readUInt32LE(at + TERM_AT);
    record.checksum = checksum;
    record.timestampUs = readU64(buffer, at + TIMESTAMP_AT);
    record.type = type;
    record.flags = buffer[at + FLAGS_AT] as number;
    record.batch = buffer.readUInt16LE(at + BATCH_AT);
    record.rangeId = readU64(buffer, payload);
    record.index = readU64(buffer, payload + 8);
    record.dataStart = payload + RECORD_PREFIX_BYTES;
    record.dataEnd = payloadEnd;
    record.bytes = bytes;
    return null;
  }

  /**
   * Finds the next valid record at or behind `from` whose sequence number is at least `sequenceMin`; fills `record`. Records
   * begin at multiples of 8. An older record that a payload quotes has a smaller sequence number than what quotes it.
   */
  find(from: number, sequenceMin: number): boolean {
    const words = this.#words;
    const sequenceMax = sequenceMin + this.#endPosition / RECORD_BYTES_MIN;
    let position = from;
    while (position + RECORD_BYTES_MIN <= this.#endPosition) {
      let at = this.#load(position, RECORD_BYTES_MIN);
      const lastAt = this.#windowBytes - RECORD_BYTES_MIN;
      if (at > lastAt) return false;
      for (; at <= lastAt; at += 8) {
        const low = words[at >>> 2] as number;
        const high = words[(at >>> 2) + 1] as number;
        // Most of what is searched is zeros.
        if ((low | high) === 0) continue;
        const sequence = low + high * 2 ** 32;
        if (sequence >= sequenceMin && sequence <= sequenceMax) break;
      }
      position = this.#windowStart + at;
      if (at > lastAt) continue;
      if (this.check(position) === null) return true;
      position += 8;
    }
    return false;
  }
}

/** How far a walk over a segment's records came. */
export interface SegmentWalk {
  /** Behind the last valid record; at a batch's end, the next block. */
  position: number;
  /** The sequence number that comes next. */
  sequence: number;
  /** Number of the batch that `position` lies in, or that would begin there. */
  batch: number;
  /** Where the last batch of which there is a valid record begins; 0 = there is none. */
  lastBatchStart: number;
  entryCount: number;
  dataChecksum: number;
  /** `position` lies inside a batch: the record that ends it is still to come. */
  inBatch: boolean;
  /** What is wrong with the record at `position`; null when the walk came to the limit. */
  reason: string | null;
}

export function startWalk(sequence: number): SegmentWalk {
  return {
    position: DATA_OFFSET,
    sequence,
    batch: 0,
    lastBatchStart: 0,
    entryCount: 0,
    dataChecksum: 0,
    inBatch: false,
    reason: null,
  };
}

const checksumScratch = Buffer.alloc(4);

/**
 * Goes from record to record, from walk.position up to `limit`, as long as they are valid and follow one another; calls
 * `visit` with each (it is in reader.record). Updates `walk`.
 */
export function walkSegment(
  reader: SegmentReader,
  walk: SegmentWalk,
  limit: number,
  visit: (record: RecordView) => void,
  trusted = false,
): void {
  const { record } = reader;
  walk.reason = null;
  while (walk.position < limit) {
    const reason = reader.check(walk.position, trusted);
    if (reason !== null) {
      walk.reason = reason;
      return;
    }
    if (record.sequence !== walk.sequence || record.batch !== walk.batch) {
      walk.reason =
        record.sequence === walk.sequence
          ? `it belongs to batch ${record.batch} where batch ${walk.batch} is expected`
          : `its sequence number is ${record.sequence} where ${walk.sequence} is expected`;
      return;
    }
    visit(record);
    if (!walk.inBatch) walk.lastBatchStart = walk.position;
    walk.sequence += 1;
    walk.entryCount += 1;
    checksumScratch.writeUInt32LE(record.checksum, 0);
    walk.dataChecksum = crc32(checksumScratch, 0, 4, walk.dataChecksum);
    walk.position += record.bytes;
    walk.inBatch = (record.flags & FLAG_BATCH_LAST) === 0;
    if (!walk.inBatch) {
      walk.position = alignToBlock(walk.position);
      walk.batch += 1;
    }
  }
}
