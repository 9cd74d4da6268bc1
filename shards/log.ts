/**
 * From a range's Ready to records of the WAL. One Ready is the cut that a snapshot makes, its hard state, then its
 * entries; what the ring has no room
 * for now is continued by the next call, so the order within a worker is never changed.
 */
import type { LogIndex, RangeId, Term } from '../src/core/brands.ts';
import { unreachable } from '../src/core/assert.ts';
import type { Entry, Ready } from '../src/core/raft/types.ts';
import { ENTRY_CONFIG, ENTRY_DATA, ENTRY_NOOP } from '../src/core/raft/types.ts';
import { FLAG_CUT, TYPE_CHECKPOINT, TYPE_CONFIG, TYPE_DATA, TYPE_NOOP } from '../src/storage/wal/format.ts';
import type { RecordType } from '../src/storage/wal/format.ts';
import type { RangeRead, ReadEntry } from '../src/storage/wal/range-reader.ts';
import type { WalAppender } from '../src/storage/wal/record.ts';
import { WAL_FULL, WAL_RUNNING } from '../src/storage/wal/status.ts';
import type { WalStatus } from '../src/storage/wal/status.ts';
import { SyncTimes } from '../src/storage/wal/sync-times.ts';
import type { SyncTime } from './write-times.ts';

const NOTHING = Buffer.alloc(0);

/** A worker's end of the WAL, as its ranges use it. */
export type ShardLog = Pick<
  RangeLog,
  'append' | 'publish' | 'position' | 'durable' | 'syncOf' | 'checkpointed' | 'gone' | 'read'
>;

/** Reads entries back on another thread; null when the log does not have them any more. */
export type ReadBack = (wanted: RangeRead) => Promise<readonly ReadEntry[] | null>;

/** Of one read. */
const READ_BYTES_MAX = 1024 * 1024;

export class RangeLog {
  readonly #appender: WalAppender;
  readonly #readBack: ReadBack;
  readonly #syncTimes: SyncTimes | null;
  /** How many records of the Ready at hand are taken. */
  #taken = 0;

  /** `syncTimes`: createSyncTimes(), if the writer has them. */
  constructor(appender: WalAppender, readBack: ReadBack, syncTimes: SharedArrayBuffer | null = null) {
    this.#appender = appender;
    this.#readBack = readBack;
    this.#syncTimes = syncTimes === null ? null : new SyncTimes(syncTimes);
  }

  /** Takes the Ready's records. False: the ring is full; call again, with the same Ready, when the writer has moved on. */
  append(rangeId: RangeId, ready: Ready): boolean {
    const appender = this.#appender;
    const { snapshot, hardState, entries, commit } = ready;
    const cuts = snapshot === null ? 0 : 1;
    const first = hardState === null ? cuts : cuts + 1;
    while (this.#taken < first + entries.length) {
      if (appender.isPending && !appender.pump()) return false;
      let took: boolean;
      if (snapshot !== null && this.#taken < cuts) took = this.#cut(rangeId, snapshot.index, snapshot.term);
      else if (hardState !== null && this.#taken < first) {
        took = appender.hardState(rangeId, hardState.term, hardState.vote, commit);
      } else {
        took = this.#entry(rangeId, entries[this.#taken - first] as Entry);
      }
      if (!took) return false;
      this.#taken++;
    }
    if (appender.isPending && !appender.pump()) return false;
    this.#taken = 0;
    return true;
  }

  /** Says in the log that the range has a durable checkpoint. False: no room now, nothing was written. */
  checkpointed(rangeId: RangeId, index: LogIndex, term: Term): boolean {
    if (this.#taken > 0 || this.#appender.isPending) return false;
    return this.#appender.append(TYPE_CHECKPOINT, 0, term, rangeId, index, NOTHING, 0, 0);
  }

  /** Says in the log that the range is gone from this node. False: no room now, nothing was written. */
  gone(rangeId: RangeId): boolean {
    if (this.#taken > 0 || this.#appender.isPending) return false;
    return this.#cut(rangeId, 0 as LogIndex, 0 as Term);
  }

  /**
   * Entries that have left memory, `first` and as many behind it up to `last` as make about a megabyte; null when the log does not
   * have them any more. They must be committed and durable here.
   */
  async read(rangeId: RangeId, first: LogIndex, last: LogIndex): Promise<readonly Entry[] | null> {
    const read = await this.#readBack({ rangeId, first, last, bytesMax: READ_BYTES_MAX });
    if (read === null) return null;
    return read.map(({ type, term, index, data }) => {
      return { index: index as LogIndex, term: term as Term, type: entryType(type), data };
    });
  }

  publish(): void {
    this.#appender.publish();
  }

  get position(): number {
    return this.#appender.position;
  }

  durable(): number {
    return this.#appender.durable;
  }

  /** The sync that made `position` durable, where it is still known. The object is the same each time. */
  syncOf(position: number): SyncTime | null {
    const times = this.#syncTimes;
    return times !== null && times.find(position) ? times : null;
  }

  /** Everything of the range so far is void. */
  #cut(rangeId: RangeId, index: LogIndex, term: Term): boolean {
    return this.#appender.append(TYPE_CHECKPOINT, FLAG_CUT, term, rangeId, index, NOTHING, 0, 0);
  }

  #entry(rangeId: RangeId, entry: Entry): boolean {
    // The core makes plain arrays of its own entries; a batch is a Buffer already.
    const { data: bytes } = entry;
    const data = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return this.#appender.append(recordType(entry), 0, entry.term, rangeId, entry.index, data, 0, data.length);
  }
}

/** Of a record that holds an entry. */
export function entryType(type: RecordType): Entry['type'] {
  if (type === TYPE_DATA) return ENTRY_DATA;
  return type === TYPE_CONFIG ? ENTRY_CONFIG : ENTRY_NOOP;
}

function recordType(entry: Entry): RecordType {
  switch (entry.type) {
    case ENTRY_DATA:
      return TYPE_DATA;
    case ENTRY_CONFIG:
      return TYPE_CONFIG;
    case ENTRY_NOOP:
      return TYPE_NOOP;
    default:
      return unreachable(entry.type);
  }
}

/** Why writes are refused while the log is in this state, as an error reply; null when they are not. */
export function refusalOf(status: WalStatus): string | null {
  if (status === WAL_RUNNING) return null;
  return status === WAL_FULL
    ? 'DISKFULL the disk of the write-ahead log is full: writes are refused until there is room, reads go on'
    : 'ERR the write-ahead log takes no more writes; the node is stopping';
}
