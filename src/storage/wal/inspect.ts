/** `skerry wal dump` and `skerry wal verify`: what is in a log, and what is wrong with it, in words and as data. */
import type { Disk } from '../disk.ts';
import {
  FLAG_BATCH_LAST,
  FLAG_HARD_STATE,
  FLAG_IDLE_MARK,
  FRAGMENT_FIRST,
  FRAGMENT_LAST,
  FRAGMENT_MASK,
  FRAGMENT_MIDDLE,
  FRAGMENT_TOTAL_BYTES,
  STATE_CLOSED,
  STATE_CONTINUED,
  STATE_OPEN,
  TYPE_CHECKPOINT,
  TYPE_CONFIG,
  TYPE_DATA,
} from './format.ts';
import { readVote } from './entries.ts';
import type { RecordView } from './reader.ts';
import { surveyWal } from './survey.ts';
import type { SurveyedSegment, WalDamage } from './survey.ts';

/** One record of a dump. */
export interface DumpedRecord {
  readonly segment: number;
  readonly offset: number;
  readonly sequence: number;
  readonly batch: number;
  readonly type: 'data' | 'checkpoint' | 'config' | 'noop' | 'hardState' | 'idleMark';
  readonly fragment: 'whole' | 'first' | 'middle' | 'last';
  readonly endsBatch: boolean;
  readonly rangeId: number;
  /** Raft index; of a hard state the commit index. */
  readonly index: number;
  readonly term: number;
  /** Present on a hard state; 0 = nobody. */
  readonly vote?: number;
  /** ISO 8601, microseconds. */
  readonly time: string;
  readonly dataBytes: number;
}

export interface DumpOptions {
  /** Only records of this range. */
  readonly rangeId?: number;
  /** Called with what is damaged between the records; reading goes on behind it. */
  readonly onDamage?: (damage: WalDamage) => void;
}

/** Calls `onRecord` with every record of the log, in order. */
export function dumpWal(
  disk: Disk,
  dir: string,
  onRecord: (record: DumpedRecord) => void,
  options: DumpOptions = {},
): void {
  const { rangeId, onDamage } = options;
  surveyWal(disk, dir, {
    record(record, buffer, segment) {
      if (rangeId === undefined || record.rangeId === rangeId) onRecord(dumped(record, buffer, segment));
    },
    ...(onDamage === undefined ? {} : { damage: onDamage }),
  });
}

function dumped(record: RecordView, buffer: Buffer, segment: number): DumpedRecord {
  const { flags, dataStart, dataEnd } = record;
  const piece = flags & FRAGMENT_MASK;
  const headBytes = piece === FRAGMENT_FIRST ? FRAGMENT_TOTAL_BYTES : 0;
  return {
    segment,
    offset: record.position,
    sequence: record.sequence,
    batch: record.batch,
    type: typeName(record.type, flags),
    fragment:
      piece === FRAGMENT_FIRST
        ? 'first'
        : piece === FRAGMENT_MIDDLE
          ? 'middle'
          : piece === FRAGMENT_LAST
            ? 'last'
            : 'whole',
    endsBatch: (flags & FLAG_BATCH_LAST) !== 0,
    rangeId: record.rangeId,
    index: record.index,
    term: record.term,
    ...((flags & FLAG_HARD_STATE) === 0 ? {} : { vote: readVote(buffer, dataStart) }),
    time: isoMicroseconds(record.timestampUs),
    dataBytes: dataEnd - dataStart - headBytes,
  };
}

function typeName(type: number, flags: number): DumpedRecord['type'] {
  if (type === TYPE_DATA) return 'data';
  if (type === TYPE_CHECKPOINT) return 'checkpoint';
  if (type === TYPE_CONFIG) return 'config';
  if ((flags & FLAG_HARD_STATE) !== 0) return 'hardState';
  return (flags & FLAG_IDLE_MARK) !== 0 ? 'idleMark' : 'noop';
}

function isoMicroseconds(us: number): string {
  const iso = new Date(us / 1000).toISOString();
  return `${iso.slice(0, -1)}${String(us % 1000).padStart(3, '0')}Z`;
}

/** One line of a dump for people. */
export function formatRecord(record: DumpedRecord): string {
  const { sequence, segment, offset, type, fragment, rangeId, index, term, dataBytes, time } = record;
  const vote = record.vote === undefined ? '' : ` vote ${record.vote}`;
  const piece = fragment === 'whole' ? '' : ` (${fragment} piece)`;
  const where = `${segment}:${offset}`.padEnd(14);
  return `${String(sequence).padStart(10)}  ${where} ${time}  range ${rangeId} index ${index} term ${term}${vote}  ${type}${piece} ${dataBytes} B`;
}

export interface WalVerdict {
  readonly dir: string;
  /** The log can be opened: there is no damage, or none that matters. */
  readonly isUsable: boolean;
  readonly damages: readonly WalDamage[];
  /** A batch that a crash cut off; the next start drops what there is of it. It was never acknowledged. */
  readonly tornTail: { readonly file: string; readonly offset: number } | null;
  readonly segments: readonly {
    readonly segment: number;
    readonly state: 'open' | 'continued' | 'closed' | 'unknown';
    readonly firstSequence: number;
    readonly lastSequence: number;
    readonly records: number;
  }[];
  readonly records: number;
}

/** Reads everything and lists all damage. Changes nothing. */
export function verifyWal(disk: Disk, dir: string): WalVerdict {
  const { damages, tornTail, segments, recordCount } = surveyWal(disk, dir);
  return {
    dir,
    isUsable: damages.every(({ isHarmless }) => isHarmless),
    damages,
    tornTail,
    segments: segments.map((segment) => ({
      segment: segment.segmentId,
      state: stateName(segment),
      firstSequence: segment.startSequence,
      lastSequence: segment.endSequence,
      records: segment.recordCount,
    })),
    records: recordCount,
  };
}

function stateName({ state }: SurveyedSegment): 'open' | 'continued' | 'closed' | 'unknown' {
  if (state === STATE_OPEN) return 'open';
  if (state === STATE_CONTINUED) return 'continued';
  return state === STATE_CLOSED ? 'closed' : 'unknown';
}

/** The verdict for people, line by line. */
export function formatVerdict(verdict: WalVerdict): string[] {
  const lines = verdict.damages.map(({ file, offset, what, isHarmless }) => {
    return `${isHarmless ? 'harmless' : 'DAMAGED '}  ${file}, offset ${offset}: ${what}`;
  });
  const { tornTail, segments, records, isUsable } = verdict;
  if (tornTail !== null) {
    lines.push(
      `torn tail ${tornTail.file}, offset ${tornTail.offset}: a crash cut off the last batch; the next start drops it`,
    );
  }
  const state = isUsable ? 'The log is good' : 'The log is damaged and will not be opened';
  lines.push(`${state}: ${records} valid records in ${segments.length} segments.`);
  return lines;
}
