/**
 * The write-ahead log on disk: what lies where. docs/wal-format.md tells the same with an example of bytes and a proof.
 * Everything is little-endian; u64 are safe integers.
 *
 *   segment file                                                    blocks of 4 KiB
 *   ┌──────────┬──────────┬───────────────────┬─────────────┬────┬──────────────────┐
 *   │ header   │ header   │ batch 0           │ batch 1     │ …  │ zeros, or stale  │
 *   │ (opened) │ (sealed) │ rec rec rec ░░░░░ │ rec ░░░░░░░ │    │ records          │
 *   └──────────┴──────────┴───────────────────┴─────────────┴────┴──────────────────┘
 *   0          4096       8192   one writev + one fdatasync each; ░ = padding to the block
 *
 *   record  ┌─────────────┬──────────────────┬──────────────────┬────────┬──────────┐
 *           │ header 32 B │ rangeId u64      │ raft index u64   │ data   │ 0–7 zero │
 *           └─────────────┴──────────────────┴──────────────────┴────────┴──────────┘
 *
 * No block is ever written twice: an opened segment gets its first header before its first batch and its second one when
 * it is sealed; a batch begins at a block and its last block is padded.
 */
import { crc32, crc32Short } from '../../codec/crc.ts';
import { assert } from '../../core/assert.ts';
import { readU64, writeU64 } from '../../core/kv/batch.ts';
import { limits } from '../../core/limits.ts';

export const BLOCK_BYTES = limits.walBlockBytes;
/** Where the first batch of a segment begins: behind the two header blocks. */
export const DATA_OFFSET = 2 * BLOCK_BYTES;

export const RECORD_HEADER_BYTES = 32;
/** rangeId and raft index, which lead every payload. */
export const RECORD_PREFIX_BYTES = 16;
/** What the first fragment of an entry carries besides: the length of the whole entry's data. */
export const FRAGMENT_TOTAL_BYTES = 8;
/** Payload of a hard-state record: prefix (with the commit index as raft index) and vote. */
export const HARD_STATE_BYTES = RECORD_PREFIX_BYTES + 8;
export const PAYLOAD_BYTES_MAX = limits.walFragmentBytesMax;

/** The smallest segment that can hold the largest record. */
export const SEGMENT_BYTES_MIN = DATA_OFFSET + alignToBlock(RECORD_HEADER_BYTES + PAYLOAD_BYTES_MAX);
/** Batches of a segment are counted in a u16, and data_end in a u32. */
const SEGMENT_BYTES_MAX = 2 ** 16 * BLOCK_BYTES;
assert(limits.walSegmentBytes >= SEGMENT_BYTES_MIN, 'a record fits into a segment');
assert(limits.walSegmentBytes <= SEGMENT_BYTES_MAX, 'batch numbers of a segment fit 16 bits');

export const TYPE_DATA = 1;
export const TYPE_CHECKPOINT = 2;
export const TYPE_CONFIG = 3;
export const TYPE_NOOP = 4;
export type RecordType = typeof TYPE_DATA | typeof TYPE_CHECKPOINT | typeof TYPE_CONFIG | typeof TYPE_NOOP;

/** The two low bits of `flags`: which piece of an entry the record is. */
export const FRAGMENT_MASK = 0x03;
export const FRAGMENT_WHOLE = 0;
export const FRAGMENT_FIRST = 1;
export const FRAGMENT_MIDDLE = 2;
export const FRAGMENT_LAST = 3;

/** Whether a record with these flags begins an entry. */
export function isEntryStart(flags: number): boolean {
  return (flags & FRAGMENT_MASK) <= FRAGMENT_FIRST;
}

/** Whether a record with these flags ends an entry. */
export function isEntryEnd(flags: number): boolean {
  const piece = flags & FRAGMENT_MASK;
  return piece === FRAGMENT_WHOLE || piece === FRAGMENT_LAST;
}

/** On NOOP: no entry of the Raft log but term, vote and commit index of the range. */
export const FLAG_HARD_STATE = 0x04;
/** On NOOP of range 0: written by the log itself when it falls idle, so that the batch before it counts as acknowledged. */
export const FLAG_IDLE_MARK = 0x08;
/**
 * On CHECKPOINT: the log of the range before this record is void. A snapshot took its place, and the log goes on behind
 * the record's index; with index 0 the range is gone from here.
 */
export const FLAG_CUT = 0x10;
/** The last record of its batch: padding follows, up to the next block. */
export const FLAG_BATCH_LAST = 0x80;

// Offsets in the record header.
export const SEQUENCE_AT = 0;
export const TERM_AT = 8;
export const CHECKSUM_AT = 12;
export const TIMESTAMP_AT = 16;
export const LENGTH_AT = 24;
export const TYPE_AT = 28;
export const FLAGS_AT = 29;
export const BATCH_AT = 30;

export function alignToBlock(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** Bytes that a record with this payload takes in a batch: header, payload, zeros up to a multiple of 8. */
export function recordBytes(payloadBytes: number): number {
  return RECORD_HEADER_BYTES + ((payloadBytes + 7) & ~7);
}

const headerScratch = Buffer.alloc(RECORD_HEADER_BYTES);

/**
 * The checksum of a record: CRC-32, seeded with the segment, over the record's header with the payload's CRC-32 in
 * the place of the checksum. The payload's part is computed on the shard worker; this one, on the writer, reads 32 bytes.
 */
export function recordChecksum(buffer: Buffer, at: number, payloadCrc: number, seed: number): number {
  for (let i = 0; i < RECORD_HEADER_BYTES; i++) headerScratch[i] = buffer[at + i] as number;
  headerScratch[CHECKSUM_AT] = payloadCrc;
  headerScratch[CHECKSUM_AT + 1] = payloadCrc >>> 8;
  headerScratch[CHECKSUM_AT + 2] = payloadCrc >>> 16;
  headerScratch[CHECKSUM_AT + 3] = payloadCrc >>> 24;
  return crc32Short(headerScratch, seed);
}

/**
 * Where the CRCs of a segment's records start from. It carries the segment's id, so that a record from the file's life
 * before it was recycled is invalid, and the log's random id, so that nobody can prepare a value that passes for a record.
 */
export function segmentSeed(segmentId: number, logId: number): number {
  const bytes = Buffer.alloc(16);
  writeU64(bytes, segmentId, 0);
  writeU64(bytes, logId, 8);
  return crc32(bytes, 0, 16);
}

const SEGMENT_MAGIC = 0x57414c44; // "WALD"
const SEGMENT_VERSION = 1;
const SEGMENT_HEADER_BYTES = 128;

/** Still written to, or left so by a crash. */
export const STATE_OPEN = 0;
/** Full; the log goes on in the next segment, which exists. */
export const STATE_CONTINUED = 1;
/** The log was stopped, or recovered, here; a next segment may or may not exist. */
export const STATE_CLOSED = 2;
export type SegmentState = typeof STATE_OPEN | typeof STATE_CONTINUED | typeof STATE_CLOSED;

export interface SegmentHeader {
  readonly segmentId: number;
  readonly logId: number;
  readonly startSequence: number;
  /** startSequence - 1 when there are no records; 0 while open, like the other fields of the seal. */
  readonly endSequence: number;
  readonly entryCount: number;
  readonly segmentBytes: number;
  readonly createdUs: number;
  readonly modifiedUs: number;
  /** CRC-32 over the checksums of all records, in order. */
  readonly dataChecksum: number;
  /** Where the last batch ends. */
  readonly dataEnd: number;
  readonly state: SegmentState;
}

/** Writes the header into the first 128 bytes of `block`. */
export function writeSegmentHeader(block: Buffer, header: SegmentHeader): void {
  block.fill(0, 0, SEGMENT_HEADER_BYTES);
  block.writeUInt32LE(SEGMENT_MAGIC, 0);
  block.writeUInt32LE(SEGMENT_VERSION, 4);
  writeU64(block, header.segmentId, 8);
  writeU64(block, header.startSequence, 16);
  writeU64(block, header.endSequence, 24);
  block.writeUInt32LE(header.entryCount, 32);
  block.writeUInt32LE(header.segmentBytes, 36);
  writeU64(block, header.createdUs, 40);
  writeU64(block, header.modifiedUs, 48);
  block.writeUInt32LE(header.dataChecksum, 60);
  writeU64(block, header.logId, 64);
  block.writeUInt32LE(header.dataEnd, 72);
  block.writeUInt32LE(header.state, 76);
  block.writeUInt32LE(crc32(block, 0, SEGMENT_HEADER_BYTES), 56);
}

/** Reads the header at block[at, at + 128). Returns null when it is none: magic, version or checksum do not hold. */
export function readSegmentHeader(block: Buffer, at: number): SegmentHeader | null {
  if (block.readUInt32LE(at) !== SEGMENT_MAGIC || block.readUInt32LE(at + 4) !== SEGMENT_VERSION) return null;
  const copy = Buffer.from(block.subarray(at, at + SEGMENT_HEADER_BYTES));
  const checksum = copy.readUInt32LE(56);
  copy.writeUInt32LE(0, 56);
  if (crc32(copy, 0, SEGMENT_HEADER_BYTES) !== checksum) return null;
  const state = copy.readUInt32LE(76);
  if (state !== STATE_OPEN && state !== STATE_CONTINUED && state !== STATE_CLOSED) return null;
  return {
    segmentId: readU64(copy, 8),
    startSequence: readU64(copy, 16),
    endSequence: readU64(copy, 24),
    entryCount: copy.readUInt32LE(32),
    segmentBytes: copy.readUInt32LE(36),
    createdUs: readU64(copy, 40),
    modifiedUs: readU64(copy, 48),
    dataChecksum: copy.readUInt32LE(60),
    logId: readU64(copy, 64),
    dataEnd: copy.readUInt32LE(72),
    state,
  };
}
