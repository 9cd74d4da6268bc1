/**
 * Segment files: their names, and the four steps of their life.
 *
 *     spare-7.tmp ─ zero-filled, synced ─▶ spare-7.wal ─ header, synced ─▶ 0000000000000012.wal ─ sealed
 *                                               ▲                                          │
 *                                               └────────── no range needs it any more ────┘
 *
 * Invariant: a file that has a segment's name has a valid header: it gets the name after the header is durable.
 */
import path from 'node:path';
import type { Disk, DiskFile } from '../disk.ts';
import { BLOCK_BYTES, DATA_OFFSET, readSegmentHeader, STATE_OPEN, writeSegmentHeader } from './format.ts';
import type { SegmentHeader } from './format.ts';

const SEGMENT_NAME = /^(\d{16})\.wal$/;
const SPARE_NAME = /^spare-(\d+)\.wal$/;
const ZEROS = Buffer.alloc(1024 * 1024);

export function segmentName(segmentId: number): string {
  return `${String(segmentId).padStart(16, '0')}.wal`;
}

/** The id in a segment's file name, or null when it is another file's. */
export function segmentIdOf(name: string): number | null {
  const match = SEGMENT_NAME.exec(name);
  return match === null ? null : Number(match[1]);
}

/** The number in a spare's file name, or null when it is another file's. */
export function spareNumberOf(name: string): number | null {
  const match = SPARE_NAME.exec(name);
  return match === null ? null : Number(match[1]);
}

/** Ids of all segments in the folder, ascending. */
export function listSegments(disk: Disk, dir: string): number[] {
  return disk
    .list(dir)
    .map(segmentIdOf)
    .filter((id) => id !== null)
    .sort((a, b) => a - b);
}

/**
 * Makes a spare: a file whose blocks are all allocated and written, so that syncing it later touches no metadata
 * (fallocate alone leaves unwritten extents, and the first sync of each one goes through the journal).
 * Returns its name, or null when the disk has no room for it.
 */
export function createSpare(disk: Disk, dir: string, number: number, segmentBytes: number): string | null {
  if (disk.freeBytes(dir) < segmentBytes) return null;
  const temporary = path.join(dir, `spare-${number}.tmp`);
  const file = disk.openFile(temporary, 'w+');
  try {
    for (let at = 0; at < segmentBytes; at += ZEROS.length) {
      file.write(ZEROS, 0, Math.min(ZEROS.length, segmentBytes - at), at);
    }
    file.sync();
  } catch (error) {
    file.close();
    if (!isNoSpace(error)) throw error;
    disk.unlink(temporary);
    return null;
  }
  file.close();
  const name = `spare-${number}.wal`;
  disk.rename(temporary, path.join(dir, name));
  disk.syncDir(dir);
  return name;
}

/** Makes a spare of a segment that nobody needs. Its records stay in it, and are invalid in its next life (segmentSeed). */
export function recycleSegment(disk: Disk, dir: string, segmentId: number, number: number): string {
  const name = `spare-${number}.wal`;
  disk.rename(path.join(dir, segmentName(segmentId)), path.join(dir, name));
  disk.syncDir(dir);
  return name;
}

/** Turns a spare into the segment that `header` says. When it returns, file, header and name are durable. */
export function activateSegment(disk: Disk, dir: string, spare: string, header: SegmentHeader): DiskFile {
  const file = disk.openFile(path.join(dir, spare), 'log');
  try {
    const block = Buffer.alloc(DATA_OFFSET);
    writeSegmentHeader(block, header);
    file.write(block, 0, DATA_OFFSET, 0);
    file.datasync();
    disk.rename(path.join(dir, spare), path.join(dir, segmentName(header.segmentId)));
    disk.syncDir(dir);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Writes the second header, which says how the segment ended, and makes it durable. */
export function sealSegment(file: DiskFile, header: SegmentHeader): void {
  const block = Buffer.alloc(BLOCK_BYTES);
  writeSegmentHeader(block, header);
  file.write(block, 0, BLOCK_BYTES, BLOCK_BYTES);
  file.datasync();
}

export interface SegmentHeaders {
  /** Null when it is damaged. */
  readonly opened: SegmentHeader | null;
  /** Null when the segment is not sealed, or the seal is damaged. */
  readonly sealed: SegmentHeader | null;
}

/** Reads both headers; one that names another segment or log is none (a leftover of the file's earlier life). */
export function readSegmentHeaders(file: DiskFile, segmentId: number, logId: number): SegmentHeaders {
  const blocks = Buffer.alloc(DATA_OFFSET);
  file.read(blocks, 0, DATA_OFFSET, 0);
  const own = (header: SegmentHeader | null): SegmentHeader | null =>
    header !== null && header.segmentId === segmentId && header.logId === logId ? header : null;
  const opened = own(readSegmentHeader(blocks, 0));
  const sealed = own(readSegmentHeader(blocks, BLOCK_BYTES));
  return { opened, sealed: sealed !== null && sealed.state !== STATE_OPEN ? sealed : null };
}

export function isNoSpace(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
