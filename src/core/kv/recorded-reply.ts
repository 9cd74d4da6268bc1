/**
 * A reply kept for a retry, in a small tagged form of its own (it lives in checkpoints, so it cannot be a connection's
 * encoding): one tag byte and, for text and bytes, a u32 length, little-endian.
 *
 *     S simple   E error   T text   B bytes      tag, u32 length, bytes
 *     I integer                                  tag, decimal text as for B
 *     D double                                   tag, f64
 *     t true  f false  N null  n null array      tag
 *     A array  M map  X set                      tag, u32 length; the elements follow
 */
import { assert, unreachable } from '../assert.ts';
import type { ReplySink } from './reply.ts';

type LengthTag = 'S' | 'E' | 'T' | 'B' | 'I' | 'A' | 'M' | 'X';
type Tag = LengthTag | 'D' | 't' | 'f' | 'N' | 'n';

/** Passes a reply on and keeps a copy. */
export class ReplyRecorder implements ReplySink {
  /** Where the reply goes on to. */
  next: ReplySink;
  #bytes: Buffer[] = [];

  constructor(next: ReplySink) {
    this.next = next;
  }

  /** The recorded reply; the recorder is empty again. */
  take(): Buffer {
    const whole = Buffer.concat(this.#bytes);
    this.#bytes = [];
    return whole;
  }

  simple(text: string): void {
    this.#data('S', Buffer.from(text));
    this.next.simple(text);
  }
  error(text: string): void {
    this.#data('E', Buffer.from(text));
    this.next.error(text);
  }
  integer(value: number | bigint): void {
    this.#data('I', Buffer.from(String(value)));
    this.next.integer(value);
  }
  double(value: number): void {
    const bytes = Buffer.alloc(9);
    bytes.write('D', 'latin1');
    bytes.writeDoubleLE(value, 1);
    this.#bytes.push(bytes);
    this.next.double(value);
  }
  boolean(value: boolean): void {
    this.#bytes.push(Buffer.from(value ? 't' : 'f'));
    this.next.boolean(value);
  }
  bulk(source: Buffer, start: number, end: number): void {
    this.#data('B', source.subarray(start, end));
    this.next.bulk(source, start, end);
  }
  text(value: string): void {
    this.#data('T', Buffer.from(value));
    this.next.text(value);
  }
  null(): void {
    this.#bytes.push(Buffer.from('N'));
    this.next.null();
  }
  nullArray(): void {
    this.#bytes.push(Buffer.from('n'));
    this.next.nullArray();
  }
  array(length: number): void {
    this.#head('A', length);
    this.next.array(length);
  }
  map(pairs: number): void {
    this.#head('M', pairs);
    this.next.map(pairs);
  }
  set(length: number): void {
    this.#head('X', length);
    this.next.set(length);
  }

  #head(tag: LengthTag, length: number): void {
    const head = Buffer.alloc(5);
    head.write(tag, 'latin1');
    head.writeUInt32LE(length, 1);
    this.#bytes.push(head);
  }

  #data(tag: LengthTag, data: Buffer): void {
    this.#head(tag, data.length);
    this.#bytes.push(Buffer.from(data));
  }
}

/** Sends a recorded reply. */
export function replayReply(recorded: Buffer, sink: ReplySink): void {
  let at = 0;
  while (at < recorded.length) {
    const tag = String.fromCharCode(recorded[at] as number) as Tag;
    at++;
    if (tag === 'D') {
      sink.double(recorded.readDoubleLE(at));
      at += 8;
      continue;
    }
    if (tag === 't' || tag === 'f') {
      sink.boolean(tag === 't');
      continue;
    }
    if (tag === 'N') {
      sink.null();
      continue;
    }
    if (tag === 'n') {
      sink.nullArray();
      continue;
    }
    const length = recorded.readUInt32LE(at);
    at += 4;
    if (tag === 'A') sink.array(length);
    else if (tag === 'M') sink.map(length);
    else if (tag === 'X') sink.set(length);
    else {
      assert(at + length <= recorded.length, 'recorded reply: cut off');
      sendData(tag, recorded, at, at + length, sink);
      at += length;
    }
  }
}

function sendData(tag: 'S' | 'E' | 'T' | 'B' | 'I', bytes: Buffer, start: number, end: number, sink: ReplySink): void {
  switch (tag) {
    case 'S':
      sink.simple(bytes.toString('utf8', start, end));
      break;
    case 'E':
      sink.error(bytes.toString('utf8', start, end));
      break;
    case 'T':
      sink.text(bytes.toString('utf8', start, end));
      break;
    case 'B':
      sink.bulk(bytes, start, end);
      break;
    case 'I': {
      const value = BigInt(bytes.toString('latin1', start, end));
      sink.integer(value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value);
      break;
    }
    default:
      unreachable(tag);
  }
}
