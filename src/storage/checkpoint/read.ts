/** Reads checkpoints back: everything is verified, and damage anywhere is named with file and offset. */
import { zstdDecompressSync } from 'node:zlib';
import type { Hlc } from '../../core/brands.ts';
import { SkerryError } from '../../core/errors.ts';
import { readU64 } from '../../core/kv/batch.ts';
import { compareBytes } from '../../core/range.ts';
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
  LONG,
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
  /** Room for a long value, which is filled before it is add()ed with exactly this buffer, start and end. */
  reserveValue(valueBytes: number): { buffer: Buffer; start: number; end: number };
}

/** A place in a checkpoint file that is not as it was written. */
export interface CheckpointDamage {
  readonly offset: number;
  readonly what: string;
}

/**
 * Beyond a block's raw bytes, so that it is decompressed into one buffer and the decompressor sees that there is no more; the
 * default is 16 KiB a piece and a copy of all pieces, which the garbage collector then runs after. Node asks for 64 at least.
 */
const OUTPUT_SLACK_BYTES = 64;

function corrupt(file: string, offset: number, what: string): SkerryError {
  return new SkerryError(
    'KV_CORRUPT',
    `The checkpoint ${file} is damaged at offset ${offset}: ${what}. Restore the file from a backup, or the node from its peers.`,
    { hint: { file, offset, what } },
  );
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

/** Hands all keys to `loader`. Calls `onProgress` after each block. Throws KV_CORRUPT, maybe after some of the keys. */
export function loadCheckpoint(
  disk: Disk,
  file: string,
  loader: CheckpointLoader,
  onProgress?: (keys: number, bytes: number) => void,
): CheckpointInfo {
  const steps = loadCheckpointSteps(disk, file, loader);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    onProgress?.(value.keys, value.bytes);
  }
}

/** A block was loaded. */
export interface LoadStep {
  /** Of the file so far. */
  readonly keys: number;
  readonly bytes: number;
  /** Of this block, uncompressed. */
  readonly rawBytes: number;
}

/** The same, block by block, for a thread that has other things to do in between. */
export function* loadCheckpointSteps(
  disk: Disk,
  file: string,
  loader: CheckpointLoader,
): Generator<LoadStep, CheckpointInfo> {
  const input = disk.openFile(file, 'r');
  try {
    const ends = readEnds(input, file);
    const records = new RecordReader(file, loader);
    for (const { isValue, raw, offset, end } of readBlocks(input, file, ends)) {
      records.block(isValue, raw, offset);
      yield { keys: records.keys, bytes: end, rawBytes: raw.length };
    }
    records.finish(ends.footer);
    return ends.info;
  } finally {
    input.close();
  }
}

/** Verifies the whole file. Returns what is wrong with it, as far as it can be told; nothing when all is well. */
export function verifyCheckpoint(disk: Disk, file: string): CheckpointDamage[] {
  const input = disk.openFile(file, 'r');
  const damages: CheckpointDamage[] = [];
  const note = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof SkerryError) || error.code !== 'KV_CORRUPT') throw error;
      damages.push({ offset: error.hint['offset'] as number, what: error.hint['what'] as string });
    }
  };
  try {
    note(() => {
      const ends = readEnds(input, file);
      const records = new RecordReader(file, null);
      const onDamage = (offset: number, what: string): void => void damages.push({ offset, what });
      for (const { isValue, raw, offset } of readBlocks(input, file, ends, onDamage)) {
        if (damages.length === 0) note(() => records.block(isValue, raw, offset));
      }
      if (damages.length === 0) records.finish(ends.footer);
    });
    return damages;
  } finally {
    input.close();
  }
}

/** How far a reading of a whole file in slices has come. */
export interface CheckpointSlice {
  readonly position: number;
  readonly blocks: number;
  readonly checksum: number;
}

/**
 * Verifies the next `bytesMax` bytes, or the rest of the block that they end in. `from` null: from the beginning. Returns where to go
 * on, or null at the end. Throws KV_CORRUPT, and ENOENT when the file is no longer there.
 */
export function scrubCheckpoint(
  disk: Disk,
  file: string,
  from: CheckpointSlice | null,
  bytesMax: number,
): CheckpointSlice | null {
  const input = disk.openFile(file, 'r');
  try {
    const { footer, blocksStart } = readEnds(input, file);
    const end = footer.fileBytes - FOOTER_BYTES;
    let { position, blocks, checksum } = from ?? { position: blocksStart, blocks: 0, checksum: 0 };
    const stop = position + bytesMax;
    for (; blocks < footer.blocks && position < stop; blocks++) {
      const headerBytes = readAt(input, position, BLOCK_HEADER_BYTES);
      const header = readBlockHeader(headerBytes);
      if (header === null || position + BLOCK_HEADER_BYTES + header.storedBytes > end) {
        throw corrupt(file, position, 'no block begins here');
      }
      const stored = readAt(input, position + BLOCK_HEADER_BYTES, header.storedBytes);
      if (crc32(stored, 0, stored.length, crc32(headerBytes, 0, 12)) !== header.checksum) {
        throw corrupt(file, position, 'the checksum of a block does not match');
      }
      checksum = chainChecksum(checksum, header.checksum);
      position += BLOCK_HEADER_BYTES + header.storedBytes;
    }
    if (blocks < footer.blocks) return { position, blocks, checksum };
    if (position !== end || checksum !== footer.blocksChecksum) throw corrupt(file, position, 'blocks are missing');
    return null;
  } finally {
    input.close();
  }
}

interface Ends {
  readonly info: CheckpointInfo;
  readonly footer: Footer;
  readonly blocksStart: number;
}

function readEnds(input: DiskFile, file: string): Ends {
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
  if (footer === null || footer.fileBytes !== size) {
    throw corrupt(file, size - FOOTER_BYTES, 'it does not end as it should');
  }
  return { info: { ...header.info, meta }, footer, blocksStart };
}

interface Block {
  readonly isValue: boolean;
  readonly raw: Buffer;
  readonly offset: number;
  /** Offset behind it. */
  readonly end: number;
}

/**
 * The blocks, one after another. Throws KV_CORRUPT at the first damage, or, given `onDamage`, tells it and goes on with the
 * next block if it can be found.
 */
function* readBlocks(
  input: DiskFile,
  file: string,
  { footer, blocksStart }: Ends,
  onDamage?: (offset: number, what: string) => void,
): Generator<Block, void> {
  const end = footer.fileBytes - FOOTER_BYTES;
  let position = blocksStart;
  let checksum = 0;
  const damaged = (offset: number, what: string): void => {
    if (onDamage === undefined) throw corrupt(file, offset, what);
    onDamage(offset, what);
  };
  for (let i = 0; i < footer.blocks; i++) {
    const offset = position;
    const headerBytes = readAt(input, offset, BLOCK_HEADER_BYTES);
    const header = readBlockHeader(headerBytes);
    if (header === null || offset + BLOCK_HEADER_BYTES + header.storedBytes > end) {
      damaged(offset, 'no block begins here');
      return;
    }
    const stored = readAt(input, offset + BLOCK_HEADER_BYTES, header.storedBytes);
    checksum = chainChecksum(checksum, header.checksum);
    position += BLOCK_HEADER_BYTES + header.storedBytes;
    if (crc32(stored, 0, stored.length, crc32(headerBytes, 0, 12)) !== header.checksum) {
      damaged(offset, 'the checksum of a block does not match');
      continue;
    }
    const raw = decompress(stored, header.rawBytes);
    if (raw === null) damaged(offset, 'a block cannot be decompressed');
    else yield { isValue: header.isValue, raw, offset, end: position };
  }
  if (position !== end || checksum !== footer.blocksChecksum) damaged(position, 'blocks are missing');
}

/** Null when the bytes are no zstd frame of the length said: a fault of the writer, since the checksum holds. */
function decompress(stored: Buffer, rawBytes: number): Buffer | null {
  if (stored.length === rawBytes) return stored;
  try {
    const raw = zstdDecompressSync(stored, {
      maxOutputLength: Math.max(rawBytes, 1),
      chunkSize: rawBytes + OUTPUT_SLACK_BYTES,
    });
    return raw.length === rawBytes ? raw : null;
  } catch {
    return null;
  }
}

function readAt(input: DiskFile, position: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  return bytes.subarray(0, input.read(bytes, 0, length, position));
}

/** Takes blocks apart, checks that the keys ascend, and hands the records to a loader, if there is one. */
class RecordReader {
  keys = 0;
  readonly #file: string;
  readonly #loader: CheckpointLoader | null;
  /** The key before, in the bytes of its block. */
  #last: Buffer | null = null;
  #lastStart = 0;
  #lastEnd = 0;
  /** The long value that value blocks are filling. */
  #long: { buffer: Buffer; start: number; end: number } | null = null;
  #longAt = 0;
  #longRecord: Buffer = Buffer.alloc(0);

  constructor(file: string, loader: CheckpointLoader | null) {
    this.#file = file;
    this.#loader = loader;
  }

  block(isValue: boolean, raw: Buffer, offset: number): void {
    if (isValue !== (this.#long !== null))
      throw corrupt(this.#file, offset, 'a block of another kind should stand here');
    if (isValue) this.#piece(raw, offset);
    else this.#records(raw, offset);
  }

  finish(footer: Footer): void {
    if (this.keys === footer.keys && this.#long === null) return;
    throw corrupt(this.#file, footer.fileBytes - FOOTER_BYTES, 'it holds another number of keys than it says');
  }

  #records(raw: Buffer, offset: number): void {
    for (let at = 0; at < raw.length;) {
      if (at + RECORD_HEADER_BYTES > raw.length) throw corrupt(this.#file, offset, 'a record is cut off');
      const flags = raw[at + 3] as number;
      const keyStart = at + RECORD_HEADER_BYTES + ((flags & EXPIRES) !== 0 ? 8 : 0);
      const keyEnd = keyStart + raw.readUInt16LE(at);
      const valueBytes = raw.readUInt32LE(at + 4);
      const isLong = (flags & LONG) !== 0;
      const end = isLong ? keyEnd : keyEnd + valueBytes;
      if (end > raw.length || (isLong && end < raw.length)) throw corrupt(this.#file, offset, 'a record is cut off');
      const last = this.#last;
      if (last !== null && compareBytes(last, this.#lastStart, this.#lastEnd, raw, keyStart, keyEnd) >= 0) {
        throw corrupt(this.#file, offset, 'its keys do not ascend');
      }
      this.#last = raw;
      this.#lastStart = keyStart;
      this.#lastEnd = keyEnd;
      if (isLong) {
        this.#long = this.#loader?.reserveValue(valueBytes) ?? { buffer: raw, start: 0, end: valueBytes };
        this.#longAt = this.#long.start;
        this.#longRecord = raw.subarray(at, end);
      } else {
        this.keys++;
        if (this.#loader !== null) addRecord(this.#loader, raw, at, keyStart, keyEnd, raw, keyEnd, end);
      }
      at = end;
    }
  }

  #piece(raw: Buffer, offset: number): void {
    const long = this.#long as { buffer: Buffer; start: number; end: number };
    if (this.#longAt + raw.length > long.end)
      throw corrupt(this.#file, offset, 'a value is longer than its record says');
    if (this.#loader !== null) raw.copy(long.buffer, this.#longAt);
    this.#longAt += raw.length;
    if (this.#longAt < long.end) return;
    const record = this.#longRecord;
    const keyStart = RECORD_HEADER_BYTES + (((record[3] as number) & EXPIRES) !== 0 ? 8 : 0);
    if (this.#loader !== null) {
      addRecord(this.#loader, record, 0, keyStart, record.length, long.buffer, long.start, long.end);
    }
    this.keys++;
    this.#long = null;
  }
}

function addRecord(
  loader: CheckpointLoader,
  record: Buffer,
  at: number,
  keyStart: number,
  keyEnd: number,
  value: Buffer,
  valueStart: number,
  valueEnd: number,
): void {
  const version = readU64(record, at + 8) as Hlc;
  const expires = ((record[at + 3] as number) & EXPIRES) !== 0;
  const expiresAtMs = expires ? readU64(record, at + RECORD_HEADER_BYTES) : 0;
  const tag = record[at + 2] as number;
  loader.add(record, keyStart, keyEnd, value, valueStart, valueEnd, version, expiresAtMs, tag);
}
