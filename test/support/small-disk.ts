/** A small real file system, for tests that fill it up. Mounting one needs the right to. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Mounts an empty tmpfs of so many MiB. Returns its folder, or null when that is not permitted. */
export function mountSmallDisk(mebibytes: number): string | null {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'skerry-test', dir], { stdio: 'ignore' });
    return dir;
  } catch {
    fs.rmdirSync(dir);
    return null;
  }
}

export function unmount(dir: string): void {
  execFileSync('umount', ['-l', dir]);
  fs.rmdirSync(dir);
}

const probe = mountSmallDisk(1);
if (probe !== null) unmount(probe);

export const canMount = probe !== null;
/** For the titles of tests that are skipped without it. */
export const WITHOUT_MOUNT = canMount ? '' : ' (SKIPPED: mounting a tmpfs is not permitted here; run as root)';
