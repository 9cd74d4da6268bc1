/** Reads checkpoints back: everything is verified, and damage anywhere is named with file and offset. */
import { zstdDecompressSync } from 'node:zlib';
import type { Hlc } from '../../core/brands.ts';
import { SkerryError } from '../../core/errors.ts';
import { readU64 } from '../../core/kv/batch.ts';
import { crc32 } from '../../codec/crc.ts';
import type { Disk, DiskFile } from '../disk.ts';
import {
  BLOCK_HEADER_BYTES,
  chainChecksum,
  decodeFooter,
  decodeHeader,
  EXPIRES,
  FOOTER_BYTES,
  HEADER_BYTES,
  readBlockHeader,
  RECORD_HEADER_BYTES,
} from './format.ts';
import type { CheckpointInfo, Footer } from './format.ts';

/** Takes the keys of a checkpoint, in ascending order. */
export interface CheckpointLoader {
  add(
    key: Buffer,
    keyStart: number,
    keyEnd: number,
    value: Buffer,
    valueStart: number,
    valueEnd: number,
    version: Hlc,
    expiresAtMs: number,
    tag: number,
  ): void;
}

function corrupt(file: string, offset: number, what: string): SkerryError {
  return new SkerryError(
    'KV_CORRUPT',
    `The checkpoint ${file} is damaged at offset ${offset}: ${what}. Restore the file from a backup, or the node from its peers.`,
    { hint: { file, offset } },
  );
}

function readAt(input: DiskFile, position: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  return bytes.subarray(0, input.read(bytes, 0, length, position));
}

/** Reads and verifies what stands before and behind the blocks. */
export function readCheckpointInfo(disk: Disk, file: string): CheckpointInfo {
  const input = disk.openFile(file, 'r');
  try {
    return readEnds(input, file).info;
  } finally {
    input.close();
  }
}

function readEnds(input: DiskFile, file: string): { info: CheckpointInfo; footer: Footer; blocksStart: number } {
  const header = decodeHeader(readAt(input, 0, HEADER_BYTES));
  if (typeof header === 'string') throw corrupt(file, 0, header);
  const size = input.size();
  const blocksStart = HEADER_BYTES + header.metaBytes;
  if (blocksStart + FOOTER_BYTES > size) throw corrupt(file, size, 'it ends too early');
  const meta = readAt(input, HEADER_BYTES, header.metaBytes);
  if (crc32(meta, 0, meta.length) !== header.metaChecksum) {
    throw corrupt(file, HEADER_BYTES, 'the checksum of the range’s description does not match');
  }
  const footer = decodeFooter(readAt(input, size - FOOTER_BYTES, FOOTER_BYTES));
  if (footer === null || footer.fileBytes !== size)
    throw corrupt(file, size - FOOTER_BYTES, 'it does not end as it should');
  return { info: { ...header.info, meta }, footer, blocksStart };
}

/** Calls `onBlock` with the records of each block. */
function readBlocks(
  input: DiskFile,
  file: string,
  onBlock: (records: Buffer, offset: number) => number,
): CheckpointInfo {
  const { info, footer, blocksStart } = readEnds(input, file);
  const end = footer.fileBytes - FOOTER_BYTES;
  let position = blocksStart;
  let checksum = 0;
  let keys = 0;
  for (let i = 0; i < footer.blocks; i++) {
    const headerBytes = readAt(input, position, BLOCK_HEADER_BYTES);
    const header = readBlockHeader(headerBytes);
    if (header === null || position + BLOCK_HEADER_BYTES + header.storedBytes > end) {
      throw corrupt(file, position, 'no block begins here');
    }
    const stored = readAt(input, position + BLOCK_HEADER_BYTES, header.storedBytes);
    if (crc32(stored, 0, stored.length, crc32(headerBytes, 0, 12)) !== header.checksum) {
      throw corrupt(file, position, 'the checksum of a block does not match');
    }
    const isRaw = header.storedBytes === header.rawBytes;
    keys += onBlock(isRaw ? stored : zstdDecompressSync(stored), position);
    checksum = chainChecksum(checksum, header.checksum);
    position += BLOCK_HEADER_BYTES + header.storedBytes;
  }
  if (position !== end || checksum !== footer.blocksChecksum || keys !== footer.keys) {
    throw corrupt(file, position, 'blocks are missing');
  }
  return info;
}

/** Hands all keys to `loader`. Throws KV_CORRUPT, maybe after some of them. */
export function loadCheckpoint(disk: Disk, file: string, loader: CheckpointLoader): CheckpointInfo {
  const input = disk.openFile(file, 'r');
  try {
    return readBlocks(input, file, (records) => addRecords(records, loader));
  } finally {
    input.close();
  }
}

/** Verifies the whole file. Returns what is wrong with it, or null. */
export function verifyCheckpoint(disk: Disk, file: string): SkerryError | null {
  const input = disk.openFile(file, 'r');
  try {
    readBlocks(input, file, countRecords);
    return null;
  } catch (error) {
    if (error instanceof SkerryError) return error;
    throw error;
  } finally {
    input.close();
  }
}

function addRecords(records: Buffer, loader: CheckpointLoader): number {
  let count = 0;
  for (let at = 0; at < records.length; count++) {
    const keyBytes = records.readUInt16LE(at);
    const tag = records[at + 2] as number;
    const expires = (records[at + 3] as number) === EXPIRES;
    const valueBytes = records.readUInt32LE(at + 4);
    const version = readU64(records, at + 8) as Hlc;
    at += RECORD_HEADER_BYTES;
    const expiresAtMs = expires ? readU64(records, at) : 0;
    if (expires) at += 8;
    const valueStart = at + keyBytes;
    loader.add(records, at, valueStart, records, valueStart, valueStart + valueBytes, version, expiresAtMs, tag);
    at = valueStart + valueBytes;
  }
  return count;
}

function countRecords(records: Buffer): number {
  let count = 0;
  for (let at = 0; at < records.length; count++) {
    const expiryBytes = (records[at + 3] as number) === EXPIRES ? 8 : 0;
    at += RECORD_HEADER_BYTES + expiryBytes + records.readUInt16LE(at) + records.readUInt32LE(at + 4);
  }
  return count;
}
