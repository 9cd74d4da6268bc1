/**
 * Replies as values, for the commands whose reply is put together from several ranges'. Slower than passing bytes on, and
 * only used there.
 */
import type { ReplySink } from '../../core/kv/reply.ts';
import { CommandErrorValue } from '../../codec/native/messages.ts';
import { unpackMessage } from '../../codec/native/messages.ts';

/** Text is a status (OK); bytes are a binary string. */
export type ReplyValue =
  | number
  | bigint
  | boolean
  | string
  | null
  | Uint8Array
  | CommandErrorValue
  | readonly ReplyValue[];

/** The value of a reply that came as msgpack from another worker. */
export function decodeReply(source: Buffer, start: number, end: number): ReplyValue {
  return unpackMessage(source, start, end) as ReplyValue;
}

/** Sends a value as a reply. */
export function playReply(value: ReplyValue, sink: ReplySink): void {
  if (value === null) sink.null();
  else if (typeof value === 'number' || typeof value === 'bigint') sink.integer(value);
  else if (typeof value === 'boolean') sink.boolean(value);
  else if (typeof value === 'string') sink.simple(value);
  else if (value instanceof CommandErrorValue) sink.error(value.text);
  else if (value instanceof Uint8Array) {
    sink.bulk(Buffer.from(value.buffer, value.byteOffset, value.byteLength), 0, value.byteLength);
  } else {
    sink.array(value.length);
    for (const element of value) playReply(element, sink);
  }
}

/** A sink that keeps one reply as a value. */
export class ReplyCollector implements ReplySink {
  #value: ReplyValue = null;
  /** Arrays that still want elements, outermost first. */
  readonly #open: { readonly elements: ReplyValue[]; readonly length: number }[] = [];

  /** The reply, once it is complete. */
  take(): ReplyValue {
    const value = this.#value;
    this.#value = null;
    return value;
  }

  simple(text: string): void {
    this.#add(text);
  }
  error(text: string): void {
    this.#add(new CommandErrorValue(text));
  }
  integer(value: number | bigint): void {
    this.#add(value);
  }
  double(value: number): void {
    this.#add(Buffer.from(String(value)));
  }
  boolean(value: boolean): void {
    this.#add(value);
  }
  bulk(source: Buffer, start: number, end: number): void {
    this.#add(Buffer.from(source.subarray(start, end)));
  }
  text(value: string): void {
    this.#add(Buffer.from(value));
  }
  null(): void {
    this.#add(null);
  }
  nullArray(): void {
    this.#add(null);
  }
  array(length: number): void {
    const elements: ReplyValue[] = [];
    if (length === 0) this.#add(elements);
    else this.#open.push({ elements, length });
  }
  map(pairs: number): void {
    this.array(pairs * 2);
  }
  set(length: number): void {
    this.array(length);
  }

  #add(value: ReplyValue): void {
    let complete = value;
    for (;;) {
      const innermost = this.#open.at(-1);
      if (innermost === undefined) {
        this.#value = complete;
        return;
      }
      innermost.elements.push(complete);
      if (innermost.elements.length < innermost.length) return;
      this.#open.pop();
      complete = innermost.elements;
    }
  }
}
