/** Replies as RESP2 and RESP3, written in place: the shapes that Redis 7 gives them. */
import type { ReplySink } from '../../core/kv/reply.ts';
import type { ByteWriter } from '../byte-writer.ts';

const CR = 0x0d;
const LF = 0x0a;
const SIMPLE = 0x2b; // +
const ERROR = 0x2d; // -
const INTEGER = 0x3a; // :
const BULK = 0x24; // $
const ARRAY = 0x2a; // *
const MAP = 0x25; // %
const SET = 0x7e; // ~
const DOUBLE = 0x2c; // ,
const BOOLEAN = 0x23; // #

/** What both versions share; they differ in nulls, doubles, booleans and aggregates. */
abstract class RespWriter implements ReplySink {
  protected readonly out: ByteWriter;

  constructor(out: ByteWriter) {
    this.out = out;
  }

  abstract double(value: number): void;
  abstract boolean(value: boolean): void;
  abstract null(): void;
  abstract nullArray(): void;
  abstract map(pairs: number): void;
  abstract set(length: number): void;

  simple(text: string): void {
    this.line(SIMPLE, text);
  }

  error(text: string): void {
    this.line(ERROR, text);
  }

  integer(value: number | bigint): void {
    if (typeof value === 'number' && value >= 0 && value < 2 ** 31) this.header(INTEGER, value);
    else this.line(INTEGER, String(value));
  }

  bulk(source: Buffer, start: number, end: number): void {
    const length = end - start;
    this.header(BULK, length);
    const { out } = this;
    out.reserve(length + 2);
    const { buffer } = out;
    source.copy(buffer, out.length, start, end);
    buffer[out.length + length] = CR;
    buffer[out.length + length + 1] = LF;
    out.length += length + 2;
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.bulk(bytes, 0, bytes.length);
  }

  array(length: number): void {
    this.header(ARRAY, length);
  }

  protected line(type: number, text: string): void {
    const { out } = this;
    out.reserve(1);
    out.buffer[out.length++] = type;
    out.appendUtf8(text);
    out.reserve(2);
    out.buffer[out.length++] = CR;
    out.buffer[out.length++] = LF;
  }

  /** Type, a number in [0, 2^31), CRLF; without making a string of the number. */
  protected header(type: number, value: number): void {
    const { out } = this;
    out.reserve(13);
    const { buffer } = out;
    let at = out.length;
    buffer[at++] = type;
    let digits = 1;
    for (let bound = 10; value >= bound && digits < 10; bound *= 10) digits++;
    let rest = value;
    for (let i = digits - 1; i >= 0; i--) {
      const next = Math.floor(rest / 10);
      buffer[at + i] = 0x30 + rest - next * 10;
      rest = next;
    }
    at += digits;
    buffer[at] = CR;
    buffer[at + 1] = LF;
    out.length = at + 2;
  }
}

/** As Redis prints a double: shortest form, inf and nan in words. */
function doubleText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  return String(value);
}

export class Resp2Writer extends RespWriter {
  double(value: number): void {
    this.text(doubleText(value));
  }
  boolean(value: boolean): void {
    this.integer(value ? 1 : 0);
  }
  null(): void {
    this.out.appendLatin1('$-1\r\n');
  }
  nullArray(): void {
    this.out.appendLatin1('*-1\r\n');
  }
  map(pairs: number): void {
    this.array(pairs * 2);
  }
  set(length: number): void {
    this.array(length);
  }
}

export class Resp3Writer extends RespWriter {
  double(value: number): void {
    this.line(DOUBLE, doubleText(value));
  }
  boolean(value: boolean): void {
    this.line(BOOLEAN, value ? 't' : 'f');
  }
  null(): void {
    this.out.appendLatin1('_\r\n');
  }
  nullArray(): void {
    this.null();
  }
  map(pairs: number): void {
    this.header(MAP, pairs);
  }
  set(length: number): void {
    this.header(SET, length);
  }
}
