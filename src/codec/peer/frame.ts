/**
 * Frames between two nodes. Little-endian; docs/peer-protocol.md shows bytes.
 *
 *      0  u32 payload bytes
 *      4  u8  kind
 *      5  u8[3] 0
 *      8  u32 crc-32 of the payload
 *     12  u32 crc-32 of bytes 0–11: a damaged length is noticed before anybody waits for the bytes that it promises
 *     16  payload
 */
import type { ByteWriter } from '../byte-writer.ts';
import { crc32 } from '../crc.ts';

export const PEER_HEADER_BYTES = 16;

/** First from the dialler; answered by WELCOME, or by REFUSED and the end of the connection. */
export const PEER_HELLO = 1;
export const PEER_WELCOME = 2;
export const PEER_REFUSED = 3;
/** Raft messages of one turn, of any number of groups. */
export const PEER_RAFT = 4;
/** Commands for the ranges that the listener leads, and what became of them. */
export const PEER_REQUESTS = 5;
export const PEER_REPLIES = 6;
export const PEER_PING = 7;
export const PEER_PONG = 8;
/** Of snapshot connections: what is offered; from where on it is wanted; bytes; whether it was taken. See snapshot.ts. */
export const PEER_SNAPSHOT_OFFER = 9;
export const PEER_SNAPSHOT_FROM = 10;
export const PEER_SNAPSHOT_CHUNK = 11;
export const PEER_SNAPSHOT_OUTCOME = 12;
/** What stands for the heartbeats of the groups that rest. */
export const PEER_BEATS = 13;
const KIND_LAST = PEER_BEATS;

/** The other side sent what no node of this version sends, or the bytes were damaged on the way: the connection ends. */
export class PeerProtocolError extends Error {
  override readonly name = 'PeerProtocolError';
}

/** Makes room for a frame's header and returns where the frame begins. Its payload is appended next. */
export function beginPeerFrame(out: ByteWriter): number {
  const start = out.length;
  out.reserve(PEER_HEADER_BYTES);
  out.length = start + PEER_HEADER_BYTES;
  return start;
}

/** Completes the frame that began at `start` and ends where `out` ends. */
export function endPeerFrame(out: ByteWriter, start: number, kind: number): void {
  const { buffer, length } = out;
  const payload = start + PEER_HEADER_BYTES;
  buffer.writeUInt32LE(length - payload, start);
  buffer.writeUInt32LE(kind, start + 4);
  buffer.writeUInt32LE(crc32(buffer, payload, length), start + 8);
  buffer.writeUInt32LE(crc32(buffer, start, start + 12), start + 12);
}

/** The bytes of the whole frame whose header is at `start`. Throws PeerProtocolError. */
export function checkPeerHeader(source: Buffer, start: number, payloadBytesMax: number): number {
  if (crc32(source, start, start + 12) !== source.readUInt32LE(start + 12)) {
    throw new PeerProtocolError('the checksum of a frame’s header does not match: the bytes were damaged on the way');
  }
  const payloadBytes = source.readUInt32LE(start);
  const kind = source.readUInt32LE(start + 4);
  if (kind === 0 || kind > KIND_LAST) throw new PeerProtocolError(`a frame is of unknown kind ${kind}`);
  if (payloadBytes > payloadBytesMax) {
    throw new PeerProtocolError(`a frame announces ${payloadBytes} bytes and ${payloadBytesMax} are allowed`);
  }
  return PEER_HEADER_BYTES + payloadBytes;
}

/** Verifies the payload of the frame source[start, end), whose header has been checked. Throws PeerProtocolError. */
export function checkPeerPayload(source: Buffer, start: number, end: number): void {
  if (crc32(source, start + PEER_HEADER_BYTES, end) !== source.readUInt32LE(start + 8)) {
    throw new PeerProtocolError('the checksum of a frame does not match: the bytes were damaged on the way');
  }
}
