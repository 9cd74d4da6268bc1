/**
 * From records to what they mean: fragments become whole entries or nothing, and each range's records become the state of
 * its log: first and last index, term and vote, checkpoint.
 */
import { SkerryError } from '../../core/errors.ts';
import { readU64 } from '../../core/kv/batch.ts';
import {
  FLAG_CUT,
  FLAG_HARD_STATE,
  FLAG_IDLE_MARK,
  FRAGMENT_FIRST,
  FRAGMENT_LAST,
  FRAGMENT_MASK,
  FRAGMENT_TOTAL_BYTES,
  FRAGMENT_WHOLE,
  TYPE_CHECKPOINT,
} from './format.ts';
import type { RecordType } from './format.ts';
import type { RecordView } from './reader.ts';

/**
 * Gets one whole record of a range: an entry (DATA, CONFIG, NOOP), a hard state (NOOP with FLAG_HARD_STATE: `index` is the
 * commit index, read the vote with readVote), or a checkpoint. `buffer[start, end)` is valid during the call only.
 * `sequence` is the global number of its last record.
 */
export type OnRecord = (
  type: RecordType,
  flags: number,
  term: number,
  rangeId: number,
  index: number,
  buffer: Buffer,
  start: number,
  end: number,
  sequence: number,
) => void;

/** The vote of a hard-state record; 0 = nobody. */
export function readVote(buffer: Buffer, start: number): number {
  return readU64(buffer, start);
}

interface PartialEntry {
  readonly type: number;
  readonly term: number;
  readonly index: number;
  readonly totalBytes: number;
  /** Null when the data is not asked for. */
  readonly data: Buffer | null;
  bytes: number;
}

/**
 * Puts entries together. Fragments of one range follow one another; other ranges' records may lie between, and the range's own
 * hard state, which the log may write again at any time. An entry whose last fragment is missing was never acknowledged, and
 * ends with the next entry or checkpoint of its range.
 */
export class EntryAssembler {
  readonly #partial = new Map<number, PartialEntry>();
  readonly #emit: OnRecord;
  readonly #keepsData: boolean;

  /** Without `keepsData` the entries are emitted with no bytes if they came in fragments. */
  constructor(emit: OnRecord, keepsData: boolean) {
    this.#emit = emit;
    this.#keepsData = keepsData;
  }

  push(record: RecordView, buffer: Buffer): void {
    if ((record.flags & FLAG_IDLE_MARK) !== 0) return;
    const piece = record.flags & FRAGMENT_MASK;
    if (piece === FRAGMENT_WHOLE) {
      if (this.#partial.size > 0 && (record.flags & FLAG_HARD_STATE) === 0) this.#partial.delete(record.rangeId);
      this.#send(record, buffer, record.dataStart, record.dataEnd);
      return;
    }
    let { dataStart } = record;
    if (piece === FRAGMENT_FIRST) {
      const totalBytes = readU64(buffer, dataStart);
      dataStart += FRAGMENT_TOTAL_BYTES;
      const { type, term, index } = record;
      const data = this.#keepsData ? Buffer.allocUnsafe(totalBytes) : null;
      this.#partial.set(record.rangeId, { type, term, index, totalBytes, data, bytes: 0 });
    }
    const partial = this.#partial.get(record.rangeId);
    // The beginning lies before what is still kept of the log, or was cut off: nothing of the entry is wanted.
    if (partial === undefined) return;
    const bytes = record.dataEnd - dataStart;
    const fits =
      partial.type === record.type &&
      partial.term === record.term &&
      partial.index === record.index &&
      partial.bytes + bytes <= partial.totalBytes;
    if (!fits) {
      this.#partial.delete(record.rangeId);
      return;
    }
    if (partial.data !== null) buffer.copy(partial.data, partial.bytes, dataStart, record.dataEnd);
    partial.bytes += bytes;
    if (piece !== FRAGMENT_LAST) return;
    this.#partial.delete(record.rangeId);
    if (partial.bytes !== partial.totalBytes) return;
    const data = partial.data ?? buffer;
    this.#send(record, data, 0, partial.data === null ? 0 : partial.totalBytes);
  }

  #send(record: RecordView, buffer: Buffer, start: number, end: number): void {
    const flags = record.flags & (FLAG_HARD_STATE | FLAG_CUT);
    const { type, term, rangeId, index, sequence } = record;
    this.#emit(type as RecordType, flags, term, rangeId, index, buffer, start, end, sequence);
  }
}

export interface RangeLog {
  /** First and last entry in the log; 0 and 0 when there are none. Entries up to the checkpoint may be among them. */
  firstIndex: number;
  lastIndex: number;
  /** Term of the last entry. */
  lastTerm: number;
  /** The newest term, vote (0 = nobody) and a commit index; null when the log holds none. */
  hardState: { readonly term: number; readonly vote: number; readonly commit: number } | null;
  /** Number of the last record that voids what comes before it; 0 = there is none. */
  cutSequence: number;
  /** Number of the last entry's record that voids entries before it: the log had its index already; 0 = there is none. */
  rewriteSequence: number;
  /** The newest durable checkpoint that the log tells of; null when it tells of none. */
  checkpoint: { readonly index: number; readonly term: number } | null;
}

/** Follows what the records say of each range. */
export class RangeLogs {
  readonly ranges = new Map<number, RangeLog>();
  /** By range, while no entry has followed: the index of the snapshot that the log begins behind; 0 = it is not known. */
  readonly #behindCut = new Map<number, number>();

  /** Shape of OnRecord. Throws KV_CORRUPT when an index is missing: each record is valid, but one was never written. */
  record(
    type: RecordType,
    flags: number,
    term: number,
    rangeId: number,
    index: number,
    buffer: Buffer,
    start: number,
    sequence: number,
  ): void {
    let log = this.ranges.get(rangeId);
    if (log === undefined) {
      log = {
        firstIndex: 0,
        lastIndex: 0,
        lastTerm: 0,
        hardState: null,
        cutSequence: 0,
        rewriteSequence: 0,
        checkpoint: null,
      };
      this.ranges.set(rangeId, log);
    }
    if ((flags & FLAG_HARD_STATE) !== 0) {
      log.hardState = { term, vote: readVote(buffer, start), commit: index };
      return;
    }
    if (type === TYPE_CHECKPOINT) {
      const isCut = (flags & FLAG_CUT) !== 0;
      if (isCut) log.cutSequence = sequence;
      if (isCut && index === 0) log.hardState = null;
      if (isCut || index > (log.checkpoint?.index ?? 0)) log.checkpoint = { index, term };
      if (isCut || index > log.lastIndex) {
        // A snapshot took the place of the log, or what the checkpoint covers was in a segment that is used again.
        log.firstIndex = 0;
        log.lastIndex = 0;
        log.lastTerm = 0;
        this.#behindCut.set(rangeId, isCut ? index : 0);
      }
      return;
    }
    // The log goes on right behind a snapshot; a checkpoint of the member's own may be written down when it is long past.
    const previous = log.lastIndex === 0 ? (this.#behindCut.get(rangeId) ?? 0) : log.lastIndex;
    if (previous > 0 && index > previous + 1) throw gap(rangeId, previous, index, `record ${sequence}`);
    if (index <= log.lastIndex) log.rewriteSequence = sequence;
    if (log.firstIndex === 0 || index < log.firstIndex) log.firstIndex = index;
    log.lastIndex = index;
    log.lastTerm = term;
  }

  /** At the end of the log. Throws KV_CORRUPT when entries are missing between a range's newest checkpoint and its first. */
  checkBeginnings(): void {
    for (const [rangeId, { checkpoint, firstIndex }] of this.ranges) {
      if (checkpoint !== null && firstIndex > checkpoint.index + 1) {
        throw gap(rangeId, checkpoint.index, firstIndex, 'the first in the log');
      }
    }
  }
}

function gap(rangeId: number, previous: number, index: number, where: string): SkerryError {
  return new SkerryError(
    'KV_CORRUPT',
    `The write-ahead log of range ${rangeId} jumps from index ${previous} to ${index} (${where}): ` +
      'entries between them are missing. Run "skerry wal verify" and restore the range from a peer or a backup.',
    { hint: { rangeId, index } },
  );
}
