/**
 * The manifest: which segments must be there, so that a missing file is noticed. Two slots of one block each, written in turn,
 * in a file that never grows: it can be written on a full disk, and a torn write leaves the other slot.
 *
 *     0     slot 0    magic "WALM" u32 · version u32 · generation u64 · logId u64 · firstSegment u64 · openedSegment u64 ·
 *                     crc-32 of these 40 bytes u32
 *     4096  slot 1    the same; the valid slot with the larger generation counts
 */
import path from 'node:path';
import { crc32 } from '../../codec/crc.ts';
import { readU64, writeU64 } from '../../core/kv/batch.ts';
import type { Disk } from '../disk.ts';
import { BLOCK_BYTES } from './format.ts';

export const MANIFEST_NAME = 'manifest';

const MAGIC = 0x57414c4d; // "WALM"
const VERSION = 1;
const CRC_AT = 40;

export interface Manifest {
  /** Counts the writes of the manifest. */
  readonly generation: number;
  /** Random, for the log's whole life; every segment header repeats it. */
  readonly logId: number;
  /** Segments below this are no longer needed. All from this one on must be there. */
  readonly firstSegment: number;
  /** A segment that was opened: the log reaches at least this far. 0 in a new log. */
  readonly openedSegment: number;
}

/** Returns the newest valid slot, null when no slot is valid, undefined when there is no such file. */
export function readManifest(disk: Disk, dir: string): Manifest | null | undefined {
  const name = path.join(dir, MANIFEST_NAME);
  if (!disk.exists(name)) return undefined;
  const file = disk.openFile(name, 'r');
  const blocks = Buffer.alloc(2 * BLOCK_BYTES);
  try {
    file.read(blocks, 0, blocks.length, 0);
  } finally {
    file.close();
  }
  const slots = [readSlot(blocks, 0), readSlot(blocks, BLOCK_BYTES)].filter((slot) => slot !== null);
  return slots.sort((a, b) => b.generation - a.generation)[0] ?? null;
}

/**
 * The last segment that must be there; `newest`: the last one that is, 0 = none. The log never gives up its newest segment, so
 * once one was opened, the first that is needed is there.
 */
export function lastWanted({ firstSegment, openedSegment }: Manifest, newest: number): number {
  return openedSegment === 0 ? newest : Math.max(newest, openedSegment, firstSegment);
}

function readSlot(blocks: Buffer, at: number): Manifest | null {
  if (blocks.readUInt32LE(at) !== MAGIC || blocks.readUInt32LE(at + 4) !== VERSION) return null;
  if (crc32(blocks, at, at + CRC_AT) !== blocks.readUInt32LE(at + CRC_AT)) return null;
  return {
    generation: readU64(blocks, at + 8),
    logId: readU64(blocks, at + 16),
    firstSegment: readU64(blocks, at + 24),
    openedSegment: readU64(blocks, at + 32),
  };
}

/** Makes the file, with both slots: by a temporary name, so that a manifest that exists is whole. */
export function createManifest(disk: Disk, dir: string, manifest: Manifest): void {
  const name = path.join(dir, MANIFEST_NAME);
  const file = disk.openFile(`${name}.tmp`, 'w+');
  try {
    file.write(slotOf(manifest), 0, BLOCK_BYTES, 0);
    file.write(slotOf(manifest), 0, BLOCK_BYTES, BLOCK_BYTES);
    file.sync();
  } finally {
    file.close();
  }
  disk.rename(`${name}.tmp`, name);
  disk.syncDir(dir);
}

/**
 * Makes the manifest durable in the slot that does not hold the present one. `generation` is the present one's + 1; with the
 * present one's own, the same is written once more in the same place.
 */
export function writeManifest(disk: Disk, dir: string, manifest: Manifest): void {
  const file = disk.openFile(path.join(dir, MANIFEST_NAME), 'r+');
  try {
    file.write(slotOf(manifest), 0, BLOCK_BYTES, (manifest.generation % 2) * BLOCK_BYTES);
    file.datasync();
  } finally {
    file.close();
  }
}

function slotOf(manifest: Manifest): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.writeUInt32LE(MAGIC, 0);
  block.writeUInt32LE(VERSION, 4);
  writeU64(block, manifest.generation, 8);
  writeU64(block, manifest.logId, 16);
  writeU64(block, manifest.firstSegment, 24);
  writeU64(block, manifest.openedSegment, 32);
  block.writeUInt32LE(crc32(block, 0, CRC_AT), CRC_AT);
  return block;
}
