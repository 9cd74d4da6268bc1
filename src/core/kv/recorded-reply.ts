/**
 * A reply kept for a retry, in a small tagged form of its own (it lives in checkpoints, so it cannot be a connection's
 * encoding). Little-endian.
 *
 *     S simple   E error   T text   B bytes      tag, u32 length, bytes (texts: UTF-8)
 *     I integer  D double                        tag, f64
 *     L long integer                             tag, i64
 *     t true  f false  N null  n null array      tag
 *     A array  M map  X set                      tag, u32 length; the elements follow
 *     K                                          tag, u32 keys; the reply follows, which counts what became of so many keys
 *
 * It is held as a latin1 string, one character per byte: many short ones at once are cheaper so than as buffers.
 */
import { assert } from '../assert.ts';
import type { ReplySink } from './reply.ts';

export type RecordedReply = string;

/** The reply of nearly every write; its record is one string for all of them. */
const OK_TEXT = 'OK';
const OK_RECORD: RecordedReply = 'S\x02\0\0\0OK';

const INITIAL_BYTES = 1024;

const SIMPLE = 0x53;
const ERROR = 0x45;
const TEXT = 0x54;
const BYTES = 0x42;
const INTEGER = 0x49;
const DOUBLE = 0x44;
const LONG = 0x4c;
const TRUE = 0x74;
const FALSE = 0x66;
const NULL = 0x4e;
const NULL_ARRAY = 0x6e;
const ARRAY = 0x41;
const MAP = 0x4d;
const SET = 0x58;
const KEYS = 0x4b;

/** Passes a reply on and keeps a record of it. */
export class ReplyRecorder implements ReplySink {
  /** Where the reply goes on to. */
  next: ReplySink;
  readonly #bytesMax: number;
  #buffer = Buffer.alloc(INITIAL_BYTES);
  #length = 0;
  #isOk = false;
  #isTooLong = false;

  /** Replies whose record would be longer than `bytesMax` are passed on, but not recorded. */
  constructor(next: ReplySink, bytesMax: number) {
    this.next = next;
    this.#bytesMax = bytesMax;
  }

  /** The record of the reply since the last take(); null when it was too long. */
  take(): RecordedReply | null {
    const record = this.#isTooLong ? null : this.#isOk ? OK_RECORD : this.#buffer.toString('latin1', 0, this.#length);
    this.#length = 0;
    this.#isOk = false;
    this.#isTooLong = false;
    return record;
  }

  simple(text: string): void {
    if (text === OK_TEXT && this.#length === 0) {
      this.#isOk = true;
      this.#length = OK_RECORD.length;
    } else {
      this.#text(SIMPLE, text);
    }
    this.next.simple(text);
  }
  error(text: string): void {
    this.#text(ERROR, text);
    this.next.error(text);
  }
  integer(value: number | bigint): void {
    if (this.#reserve(9)) {
      this.#buffer[this.#length] = typeof value === 'number' ? INTEGER : LONG;
      if (typeof value === 'number') this.#buffer.writeDoubleLE(value, this.#length + 1);
      else this.#buffer.writeBigInt64LE(value, this.#length + 1);
      this.#length += 9;
    }
    this.next.integer(value);
  }
  double(value: number): void {
    if (this.#reserve(9)) {
      this.#buffer[this.#length] = DOUBLE;
      this.#length = this.#buffer.writeDoubleLE(value, this.#length + 1);
    }
    this.next.double(value);
  }
  boolean(value: boolean): void {
    this.#tag(value ? TRUE : FALSE);
    this.next.boolean(value);
  }
  bulk(source: Buffer, start: number, end: number): void {
    if (this.#reserve(5 + end - start)) {
      this.#header(BYTES, end - start);
      source.copy(this.#buffer, this.#length, start, end);
      this.#length += end - start;
    }
    this.next.bulk(source, start, end);
  }
  text(value: string): void {
    this.#text(TEXT, value);
    this.next.text(value);
  }
  null(): void {
    this.#tag(NULL);
    this.next.null();
  }
  nullArray(): void {
    this.#tag(NULL_ARRAY);
    this.next.nullArray();
  }
  array(length: number): void {
    if (this.#reserve(5)) this.#header(ARRAY, length);
    this.next.array(length);
  }
  map(pairs: number): void {
    if (this.#reserve(5)) this.#header(MAP, pairs);
    this.next.map(pairs);
  }
  set(length: number): void {
    if (this.#reserve(5)) this.#header(SET, length);
    this.next.set(length);
  }

  /** Makes room for `bytes` more. False: the reply is too long to be recorded. */
  #reserve(bytes: number): boolean {
    const needed = this.#length + bytes;
    if (this.#isTooLong || needed > this.#bytesMax) {
      this.#isTooLong = true;
      return false;
    }
    if (needed > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    return true;
  }

  #header(tag: number, length: number): void {
    this.#buffer[this.#length] = tag;
    this.#length = this.#buffer.writeUInt32LE(length, this.#length + 1);
  }

  #tag(tag: number): void {
    if (this.#reserve(1)) this.#buffer[this.#length++] = tag;
  }

  #text(tag: number, text: string): void {
    const bytes = Buffer.byteLength(text);
    if (!this.#reserve(5 + bytes)) return;
    this.#header(tag, bytes);
    this.#length += this.#buffer.write(text, this.#length, 'utf8');
  }
}

/** The record of a reply that sums up so many keys. */
export function recordOfKeys(keys: number, record: RecordedReply): RecordedReply {
  const head = Buffer.from([KEYS, 0, 0, 0, 0]);
  head.writeUInt32LE(keys, 1);
  return head.toString('latin1') + record;
}

/** How many keys the reply sums up; 0: that is not known. */
export function recordedKeys(record: RecordedReply): number {
  return record.charCodeAt(0) === KEYS ? Buffer.from(record.slice(0, 5), 'latin1').readUInt32LE(1) : 0;
}

/** Sends a recorded reply. */
export function replayReply(record: RecordedReply, sink: ReplySink): void {
  const bytes = Buffer.from(record, 'latin1');
  for (let at = 0; at < bytes.length;) at = replayValue(bytes, at, sink);
}

/** Sends the value at `at`; of an aggregate, its head. Returns the offset behind it. */
function replayValue(bytes: Buffer, at: number, sink: ReplySink): number {
  const tag = bytes[at++];
  switch (tag) {
    case INTEGER:
      sink.integer(bytes.readDoubleLE(at));
      return at + 8;
    case LONG:
      sink.integer(bytes.readBigInt64LE(at));
      return at + 8;
    case DOUBLE:
      sink.double(bytes.readDoubleLE(at));
      return at + 8;
    case TRUE:
    case FALSE:
      sink.boolean(tag === TRUE);
      return at;
    case NULL:
      sink.null();
      return at;
    case NULL_ARRAY:
      sink.nullArray();
      return at;
    default:
  }
  const length = bytes.readUInt32LE(at);
  at += 4;
  if (tag === ARRAY) sink.array(length);
  else if (tag === MAP) sink.map(length);
  else if (tag === SET) sink.set(length);
  else if (tag === KEYS) return at;
  else return replayBytes(bytes, tag, at, at + length, sink);
  return at;
}

function replayBytes(bytes: Buffer, tag: number | undefined, start: number, end: number, sink: ReplySink): number {
  assert(end <= bytes.length, 'recorded reply: cut off');
  if (tag === BYTES) sink.bulk(bytes, start, end);
  else if (tag === SIMPLE) sink.simple(bytes.toString('utf8', start, end));
  else if (tag === ERROR) sink.error(bytes.toString('utf8', start, end));
  else if (tag === TEXT) sink.text(bytes.toString('utf8', start, end));
  else assert(false, 'recorded reply: unknown tag');
  return end;
}
