/** The real disk, except that writes and syncs of segments fail as a file next to the log says. Loaded by I/O threads. */
import fs from 'node:fs';
import path from 'node:path';
import { nodeDisk } from '../../src/storage/disk.ts';
import type { Disk } from '../../src/storage/disk.ts';

/** While this file is in the WAL directory, fdatasync of a segment fails with EIO, once for each of its bytes. */
export const FAIL_SYNC_FILE = 'fail-sync';

export const disk: Disk = {
  ...nodeDisk,
  openFile(file, flags) {
    const opened = nodeDisk.openFile(file, flags);
    const order = path.join(path.dirname(file), FAIL_SYNC_FILE);
    return {
      read: (buffer, offset, length, position) => opened.read(buffer, offset, length, position),
      write: (buffer, offset, length, position) => opened.write(buffer, offset, length, position),
      writev: (views, position) => opened.writev(views, position),
      datasync() {
        if (fs.existsSync(order)) {
          const left = fs.statSync(order).size - 1;
          if (left <= 0) fs.unlinkSync(order);
          else fs.truncateSync(order, left);
          throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
        }
        opened.datasync();
      },
      sync: () => opened.sync(),
      truncate: (size) => opened.truncate(size),
      size: () => opened.size(),
      close: () => opened.close(),
    };
  },
};
