/** Small files that are read and written as a whole. */
import path from 'node:path';
import type { Disk } from './disk.ts';

/** Reads a text file. */
export function readWhole(disk: Disk, name: string): string {
  const file = disk.openFile(name, 'r');
  try {
    const bytes = Buffer.alloc(file.size());
    file.read(bytes, 0, bytes.length, 0);
    return bytes.toString();
  } finally {
    file.close();
  }
}

/** Replaces a text file: afterwards, and after a crash at any moment, it has the old text or the new one. */
export function writeWhole(disk: Disk, name: string, text: string): void {
  const temporary = `${name}.tmp`;
  const bytes = Buffer.from(text);
  const file = disk.openFile(temporary, 'w+');
  try {
    file.write(bytes, 0, bytes.length, 0);
    file.sync();
  } finally {
    file.close();
  }
  disk.rename(temporary, name);
  disk.syncDir(path.dirname(name));
}
