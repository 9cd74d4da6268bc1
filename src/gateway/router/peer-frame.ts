/**
 * Commands between nodes: the frames of forward-frame.ts, as many as there are, as the payload of one peer frame, and one
 * more kind of answer.
 *
 *     not leader
 *      0  u32 length = 24
 *      4  u8  kind = 4
 *      5  u8[3] 0
 *      8  u32 slot
 *     12  u32 0
 *     16  u64 member that is believed to lead; 0 = not known
 *
 * and explanations, whose msgpack map must have a kind that is known.
 *
 * Unlike those from another thread, these bytes come from another process: they are checked.
 */
import { unpackMessage } from '../../codec/native/messages.ts';
import { PeerProtocolError } from '../../codec/peer/frame.ts';
import type { PeerOutput } from '../../net/peer/types.ts';
import type { MemberId } from '../../core/brands.ts';
import { SkerryError } from '../../core/errors.ts';
import type { RangeExplanation } from '../../core/kv/explanation.ts';
import { createArgs } from '../../core/kv/args.ts';
import { readArgs, readU64, REQUEST_ID_BYTES, writeU64 } from '../../core/kv/batch.ts';
import {
  FRAME_EXPLANATION,
  FRAME_HAS_REQUEST_ID,
  FRAME_HAS_SCOPE,
  FRAME_HEADER_BYTES,
  FRAME_REPLY,
  FRAME_REQUEST,
  SCOPE_BYTES,
} from './forward-frame.ts';

const FRAME_NOT_LEADER = 4;
const NOT_LEADER_BYTES = FRAME_HEADER_BYTES + 8;

export function writeNotLeader(out: PeerOutput, slot: number, leader: MemberId | 0): void {
  out.reserve(NOT_LEADER_BYTES);
  const { buffer, length } = out;
  buffer.writeUInt32LE(NOT_LEADER_BYTES, length);
  buffer.writeUInt32LE(FRAME_NOT_LEADER, length + 4);
  buffer.writeUInt32LE(slot, length + 8);
  buffer.writeUInt32LE(0, length + 12);
  writeU64(buffer, leader, length + FRAME_HEADER_BYTES);
  out.length = length + NOT_LEADER_BYTES;
}

/** Returns where the frame at `start` ends. Throws PeerProtocolError. */
export function peerFrameEnd(source: Buffer, start: number, end: number): number {
  if (end - start < FRAME_HEADER_BYTES) throw malformed();
  const next = start + source.readUInt32LE(start);
  if (next > end || next < start + FRAME_HEADER_BYTES) throw malformed();
  return next;
}

const scratch = createArgs();

/** Throws PeerProtocolError unless source[start, end) is a request that readRequestFrame() can read. */
export function checkRequestFrame(source: Buffer, start: number, end: number): void {
  const protocol = source[start + 5] as number;
  if (source[start + 4] !== FRAME_REQUEST || protocol < 2 || protocol > 4) throw malformed();
  const flags = source[start + 6] as number;
  const argsStart =
    start +
    FRAME_HEADER_BYTES +
    ((flags & FRAME_HAS_REQUEST_ID) === 0 ? 0 : REQUEST_ID_BYTES) +
    ((flags & FRAME_HAS_SCOPE) === 0 ? 0 : SCOPE_BYTES);
  if (readArgs(source, argsStart, end, scratch) !== end) throw malformed();
}

/** What explains the reply that comes next; null when source[start, end) is something else. Throws PeerProtocolError. */
export function readExplanation(source: Buffer, start: number, end: number): RangeExplanation | null {
  if (source[start + 4] !== FRAME_EXPLANATION) return null;
  try {
    const explanation = unpackMessage(source, start + FRAME_HEADER_BYTES, end) as Partial<RangeExplanation> | null;
    if (explanation?.kind === 'write' || explanation?.kind === 'read') return explanation as RangeExplanation;
  } catch (error) {
    if (!(error instanceof SkerryError)) throw error;
  }
  throw malformed();
}

/** What the answer source[start, end) says: null = a reply; else who is believed to lead. Throws PeerProtocolError. */
export function leaderHint(source: Buffer, start: number, end: number): MemberId | 0 | null {
  const kind = source[start + 4];
  if (kind === FRAME_REPLY) return null;
  if (kind !== FRAME_NOT_LEADER || end - start !== NOT_LEADER_BYTES) throw malformed();
  return readU64(source, start + FRAME_HEADER_BYTES) as MemberId | 0;
}

function malformed(): PeerProtocolError {
  return new PeerProtocolError('a frame of commands or replies is malformed');
}
