/**
 * Replies as msgpack, written in place (docs/native-protocol.md, "Response"): a ReplySink for whoever speaks the native
 * protocol. It writes the value only; the frame's header is the session's.
 */
import type { ReplySink } from '../../core/kv/reply.ts';
import type { ByteWriter } from '../byte-writer.ts';
import { EXT_COMMAND_ERROR, writeBinHeader } from './frame.ts';

/** Below this many characters a loop is faster than the call into native code. */
const SHORT_TEXT = 24;

export class NativeReplyWriter implements ReplySink {
  readonly #out: ByteWriter;

  constructor(out: ByteWriter) {
    this.#out = out;
  }

  simple(text: string): void {
    this.text(text);
  }

  error(text: string): void {
    const out = this.#out;
    const bytes = Buffer.byteLength(text);
    out.reserve(6);
    const { buffer, length: at } = out;
    if (bytes < 256) {
      buffer[at] = 0xc7;
      buffer[at + 1] = bytes;
      buffer[at + 2] = EXT_COMMAND_ERROR;
      out.length = at + 3;
    } else {
      buffer[at] = 0xc9;
      buffer.writeUInt32BE(bytes, at + 1);
      buffer[at + 5] = EXT_COMMAND_ERROR;
      out.length = at + 6;
    }
    out.appendUtf8(text);
  }

  integer(value: number | bigint): void {
    const out = this.#out;
    out.reserve(9);
    const { buffer, length: at } = out;
    if (typeof value === 'number' && value >= -32 && value < 65536) {
      if (value < 128) {
        buffer[at] = value & 0xff;
        out.length = at + 1;
      } else {
        buffer[at] = 0xcd;
        out.length = buffer.writeUInt16BE(value, at + 1);
      }
    } else if (typeof value === 'number' && value >= 0 && value < 2 ** 32) {
      buffer[at] = 0xce;
      out.length = buffer.writeUInt32BE(value, at + 1);
    } else {
      buffer[at] = 0xd3;
      out.length = buffer.writeBigInt64BE(BigInt(value), at + 1);
    }
  }

  double(value: number): void {
    const out = this.#out;
    out.reserve(9);
    out.buffer[out.length] = 0xcb;
    out.length = out.buffer.writeDoubleBE(value, out.length + 1);
  }

  boolean(value: boolean): void {
    this.#byte(value ? 0xc3 : 0xc2);
  }

  bulk(source: Buffer, start: number, end: number): void {
    const out = this.#out;
    const bytes = end - start;
    out.reserve(5 + bytes);
    const at = writeBinHeader(out.buffer, out.length, bytes);
    source.copy(out.buffer, at, start, end);
    out.length = at + bytes;
  }

  text(value: string): void {
    const out = this.#out;
    if (value.length < SHORT_TEXT && this.#short(value)) return;
    const bytes = Buffer.byteLength(value);
    out.reserve(5 + bytes);
    const { buffer, length: at } = out;
    if (bytes < 32) {
      buffer[at] = 0xa0 | bytes;
      out.length = at + 1;
    } else {
      buffer[at] = 0xdb;
      out.length = buffer.writeUInt32BE(bytes, at + 1);
    }
    buffer.write(value, out.length, 'utf8');
    out.length += bytes;
  }

  /** Writes an ASCII text. False, and nothing is written, when it is not one. */
  #short(value: string): boolean {
    const out = this.#out;
    const { length } = value;
    out.reserve(1 + length);
    const { buffer, length: at } = out;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) return false;
      buffer[at + 1 + i] = code;
    }
    buffer[at] = 0xa0 | length;
    out.length = at + 1 + length;
    return true;
  }

  null(): void {
    this.#byte(0xc0);
  }

  nullArray(): void {
    this.#byte(0xc0);
  }

  array(length: number): void {
    this.#aggregate(0x90, 0xdc, length);
  }

  map(pairs: number): void {
    this.#aggregate(0x80, 0xde, pairs);
  }

  set(length: number): void {
    this.#aggregate(0x90, 0xdc, length);
  }

  #byte(value: number): void {
    const out = this.#out;
    out.reserve(1);
    out.buffer[out.length++] = value;
  }

  /** `fix` holds lengths below 16 in its low bits; `wide` is followed by 16 bits, `wide` + 1 by 32. */
  #aggregate(fix: number, wide: number, length: number): void {
    const out = this.#out;
    out.reserve(5);
    const { buffer, length: at } = out;
    if (length < 16) {
      buffer[at] = fix | length;
      out.length = at + 1;
    } else if (length < 65536) {
      buffer[at] = wide;
      out.length = buffer.writeUInt16BE(length, at + 1);
    } else {
      buffer[at] = wide + 1;
      out.length = buffer.writeUInt32BE(length, at + 1);
    }
  }
}
