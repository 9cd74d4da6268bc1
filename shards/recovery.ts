/**
 * How a worker's ranges come back: each from its newest checkpoint, then from the records of the WAL behind it.
 *
 *     checkpoint of range 1 ─▶ store, applied = 40
 *     WAL    1:41  1:42  2:7  1:43 = split, new range 5   5:2  5:3  1:44
 *            ──────────────────────────────────────────────────────────▶  one pass, in the order of writing
 *
 * In a group of one, what is durable and not overwritten further on is committed (a leader may have had this member overwrite
 * it before the group shrank), and puts that later ones supersede are left out (superseded.ts). In any other only what a hard
 * state says is; the rest of the log is the tail that the group decides about. A cut record voids the log before it: the snapshot
 * that took its place is staged beside the checkpoints, and becomes one now if the crash came between the two.
 *
 * A range whose checkpoint, or whose place in the log, is damaged is given up when its group has other voters
 * (docs/adr/0009-damaged-replicas.md), and with it what was cut from it and lives by its log.
 *
 * Invariant: a range that came out of a split and has no checkpoint yet finds its parent's split entry before its own
 * first entry; only votes may come before it (docs/adr/0011-voters-without-a-state.md). Entries are written before they are
 * applied, and the parent is not checkpointed past the split before the new range has a checkpoint of its own (checkpointer.ts).
 */
import { assert } from '../src/core/assert.ts';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../src/core/brands.ts';
import { BATCH_KIND, batchCount, batchRangeVersion } from '../src/core/kv/batch.ts';
import { discardReply } from '../src/core/kv/reply.ts';
import type { ApplyListener, StateMachine } from '../src/core/kv/state-machine.ts';
import { createStateMachine } from '../src/core/kv/state-machine.ts';
import { SkerryError } from '../src/core/errors.ts';
import type { DamagedReplica } from '../src/core/placement/report.ts';
import { confOf, decodeConfEntry } from '../src/core/raft/configuration.ts';
import type { RangeDescriptor } from '../src/core/range.ts';
import type { ConfState, Entry, HardState } from '../src/core/raft/types.ts';
import { ENTRY_CONFIG, ENTRY_DATA } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import type { CheckpointFolder, CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import { isBuried, loadCheckpoint, readCheckpointInfo } from '../src/storage/checkpoint/index.ts';
import type { Disk } from '../src/storage/disk.ts';
import { readVote } from '../src/storage/wal/entries.ts';
import { FLAG_CUT, FLAG_HARD_STATE, TYPE_CHECKPOINT, TYPE_CONFIG, TYPE_DATA } from '../src/storage/wal/format.ts';
import type { WalScan } from '../src/storage/wal/recovery.ts';
import { replayWal } from '../src/storage/wal/recovery.ts';
import {
  applySplitTo,
  CATALOG_KIND,
  decodeRangeMeta,
  decodeSplit,
  FIRST_INDEX,
  FIRST_TERM,
  NOTHING_PROMISED,
  SPLIT_KIND,
} from './entry.ts';
import { whatIsDamaged } from './damage.ts';
import { decidesAlone, hasOtherVoters, ownMember, withMembers } from './membership.ts';
import type { WaitingMember } from './joining.ts';
import { entryType } from './log.ts';
import { RangeCatalog } from './range-catalog.ts';
import { findSuperseded } from './find-superseded.ts';
import type { Superseded } from './find-superseded.ts';
import { isSuperseded } from './superseded.ts';

export interface RecoverOptions {
  readonly nodeId: NodeId;
  readonly disk: Disk;
  readonly walDir: string;
  readonly scan: WalScan;
  /** The newest checkpoint of each range of this worker. */
  readonly checkpoints: readonly string[];
  /** Snapshots for them that had arrived. */
  readonly staged: readonly string[];
  readonly folder: CheckpointFolder;
  /** Every range of the node that has a checkpoint, whichever worker has it, or is gone. */
  readonly checkpointed: ReadonlySet<number>;
  /** This worker's members that may have spoken. */
  readonly members: readonly { readonly rangeId: RangeId; readonly memberId: MemberId }[];
  /** Whether ranges that are damaged may be given up; else the start ends with KV_CORRUPT. */
  readonly mayHeal: boolean;
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly createStore: () => Engine;
  readonly valueBytesMax: number;
  /** findSuperseded() of this log and these checkpoints; without it that is done here. */
  readonly superseded?: Superseded;
}

export interface Recovered {
  readonly ranges: readonly RecoveredRange[];
  /** Those that have no state yet, and may have voted. */
  readonly waiting: readonly WaitingMember[];
  /** Given up, and set aside. */
  readonly damaged: readonly DamagedReplica[];
  /** Records of the log that were replayed. */
  readonly records: number;
}

/** A range that cannot be brought back. */
interface Lost {
  readonly memberId: MemberId;
  readonly error: SkerryError;
  /** The last configuration known of it. */
  conf: ConfState;
}

/** A range as it stood when the node stopped. */
export interface RecoveredRange {
  /** This node's member; the descriptor lacks it when its removal was applied. */
  readonly memberId: MemberId;
  descriptor: RangeDescriptor;
  readonly store: Engine;
  readonly machine: StateMachine;
  /** Of range 1; null for others. */
  readonly catalog: RangeCatalog | null;
  /** The range that it was cut from, when it has no checkpoint of its own yet and lives by that one's log. */
  readonly cutFrom: RangeId | null;
  /** As of appliedIndex. */
  conf: ConfState;
  /** Applied to the store; the log seed's snapshot. */
  appliedIndex: LogIndex;
  appliedTerm: Term;
  hardState: HardState;
  /** Entries that may not be committed yet. */
  tail: Entry[];
  /** Its checkpoint names no other voter. */
  readonly isCheckpointAlone: boolean;
  /** The log ends before what its checkpoint covers (it was repaired): what it has of the range is of no more use. */
  readonly isLogBehind: boolean;
  /** What was replayed behind the checkpoint. */
  replayedBytes: number;
  replayedCommands: number;
}

/** Of a range that nothing is known of. */
const NO_CONF = confOf([]);

const replayListener: ApplyListener = { sink: () => discardReply, applied: () => undefined };

/** Throws KV_CORRUPT when a range is damaged and cannot be given up. */
export function recoverRanges(options: RecoverOptions): Recovered {
  const { disk, walDir, scan, checkpointed } = options;
  const ranges = new Map<number, RecoveredRange>();
  const lost = new Map<number, Lost>();
  /** The newest term and vote of each range, also of one that there was no replica of yet, or whose log a snapshot replaced. */
  const promised = new Map<number, HardState>();
  let records = 0;
  const members = new Map(options.members.map(({ rangeId, memberId }) => [rangeId, memberId]));
  for (const file of options.checkpoints) load(file);
  /** By range and index: a later one may have come before the log had the cut of the one before it. */
  const staged = new Map<number, Map<number, string>>();
  for (const file of options.staged) {
    const { rangeId, appliedIndex } = readCheckpointInfo(disk, file);
    staged.set(rangeId, (staged.get(rangeId) ?? new Map<number, string>()).set(appliedIndex, file));
  }
  // Of one that is lost, the log may say who votes in it by now.
  const isMine = (rangeId: number): boolean =>
    ranges.has(rangeId) || lost.has(rangeId) || staged.has(rangeId) || !checkpointed.has(rangeId);
  const superseded = options.superseded ?? findSuperseded(disk, options);
  replayWal(disk, walDir, scan, isMine, (type, flags, term, rangeId, index, buffer, start, end, sequence) => {
    const isHardState = (flags & FLAG_HARD_STATE) !== 0;
    if (isHardState) {
      const vote = readVote(buffer, start) as MemberId;
      promised.set(rangeId, { term: term as Term, vote, commit: index as LogIndex });
    } else if ((flags & FLAG_CUT) !== 0 && index === 0) {
      promised.delete(rangeId);
    }
    // What comes before a cut belongs to an earlier member, or to a log that a snapshot replaced.
    const { cutSequence = 0, rewriteSequence = 0 } = scan.ranges.get(rangeId) ?? {};
    if (sequence < cutSequence) return;
    records++;
    if (type === TYPE_CHECKPOINT) {
      if ((flags & FLAG_CUT) !== 0) cutLog(rangeId as RangeId, index);
      return;
    }
    const given = lost.get(rangeId);
    if (given !== undefined) {
      if (type === TYPE_CONFIG) given.conf = decodeConfEntry(buffer.subarray(start, end)).conf;
      return;
    }
    if (!ranges.has(rangeId)) commitParentOf(rangeId);
    const range = ranges.get(rangeId);
    // A range that came out of a split on another worker.
    if (range === undefined) return;
    // Else a later record of the log may void this one.
    const isFinal = sequence >= rewriteSequence;
    if (isHardState) keepPromise(range);
    else if (range.tail.length > 0) range.tail = range.tail.filter((entry) => entry.index < index);
    if (!isHardState && index > range.appliedIndex) {
      const data = buffer.subarray(start, end);
      // A batch that is applied at once is applied from where it lies.
      const isInPlace =
        type === TYPE_DATA && data[0] === BATCH_KIND && range.tail.length === 0 && isFinal && isAlone(range);
      range.tail.push({
        index: index as LogIndex,
        term: term as Term,
        type: entryType(type),
        data: isInPlace ? data : Buffer.from(data),
      });
    }
    applyThrough(range, isFinal && isAlone(range) ? Infinity : range.hardState.commit);
  });
  for (const files of staged.values()) for (const file of files.values()) disk.unlink(file);
  const waiting: WaitingMember[] = [];
  for (const { rangeId, memberId } of options.members) {
    // What was staged for a range that has a tombstone and not cut in never counted.
    if (ranges.has(rangeId) || lost.has(rangeId) || checkpointed.has(rangeId)) continue;
    if (hasHadState(rangeId)) {
      giveUp(rangeId, memberId, NO_CONF, lostWith(rangeId, 'the range that it was cut from is damaged'));
    } else {
      waiting.push({ rangeId, memberId, hardState: promised.get(rangeId) ?? NOTHING_PROMISED });
    }
  }
  return { ranges: [...ranges.values()], waiting, damaged: [...lost].map(setAside), records };

  /** Anything but votes: such a member has something to lose. */
  function hasHadState(rangeId: number): boolean {
    const log = scan.ranges.get(rangeId);
    return log !== undefined && (log.lastIndex > 0 || log.checkpoint !== null);
  }

  /** What a member promised before it had its state, or the one that it has now, binds it. */
  function keepPromise(range: RecoveredRange): void {
    const { hardState } = range;
    const promise = promised.get(range.descriptor.rangeId) ?? hardState;
    const { term, vote } = promise.term < hardState.term ? hardState : promise;
    range.hardState = { term, vote, commit: Math.max(promise.commit, hardState.commit) as LogIndex };
  }

  function load(file: string): void {
    try {
      const range = loadRange(options, file);
      ranges.set(range.descriptor.rangeId, range);
    } catch (error) {
      if (!(error instanceof SkerryError) || error.code !== 'KV_CORRUPT') throw error;
      const { rangeId, meta } = readCheckpointInfo(disk, file);
      const { descriptor, conf } = decodeRangeMeta(meta);
      giveUp(rangeId, ownMember(descriptor, options.nodeId), conf, error);
    }
  }

  function giveUp(rangeId: RangeId, memberId: MemberId, conf: ConfState, error: SkerryError): void {
    if (!options.mayHeal) throw error;
    ranges.get(rangeId)?.store.destroy();
    ranges.delete(rangeId);
    // A later member may have spoken since, and left no more than its name.
    const latest = members.get(rangeId) ?? memberId;
    lost.set(rangeId, { memberId: isBuried(memberId, latest) ? latest : memberId, conf, error });
  }

  function setAside([id, { memberId, conf, error }]: [number, Lost]): DamagedReplica {
    // Of a range that was cut from another one, nothing is known; the other one has been asked.
    if (conf !== NO_CONF && !hasOtherVoters(conf, memberId)) throw error;
    const replica = { rangeId: id as RangeId, memberId, what: whatIsDamaged(error), sinceMs: options.nowMs };
    options.folder.condemn(id, memberId, replica);
    return replica;
  }

  /** A snapshot took the place of the range's log; at index 0 the range left this node. */
  function cutLog(rangeId: RangeId, index: number): void {
    const range = ranges.get(rangeId);
    if ((range?.appliedIndex ?? 0) >= index) {
      // An earlier start may have installed the snapshot, and have ended before it logged a hard state behind the cut.
      if (range !== undefined) keepPromise(range);
      return;
    }
    const file = staged.get(rangeId)?.get(index);
    if (file !== undefined) {
      const { descriptor } = decodeRangeMeta(readCheckpointInfo(disk, file).meta);
      staged.get(rangeId)?.delete(index);
      range?.store.destroy();
      ranges.delete(rangeId);
      const installed = options.folder.install(rangeId, index);
      options.folder.stored(rangeId, ownMember(descriptor, options.nodeId));
      // Whatever is wrong with the checkpoint that it takes the place of.
      lost.delete(rangeId);
      load(installed);
      const loaded = ranges.get(rangeId);
      if (loaded !== undefined) keepPromise(loaded);
      return;
    }
    const memberId = range?.memberId ?? members.get(rangeId);
    // Another worker may have it.
    if (memberId === undefined || lost.has(rangeId)) return;
    // Of a member that is gone: the one after it stores nothing before a cut of its own, which is not in the log.
    if (range === undefined && checkpointed.has(rangeId)) return;
    const error = lostWith(rangeId, `the snapshot at index ${index} that its log goes on behind is missing`);
    giveUp(rangeId, memberId, range?.conf ?? NO_CONF, error);
  }

  function applyThrough(range: RecoveredRange, commit: number): void {
    while (range.tail[0] !== undefined && range.tail[0].index <= commit) {
      const entry = range.tail.shift() as Entry;
      if (entry.index !== range.appliedIndex + 1) {
        const { rangeId } = range.descriptor;
        const what = `its log goes on at index ${entry.index} where ${range.appliedIndex + 1} is expected`;
        giveUp(rangeId, range.memberId, range.conf, lostWith(rangeId, what));
        return;
      }
      applyEntry(range, entry);
    }
  }

  function applyEntry(range: RecoveredRange, entry: Entry): void {
    const data = entry.data as Buffer;
    range.appliedIndex = entry.index;
    range.appliedTerm = entry.term;
    range.replayedBytes += data.length;
    if (entry.type === ENTRY_CONFIG) {
      range.conf = decodeConfEntry(data).conf;
      range.descriptor = withMembers(range.descriptor, range.conf);
    }
    if (entry.type !== ENTRY_DATA) return;
    if (data[0] === SPLIT_KIND) {
      splitRange(range, data);
    } else if (data[0] === CATALOG_KIND) {
      range.catalog?.apply(data.subarray(1));
    } else {
      assert(data[0] === BATCH_KIND, 'recovery: an entry of unknown kind');
      if (batchRangeVersion(data) !== range.descriptor.epoch.version) return;
      const first = range.replayedCommands;
      const puts = superseded.get(range.descriptor.rangeId);
      const skips = puts === undefined ? undefined : (i: number): boolean => isSuperseded(puts, first + i);
      range.machine.apply(data, replayListener, skips);
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
    const range = {
      ...newRange(left.memberId, halves.right, right, machine, left.conf, null),
      cutFrom: left.descriptor.rangeId,
    };
    keepPromise(range);
    ranges.set(split.newRangeId, range);
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

/** Whether this member alone decides: now, and after every membership change in the tail. A learner never does. */
function isAlone({ memberId, conf, tail }: RecoveredRange): boolean {
  const decides = (other: ConfState): boolean => decidesAlone(memberId, other);
  return decides(conf) && tail.every(({ type, data }) => type !== ENTRY_CONFIG || decides(decodeConfEntry(data).conf));
}

function newRange(
  memberId: MemberId,
  descriptor: RangeDescriptor,
  store: Engine,
  machine: StateMachine,
  conf: ConfState,
  catalog: RangeCatalog | null,
  appliedIndex = FIRST_INDEX,
  appliedTerm = FIRST_TERM,
): RecoveredRange {
  return {
    memberId,
    descriptor,
    catalog,
    cutFrom: null,
    store,
    machine,
    conf,
    appliedIndex,
    appliedTerm,
    hardState: { term: appliedTerm, vote: 0 as MemberId, commit: appliedIndex },
    tail: [],
    isCheckpointAlone: !hasOtherVoters(conf, memberId),
    isLogBehind: false,
    replayedBytes: 0,
    replayedCommands: 0,
  };
}

function loadRange({ nodeId, disk, scan, createStore, valueBytesMax }: RecoverOptions, file: string): RecoveredRange {
  const store = createStore();
  const loader = store.bulkLoad();
  let info: CheckpointInfo;
  try {
    info = loadCheckpoint(disk, file, loader);
  } catch (error) {
    store.destroy();
    throw error;
  }
  loader.finish();
  const { descriptor, conf, sessions, catalog } = decodeRangeMeta(info.meta);
  const memberId = ownMember(descriptor, nodeId);
  const machine = createStateMachine({ store, valueBytesMax, sessions, latestVersion: info.latestVersion });
  const ownCatalog = catalog === undefined ? null : new RangeCatalog(catalog);
  const { appliedIndex, appliedTerm } = info;
  const log = scan.ranges.get(descriptor.rangeId);
  const loggedIndex = Math.max(log?.lastIndex ?? 0, log?.checkpoint?.index ?? 0);
  const isLogBehind = loggedIndex > 0 && loggedIndex < appliedIndex;
  const range = newRange(memberId, descriptor, store, machine, conf, ownCatalog, appliedIndex, appliedTerm);
  return { ...range, isLogBehind };
}

function lostWith(rangeId: RangeId, what: string): SkerryError {
  const message = `Range ${rangeId} cannot be recovered: ${what}. Restore the node from its peers or a backup.`;
  return new SkerryError('KV_CORRUPT', message, { hint: { rangeId } });
}
