/**
 * How a shard worker puts records into its ring to the WAL writer. A record is complete but for what only the writer knows
 * (sequence number, batch, final checksum), and lies in shared memory exactly as it will lie on the disk.
 *
 * An entry whose data exceeds a fragment becomes FIRST, MIDDLE …, LAST; recovery takes all of them or none. An entry may be
 * larger than the ring: the appender remembers where it stands, and pump() goes on as the writer makes room.
 *
 *     append(512 MiB) ─▶ FIRST MIDDLE MIDDLE ─ ring full ─ pump() ─▶ MIDDLE … LAST
 *                                 other ranges' records may come between
 */
import { crc32 } from '../../codec/crc.ts';
import { assert } from '../../core/assert.ts';
import type { LogIndex, MemberId, RangeId, Term } from '../../core/brands.ts';
import { writeU64 } from '../../core/kv/batch.ts';
import type { RingProducer } from '../../sharedarraybuffer-ring/index.ts';
import {
  BATCH_AT,
  CHECKSUM_AT,
  FLAG_HARD_STATE,
  FLAGS_AT,
  FRAGMENT_FIRST,
  FRAGMENT_LAST,
  FRAGMENT_MASK,
  FRAGMENT_MIDDLE,
  FRAGMENT_TOTAL_BYTES,
  HARD_STATE_BYTES,
  LENGTH_AT,
  PAYLOAD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  RECORD_PREFIX_BYTES,
  recordBytes,
  SEQUENCE_AT,
  TERM_AT,
  TIMESTAMP_AT,
  TYPE_AT,
  TYPE_NOOP,
} from './format.ts';
import type { RecordType } from './format.ts';
import { WAL_RUNNING } from './status.ts';
import type { WalStatusWords } from './status.ts';

export interface WalAppenderOptions {
  /** While it says anything but running, pump() puts nothing more into the ring. */
  readonly status?: WalStatusWords;
  /** Wall clock, Unix microseconds. */
  readonly nowUs?: () => number;
}

interface PendingEntry {
  readonly type: RecordType;
  readonly flags: number;
  readonly term: Term;
  readonly rangeId: RangeId;
  readonly index: LogIndex;
  readonly data: Buffer;
  at: number;
  readonly end: number;
}

/**
 * The writing side of one worker's log. It belongs to the thread that owns the ring's producer. Records are seen by
 * the writer after publish(): once per turn of the loop.
 */
export class WalAppender {
  readonly #ring: RingProducer;
  readonly #status: WalStatusWords | null;
  readonly #nowUs: () => number;
  readonly #capacityBytes: number;
  readonly #payloadBytesMax: number;
  #pending: PendingEntry | null = null;

  constructor(ring: RingProducer, options: WalAppenderOptions = {}) {
    this.#ring = ring;
    this.#status = options.status ?? null;
    this.#nowUs = options.nowUs ?? (() => Date.now() * 1000);
    this.#capacityBytes = ring.buffer.length;
    this.#payloadBytesMax = Math.min(PAYLOAD_BYTES_MAX, this.#capacityBytes / 4 - RECORD_HEADER_BYTES);
    assert(this.#payloadBytesMax > RECORD_PREFIX_BYTES + FRAGMENT_TOTAL_BYTES, 'wal: the ring is too small');
  }

  /**
   * Appends one record: an entry of the range's Raft log, or with TYPE_CHECKPOINT the word that the range has a durable
   * checkpoint through `index`. `data[start, end)` is copied at once; but when isPending is true afterwards, the rest of it
   * is copied by pump() and must stay as it is until then.
   * Returns false, and nothing is written, when the ring has no room or a long entry of this range is not through yet.
   */
  append(
    type: RecordType,
    flags: number,
    term: Term,
    rangeId: RangeId,
    index: LogIndex,
    data: Buffer,
    start: number,
    end: number,
  ): boolean {
    assert((flags & FRAGMENT_MASK) === 0, 'wal: fragments are the appender’s own business');
    const pending = this.#pending;
    if (RECORD_PREFIX_BYTES + end - start <= this.#payloadBytesMax) {
      if (pending !== null && pending.rangeId === rangeId) return false;
      return this.#write(type, flags, term, rangeId, index, data, start, end, -1);
    }
    if (pending !== null) return false;
    const firstBytes = this.#payloadBytesMax - RECORD_PREFIX_BYTES - FRAGMENT_TOTAL_BYTES;
    const total = end - start;
    if (!this.#write(type, flags | FRAGMENT_FIRST, term, rangeId, index, data, start, start + firstBytes, total)) {
      return false;
    }
    this.#pending = { type, flags, term, rangeId, index, data, at: start + firstBytes, end };
    this.pump();
    return true;
  }

  /**
   * Appends what a vote or a term rests on. `commit` is a convenience and may lag behind. Returns false, and nothing is
   * written, when there is no room now.
   */
  hardState(rangeId: RangeId, term: Term, vote: MemberId, commit: LogIndex): boolean {
    if (this.#pending !== null && this.#pending.rangeId === rangeId) return false;
    const offset = this.#ring.reserve(recordBytes(HARD_STATE_BYTES));
    if (offset < 0) return false;
    const { buffer } = this.#ring;
    writeU64(buffer, vote, offset + RECORD_HEADER_BYTES + RECORD_PREFIX_BYTES);
    this.#finish(offset, TYPE_NOOP, FLAG_HARD_STATE, term, rangeId, commit, HARD_STATE_BYTES);
    return true;
  }

  /**
   * Goes on with a long entry as far as there is room; a quarter of the ring is left to others. Returns true when
   * nothing is pending any more. Call it each turn while isPending, then publish().
   */
  pump(): boolean {
    const pending = this.#pending;
    if (pending === null) return true;
    if (this.#status !== null && this.#status.status !== WAL_RUNNING) return false;
    while (pending.at < pending.end) {
      const left = pending.end - pending.at;
      const bytes = Math.min(left, this.#payloadBytesMax - RECORD_PREFIX_BYTES);
      const piece = bytes === left ? FRAGMENT_LAST : FRAGMENT_MIDDLE;
      if (this.#ring.bytesFree < this.#capacityBytes / 4 + recordBytes(RECORD_PREFIX_BYTES + bytes)) return false;
      const { type, flags, term, rangeId, index, data, at } = pending;
      if (!this.#write(type, flags | piece, term, rangeId, index, data, at, at + bytes, -1)) return false;
      pending.at += bytes;
    }
    this.#pending = null;
    return true;
  }

  /** A long entry is partly in the ring. */
  get isPending(): boolean {
    return this.#pending !== null;
  }

  /** Shows the writer all that was appended, and wakes it if it sleeps. */
  publish(): void {
    this.#ring.publish();
  }

  /** Position behind the last record: durable when `durable` has reached it. Only ever compared, never stored. */
  get position(): number {
    return this.#ring.position;
  }

  /** Everything before this position is on the disk. */
  get durable(): number {
    return this.#ring.released();
  }

  #write(
    type: RecordType,
    flags: number,
    term: Term,
    rangeId: RangeId,
    index: LogIndex,
    data: Buffer,
    start: number,
    end: number,
    entryBytes: number,
  ): boolean {
    const headBytes = RECORD_PREFIX_BYTES + (entryBytes < 0 ? 0 : FRAGMENT_TOTAL_BYTES);
    const payloadBytes = headBytes + end - start;
    const offset = this.#ring.reserve(recordBytes(payloadBytes));
    if (offset < 0) return false;
    const { buffer } = this.#ring;
    if (entryBytes >= 0) writeU64(buffer, entryBytes, offset + RECORD_HEADER_BYTES + RECORD_PREFIX_BYTES);
    data.copy(buffer, offset + RECORD_HEADER_BYTES + headBytes, start, end);
    this.#finish(offset, type, flags, term, rangeId, index, payloadBytes);
    return true;
  }

  #finish(
    offset: number,
    type: RecordType,
    flags: number,
    term: Term,
    rangeId: RangeId,
    index: LogIndex,
    payloadBytes: number,
  ): void {
    const { buffer } = this.#ring;
    writeRecord(buffer, offset, type, flags, term, rangeId, index, payloadBytes, this.#nowUs());
    this.#ring.commit(recordBytes(payloadBytes));
  }
}

/**
 * Writes header and prefix of a record whose payload, from the prefix's end on, is in place at `offset`. The checksum
 * field holds the payload's CRC-32 until the writer completes the record.
 */
export function writeRecord(
  buffer: Buffer,
  offset: number,
  type: RecordType,
  flags: number,
  term: Term,
  rangeId: RangeId,
  index: LogIndex,
  payloadBytes: number,
  nowUs: number,
): void {
  const payload = offset + RECORD_HEADER_BYTES;
  writeU64(buffer, rangeId, payload);
  writeU64(buffer, index, payload + 8);
  const payloadEnd = payload + payloadBytes;
  for (let at = payloadEnd; (at & 7) !== 0; at++) buffer[at] = 0;
  writeU64(buffer, 0, offset + SEQUENCE_AT);
  buffer.writeUInt32LE(term, offset + TERM_AT);
  buffer.writeUInt32LE(crc32(buffer, payload, payloadEnd), offset + CHECKSUM_AT);
  writeU64(buffer, nowUs, offset + TIMESTAMP_AT);
  buffer.writeUInt32LE(payloadBytes, offset + LENGTH_AT);
  buffer[offset + TYPE_AT] = type;
  buffer[offset + FLAGS_AT] = flags;
  buffer.writeUInt16LE(0, offset + BATCH_AT);
}
