/**
 * A file that is written past the page cache, where the file system can do that (O_DIRECT and O_DSYNC).
 *
 *     views ─ copied ─▶ [ one aligned buffer of the thread ] ─ one write ─▶ the device, and durable when the call returns
 *       └─ too many bytes, not whole blocks, or refused by the file system ─▶ page cache ─ datasync() ─▶ the device
 *
 * Through the page cache the kernel copies the bytes too, finds their pages again when they are synced, writes them, and waits
 * for that before it empties the device's own cache. Past it, the batch of a busy log costs a third less CPU and is durable
 * a fifth sooner.
 *
 * Linux keeps both ways coherent: what is written past the page cache is dropped from it.
 */
import fs from 'node:fs';
import { NodeFile } from './node-file.ts';

/** Every device's and file system's blocks fit into these. */
const BLOCK_BYTES = 4096;
/** Longer writes gain nothing, and their buffer would have to be as long. */
const DIRECT_BYTES_MAX = 1024 * 1024;
const WASM_PAGE_BYTES = 64 * 1024;

/** Not among the types of a program without a browser. */
declare const WebAssembly: {
  readonly Memory: new (pages: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};

/** Of the thread; null where there is none to be had, undefined before the first use. */
let aligned: Buffer | null | undefined;

/** Memory that begins at a page's boundary, as the kernel wants it: of all that JavaScript can have, WebAssembly's does. */
function alignedBuffer(): Buffer | null {
  if (aligned !== undefined) return aligned;
  try {
    aligned = Buffer.from(new WebAssembly.Memory({ initial: DIRECT_BYTES_MAX / WASM_PAGE_BYTES }).buffer);
  } catch (error) {
    // The process may have too little address space for what WebAssembly sets aside.
    if (!(error instanceof RangeError)) throw error;
    aligned = null;
  }
  return aligned;
}

class LogFile extends NodeFile {
  /** Opened a second time, past the page cache; -1 when that does not go. */
  #directFd: number;
  readonly #buffer: Buffer;
  /** Something is in the page cache that datasync() is to make durable. */
  #isDirty = false;

  constructor(fd: number, directFd: number, buffer: Buffer) {
    super(fd);
    this.#directFd = directFd;
    this.#buffer = buffer;
  }

  override write(buffer: Buffer, offset: number, length: number, position: number): void {
    this.#isDirty = true;
    super.write(buffer, offset, length, position);
  }

  override writev(views: readonly Buffer[], position: number): void {
    if (this.#writeDirectly(views, position)) return;
    this.#isDirty = true;
    super.writev(views, position);
  }

  /** False: it must go through the page cache. Nothing says how much of it is written already, which does no harm. */
  #writeDirectly(views: readonly Buffer[], position: number): boolean {
    const buffer = this.#buffer;
    let bytes = 0;
    for (const view of views) bytes += view.length;
    if (this.#directFd < 0 || bytes > buffer.length || bytes % BLOCK_BYTES !== 0 || position % BLOCK_BYTES !== 0) {
      return false;
    }
    let at = 0;
    for (const view of views) at += view.copy(buffer, at);
    try {
      return fs.writeSync(this.#directFd, buffer, 0, bytes, position) === bytes;
    } catch (error) {
      // The file system takes the flag and not the write.
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
      this.#closeDirect();
      return false;
    }
  }

  override datasync(): void {
    if (!this.#isDirty) return;
    super.datasync();
    this.#isDirty = false;
  }

  override truncate(size: number): void {
    this.#isDirty = true;
    super.truncate(size);
  }

  override close(): void {
    this.#closeDirect();
    super.close();
  }

  #closeDirect(): void {
    if (this.#directFd >= 0) fs.closeSync(this.#directFd);
    this.#directFd = -1;
  }
}

/** Opens a file that is there. Where it cannot be written past the page cache, it is a file like any other. */
export function openLogFile(file: string): NodeFile {
  const fd = fs.openSync(file, 'r+');
  // Undefined on systems without it.
  const { O_DIRECT, O_DSYNC, O_WRONLY } = fs.constants as Partial<typeof fs.constants>;
  const buffer = O_DIRECT === undefined || O_DSYNC === undefined ? null : alignedBuffer();
  if (buffer === null) return new NodeFile(fd);
  try {
    return new LogFile(
      fd,
      fs.openSync(file, (O_WRONLY as number) | (O_DIRECT as number) | (O_DSYNC as number)),
      buffer,
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') return new NodeFile(fd);
    fs.closeSync(fd);
    throw error;
  }
}
