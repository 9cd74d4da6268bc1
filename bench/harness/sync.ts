/** What the disk itself takes to make a block durable: the floor under every durable write. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';

const BLOCK_BYTES = 4096;
const FILE_BYTES = 16 * 1024 * 1024;

/** Milliseconds of each of `count` writes of 4 KiB with fdatasync, one after another in a file whose blocks are there. */
export function timeSyncs(dir: string, count: number): number[] {
  const file = path.join(dir, 'sync-probe');
  const fd = openSync(file, 'w');
  try {
    const zeros = Buffer.alloc(FILE_BYTES);
    writeSync(fd, zeros, 0, FILE_BYTES, 0);
    fdatasyncSync(fd);
    const block = Buffer.alloc(BLOCK_BYTES, 'x');
    return Array.from({ length: count }, (_, i) => {
      const startMs = performance.now();
      writeSync(fd, block, 0, BLOCK_BYTES, (i * BLOCK_BYTES) % FILE_BYTES);
      fdatasyncSync(fd);
      return performance.now() - startMs;
    });
  } finally {
    closeSync(fd);
    rmSync(file);
  }
}
