/**
 * Writes a range's frozen state as a file, on a thread of its own while the owner goes on serving. The file gets its name
 * only when all of it is durable, so a crash leaves either the old checkpoint or the new one.
 */
import path from 'node:path';
import { zstdCompressSync, constants } from 'node:zlib';
import { writeU64 } from '../../core/kv/batch.ts';
import type { StoreCursor } from '../../core/kv/store.ts';
import type { Disk, DiskFile } from '../disk.ts';
import {
  BLOCK_BYTES,
  BLOCK_HEADER_BYTES,
  chainChecksum,
  encodeFooter,
  encodeHeader,
  EXPIRES,
  FOOTER_BYTES,
  RECORD_HEADER_BYTES,
  writeBlockHeader,
} from './format.ts';
import type { CheckpointInfo } from './format.ts';

export interface WrittenCheckpoint {
  readonly bytes: number;
  readonly keys: number;
}

/** Ends the name of a checkpoint that is being written. */
export const TEMPORARY_SUFFIX = '.tmp';

const ZSTD = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/**
 * Writes the checkpoint `file` of what `reader` walks over; its folder must exist. Throws the disk's error, and leaves nothing
 * behind but a temporary.
 */
export function writeCheckpoint(
  disk: Disk,
  file: string,
  reader: StoreCursor,
  info: CheckpointInfo,
): WrittenCheckpoint {
  const temporary = file + TEMPORARY_SUFFIX;
  const output = disk.openFile(temporary, 'w+');
  let written: WrittenCheckpoint;
  try {
    written = writeAll(output, reader, info);
    output.sync();
  } finally {
    output.close();
  }
  disk.rename(temporary, file);
  disk.syncDir(path.dirname(file));
  return written;
}

function writeAll(output: DiskFile, reader: StoreCursor, info: CheckpointInfo): WrittenCheckpoint {
  let position = 0;
  let blocks = 0;
  let keys = 0;
  let blocksChecksum = 0;
  const append = (...parts: readonly Buffer[]): void => {
    output.writev(parts, position);
    for (const part of parts) position += part.length;
  };
  const block = new BlockBuilder((rawBytes, stored) => {
    const header = Buffer.alloc(BLOCK_HEADER_BYTES);
    blocksChecksum = chainChecksum(blocksChecksum, writeBlockHeader(header, rawBytes, stored));
    append(header, stored);
    blocks++;
  });
  append(encodeHeader(info), info.meta);
  for (let more = reader.first(); more; more = reader.next()) {
    const { keyBuffer, keyStart, keyEnd, value } = reader;
    block.add(keyBuffer, keyStart, keyEnd, value);
    keys++;
  }
  block.close();
  append(encodeFooter({ blocks, keys, fileBytes: position + FOOTER_BYTES, blocksChecksum }));
  return { bytes: position, keys };
}

class BlockBuilder {
  #buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES * 2);
  #bytes = 0;
  readonly #emit: (rawBytes: number, stored: Buffer) => void;

  constructor(emit: (rawBytes: number, stored: Buffer) => void) {
    this.#emit = emit;
  }

  add(
    key: Buffer,
    keyStart: number,
    keyEnd: number,
    value: { buffer: Buffer; start: number; end: number; version: number; expiresAtMs: number; tag: number },
  ): void {
    const expires = value.expiresAtMs !== 0;
    const keyBytes = keyEnd - keyStart;
    const valueBytes = value.end - value.start;
    const needed = RECORD_HEADER_BYTES + (expires ? 8 : 0) + keyBytes + valueBytes;
    if (this.#bytes + needed > this.#buffer.length) this.close();
    if (needed > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(needed);
    const buffer = this.#buffer;
    let at = this.#bytes;
    buffer.writeUInt16LE(keyBytes, at);
    buffer[at + 2] = value.tag;
    buffer[at + 3] = expires ? EXPIRES : 0;
    buffer.writeUInt32LE(valueBytes, at + 4);
    writeU64(buffer, value.version, at + 8);
    at += RECORD_HEADER_BYTES;
    if (expires) {
      writeU64(buffer, value.expiresAtMs, at);
      at += 8;
    }
    key.copy(buffer, at, keyStart, keyEnd);
    value.buffer.copy(buffer, at + keyBytes, value.start, value.end);
    this.#bytes = at + keyBytes + valueBytes;
    if (this.#bytes >= BLOCK_BYTES) this.close();
  }

  close(): void {
    if (this.#bytes === 0) return;
    const raw = this.#buffer.subarray(0, this.#bytes);
    const compressed = zstdCompressSync(raw, ZSTD);
    this.#emit(raw.length, compressed.length < raw.length ? compressed : raw);
    this.#bytes = 0;
  }
}
