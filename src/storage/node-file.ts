/** A file of the operating system, by Node's synchronous calls. Errors are Node's own. */
import fs from 'node:fs';
import type { DiskFile } from './disk.ts';

export class NodeFile implements DiskFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  read(buffer: Buffer, offset: number, length: number, position: number): number {
    let done = 0;
    while (done < length) {
      const bytes = fs.readSync(this.#fd, buffer, offset + done, length - done, position + done);
      if (bytes === 0) break;
      done += bytes;
    }
    return done;
  }

  write(buffer: Buffer, offset: number, length: number, position: number): void {
    let done = 0;
    while (done < length) {
      done += fs.writeSync(this.#fd, buffer, offset + done, length - done, position + done);
    }
  }

  writev(views: readonly Buffer[], position: number): void {
    let remaining = views;
    for (;;) {
      let written = fs.writevSync(this.#fd, remaining, position);
      position += written;
      // A short write (a file system that is filling up): go on behind what was taken, so that the next call says why.
      let first = 0;
      while (first < remaining.length && written >= (remaining[first] as Buffer).length) {
        written -= (remaining[first] as Buffer).length;
        first += 1;
      }
      if (first === remaining.length) return;
      remaining = [(remaining[first] as Buffer).subarray(written), ...remaining.slice(first + 1)];
    }
  }

  datasync(): void {
    fs.fdatasyncSync(this.#fd);
  }

  sync(): void {
    fs.fsyncSync(this.#fd);
  }

  truncate(size: number): void {
    fs.ftruncateSync(this.#fd, size);
  }

  size(): number {
    return fs.fstatSync(this.#fd).size;
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}
