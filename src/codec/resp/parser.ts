/**
 * Reads commands from a stream of bytes, in place: arguments are offsets into the chunk that they came in.
 *
 *     chunk     │ …rest of A │ command B │ command C │ start of D │
 *     pending   │ A          │  in place    in place │ copied, completed by the next chunks
 *
 * A command that spans chunks is kept in a buffer that grows with the bytes that come, never by what a length announces;
 * where the reading stopped is remembered, so that no byte is looked at twice.
 */
import type { Args } from '../../core/kv/args.ts';
import { createArgs } from '../../core/kv/args.ts';
import { limits } from '../../core/limits.ts';
import { splitInline } from './inline.ts';

export interface RespParserOptions {
  /** Longest bulk string. */
  readonly bulkBytesMax: number;
  /** A command is complete: its name is args.buffer[nameStart, nameEnd). All valid until it returns. */
  readonly onCommand: (args: Args, nameStart: number, nameEnd: number) => void;
}

const CR = 0x0d;
const LF = 0x0a;
const STAR = 0x2a;
const DOLLAR = 0x24;
/** A pending buffer above this is given back once it is empty. */
const PENDING_BYTES_KEPT = 64 * 1024;
/** Longest decimal length that Redis reads. */
const LENGTH_LINE_BYTES_MAX = 64 * 1024;

/** The stream is not RESP. `message` is the error reply; the connection is closed after it. */
export class RespProtocolError extends Error {
  override readonly name = 'RespProtocolError';
}

export class RespParser {
  readonly #options: RespParserOptions;
  readonly #args: Args = createArgs();
  #pending: Buffer | null = null;
  #pendingBytes = 0;
  /** Where the command at hand begins, and what of it is not read yet, in the buffer at hand. */
  #commandStart = 0;
  #at = 0;
  /** Bulk strings that the command at hand still wants; 0 = between commands. */
  #missing = 0;
  /** Length of the bulk string whose header is read; -1 = a header comes next. */
  #bulkBytes = -1;
  #nameStart = -1;
  #nameEnd = -1;
  #isPaused = false;
  #isClosed = false;

  constructor(options: RespParserOptions) {
    this.#options = options;
  }

  /** Memory held for an incomplete command. */
  get pendingCapacityBytes(): number {
    return this.#pending?.length ?? 0;
  }

  /** After the command at hand, no more are handed out until resume(). */
  pause(): void {
    this.#isPaused = true;
  }

  /** Hands out what was kept back. Throws as push(). */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#pending !== null && this.#pendingBytes > 0) this.#run(this.#pending, this.#pendingBytes);
  }

  /** No more commands are handed out, ever. */
  close(): void {
    this.#isClosed = true;
    this.#pending = null;
    this.#pendingBytes = 0;
  }

  /** Takes the next bytes of the stream. Throws RespProtocolError; then the parser is closed. */
  push(chunk: Buffer): void {
    if (this.#isClosed) return;
    if (this.#pendingBytes === 0) {
      this.#run(chunk, chunk.length);
      return;
    }
    const pending = this.#room(this.#pendingBytes + chunk.length);
    chunk.copy(pending, this.#pendingBytes);
    this.#pendingBytes += chunk.length;
    if (!this.#isPaused) this.#run(pending, this.#pendingBytes);
  }

  #run(buffer: Buffer, end: number): void {
    if (!this.#isPaused) {
      try {
        while (this.#next(buffer, end)) {
          this.#commandStart = this.#at;
          if (this.#isPaused || this.#isClosed) break;
        }
      } catch (error) {
        this.close();
        throw error;
      }
    }
    if (!this.#isClosed) this.#keep(buffer, end);
  }

  /** Reads up to the end of one command and hands it out. False: more bytes are needed. */
  #next(buffer: Buffer, end: number): boolean {
    if (this.#missing === 0) {
      if (this.#at >= end) return false;
      if (buffer[this.#at] !== STAR) return this.#inline(buffer, end);
      const count = this.#length(buffer, end, 'multibulk');
      if (count === null) return false;
      if (count > limits.argsMax) throw new RespProtocolError('ERR Protocol error: invalid multibulk length');
      // *0 and *-1 are nothing, as in Redis.
      if (count <= 0) return true;
      this.#missing = count;
      this.#args.count = 0;
      this.#nameStart = -1;
    }
    const args = this.#args;
    while (this.#missing > 0) {
      if (this.#bulkBytes < 0 && !this.#bulkHeader(buffer, end)) return false;
      const bulkEnd = this.#at + this.#bulkBytes;
      if (bulkEnd + 2 > end) return false;
      if (this.#nameStart < 0) {
        this.#nameStart = this.#at;
        this.#nameEnd = bulkEnd;
      } else {
        args.start[args.count] = this.#at;
        args.end[args.count] = bulkEnd;
        args.count++;
      }
      this.#at = bulkEnd + 2;
      this.#bulkBytes = -1;
      this.#missing--;
    }
    args.buffer = buffer;
    this.#options.onCommand(args, this.#nameStart, this.#nameEnd);
    return true;
  }

  #bulkHeader(buffer: Buffer, end: number): boolean {
    if (this.#at >= end) return false;
    const first = buffer[this.#at] as number;
    if (first !== DOLLAR) {
      throw new RespProtocolError(`ERR Protocol error: expected '$', got '${printable(first)}'`);
    }
    const bytes = this.#length(buffer, end, 'bulk');
    if (bytes === null) return false;
    if (bytes < 0 || bytes > this.#options.bulkBytesMax) {
      throw new RespProtocolError('ERR Protocol error: invalid bulk length');
    }
    this.#bulkBytes = bytes;
    return true;
  }

  /** Reads the number behind the type byte and its line end. Null: the line is not complete. */
  #length(buffer: Buffer, end: number, what: 'multibulk' | 'bulk'): number | null {
    let at = this.#at + 1;
    const isNegative = buffer[at] === 0x2d && at < end;
    if (isNegative) at++;
    const digitsStart = at;
    let value = 0;
    for (; at < end && buffer[at] !== CR; at++) {
      const digit = (buffer[at] as number) - 0x30;
      if (digit < 0 || digit > 9 || at - digitsStart > 15) {
        throw new RespProtocolError(`ERR Protocol error: invalid ${what} length`);
      }
      value = value * 10 + digit;
    }
    if (at + 2 > end) {
      if (end - this.#at > LENGTH_LINE_BYTES_MAX) {
        throw new RespProtocolError(`ERR Protocol error: too big ${what === 'bulk' ? 'bulk' : 'mbulk'} count string`);
      }
      return null;
    }
    if (at === digitsStart) throw new RespProtocolError(`ERR Protocol error: invalid ${what} length`);
    this.#at = at + 2;
    return isNegative ? -value : value;
  }

  #inline(buffer: Buffer, end: number): boolean {
    const lineEnd = buffer.indexOf(LF, this.#at);
    if (lineEnd < 0 || lineEnd >= end) {
      if (end - this.#at > limits.protocolLineBytesMax) {
        throw new RespProtocolError('ERR Protocol error: too big inline request');
      }
      return false;
    }
    const textEnd = lineEnd > this.#at && buffer[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
    const words = splitInline(buffer.toString('latin1', this.#at, textEnd));
    if (words === null) throw new RespProtocolError('ERR Protocol error: unbalanced quotes in request');
    this.#at = lineEnd + 1;
    const [name, ...rest] = words;
    if (name === undefined) return true;
    const args = createArgs();
    args.buffer = Buffer.from(words.join(''), 'latin1');
    let at = name.length;
    for (const word of rest) {
      args.start.push(at);
      at += word.length;
      args.end.push(at);
    }
    args.count = rest.length;
    this.#options.onCommand(args, 0, name.length);
    return true;
  }

  /** Keeps buffer[#commandStart, end) for the next chunk, with the offsets of what was read of it. */
  #keep(buffer: Buffer, end: number): void {
    const start = this.#commandStart;
    const bytes = end - start;
    if (bytes === 0) {
      if (this.#pending !== null && this.#pending.length > PENDING_BYTES_KEPT) this.#pending = null;
    } else if (buffer === this.#pending) {
      if (start > 0) buffer.copyWithin(0, start, end);
    } else {
      buffer.copy(this.#room(bytes), 0, start, end);
    }
    this.#pendingBytes = bytes;
    this.#at -= start;
    this.#commandStart = 0;
    if (start === 0 || this.#missing === 0) return;
    const args = this.#args;
    for (let i = 0; i < args.count; i++) {
      args.start[i] = (args.start[i] as number) - start;
      args.end[i] = (args.end[i] as number) - start;
    }
    this.#nameStart -= start;
    this.#nameEnd -= start;
  }

  /** The pending buffer, with room for `bytes`. */
  #room(bytes: number): Buffer {
    const pending = this.#pending;
    if (pending !== null && pending.length >= bytes) return pending;
    const grown = Buffer.allocUnsafeSlow(Math.max(1024, bytes, Math.min(bytes * 2, 2 ** 30)));
    if (pending !== null) pending.copy(grown, 0, 0, this.#pendingBytes);
    this.#pending = grown;
    return grown;
  }
}

function printable(byte: number): string {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
}
