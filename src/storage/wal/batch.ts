/**
 * One batch in the making: records of all rings, completed in place in shared memory, gathered as views for one writev.
 *
 *     ring 0   ──[ rec rec rec ]──┐
 *     ring 1   ──[ rec ]──────────┼──▶ [ own ][ rec rec rec ][ rec ][ rec rec ][ zeros to the block ]
 *     ring 2   ──[ rec rec ]──────┘
 *     own records (hard states moved forward, the idle mark)
 *
 * Completing a record gives it its sequence number, its batch number and the final checksum. Nothing is copied.
 */
import { crc32 } from '../../codec/crc.ts';
import { assert } from '../../core/assert.ts';
import { readU64, writeU64 } from '../../core/kv/batch.ts';
import type { RingConsumer } from '../../sharedarraybuffer-ring/index.ts';
import {
  alignToBlock,
  BATCH_AT,
  BLOCK_BYTES,
  CHECKSUM_AT,
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
  TYPE_AT,
} from './format.ts';

/** Called for each record that becomes part of the batch; `payload` is where rangeId and index lie in `buffer`. */
export type OnBatched = (
  type: number,
  flags: number,
  term: number,
  buffer: Buffer,
  payload: number,
  recordBytes: number,
) => void;

/** Where a batch goes to: the open segment. */
export interface BatchTarget {
  /** Sequence number of the batch's first record. */
  readonly nextSequence: number;
  /** Number of the batch in its segment. */
  readonly batchNumber: number;
  readonly seed: number;
  /** What is left of the segment, whole blocks. */
  readonly roomBytes: number;
  /** CRC-32 over the checksums of the segment's records so far. */
  readonly dataChecksum: number;
}

const NOTHING: Buffer = Buffer.alloc(0);
const PADDING = Buffer.alloc(BLOCK_BYTES);
const checksumScratch = Buffer.alloc(4);

export class Batch {
  /** What is to be written, padding included once seal() was called. */
  readonly views: Buffer[] = [];
  /** Bytes of the records; with the padding after seal(). */
  bytes = 0;
  recordCount = 0;
  /** CRC-32 over the checksums of the segment's records, this batch's included once seal() was called. */
  dataChecksum = 0;
  readonly #onBatched: OnBatched;
  #sequence = 0;
  #number = 0;
  #seed = 0;
  #roomBytes = 0;
  #lastBuffer: Buffer = NOTHING;
  #lastAt = 0;
  #lastPayloadCrc = 0;

  constructor(onBatched: OnBatched) {
    this.#onBatched = onBatched;
  }

  /** Begins an empty batch, the next one of the segment. */
  begin(segment: BatchTarget): void {
    this.views.length = 0;
    this.bytes = 0;
    this.recordCount = 0;
    this.dataChecksum = segment.dataChecksum;
    this.#sequence = segment.nextSequence;
    this.#number = segment.batchNumber;
    this.#seed = segment.seed;
    this.#roomBytes = segment.roomBytes;
  }

  /** Takes the records that lie complete at the beginning of `buffer`. Returns how many bytes of them found room. */
  takeOwn(buffer: Buffer, bytes: number): number {
    const taken = this.#stampAll(buffer, 0, bytes);
    if (taken > 0) this.views.push(buffer.subarray(0, taken));
    return taken;
  }

  /** Takes what is published in the ring, as far as there is room. Returns false when a record found none. */
  take(ring: RingConsumer): boolean {
    while (ring.poll()) {
      const { start, end } = ring;
      const bytes = this.#stampAll(ring.buffer, start, end);
      if (bytes > 0) {
        this.views.push(ring.buffer.subarray(start, start + bytes));
        ring.consume(bytes);
      }
      if (start + bytes < end) return false;
    }
    return true;
  }

  /** Marks the last record as such and pads to the block. Afterwards the views are what goes to the disk. */
  seal(): void {
    assert(this.recordCount > 0, 'wal: an empty batch is not written');
    const buffer = this.#lastBuffer;
    const at = this.#lastAt;
    buffer[at + FLAGS_AT] = (buffer[at + FLAGS_AT] as number) | FLAG_BATCH_LAST;
    buffer.writeUInt32LE(recordChecksum(buffer, at, this.#lastPayloadCrc, this.#seed), at + CHECKSUM_AT);
    this.#foldLastChecksum();
    const padded = alignToBlock(this.bytes);
    if (padded > this.bytes) this.views.push(PADDING.subarray(0, padded - this.bytes));
    this.bytes = padded;
  }

  #stampAll(buffer: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const payloadBytes = buffer.readUInt32LE(at + LENGTH_AT);
      assert(
        payloadBytes >= RECORD_PREFIX_BYTES && payloadBytes <= PAYLOAD_BYTES_MAX,
        'wal: a record of impossible size',
      );
      const bytes = recordBytes(payloadBytes);
      assert(at + bytes <= end, 'wal: a record is published in parts');
      if (this.bytes + bytes > this.#roomBytes) break;
      this.#stamp(buffer, at, bytes);
      at += bytes;
    }
    return at - start;
  }

  #stamp(buffer: Buffer, at: number, bytes: number): void {
    if (this.recordCount > 0) this.#foldLastChecksum();
    const payloadCrc = buffer.readUInt32LE(at + CHECKSUM_AT);
    writeU64(buffer, this.#sequence + this.recordCount, at + SEQUENCE_AT);
    buffer.writeUInt16LE(this.#number, at + BATCH_AT);
    buffer.writeUInt32LE(recordChecksum(buffer, at, payloadCrc, this.#seed), at + CHECKSUM_AT);
    this.#lastBuffer = buffer;
    this.#lastAt = at;
    this.#lastPayloadCrc = payloadCrc;
    this.recordCount += 1;
    this.bytes += bytes;
    const type = buffer[at + TYPE_AT] as number;
    const flags = buffer[at + FLAGS_AT] as number;
    this.#onBatched(type, flags, buffer.readUInt32LE(at + TERM_AT), buffer, at + RECORD_HEADER_BYTES, bytes);
  }

  #foldLastChecksum(): void {
    this.#lastBuffer.copy(checksumScratch, 0, this.#lastAt + CHECKSUM_AT, this.#lastAt + CHECKSUM_AT + 4);
    this.dataChecksum = crc32(checksumScratch, 0, 4, this.dataChecksum);
  }
}

/** Range id of a payload. */
export function payloadRangeId(buffer: Buffer, payload: number): number {
  return readU64(buffer, payload);
}

/** Raft index of a payload. */
export function payloadIndex(buffer: Buffer, payload: number): number {
  return readU64(buffer, payload + 8);
}
