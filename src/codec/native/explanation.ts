/**
 * An explanation behind a reply (docs/native-protocol.md, "Explanations"): what the server says of an explained request.
 *
 *     response   │ header: byte 13 = 1 │ value │ explanation: one msgpack map │ its length, u32 │
 */
import type { RangeExplanation } from '../../core/kv/explanation.ts';
import { RESPONSE_HEADER_BYTES } from './frame.ts';
import { packMessage, unpackMessage } from './messages.ts';

export interface ServerExplanation {
  /** Whom the client asked. */
  readonly nodeId: number;
  readonly worker: number;
  /** From the request read off its socket to its reply made. */
  readonly totalMs: number;
  /** The ranges that took part, in the order of their replies. */
  readonly ranges: readonly RangeExplanation[];
}

/** In the flags of a response. */
export const RESPONSE_EXPLAINED = 1;
const RESPONSE_FLAGS_OFFSET = 13;
const LENGTH_BYTES = 4;

/** What follows the value. */
export function packExplanation(explanation: ServerExplanation): Buffer {
  const body = packMessage(explanation);
  const bytes = Buffer.allocUnsafe(body.length + LENGTH_BYTES);
  body.copy(bytes);
  bytes.writeUInt32LE(body.length, body.length);
  return bytes;
}

/**
 * Where the explanation of the response source[start, end) begins, the length field being at `start`; `end` when it has none.
 */
export function explanationStart(source: Buffer, start: number, end: number): number {
  if (((source[start + RESPONSE_FLAGS_OFFSET] as number) & RESPONSE_EXPLAINED) === 0) return end;
  const value = start + RESPONSE_HEADER_BYTES;
  if (end - value < LENGTH_BYTES) return end;
  return Math.max(value, end - LENGTH_BYTES - source.readUInt32LE(end - LENGTH_BYTES));
}

/** Throws SkerryError KV_INVALID on bytes that are no msgpack. */
export function unpackExplanation(source: Buffer, start: number, end: number): ServerExplanation {
  return unpackMessage(source, start, end - LENGTH_BYTES) as ServerExplanation;
}
