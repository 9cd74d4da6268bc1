import test from 'ava';
import type { ExecutionContext } from 'ava';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createPrng } from '../../../src/core/prng.ts';
import type { DiskFile } from '../../../src/storage/disk.ts';
import { nodeDisk } from '../../../src/storage/disk.ts';

const BLOCK_BYTES = 4096;
const FILE_BLOCKS = 1024;

/** Of this process's open files, those of `file`: what they were opened with (Linux). */
function flagsOf(file: string): number[] {
  return fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      if (fs.readlinkSync(`/proc/self/fd/${fd}`) !== file) return [];
      return [
        Number.parseInt(/^flags:\s+(\d+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '', 8),
      ];
    } catch {
      // The one that the folder was read with is closed again.
      return [];
    }
  });
}

function openLog(t: ExecutionContext, parent = os.tmpdir()): { log: DiskFile; file: string } {
  const dir = fs.mkdtempSync(path.join(parent, 'skerry-log-file-'));
  const file = path.join(dir, 'segment');
  fs.writeFileSync(file, Buffer.alloc(FILE_BLOCKS * BLOCK_BYTES));
  const log = nodeDisk.openFile(file, 'log');
  t.teardown(() => {
    log.close();
    fs.rmSync(dir, { recursive: true });
  });
  return { log, file };
}

/** `bytes` in views of any lengths, which lie anywhere in memory that threads share. */
function viewsOf(bytes: Buffer, prng: ReturnType<typeof createPrng>): Buffer[] {
  const shared = Buffer.from(new SharedArrayBuffer(bytes.length + 64));
  const views: Buffer[] = [];
  const shift = prng.below(64);
  bytes.copy(shared, shift);
  for (let at = 0; at < bytes.length;) {
    const length = Math.min(bytes.length - at, 1 + prng.below(bytes.length));
    views.push(shared.subarray(shift + at, shift + at + length));
    at += length;
  }
  return views;
}

test('whatever is written, and however, is read back: by itself, by others, before and after a sync', (t) => {
  const { log, file } = openLog(t);
  const other = nodeDisk.openFile(file, 'r');
  const expected = Buffer.alloc(FILE_BLOCKS * BLOCK_BYTES);
  const seen = Buffer.alloc(expected.length);
  const prng = createPrng(7);
  for (let round = 0; round < 300; round++) {
    const isWhole = prng.chance(0.8);
    // Some are longer than the buffer that goes past the page cache.
    const blocks = 1 + prng.below(prng.chance(0.05) ? 500 : 8);
    const bytes = blocks * BLOCK_BYTES - (isWhole ? 0 : prng.below(BLOCK_BYTES));
    const position = prng.below(FILE_BLOCKS - blocks) * BLOCK_BYTES + (isWhole || prng.chance(0.5) ? 0 : 8);
    const data = Buffer.alloc(bytes, `${round} `);
    if (prng.chance(0.2)) log.write(data, 0, bytes, position);
    else log.writev(viewsOf(data, prng), position);
    data.copy(expected, position);
    if (prng.chance(0.3)) log.datasync();
    const reader = prng.chance(0.5) ? log : other;
    reader.read(seen, 0, expected.length, 0);
    t.true(seen.subarray(0, expected.length).equals(expected), `round ${round}`);
  }
  t.is(log.size(), expected.length);
  other.close();
});

const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('past the page cache means durable when the write returns, and both ways are closed with the file', (t) => {
  const { log, file } = openLog(t);
  const { O_DIRECT, O_DSYNC } = fs.constants;
  const direct = flagsOf(file).filter((flags) => (flags & O_DIRECT) !== 0);
  // The folder for temporary files may be where there is no such way.
  t.true(direct.length <= 1);
  for (const flags of direct) t.is(flags & O_DSYNC, O_DSYNC);
  log.close();
  t.deepEqual(flagsOf(file), []);
  t.throws(() => log.size(), { code: 'EBADF' });
  // For the teardown.
  log.close = () => undefined;
});

onLinux('a disk that takes no more says so when it is written to', (t) => {
  const log = nodeDisk.openFile('/dev/full', 'log');
  t.throws(() => log.writev([Buffer.alloc(BLOCK_BYTES)], 0), { code: 'ENOSPC' });
  log.close();
});

onLinux('a file that cannot be written past the page cache is written through it', (t) => {
  // In memory, there is nothing to go past: older kernels refuse to open it so, newer ones do not.
  const { log } = openLog(t, '/dev/shm');
  const written = Buffer.alloc(2 * BLOCK_BYTES, 'memory');
  log.writev([written.subarray(0, 5000), written.subarray(5000)], BLOCK_BYTES);
  log.datasync();
  const seen = Buffer.alloc(written.length);
  t.is(log.read(seen, 0, seen.length, BLOCK_BYTES), seen.length);
  t.true(seen.equals(written));
});

test('a file that is not there is not made', (t) => {
  t.throws(() => nodeDisk.openFile(path.join(os.tmpdir(), 'skerry-no-such-file'), 'log'), { code: 'ENOENT' });
});
