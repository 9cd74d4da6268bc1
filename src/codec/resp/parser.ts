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
const ZERO = 0x30;
const MINUS = 0x2d;
/** A pending buffer above this is given back once it is empty: thousands of idle connections may hold one each. */
const PENDING_BYTES_KEPT = 4096;
const PENDING_BYTES_MIN = 256;
/** Chunks up to this are appended whole to what is pending; of longer ones only what completes the command. */
const SMALL_CHUNK_BYTES = 1024;
/** Digits of a length that are looked at: more than any limit has. */
const LENGTH_DIGITS_MAX = 15;
/** How Redis calls them when their line is too long. */
const TOO_LONG = { multibulk: 'mbulk', bulk: 'bulk' } as const;

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
  /** Up to where the end of the line at hand has been looked for in vain. */
  #searched = 0;
  #nameStart = -1;
  #nameEnd = -1;
  #isPaused = false;
  /** A command is being handed out; resume() need do nothing more. */
  #isRunning = false;
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
    if (this.#isRunning || this.#pending === null || this.#pendingBytes === 0) return;
    this.#run(this.#pending, this.#pendingBytes);
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
    let taken = 0;
    while (this.#pendingBytes > 0 && taken < chunk.length) {
      const isWhole = this.#isPaused || chunk.length <= SMALL_CHUNK_BYTES;
      const upTo = isWhole ? chunk.length : Math.min(chunk.length, taken + this.#wanted(chunk, taken));
      const pending = this.#room(this.#pendingBytes + upTo - taken);
      chunk.copy(pending, this.#pendingBytes, taken, upTo);
      this.#pendingBytes += upTo - taken;
      taken = upTo;
      if (this.#isPaused) continue;
      this.#run(pending, this.#pendingBytes);
      if (this.#isClosed) return;
    }
    if (taken === chunk.length) return;
    // The pending command is complete, and so is what was copied: go on in place.
    this.#at = taken;
    this.#commandStart = taken;
    this.#run(chunk, chunk.length);
  }

  /** How many bytes of the chunk belong to the pending command at least: the rest of a string, or of a line. */
  #wanted(chunk: Buffer, from: number): number {
    const pending = this.#pending as Buffer;
    if (this.#bulkBytes >= 0) return Math.max(1, this.#at + this.#bulkBytes + 2 - this.#pendingBytes);
    if (pending[this.#commandStart] !== STAR) return lineBytes(chunk, from, LF);
    // Redis takes whatever byte is behind a CR for the LF.
    const endsInCr = this.#pendingBytes > this.#at && pending[this.#pendingBytes - 1] === CR;
    return endsInCr ? 1 : lineBytes(chunk, from, CR) + 1;
  }

  #run(buffer: Buffer, end: number): void {
    if (!this.#isPaused) {
      this.#isRunning = true;
      try {
        while (this.#next(buffer, end)) {
          this.#commandStart = this.#at;
          this.#searched = 0;
          if (this.#isPaused || this.#isClosed) break;
        }
      } catch (error) {
        this.close();
        throw error;
      } finally {
        this.#isRunning = false;
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
      if (count > limits.argsMax) throw protocolError('invalid multibulk length');
      // Nobody answers an array of nothing, or of less.
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
    if (first !== DOLLAR) throw protocolError(`expected '$', got '${String.fromCharCode(first)}'`);
    const bytes = this.#length(buffer, end, 'bulk');
    if (bytes === null) return false;
    if (bytes < 0 || bytes > this.#options.bulkBytesMax) throw protocolError('invalid bulk length');
    this.#bulkBytes = bytes;
    return true;
  }

  /** Reads the number behind the type byte and its line end. Null: the line is not complete. */
  #length(buffer: Buffer, end: number, what: 'multibulk' | 'bulk'): number | null {
    let at = this.#at + 1;
    const isNegative = at < end && buffer[at] === MINUS;
    if (isNegative) at++;
    const digitsStart = at;
    let value = 0;
    for (; at < end; at++) {
      const digit = (buffer[at] as number) - ZERO;
      if (digit < 0 || digit > 9 || at - digitsStart >= LENGTH_DIGITS_MAX) break;
      value = value * 10 + digit;
    }
    const digits = at - digitsStart;
    if (at < end && buffer[at] !== CR) {
      // Wrong, but like Redis wait for the line's end, or for proof that there is none, before saying so.
      at = this.#lineEnd(buffer, end, CR);
      if (at < 0) {
        if (end - this.#at > limits.protocolLineBytesMax) throw protocolError(`too big ${TOO_LONG[what]} count string`);
        return null;
      }
      value = Number.NaN;
    }
    if (at + 2 > end) return null;
    const isCanonical = digits === 1 ? !(isNegative && value === 0) : buffer[digitsStart] !== ZERO;
    if (Number.isNaN(value) || digits === 0 || !isCanonical) throw protocolError(`invalid ${what} length`);
    this.#at = at + 2;
    return isNegative ? -value : value;
  }

  /** Offset of the first `byte` behind #at, or -1. Remembers what it has looked at in vain. */
  #lineEnd(buffer: Buffer, end: number, byte: number): number {
    for (let at = Math.max(this.#searched, this.#at); at < end; at++) {
      if (buffer[at] === byte) return at;
    }
    this.#searched = end;
    return -1;
  }

  #inline(buffer: Buffer, end: number): boolean {
    const lineEnd = this.#lineEnd(buffer, end, LF);
    if (lineEnd < 0) {
      if (end - this.#at > limits.protocolLineBytesMax) throw protocolError('too big inline request');
      return false;
    }
    const textEnd = lineEnd > this.#at && buffer[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
    const words = this.#args;
    const count = splitInline(buffer, this.#at, textEnd, words);
    if (count < 0) throw protocolError('unbalanced quotes in request');
    this.#at = lineEnd + 1;
    if (count === 0) return true;
    const nameEnd = words.end[0] as number;
    words.start.shift();
    words.end.shift();
    words.count--;
    this.#options.onCommand(words, 0, nameEnd);
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
    this.#searched = Math.max(0, this.#searched - start);
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
    let size = Math.max(PENDING_BYTES_MIN, bytes * 2);
    // Doubling, but not past the string under way: mostly it is the last one, and it may be huge.
    if (this.#bulkBytes >= 0) size = Math.max(bytes, Math.min(size, this.#at + this.#bulkBytes + 2));
    const grown = Buffer.allocUnsafeSlow(size);
    if (pending !== null) pending.copy(grown, 0, 0, this.#pendingBytes);
    this.#pending = grown;
    return grown;
  }
}

function protocolError(what: string): RespProtocolError {
  return new RespProtocolError(`ERR Protocol error: ${what}`);
}

/** Bytes of chunk[from, …) up to and with the first `byte`; without one, more than a line may have. */
function lineBytes(chunk: Buffer, from: number, byte: number): number {
  const at = chunk.indexOf(byte, from);
  return at < 0 ? limits.protocolLineBytesMax + 1 : at + 1 - from;
}
