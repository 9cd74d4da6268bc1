/**
 * Every limit of the store in one place, with the inequalities between them asserted when this file loads.
 * What a user may change is a default here and a setting in src/server/settings.ts.
 */
import { assert } from './assert.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  /** A user key. The engine keeps whole keys in pages, so this must stay well below a page. */
  keyBytesMax: 1024,
  /** The largest value that any configuration can allow (Redis's own bound). */
  valueBytesCeiling: 512 * MiB,
  /** The default of --max-value. */
  valueBytesDefault: 64 * MiB,
  /** Values in one reply: it exists as a whole, in memory and in a frame between nodes, before anybody reads of it. */
  replyBytesMax: 512 * MiB,
  /** Arguments of one command. */
  argsMax: 1024 * KiB,
  /** Payload of one WAL entry; longer Raft entries are split into fragments. */
  walFragmentBytesMax: 1 * MiB,
  walSegmentBytes: 64 * MiB,
  /** Writes are whole blocks of this size. */
  walBlockBytes: 4 * KiB,
  /** Ring from a shard worker to its WAL writer. */
  walRingBytes: 8 * MiB,
  /** Ring between two shard workers, each way. */
  forwardRingBytes: 4 * MiB,
  /** Longer frames between workers go through a message port. */
  forwardInlineBytesMax: 256 * KiB,
  /** Bytes in that port that the other worker has not taken; beyond, frames wait. One always goes. */
  forwardPortBytesMax: 16 * MiB,
  /** Frames that wait for room on their way to another worker; beyond, its own requests are not run until it has taken some. */
  forwardBacklogBytesMax: 16 * MiB,
  /** Requests to another worker that are not answered; beyond, more are refused. One always goes. */
  forwardInFlightBytesMax: 64 * MiB,
  /** Commands of one worker that wait for a range to have a leader; beyond, they are refused. One always waits. */
  waitingBytesMax: 64 * MiB,
  /**
   * Raft entry in the making: when a range's pending batch reaches this, it is proposed at once. One entry is applied without
   * a pause, at one to two microseconds a command: these two bound how long reads wait for it, to some ten milliseconds.
   */
  batchBytesMax: 512 * KiB,
  batchCommandsMax: 4 * KiB,
  /** Commands of one worker that are taken and not yet applied; beyond, writes are refused. One always goes. */
  pendingBytesMax: 256 * MiB,
  /** Bytes of replies that one connection may leave unread before its socket is no longer read from. */
  connectionOutputPauseBytes: 1 * MiB,
  /** Bytes of replies that one connection may leave unread before it is closed. */
  connectionOutputMaxBytes: 64 * MiB,
  /** Inline commands and protocol lines. */
  protocolLineBytesMax: 64 * KiB,
  connectionsMax: 20_000,
  /** Bounds of --max-memory. */
  memoryBytesMin: 64 * MiB,
  memoryBytesMax: 64 * 1024 * 1024 * MiB,
  /** The largest --max-recovery-seconds. */
  recoverySecondsMax: 3600,
  /** Raft messages that wait for one worker of another node behind the oldest; beyond, the oldest are dropped. */
  peerQueueBytesMax: 128 * MiB,
  /** A frame between nodes is closed once it has reached this; one message or command always goes. */
  peerFrameBytesSoft: 1 * MiB,
  /** The longest frame that a node takes from another: one command with the largest value. */
  peerFrameBytesMax: 576 * MiB,
  /** Commands sent to one worker of another node and not answered; beyond, more are refused. One always goes. */
  peerInFlightBytesMax: 64 * MiB,
  /** Replies that another node's worker leaves unread; beyond, its commands are held and not run. */
  peerRepliesBytesMax: 16 * MiB,
  /** A piece of a snapshot's file as it is read, sent and written. */
  snapshotChunkBytes: 256 * KiB,
  /** How far a snapshot's sender may be ahead of what the receiver has written. */
  snapshotWindowBytes: 1 * MiB,
} as const;

assert(limits.walFragmentBytesMax * 4 <= limits.walRingBytes, 'a ring holds several fragments');
assert(limits.walRingBytes < limits.walSegmentBytes, 'one drained ring fits into a segment');
assert(limits.forwardInlineBytesMax * 4 <= limits.forwardRingBytes, 'a ring holds several frames');
assert(limits.walSegmentBytes % limits.walBlockBytes === 0, 'segments are whole blocks');
assert(limits.valueBytesDefault <= limits.valueBytesCeiling, 'defaults keep to the ceiling');
assert(limits.valueBytesCeiling + limits.peerFrameBytesSoft * 8 < limits.peerFrameBytesMax, 'any command fits a frame');
assert(limits.replyBytesMax + limits.argsMax * 16 < limits.peerFrameBytesMax, 'any reply fits a frame');
assert(limits.valueBytesCeiling <= limits.replyBytesMax, 'any value fits a reply');
assert(limits.snapshotChunkBytes < limits.peerFrameBytesSoft, 'a piece of a snapshot fits a frame');
assert(limits.batchBytesMax < limits.walRingBytes, 'a batch fits into the ring');
