/**
 * A checkpoint file: the state of one range at one applied index. Little-endian; docs/checkpoint-format.md shows bytes.
 *
 *     ┌────────┬──────┬─────────┬─────────┬─────┬────────┐
 *     │ header │ meta │ block 0 │ block 1 │ …   │ footer │
 *     └────────┴──────┴─────────┴─────────┴─────┴────────┘
 *
 *     header, 64 bytes                          block, 16 bytes and its data
 *      0  u32 magic "SKCP"                       0  u32 magic "SKCB": records, "SKCV": piece of a long value
 *      4  u32 version 1                          4  u32 raw bytes    of the records
 *      8  u64 rangeId                            8  u32 stored bytes zstd, or as they are when equal to raw bytes
 *     16  u64 applied index                     12  u32 crc-32       of bytes 0–11 and the stored bytes
 *     24  u64 applied term
 *     32  u64 latest version                    footer, 32 bytes
 *     40  u32 meta bytes                         0  u32 magic "SKCF"
 *     44  u32 crc-32 of meta                     4  u32 blocks
 *     48  u64 0                                  8  u64 keys
 *     56  u32 0                                 16  u64 file bytes, footer included
 *     60  u32 crc-32 of bytes 0–59              24  u32 crc-32 over all blocks' checksums, in order
 *                                               28  u32 crc-32 of bytes 0–27
 *
 *     record in a block, keys ascending through the whole file
 *      u16 key bytes · u8 tag · u8 flags · u32 value bytes · u64 version · [u64 expiry, Unix ms] · key · [value]
 *      flags: 1 = expires, 2 = long: the record ends its block, and the value follows in value blocks of its own
 *
 * A block of records is closed when it has reached BLOCK_BYTES; values above that are long, in pieces of VALUE_PIECE_BYTES.
 */
import type { Hlc, LogIndex, RangeId, Term } from '../../core/brands.ts';
import { crc32 } from '../../codec/crc.ts';
import { readU64, writeU64 } from '../../core/kv/batch.ts';

export const HEADER_BYTES = 64;
export const BLOCK_HEADER_BYTES = 16;
export const FOOTER_BYTES = 32;
/** Records are gathered up to this size, then compressed. */
export const BLOCK_BYTES = 256 * 1024;
export const RECORD_HEADER_BYTES = 16;
export const EXPIRES = 1;
export const LONG = 2;
/** A long value is cut into pieces of this size; the last one may be shorter. */
export const VALUE_PIECE_BYTES = 1024 * 1024;

const HEADER_MAGIC = 0x50434b53; // "SKCP"
const RECORDS_MAGIC = 0x42434b53; // "SKCB"
const VALUE_MAGIC = 0x56434b53; // "SKCV"
const FOOTER_MAGIC = 0x46434b53; // "SKCF"
const VERSION = 1;

export interface CheckpointInfo {
  readonly rangeId: RangeId;
  readonly appliedIndex: LogIndex;
  readonly appliedTerm: Term;
  /** The newest version in the store. */
  readonly latestVersion: Hlc;
  /** The host's own: descriptor, configuration, sessions. */
  readonly meta: Buffer;
}

export interface BlockHeader {
  /** Whether it holds a piece of a long value, and no records. */
  readonly isValue: boolean;
  readonly rawBytes: number;
  readonly storedBytes: number;
  readonly checksum: number;
}

export interface Footer {
  readonly blocks: number;
  readonly keys: number;
  readonly fileBytes: number;
  readonly blocksChecksum: number;
}

export function encodeHeader({ rangeId, appliedIndex, appliedTerm, latestVersion, meta }: CheckpointInfo): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_MAGIC, 0);
  header.writeUInt32LE(VERSION, 4);
  writeU64(header, rangeId, 8);
  writeU64(header, appliedIndex, 16);
  writeU64(header, appliedTerm, 24);
  writeU64(header, latestVersion, 32);
  header.writeUInt32LE(meta.length, 40);
  header.writeUInt32LE(crc32(meta, 0, meta.length), 44);
  header.writeUInt32LE(crc32(header, 0, 60), 60);
  return header;
}

/** Info without its meta, and what the meta must be; or what is wrong. */
export function decodeHeader(
  header: Buffer,
): { info: Omit<CheckpointInfo, 'meta'>; metaBytes: number; metaChecksum: number } | string {
  if (header.length < HEADER_BYTES || header.readUInt32LE(0) !== HEADER_MAGIC)
    return 'it does not begin as a checkpoint';
  if (crc32(header, 0, 60) !== header.readUInt32LE(60)) return 'the checksum of the header does not match';
  if (header.readUInt32LE(4) !== VERSION)
    return `its format has version ${header.readUInt32LE(4)}, known is ${VERSION}`;
  return {
    info: {
      rangeId: readU64(header, 8) as RangeId,
      appliedIndex: readU64(header, 16) as LogIndex,
      appliedTerm: readU64(header, 24) as Term,
      latestVersion: readU64(header, 32) as Hlc,
    },
    metaBytes: header.readUInt32LE(40),
    metaChecksum: header.readUInt32LE(44),
  };
}

/** Fills in the header of a block whose `stored` bytes follow, and returns its checksum. */
export function writeBlockHeader(header: Buffer, isValue: boolean, rawBytes: number, stored: Buffer): number {
  header.writeUInt32LE(isValue ? VALUE_MAGIC : RECORDS_MAGIC, 0);
  header.writeUInt32LE(rawBytes, 4);
  header.writeUInt32LE(stored.length, 8);
  const checksum = crc32(stored, 0, stored.length, crc32(header, 0, 12));
  header.writeUInt32LE(checksum, 12);
  return checksum;
}

/** Null when it is no block header. */
export function readBlockHeader(header: Buffer): BlockHeader | null {
  if (header.length < BLOCK_HEADER_BYTES) return null;
  const magic = header.readUInt32LE(0);
  if (magic !== RECORDS_MAGIC && magic !== VALUE_MAGIC) return null;
  return {
    isValue: magic === VALUE_MAGIC,
    rawBytes: header.readUInt32LE(4),
    storedBytes: header.readUInt32LE(8),
    checksum: header.readUInt32LE(12),
  };
}

export function encodeFooter({ blocks, keys, fileBytes, blocksChecksum }: Footer): Buffer {
  const footer = Buffer.alloc(FOOTER_BYTES);
  footer.writeUInt32LE(FOOTER_MAGIC, 0);
  footer.writeUInt32LE(blocks, 4);
  writeU64(footer, keys, 8);
  writeU64(footer, fileBytes, 16);
  footer.writeUInt32LE(blocksChecksum, 24);
  footer.writeUInt32LE(crc32(footer, 0, 28), 28);
  return footer;
}

/** Null when it is no footer, or damaged. */
export function decodeFooter(footer: Buffer): Footer | null {
  if (footer.length < FOOTER_BYTES || footer.readUInt32LE(0) !== FOOTER_MAGIC) return null;
  if (crc32(footer, 0, 28) !== footer.readUInt32LE(28)) return null;
  return {
    blocks: footer.readUInt32LE(4),
    keys: readU64(footer, 8),
    fileBytes: readU64(footer, 16),
    blocksChecksum: footer.readUInt32LE(24),
  };
}

/** Adds a block's checksum to the checksum over all of them. */
export function chainChecksum(chain: number, checksum: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(checksum);
  return crc32(bytes, 0, 4, chain);
}
