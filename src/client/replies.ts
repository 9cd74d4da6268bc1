/** From the body of a response to what a call resolves or rejects with. */
import { meaningOf } from '../codec/error-words.ts';
import { CommandErrorValue, unpackMessage } from '../codec/native/messages.ts';
import { SkerryError } from '../core/errors.ts';

/** Turns the msgpack value source[start, end) into a call's result. The bytes are valid only during the call. */
export type Decode<Result> = (source: Buffer, start: number, end: number) => Result;

/** The error that a command's error text stands for. */
function commandError(text: string): SkerryError {
  const known = meaningOf(text);
  if (known === undefined) return new SkerryError('KV_REPLY', text);
  return new SkerryError(known.code, text.slice(text.indexOf(' ') + 1), { retryable: known.retryable });
}

/** The error in a response whose status is not 0. */
export function decodeError(status: number, source: Buffer, start: number, end: number): SkerryError {
  const value = decodeRaw(source, start, end);
  if (value instanceof SkerryError) return value;
  if (value instanceof CommandErrorValue) return commandError(value.text);
  return unexpected(`the error that belongs to status ${status}`);
}

function decodeRaw(source: Buffer, start: number, end: number): unknown {
  try {
    return unpackMessage(source, start, end);
  } catch (error) {
    if (error instanceof SkerryError) return error;
    throw error;
  }
}

/** Any value; errors inside arrays come as SkerryError objects, binary strings as Buffer. */
export function decodeValue(source: Buffer, start: number, end: number): unknown {
  return publicValue(unpackMessage(source, start, end));
}

function publicValue(value: unknown): unknown {
  if (value instanceof CommandErrorValue) return commandError(value.text);
  if (value instanceof Uint8Array) return asBuffer(value);
  if (Array.isArray(value)) return value.map(publicValue);
  if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, publicValue(inner)]));
  }
  return value;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Where the bytes of the bin at `start` begin, or -1 when something else is there. */
function binStart(source: Buffer, start: number): number {
  const type = source[start];
  return type === 0xc4 ? start + 2 : type === 0xc5 ? start + 3 : type === 0xc6 ? start + 5 : -1;
}

/** A binary string, or nil. */
export function decodeBytes(source: Buffer, start: number, end: number): Buffer | undefined {
  if (source[start] === 0xc0) return undefined;
  const at = binStart(source, start);
  if (at < 0 || at > end) throw unexpected('a binary string or nil');
  const copy = Buffer.allocUnsafe(end - at);
  source.copy(copy, 0, at, end);
  return copy;
}

/** A binary string as UTF-8 text, or nil. */
export function decodeText(source: Buffer, start: number, end: number): string | undefined {
  if (source[start] === 0xc0) return undefined;
  const at = binStart(source, start);
  if (at < 0 || at > end) throw unexpected('a binary string or nil');
  return source.toString('utf8', at, end);
}

/** An integer: whether it is above 0. */
export function decodePositive(source: Buffer, start: number): boolean {
  const first = source[start] as number;
  if (first < 0x80) return first > 0;
  if (first === 0xcd || first === 0xce) return true;
  throw unexpected('a count');
}

/** OK, or nil when a condition did not hold. */
export function decodeOk(source: Buffer, start: number): boolean {
  const first = source[start] as number;
  if (first === 0xc0) return false;
  if (first >= 0xa0 && first < 0xc0) return true;
  throw unexpected('OK or nil');
}

/** OK, and nothing that its caller would want to know. */
export function decodeDone(source: Buffer, start: number): void {
  decodeOk(source, start);
}

/** An array of binary strings and nils. */
export function decodeBytesArray(source: Buffer, start: number, end: number): (Buffer | undefined)[] {
  const value = decodeValue(source, start, end);
  if (!Array.isArray(value)) throw unexpected('an array');
  return value.map((item) => {
    if (item === null) return undefined;
    if (Buffer.isBuffer(item)) return item;
    if (item instanceof SkerryError) throw item;
    throw unexpected('an array of binary strings and nils');
  });
}

export function decodeTextArray(source: Buffer, start: number, end: number): (string | undefined)[] {
  return decodeBytesArray(source, start, end).map((value) => value?.toString());
}

export function unexpected(wanted: string): SkerryError {
  return new SkerryError('KV_INVALID', `the store answered with something else than ${wanted}`);
}
