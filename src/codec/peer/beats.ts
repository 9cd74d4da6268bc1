/**
 * Beats (src/core/beat.ts) as the payload of one frame: records, one after another.
 *
 *     u8       1 = an answer
 *     varint   session · varint peer session · varint tick
 *     varint   count of rests; for each:
 *              varint   range id
 *              u8       from: worker · varint from: incarnation
 *              u8       to: worker   · varint to: incarnation
 *              varint   term · varint index · varint stamp
 *
 * The nodes of `from` and `to` are those of the connection's handshake.
 */
import type { Beat, RestTaken } from '../../core/beat.ts';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../core/brands.ts';
import { incarnationOf, memberFrom, workerOf } from '../../core/member.ts';
import type { ByteWriter } from '../byte-writer.ts';
import { PeerProtocolError } from './frame.ts';
import type { PayloadReader } from './varint.ts';
import { VARINT_BYTES_MAX, writeVarint } from './varint.ts';

const BEAT_BYTES_MAX = 1 + 4 * VARINT_BYTES_MAX;
const REST_BYTES_MAX = 2 + 6 * VARINT_BYTES_MAX;
const REST_BYTES_MIN = 8;

export function writeBeat(out: ByteWriter, { isAnswer, session, peerSession, tick, rests }: Beat): void {
  out.reserve(BEAT_BYTES_MAX + rests.length * REST_BYTES_MAX);
  const { buffer } = out;
  let at = out.length;
  buffer[at] = isAnswer ? 1 : 0;
  at = writeVarint(buffer, at + 1, session);
  at = writeVarint(buffer, at, peerSession);
  at = writeVarint(buffer, at, tick);
  at = writeVarint(buffer, at, rests.length);
  for (const { rangeId, from, to, term, index, stamp } of rests) {
    at = writeVarint(buffer, at, rangeId);
    at = writeMember(buffer, at, from);
    at = writeMember(buffer, at, to);
    at = writeVarint(buffer, at, term);
    at = writeVarint(buffer, at, index);
    at = writeVarint(buffer, at, stamp);
  }
  out.length = at;
}

function writeMember(buffer: Buffer, offset: number, member: MemberId): number {
  buffer[offset] = workerOf(member);
  return writeVarint(buffer, offset + 1, incarnationOf(member));
}

/** Reads the next beat, of `fromNode` for `toNode`. Throws PeerProtocolError. */
export function readBeat(reader: PayloadReader, fromNode: NodeId, toNode: NodeId): Beat {
  const kind = reader.byte();
  if (kind > 1) throw new PeerProtocolError(`a beat of unknown kind ${kind}`);
  const session = reader.varint();
  const peerSession = reader.varint();
  const tick = reader.varint();
  const count = reader.varint();
  if (count * REST_BYTES_MIN > reader.end - reader.at) {
    throw new PeerProtocolError('a frame ends in the middle of what it carries');
  }
  const rests: RestTaken[] = [];
  for (let i = 0; i < count; i++) {
    rests.push({
      rangeId: reader.varint() as RangeId,
      from: readMember(reader, fromNode),
      to: readMember(reader, toNode),
      term: reader.varint() as Term,
      index: reader.varint() as LogIndex,
      stamp: reader.varint(),
    });
  }
  return { isAnswer: kind === 1, session, peerSession, tick, rests };
}

function readMember(reader: PayloadReader, node: NodeId): MemberId {
  const worker = reader.byte();
  const member = memberFrom(node, worker, reader.varint());
  if (member === 0) throw new PeerProtocolError('a group rests on nobody');
  return member;
}
