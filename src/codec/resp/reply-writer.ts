/**
 * Replies as RESP2 or RESP3 bytes, written in place. What RESP2 lacks is told in its own words, as Redis does it:
 *
 *                 RESP2                       RESP3
 *     null        $-1                         _
 *     null array  *-1                         _
 *     boolean     :1  :0                      #t  #f
 *     double      $n and its text             ,text
 *     map         *2n: key, value, key, …     %n
 *     set         *n                          ~n
 */
import type { ReplySink } from '../../core/kv/reply.ts';
import type { ByteWriter } from '../byte-writer.ts';

const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;
const ZERO = 0x30;

const SIMPLE = 0x2b; // +
const ERROR = 0x2d; // -
const INTEGER = 0x3a; // :
const BULK = 0x24; // $
const ARRAY = 0x2a; // *
const MAP = 0x25; // %
const SET = 0x7e; // ~
const DOUBLE = 0x2c; // ,

/** A type, a sign, 16 digits, CR LF. */
const NUMBER_LINE_BYTES_MAX = 20;
/** Below this many bytes a loop is faster than a call into native code. */
const SHORT_BYTES = 32;

/** A double as clients of Redis expect it: the shortest text that reads back as the same number, inf, -inf, nan. */
function doubleText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  return Object.is(value, -0) ? '-0' : String(value);
}

/** Writes a type, a safe integer and CR LF, without making a string of the number. */
function writeNumberLine(out: ByteWriter, type: number, value: number): void {
  out.reserve(NUMBER_LINE_BYTES_MAX);
  const { buffer } = out;
  let at = out.length;
  buffer[at++] = type;
  let rest = value;
  if (rest < 0) {
    buffer[at++] = ERROR; // The minus sign.
    rest = -rest;
  }
  if (rest < 10) {
    buffer[at++] = ZERO + rest;
  } else {
    let digits = 2;
    for (let bound = 100; bound <= rest; bound *= 10) digits++;
    let back = at + digits;
    at = back;
    while (rest > 0xffff_ffff) {
      const quotient = Math.floor(rest / 10);
      buffer[--back] = ZERO + (rest - quotient * 10);
      rest = quotient;
    }
    // Below 2^32 the division stays one of integers.
    let small = rest >>> 0;
    while (small > 0) {
      const quotient = (small / 10) >>> 0;
      buffer[--back] = ZERO + (small - quotient * 10);
      small = quotient;
    }
  }
  buffer[at] = CR;
  buffer[at + 1] = LF;
  out.length = at + 2;
}

/**
 * Writes a type, the text and CR LF. The text's characters are bytes (latin1), because texts that repeat what a client
 * sent are made so; line ends inside it become spaces, or such a text could pretend to be several replies.
 */
function writeTextLine(out: ByteWriter, type: number, text: string): void {
  const { length } = text;
  out.reserve(length + 3);
  const { buffer } = out;
  let at = out.length;
  buffer[at++] = type;
  for (let i = 0; i < length; i++) {
    const byte = text.charCodeAt(i);
    buffer[at++] = byte === CR || byte === LF ? SPACE : byte;
  }
  buffer[at] = CR;
  buffer[at + 1] = LF;
  out.length = at + 2;
}

export class Resp2Writer implements ReplySink {
  protected readonly out: ByteWriter;

  constructor(out: ByteWriter) {
    this.out = out;
  }

  simple(text: string): void {
    writeTextLine(this.out, SIMPLE, text);
  }

  error(text: string): void {
    writeTextLine(this.out, ERROR, text);
  }

  integer(value: number | bigint): void {
    if (typeof value === 'number') writeNumberLine(this.out, INTEGER, value);
    else writeTextLine(this.out, INTEGER, value.toString());
  }

  double(value: number): void {
    this.text(doubleText(value));
  }

  boolean(value: boolean): void {
    writeNumberLine(this.out, INTEGER, value ? 1 : 0);
  }

  bulk(source: Buffer, start: number, end: number): void {
    const { out } = this;
    const bytes = end - start;
    out.reserve(NUMBER_LINE_BYTES_MAX + bytes + 2);
    writeNumberLine(out, BULK, bytes);
    const { buffer } = out;
    let at = out.length;
    if (bytes < SHORT_BYTES) {
      for (let from = start; from < end; from++) buffer[at++] = source[from] as number;
    } else {
      source.copy(buffer, at, start, end);
      at += bytes;
    }
    buffer[at] = CR;
    buffer[at + 1] = LF;
    out.length = at + 2;
  }

  text(value: string): void {
    const { out } = this;
    writeNumberLine(out, BULK, Buffer.byteLength(value));
    out.appendUtf8(value);
    out.appendLatin1('\r\n');
  }

  null(): void {
    this.out.appendLatin1('$-1\r\n');
  }

  nullArray(): void {
    this.out.appendLatin1('*-1\r\n');
  }

  array(length: number): void {
    writeNumberLine(this.out, ARRAY, length);
  }

  map(pairs: number): void {
    writeNumberLine(this.out, ARRAY, pairs * 2);
  }

  set(length: number): void {
    writeNumberLine(this.out, ARRAY, length);
  }
}

export class Resp3Writer extends Resp2Writer {
  override double(value: number): void {
    writeTextLine(this.out, DOUBLE, doubleText(value));
  }

  override boolean(value: boolean): void {
    this.out.appendLatin1(value ? '#t\r\n' : '#f\r\n');
  }

  override null(): void {
    this.out.appendLatin1('_\r\n');
  }

  override nullArray(): void {
    this.out.appendLatin1('_\r\n');
  }

  override map(pairs: number): void {
    writeNumberLine(this.out, MAP, pairs);
  }

  override set(length: number): void {
    writeNumberLine(this.out, SET, length);
  }
}
