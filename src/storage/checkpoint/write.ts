/**
 * Writes a range's frozen state as a file, on a thread of its own while the owner goes on serving. The file gets its name
 * only when all of it is durable, so a crash leaves either the old checkpoint or the new one.
 */
import path from 'node:path';
import { zstdCompressSync, constants } from 'node:zlib';
import { writeU64 } from '../../core/kv/batch.ts';
import type { StoreCursor, ValueRef } from '../../core/kv/store.ts';
import type { Disk, DiskFile } from '../disk.ts';
import {
  BLOCK_BYTES,
  BLOCK_HEADER_BYTES,
  chainChecksum,
  encodeFooter,
  encodeHeader,
  EXPIRES,
  FOOTER_BYTES,
  LONG,
  RECORD_HEADER_BYTES,
  VALUE_PIECE_BYTES,
  writeBlockHeader,
} from './format.ts';
import type { CheckpointInfo } from './format.ts';

export interface WrittenCheckpoint {
  readonly bytes: number;
  readonly keys: number;
  /** CRC-32 over all blocks' checksums, as in the footer: two checkpoints of the same state have the same. */
  readonly crc: number;
}

/** Ends the name of a checkpoint that is being written. */
export const TEMPORARY_SUFFIX = '.tmp';

const ZSTD = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
/** A block of records holds at most one record beyond BLOCK_BYTES, with a key of up to 64 KiB and a value of BLOCK_BYTES. */
const BLOCK_BUFFER_BYTES = 2 * BLOCK_BYTES + 65536 + RECORD_HEADER_BYTES + 8;

/**
 * Writes the checkpoint `file` of what `reader` walks over; its folder must exist. Calls `onProgress` after each block.
 * Throws the disk's error, and leaves nothing behind.
 */
export function writeCheckpoint(
  disk: Disk,
  file: string,
  reader: StoreCursor,
  info: CheckpointInfo,
  onProgress?: (keys: number, bytes: number) => void,
): WrittenCheckpoint {
  const temporary = file + TEMPORARY_SUFFIX;
  const output = disk.openFile(temporary, 'w+');
  let written: WrittenCheckpoint;
  try {
    written = new CheckpointWriter(output, onProgress).write(reader, info);
    output.sync();
  } catch (error) {
    // On a full disk it holds the room that the log waits for.
    disk.unlink(temporary);
    throw error;
  } finally {
    output.close();
  }
  disk.rename(temporary, file);
  disk.syncDir(path.dirname(file));
  return written;
}

class CheckpointWriter {
  readonly #output: DiskFile;
  readonly #onProgress: ((keys: number, bytes: number) => void) | undefined;
  /** Records of the block in the making. */
  readonly #buffer = Buffer.allocUnsafeSlow(BLOCK_BUFFER_BYTES);
  readonly #header = Buffer.allocUnsafeSlow(BLOCK_HEADER_BYTES);
  #bytes = 0;
  #position = 0;
  #blocks = 0;
  #keys = 0;
  #checksum = 0;

  constructor(output: DiskFile, onProgress: ((keys: number, bytes: number) => void) | undefined) {
    this.#output = output;
    this.#onProgress = onProgress;
  }

  write(reader: StoreCursor, info: CheckpointInfo): WrittenCheckpoint {
    this.#append([encodeHeader(info), info.meta]);
    for (let more = reader.first(); more; more = reader.next()) {
      this.#add(reader.keyBuffer, reader.keyStart, reader.keyEnd, reader.value);
    }
    this.#closeBlock();
    const footer = {
      blocks: this.#blocks,
      keys: this.#keys,
      fileBytes: this.#position + FOOTER_BYTES,
      blocksChecksum: this.#checksum,
    };
    this.#append([encodeFooter(footer)]);
    return { bytes: this.#position, keys: this.#keys, crc: this.#checksum };
  }

  #add(key: Buffer, keyStart: number, keyEnd: number, value: ValueRef): void {
    const buffer = this.#buffer;
    const keyBytes = keyEnd - keyStart;
    const valueBytes = value.end - value.start;
    const isLong = valueBytes > BLOCK_BYTES;
    let at = this.#bytes;
    buffer.writeUInt16LE(keyBytes, at);
    buffer[at + 2] = value.tag;
    buffer[at + 3] = (value.expiresAtMs === 0 ? 0 : EXPIRES) | (isLong ? LONG : 0);
    buffer.writeUInt32LE(valueBytes, at + 4);
    writeU64(buffer, value.version, at + 8);
    at += RECORD_HEADER_BYTES;
    if (value.expiresAtMs !== 0) {
      writeU64(buffer, value.expiresAtMs, at);
      at += 8;
    }
    key.copy(buffer, at, keyStart, keyEnd);
    at += keyBytes;
    if (!isLong) {
      value.buffer.copy(buffer, at, value.start, value.end);
      at += valueBytes;
    }
    this.#bytes = at;
    this.#keys++;
    if (at >= BLOCK_BYTES || isLong) this.#closeBlock();
    if (!isLong) return;
    for (let from = value.start; from < value.end; from += VALUE_PIECE_BYTES) {
      this.#emit(true, value.buffer.subarray(from, Math.min(from + VALUE_PIECE_BYTES, value.end)));
    }
  }

  #closeBlock(): void {
    if (this.#bytes > 0) this.#emit(false, this.#buffer.subarray(0, this.#bytes));
    this.#bytes = 0;
  }

  #emit(isValue: boolean, raw: Buffer): void {
    const compressed = zstdCompressSync(raw, ZSTD);
    const stored = compressed.length < raw.length ? compressed : raw;
    const checksum = writeBlockHeader(this.#header, isValue, raw.length, stored);
    this.#checksum = chainChecksum(this.#checksum, checksum);
    this.#append([this.#header, stored]);
    this.#blocks++;
    this.#onProgress?.(this.#keys, this.#position);
  }

  #append(parts: readonly Buffer[]): void {
    this.#output.writev(parts, this.#position);
    for (const part of parts) this.#position += part.length;
  }
}
