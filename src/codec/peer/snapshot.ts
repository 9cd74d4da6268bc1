/**
 * What the two ends of a snapshot connection say. The file goes on from where an earlier connection broke off, if the
 * receiver has the beginning of this very file:
 *
 *     sender                                      receiver
 *       OFFER  varint file bytes · u32 identity ·   ─▶
 *              the SNAPSHOT message
 *                                                 ◀─  FROM     varint offset: written so far, send on from there
 *       CHUNK  varint offset · bytes                ─▶
 *                                                 ◀─  FROM     after each chunk: more may be sent
 *                                                 ◀─  OUTCOME  u8 1 = taken · 0 = not, and text why
 */
import type { NodeId, RangeId } from '../../core/brands.ts';
import type { Message } from '../../core/raft/types.ts';
import type { ByteWriter } from '../byte-writer.ts';
import { PeerProtocolError } from './frame.ts';
import { readRaftMessage, writeRaftMessage } from './raft-messages.ts';
import { PayloadReader, VARINT_BYTES_MAX, writeVarint } from './varint.ts';

export interface SnapshotOffer {
  readonly fileBytes: number;
  /** A checksum of those parts of the file that no other checkpoint has in common with it. */
  readonly identity: number;
  readonly rangeId: RangeId;
  readonly message: Message;
}

export interface SnapshotOutcome {
  readonly isTaken: boolean;
  /** Why not. */
  readonly reason: string;
}

export function writeSnapshotOffer(out: ByteWriter, { fileBytes, identity, rangeId, message }: SnapshotOffer): void {
  out.reserve(VARINT_BYTES_MAX + 4);
  const at = writeVarint(out.buffer, out.length, fileBytes);
  out.length = out.buffer.writeUInt32LE(identity, at);
  writeRaftMessage(out, rangeId, message);
}

/** Throws PeerProtocolError unless it is the offer of a snapshot. */
export function readSnapshotOffer(
  source: Buffer,
  start: number,
  end: number,
  fromNode: NodeId,
  toNode: NodeId,
): SnapshotOffer {
  const reader = new PayloadReader(source, start, end);
  const fileBytes = reader.varint();
  const identity = source.readUInt32LE(reader.skip(4));
  let offer: SnapshotOffer | null = null;
  readRaftMessage(reader, fromNode, toNode, (rangeId, message) => {
    offer = { fileBytes, identity, rangeId, message };
  });
  const { message } = offer as unknown as SnapshotOffer;
  if (message.snapshot === null) throw new PeerProtocolError('the offer of a snapshot has none');
  return offer as unknown as SnapshotOffer;
}

export function writeSnapshotFrom(out: ByteWriter, offset: number): void {
  out.reserve(VARINT_BYTES_MAX);
  out.length = writeVarint(out.buffer, out.length, offset);
}

/** The offset. Throws PeerProtocolError. */
export function readSnapshotFrom(source: Buffer, start: number, end: number): number {
  return new PayloadReader(source, start, end).varint();
}

export function writeSnapshotChunk(out: ByteWriter, offset: number, bytes: Buffer): void {
  writeSnapshotFrom(out, offset);
  out.append(bytes, 0, bytes.length);
}

/** A chunk's place in the file; its bytes are source[start, end). Throws PeerProtocolError. */
export function readSnapshotChunk(
  source: Buffer,
  start: number,
  end: number,
): { readonly offset: number; readonly start: number } {
  const reader = new PayloadReader(source, start, end);
  const offset = reader.varint();
  return { offset, start: reader.at };
}

export function writeSnapshotOutcome(out: ByteWriter, { isTaken, reason }: SnapshotOutcome): void {
  const bytes = Buffer.byteLength(reason);
  out.reserve(1 + VARINT_BYTES_MAX);
  out.buffer[out.length] = isTaken ? 1 : 0;
  out.length = writeVarint(out.buffer, out.length + 1, bytes);
  out.appendUtf8(reason);
}

/** Throws PeerProtocolError. */
export function readSnapshotOutcome(source: Buffer, start: number, end: number): SnapshotOutcome {
  const reader = new PayloadReader(source, start, end);
  return { isTaken: reader.byte() === 1, reason: reader.text() };
}
