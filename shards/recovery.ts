/**
 * How a worker's ranges come back: each from its newest checkpoint, then from the records of the WAL behind it.
 *
 *     checkpoint of range 1 ─▶ store, applied = 40
 *     WAL    1:41  1:42  2:7  1:43 = split, new range 5   5:2  5:3  1:44
 *            ──────────────────────────────────────────────────────────▶  one pass, in the order of writing
 *
 * Invariant: a range that came out of a split and has no checkpoint yet finds its parent's split entry before its own
 * first record: entries are written before they are applied, and the parent is not checkpointed past the split before
 * the new range has a checkpoint of its own (checkpointer.ts).
 */
import { assert } from '../src/core/assert.ts';
import type { LogIndex, MemberId, Term } from '../src/core/brands.ts';
import { BATCH_KIND, batchCount, batchRangeVersion } from '../src/core/kv/batch.ts';
import { discardReply } from '../src/core/kv/reply.ts';
import type { ApplyListener, StateMachine } from '../src/core/kv/state-machine.ts';
import { createStateMachine } from '../src/core/kv/state-machine.ts';
import type { RangeDescriptor } from '../src/core/range.ts';
import type { ConfState, Entry, HardState } from '../src/core/raft/types.ts';
import { ENTRY_CONFIG, ENTRY_DATA, ENTRY_NOOP } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import { loadCheckpoint } from '../src/storage/checkpoint/index.ts';
import type { Disk } from '../src/storage/disk.ts';
import { readVote } from '../src/storage/wal/entries.ts';
import { FLAG_HARD_STATE, TYPE_CHECKPOINT, TYPE_CONFIG, TYPE_DATA } from '../src/storage/wal/format.ts';
import type { WalScan } from '../src/storage/wal/recovery.ts';
import { replayWal } from '../src/storage/wal/recovery.ts';
import { applySplitTo, decodeRangeMeta, decodeSplit, FIRST_INDEX, FIRST_TERM, SPLIT_KIND } from './entry.ts';

export interface RecoverOptions {
  readonly disk: Disk;
  readonly walDir: string;
  readonly scan: WalScan;
  /** The newest checkpoint of each range of this worker. */
  readonly checkpoints: readonly string[];
  /** Every range of the node that has a checkpoint, whichever worker has it. */
  readonly checkpointed: ReadonlySet<number>;
  readonly createStore: () => Engine;
  readonly valueBytesMax: number;
}

/** A range as it stood when the node stopped. */
export interface RecoveredRange {
  descriptor: RangeDescriptor;
  readonly store: Engine;
  readonly machine: StateMachine;
  readonly conf: ConfState;
  /** Applied to the store; the log seed's snapshot. */
  appliedIndex: LogIndex;
  appliedTerm: Term;
  hardState: HardState;
  /** Entries that may not be committed yet. */
  tail: Entry[];
  /** What was replayed behind the checkpoint. */
  replayedBytes: number;
  replayedCommands: number;
}

const replayListener: ApplyListener = { sink: () => discardReply, applied: () => undefined };

export function recoverRanges(options: RecoverOptions): RecoveredRange[] {
  const { disk, walDir, scan, checkpointed } = options;
  const ranges = new Map<number, RecoveredRange>();
  for (const file of options.checkpoints) {
    const range = loadRange(options, file);
    ranges.set(range.descriptor.rangeId, range);
  }
  const isMine = (rangeId: number): boolean => ranges.has(rangeId) || !checkpointed.has(rangeId);
  replayWal(disk, walDir, scan, isMine, (type, flags, term, rangeId, index, buffer, start, end) => {
    if (type === TYPE_CHECKPOINT) return;
    if (!ranges.has(rangeId)) commitParentOf(rangeId);
    const range = ranges.get(rangeId);
    // A range that came out of a split on another worker.
    if (range === undefined) return;
    if ((flags & FLAG_HARD_STATE) !== 0) {
      const vote = readVote(buffer, start) as MemberId;
      range.hardState = { term: term as Term, vote, commit: Math.max(index, range.hardState.commit) as LogIndex };
    } else if (index > range.appliedIndex) {
      range.tail = range.tail.filter((entry) => entry.index < index);
      range.tail.push({
        index: index as LogIndex,
        term: term as Term,
        type: type === TYPE_DATA ? ENTRY_DATA : type === TYPE_CONFIG ? ENTRY_CONFIG : ENTRY_NOOP,
        data: Buffer.from(buffer.subarray(start, end)),
      });
    }
    // In a group of one, what is durable is committed.
    const isAlone = range.conf.voters.length === 1 && range.conf.votersOutgoing.length === 0;
    applyThrough(range, isAlone ? Infinity : range.hardState.commit);
  });
  return [...ranges.values()];

  function applyThrough(range: RecoveredRange, commit: number): void {
    while (range.tail[0] !== undefined && range.tail[0].index <= commit) {
      const entry = range.tail.shift() as Entry;
      assert(entry.index === range.appliedIndex + 1, 'recovery: the log has a gap');
      applyEntry(range, entry);
    }
  }

  function applyEntry(range: RecoveredRange, entry: Entry): void {
    const data = entry.data as Buffer;
    range.appliedIndex = entry.index;
    range.appliedTerm = entry.term;
    range.replayedBytes += data.length;
    if (entry.type !== ENTRY_DATA) return;
    if (data[0] === SPLIT_KIND) {
      splitRange(range, data);
    } else {
      assert(data[0] === BATCH_KIND, 'recovery: an entry of unknown kind');
      if (batchRangeVersion(data) !== range.descriptor.epoch.version) return;
      range.machine.apply(data, replayListener);
      range.replayedCommands += batchCount(data);
    }
  }

  function splitRange(left: RecoveredRange, data: Buffer): void {
    const split = decodeSplit(data);
    const halves = applySplitTo(left.descriptor, split);
    if (halves === null) return;
    const right = left.store.splitAt(split.splitKey, 0, split.splitKey.length);
    left.descriptor = halves.left;
    if (checkpointed.has(split.newRangeId)) {
      // Its own checkpoint is newer than this cut.
      right.destroy();
      return;
    }
    const machine = createStateMachine({
      store: right,
      valueBytesMax: options.valueBytesMax,
      sessions: left.machine.encodeSessions(),
      latestVersion: left.machine.latestVersion,
    });
    ranges.set(split.newRangeId, newRange(halves.right, right, machine, left.conf));
  }

  /** A record of a range that does not exist yet proves that the split it came from was committed. */
  function commitParentOf(rangeId: number): void {
    for (const range of ranges.values()) {
      const split = range.tail.find(
        ({ type, data }) =>
          type === ENTRY_DATA && data[0] === SPLIT_KIND && decodeSplit(data as Buffer).newRangeId === rangeId,
      );
      if (split !== undefined) {
        applyThrough(range, split.index);
        return;
      }
    }
  }
}

function newRange(
  descriptor: RangeDescriptor,
  store: Engine,
  machine: StateMachine,
  conf: ConfState,
  appliedIndex = FIRST_INDEX,
  appliedTerm = FIRST_TERM,
): RecoveredRange {
  return {
    descriptor,
    store,
    machine,
    conf,
    appliedIndex,
    appliedTerm,
    hardState: { term: appliedTerm, vote: 0 as MemberId, commit: appliedIndex },
    tail: [],
    replayedBytes: 0,
    replayedCommands: 0,
  };
}

function loadRange({ disk, createStore, valueBytesMax }: RecoverOptions, file: string): RecoveredRange {
  const store = createStore();
  const loader = store.bulkLoad();
  const info = loadCheckpoint(disk, file, loader);
  loader.finish();
  const { descriptor, conf, sessions } = decodeRangeMeta(info.meta);
  const machine = createStateMachine({ store, valueBytesMax, sessions, latestVersion: info.latestVersion });
  return newRange(descriptor, store, machine, conf, info.appliedIndex, info.appliedTerm);
}
