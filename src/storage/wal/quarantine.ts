/**
 * Sets a damaged log aside, whole, so that a new one can begin in its place:
 *
 *     wal/ manifest 12.wal 13.wal ✗ spare-7.wal   ──▶   wal/ spare-7.wal damaged-17…/ 12.wal 13.wal ✗ manifest
 *
 * Only for a node whose ranges have all given up what they had in it. A single segment that was found damaged while the log runs is
 * kept aside when it is no longer needed.
 */
import path from 'node:path';
import type { Disk } from '../disk.ts';
import { MANIFEST_NAME } from './manifest.ts';
import { LOCK_NAME } from './names.ts';
import { segmentIdOf, segmentName } from './segment.ts';

/** Returns the folder that the log's files are in now. May be repeated after a crash. Throws KV_STATE when the log is in use. */
export function setLogAside(disk: Disk, dir: string, nowMs: number): string {
  const lock = disk.lockFile(path.join(dir, LOCK_NAME));
  try {
    const side = path.join(dir, `damaged-${nowMs}`);
    disk.mkdir(side);
    disk.syncDir(dir);
    // The manifest goes last: as long as it is there, segments that are not are missed.
    const names = disk.list(dir).filter((name) => segmentIdOf(name) !== null);
    for (const name of [...names, MANIFEST_NAME]) {
      const file = path.join(dir, name);
      if (disk.exists(file)) disk.rename(file, path.join(side, name));
    }
    disk.syncDir(side);
    disk.syncDir(dir);
    return side;
  } finally {
    lock.release();
  }
}

/** A damaged segment that no range needs any more keeps its bytes, under a name that the log does not know. */
export function keepAside(disk: Disk, dir: string, segmentId: number, nowMs: number): void {
  const file = path.join(dir, segmentName(segmentId));
  disk.rename(file, `${file}.damaged-${nowMs}`);
  disk.syncDir(dir);
}
