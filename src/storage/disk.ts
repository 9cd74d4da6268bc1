/**
 * The port to the disk. Everything below src/storage goes through it, so that tests can run the real code on a disk
 * that loses un-synced writes, tears blocks, fills up or fails (test/support/faulty-disk.ts).
 *
 * All calls are synchronous, on purpose: the asynchronous `fs` API runs on libuv's one pool of four threads for the
 * whole process, where a slow fsync would stand behind somebody's file read. Callers run on I/O threads of their own.
 */
import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SkerryError } from '../core/errors.ts';
import { openLogFile } from './log-file.ts';
import { NodeFile } from './node-file.ts';

/**
 * `r`: must exist · `r+`: must exist, read and write · `log`: as `r+`, and what writev() writes is synced at once, in whole
 * blocks · `w+`: created or emptied · `wx+`: must not exist, created.
 */
export type OpenFlags = 'r' | 'r+' | 'log' | 'w+' | 'wx+';

export interface DiskFile {
  /** Reads up to `length` bytes at `position` into buffer[offset, …). Returns the bytes read; fewer only at the file's end. */
  read(buffer: Buffer, offset: number, length: number, position: number): number;
  /** Writes all of buffer[offset, offset + length) at `position`. */
  write(buffer: Buffer, offset: number, length: number, position: number): void;
  /** Writes all views, one behind another, from `position` on. */
  writev(views: readonly Buffer[], position: number): void;
  /** Makes the written data durable, with as much metadata as is needed to read it (fdatasync). */
  datasync(): void;
  /** Makes data and metadata durable (fsync). */
  sync(): void;
  truncate(size: number): void;
  size(): number;
  close(): void;
}

export interface DiskLock {
  release(): void;
}

export interface Disk {
  openFile(file: string, flags: OpenFlags): DiskFile;
  /** Names in the folder, sorted. */
  list(dir: string): string[];
  /** Atomic; replaces `to`. Durable after syncDir() of the folder. */
  rename(from: string, to: string): void;
  unlink(file: string): void;
  /** Makes the folder and the missing ones above it. */
  mkdir(dir: string): void;
  exists(file: string): boolean;
  /** Makes creations, renames and removals in the folder durable. */
  syncDir(dir: string): void;
  /** Bytes that an unprivileged process may still allocate on the folder's file system. */
  freeBytes(dir: string): number;
  /**
   * Takes the file as a lock that no other process, and no other caller in this process, holds; the kernel drops it when
   * the process dies. Throws KV_STATE with the owner's pid when somebody has it.
   */
  lockFile(file: string): DiskLock;
}

/** The real disk. Errors are Node's own, with `code` ENOSPC, EIO, ENOENT, … */
export const nodeDisk: Disk = {
  openFile: (file, flags) => (flags === 'log' ? openLogFile(file) : new NodeFile(fs.openSync(file, flags))),
  list: (dir) => fs.readdirSync(dir).sort(),
  rename: (from, to) => fs.renameSync(from, to),
  unlink: (file) => fs.unlinkSync(file),
  mkdir: makeDirs,
  exists: (file) => fs.existsSync(file),
  syncDir(dir) {
    const fd = fs.openSync(dir, 'r');
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  freeBytes(dir) {
    const { bavail, bsize } = fs.statfsSync(dir);
    return bavail * bsize;
  },
  lockFile: lockWithKernel,
};

/**
 * Node's own `recursive` never ends where a folder cannot be made in a folder that is there, and the system says ENOENT
 * (/proc).
 */
function makeDirs(dir: string): void {
  try {
    fs.mkdirSync(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && fs.statSync(dir).isDirectory()) return;
    const parent = path.dirname(dir);
    if (code !== 'ENOENT' || fs.existsSync(parent)) throw error;
    makeDirs(parent);
    makeDirs(dir);
  }
}

/** Makes the folder and the missing ones above it, and makes their names durable. */
export function makeDirDurably(disk: Disk, dir: string): void {
  const missing: string[] = [];
  for (let at = path.resolve(dir); !disk.exists(at); at = path.dirname(at)) missing.push(at);
  disk.mkdir(dir);
  for (const made of missing) disk.syncDir(path.dirname(made));
}

/**
 * Node has no flock(); SQLite, which Node brings along, takes kernel locks on its database file. An exclusive
 * transaction on an empty database that is never written is such a lock: no stale pid file after a kill, no race to take
 * one over, and it holds between containers that share a volume. The owner's pid stands beside it, for the message only.
 */
function lockWithKernel(file: string): DiskLock {
  const ownerFile = `${file}.pid`;
  const database = new DatabaseSync(file);
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    const owner = readOwner(ownerFile);
    throw new SkerryError(
      'KV_STATE',
      `${path.dirname(file)} is in use by process ${owner}: stop that process first, or choose another directory.`,
      { cause, hint: { file, pid: owner } },
    );
  }
  fs.writeFileSync(ownerFile, `${process.pid}\n`);
  return { release: () => database.close() };
}

function readOwner(file: string): string {
  try {
    return fs.readFileSync(file, 'latin1').trim();
  } catch {
    // The owner holds the lock and has not written its pid yet.
    return 'unknown';
  }
}
