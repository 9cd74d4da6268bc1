/**
 * Bytes in the making: one buffer that grows by doubling, written at its end. Encoders write into it without allocating;
 * whoever owns it sends buffer[0, length) away and resets it, or swaps the buffer for another.
 */

const INITIAL_BYTES = 1024;

export class ByteWriter {
  /** What has been written is buffer[0, length). The buffer changes when the writer grows. */
  buffer: Buffer;
  length = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  /** Makes room for `bytes` more. Afterwards a caller may write at `length` and advance it by up to that many. */
  reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed > this.buffer.length) this.#grow(needed);
  }

  /** Appends source[start, end). */
  append(source: Buffer, start: number, end: number): void {
    const bytes = end - start;
    this.reserve(bytes);
    source.copy(this.buffer, this.length, start, end);
    this.length += bytes;
  }

  /** Appends text whose characters are all below U+0100, one byte each. */
  appendLatin1(text: string): void {
    const bytes = text.length;
    this.reserve(bytes);
    const { buffer } = this;
    if (bytes < SHORT_TEXT) {
      let at = this.length;
      for (let i = 0; i < bytes; i++) buffer[at++] = text.charCodeAt(i);
    } else {
      buffer.write(text, this.length, bytes, 'latin1');
    }
    this.length += bytes;
  }

  /** Appends text as UTF-8. */
  appendUtf8(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.reserve(bytes);
    this.buffer.write(text, this.length, bytes, 'utf8');
    this.length += bytes;
  }

  reset(): void {
    this.length = 0;
  }

  #grow(needed: number): void {
    let size = Math.max(this.buffer.length, INITIAL_BYTES);
    while (size < needed) size *= 2;
    // Not from Node's pool: a large buffer that is kept must not keep a slab of others alive.
    const grown = Buffer.allocUnsafeSlow(size);
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer = grown;
  }
}

/** Below this many characters a loop is faster than the call into native code. */
const SHORT_TEXT = 24;

export function createByteWriter(initialBytes = INITIAL_BYTES): ByteWriter {
  return new ByteWriter(Buffer.allocUnsafeSlow(initialBytes));
}
