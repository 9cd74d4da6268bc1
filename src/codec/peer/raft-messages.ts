/**
 * Raft messages of any number of groups as the payload of one frame: records, one after another. A heartbeat or its answer,
 * of which there may be thousands, takes some 16 bytes; every message is written in the same way.
 *
 *     u8       type, | 0x10 = reject
 *     u8       which of the optional fields follow (those that are 0 or empty are left out)
 *     varint   range id
 *     u8       from: worker · varint from: incarnation
 *     u8       to: worker   · varint to: incarnation
 *     varint   term
 *    [varint   index]     1
 *    [varint   log term]  2
 *    [varint   commit]    4
 *    [varint   context]   8
 *    [varint   hint]     16
 *    [entries]           32  varint count · varint index of the first one · varint bytes of data in all ·
 *                            for each: varint term, u8 type, varint bytes of its data · the data of all
 *    [snapshot]          64  varint index · varint term · u8 auto leave · four lists of members
 *                            (voters, outgoing, learners, next): varint count, u64 ids
 *
 * The nodes of `from` and `to` are those of the connection's handshake: a node can speak for itself only.
 */
import { assert } from '../../core/assert.ts';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../core/brands.ts';
import { readU64, writeU64 } from '../../core/kv/batch.ts';
import { incarnationOf, memberFrom, nodeOf, workerOf } from '../../core/member.ts';
import type { ConfState, Entry, EntryType, Message, MessageType, SnapshotMeta } from '../../core/raft/types.ts';
import { ENTRY_NOOP, MSG_PRE_VOTE, MSG_TIMEOUT_NOW } from '../../core/raft/types.ts';
import type { ByteWriter } from '../byte-writer.ts';
import { PeerProtocolError } from './frame.ts';
import type { PayloadReader } from './varint.ts';
import { VARINT_BYTES_MAX, writeVarint } from './varint.ts';

const TYPE_MASK = 0x0f;
const REJECT = 0x10;

const HAS_INDEX = 1;
const HAS_LOG_TERM = 2;
const HAS_COMMIT = 4;
const HAS_CONTEXT = 8;
const HAS_HINT = 16;
const HAS_ENTRIES = 32;
const HAS_SNAPSHOT = 64;

/** Type, mask, both workers, and nine numbers. */
const FIXED_BYTES_MAX = 4 + 9 * VARINT_BYTES_MAX;
const ENTRIES_BYTES_MAX = 3 * VARINT_BYTES_MAX;
const ENTRY_BYTES_MAX = 1 + 2 * VARINT_BYTES_MAX;
const SNAPSHOT_BYTES_MAX = 1 + 6 * VARINT_BYTES_MAX;
const MEMBER_BYTES = 8;

const NO_ENTRIES: readonly Entry[] = [];

/** An upper bound for the bytes of a message, and what it weighs in a queue. */
export function raftMessageBytesMax({ entries, snapshot }: Message): number {
  let bytes = FIXED_BYTES_MAX;
  if (entries.length > 0) bytes += ENTRIES_BYTES_MAX;
  for (const { data } of entries) bytes += ENTRY_BYTES_MAX + data.length;
  if (snapshot !== null) {
    bytes += SNAPSHOT_BYTES_MAX;
    for (const list of listsOf(snapshot.conf)) bytes += list.length * MEMBER_BYTES;
  }
  return bytes;
}

/** Appends a message. Its entries follow each other; their data is copied. */
export function writeRaftMessage(out: ByteWriter, rangeId: RangeId, message: Message): void {
  const { from, to, term, index, logTerm, commit, context, hint, entries, snapshot } = message;
  out.reserve(raftMessageBytesMax(message));
  const { buffer } = out;
  let at = out.length;
  buffer[at] = message.type | (message.reject ? REJECT : 0);
  buffer[at + 1] =
    (index === 0 ? 0 : HAS_INDEX) |
    (logTerm === 0 ? 0 : HAS_LOG_TERM) |
    (commit === 0 ? 0 : HAS_COMMIT) |
    (context === 0 ? 0 : HAS_CONTEXT) |
    (hint === 0 ? 0 : HAS_HINT) |
    (entries.length === 0 ? 0 : HAS_ENTRIES) |
    (snapshot === null ? 0 : HAS_SNAPSHOT);
  at = writeVarint(buffer, at + 2, rangeId);
  buffer[at] = workerOf(from);
  at = writeVarint(buffer, at + 1, incarnationOf(from));
  buffer[at] = workerOf(to);
  at = writeVarint(buffer, at + 1, incarnationOf(to));
  at = writeVarint(buffer, at, term);
  if (index !== 0) at = writeVarint(buffer, at, index);
  if (logTerm !== 0) at = writeVarint(buffer, at, logTerm);
  if (commit !== 0) at = writeVarint(buffer, at, commit);
  if (context !== 0) at = writeVarint(buffer, at, context);
  if (hint !== 0) at = writeVarint(buffer, at, hint);
  if (entries.length > 0) at = writeEntries(buffer, at, entries);
  if (snapshot !== null) at = writeSnapshot(buffer, at, snapshot);
  out.length = at;
}

function writeEntries(buffer: Buffer, offset: number, entries: readonly Entry[]): number {
  const first = (entries[0] as Entry).index;
  let bytes = 0;
  for (const { data } of entries) bytes += data.length;
  let at = writeVarint(buffer, offset, entries.length);
  at = writeVarint(buffer, at, first);
  at = writeVarint(buffer, at, bytes);
  let expected: number = first;
  for (const { index, term, type, data } of entries) {
    assert(index === expected++, 'peer: the entries of a message follow each other');
    at = writeVarint(buffer, at, term);
    buffer[at] = type;
    at = writeVarint(buffer, at + 1, data.length);
  }
  for (const { data } of entries) {
    buffer.set(data, at);
    at += data.length;
  }
  return at;
}

function writeSnapshot(buffer: Buffer, offset: number, { index, term, conf }: SnapshotMeta): number {
  let at = writeVarint(buffer, offset, index);
  at = writeVarint(buffer, at, term);
  buffer[at++] = conf.autoLeave ? 1 : 0;
  for (const list of listsOf(conf)) {
    at = writeVarint(buffer, at, list.length);
    for (const id of list) {
      writeU64(buffer, id, at);
      at += MEMBER_BYTES;
    }
  }
  return at;
}

function listsOf(conf: ConfState): readonly (readonly MemberId[])[] {
  return [conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext];
}

/**
 * Reads the next message, of `fromNode` for `toNode`, and calls `take` with it. The data of its entries is copied, once, into bytes of its
 * own that nobody else writes to. Throws PeerProtocolError.
 */
export function readRaftMessage(
  reader: PayloadReader,
  fromNode: NodeId,
  toNode: NodeId,
  take: (rangeId: RangeId, message: Message) => void,
): void {
  const first = reader.byte();
  const type = first & TYPE_MASK;
  if (type < MSG_PRE_VOTE || type > MSG_TIMEOUT_NOW || (first & ~(TYPE_MASK | REJECT)) !== 0) {
    throw new PeerProtocolError(`a Raft message of unknown type ${first}`);
  }
  const has = reader.byte();
  const rangeId = reader.varint() as RangeId;
  const from = readMember(reader, fromNode);
  const to = readMember(reader, toNode);
  const term = reader.varint() as Term;
  take(rangeId, {
    type: type as MessageType,
    from,
    to,
    term,
    index: ((has & HAS_INDEX) === 0 ? 0 : reader.varint()) as LogIndex,
    logTerm: ((has & HAS_LOG_TERM) === 0 ? 0 : reader.varint()) as Term,
    commit: ((has & HAS_COMMIT) === 0 ? 0 : reader.varint()) as LogIndex,
    context: (has & HAS_CONTEXT) === 0 ? 0 : reader.varint(),
    hint: ((has & HAS_HINT) === 0 ? 0 : reader.varint()) as LogIndex,
    reject: (first & REJECT) !== 0,
    entries: (has & HAS_ENTRIES) === 0 ? NO_ENTRIES : readEntries(reader),
    snapshot: (has & HAS_SNAPSHOT) === 0 ? null : readSnapshot(reader),
  });
}

function readMember(reader: PayloadReader, node: NodeId): MemberId {
  const worker = reader.byte();
  const member = memberFrom(node, worker, reader.varint());
  if (member === 0) throw new PeerProtocolError('a Raft message of or for nobody');
  return member;
}

function readEntries(reader: PayloadReader): Entry[] {
  const count = reader.varint();
  const firstIndex = reader.varint();
  const bytes = reader.varint();
  // Each has three bytes at least: a count that cannot be true sets no memory aside.
  if (count === 0 || count * 3 + bytes > reader.end - reader.at) {
    throw new PeerProtocolError('a frame ends in the middle of what it carries');
  }
  const headers = reader.at;
  for (let i = 0; i < count; i++) skipEntryHeader(reader);
  const dataStart = reader.skip(bytes);
  const after = reader.at;
  const data = Buffer.allocUnsafe(bytes);
  reader.source.copy(data, 0, dataStart, after);
  reader.at = headers;
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const term = reader.varint() as Term;
    const type = reader.byte();
    const length = reader.varint();
    if (type > ENTRY_NOOP || length > bytes - at) throw new PeerProtocolError('an entry is malformed');
    entries.push({
      index: (firstIndex + i) as LogIndex,
      term,
      type: type as EntryType,
      data: data.subarray(at, at + length),
    });
    at += length;
  }
  if (at !== bytes) throw new PeerProtocolError('the entries of a message have bytes left over');
  reader.at = after;
  return entries;
}

function skipEntryHeader(reader: PayloadReader): void {
  reader.varint();
  reader.byte();
  reader.varint();
}

function readSnapshot(reader: PayloadReader): SnapshotMeta {
  const index = reader.varint() as LogIndex;
  const term = reader.varint() as Term;
  const autoLeave = reader.byte() !== 0;
  const voters = readMembers(reader);
  const votersOutgoing = readMembers(reader);
  const learners = readMembers(reader);
  const learnersNext = readMembers(reader);
  return { index, term, conf: { voters, votersOutgoing, learners, learnersNext, autoLeave } };
}

function readMembers(reader: PayloadReader): MemberId[] {
  const count = reader.varint();
  let at = reader.skip(count * MEMBER_BYTES);
  const ids: MemberId[] = [];
  for (let i = 0; i < count; i++, at += MEMBER_BYTES) {
    const id = readU64(reader.source, at);
    if (!Number.isSafeInteger(id)) throw new PeerProtocolError(`${id} is no member id`);
    ids.push(id as MemberId);
  }
  return ids;
}

/** Whether the message's ends are where the connection's are: what writeRaftMessage() leaves out. */
export function travelsBetween({ from, to }: Message, fromNode: NodeId, toNode: NodeId): boolean {
  return nodeOf(from) === fromNode && nodeOf(to) === toNode;
}
