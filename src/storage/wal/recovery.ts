/**
 * What a start finds in the log, and how the log is closed before it goes on.
 *
 *     scanWal     reads everything, writes nothing: what is valid, where it ends, and whether its end is a torn tail (cut) or
 *                 damage (refused, KV_CORRUPT). docs/wal-format.md has the proof of the rule.
 *     settleWal   writes the end down: the last batch again, byte for byte, synced; then the segment's seal.
 *     replayWal   reads the records of chosen ranges, for the shard worker that owns them.
 *
 * Each may be repeated, or be cut off by a crash and repeated: the outcome is the same.
 */
import path from 'node:path';
import { SkerryError } from '../../core/errors.ts';
import type { Disk, DiskFile } from '../disk.ts';
import { EntryAssembler, RangeLogs } from './entries.ts';
import type { OnRecord, RangeLog } from './entries.ts';
import {
  alignToBlock,
  FLAG_CUT,
  FLAG_HARD_STATE,
  FLAG_IDLE_MARK,
  isEntryEnd,
  isEntryStart,
  segmentSeed,
  STATE_CLOSED,
  STATE_CONTINUED,
  STATE_OPEN,
  TYPE_CHECKPOINT,
} from './format.ts';
import type { SegmentHeader, SegmentState } from './format.ts';
import { lastWanted, readManifest } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import { createWindow, SegmentReader, startWalk, walkSegment } from './reader.ts';
import type { RecordView, SegmentWalk } from './reader.ts';
import { listSegments, readSegmentHeaders, sealSegment, segmentName } from './segment.ts';
import { WalTracker } from './tracker.ts';
import type { TrackerSnapshot } from './tracker.ts';

export interface ScannedSegment {
  readonly segmentId: number;
  readonly state: SegmentState;
  readonly segmentBytes: number;
  readonly startSequence: number;
  readonly endSequence: number;
  readonly entryCount: number;
  readonly dataChecksum: number;
  readonly createdUs: number;
  /** Where the valid records end. */
  readonly dataEnd: number;
  /** Where the last batch begins; 0 = there is none. */
  readonly lastBatchStart: number;
}

/** A batch that a crash cut off: what it lacks was never acknowledged. */
export interface TornTail {
  readonly file: string;
  readonly offset: number;
  readonly reason: string;
}

/** Fit for structured cloning: one thread scans, the shard workers replay. */
export interface WalScan {
  /** 0 when there is no log yet. */
  readonly logId: number;
  readonly manifest: Manifest | null;
  readonly segments: readonly ScannedSegment[];
  /** Segments that are no longer needed and still have their name. */
  readonly leftovers: readonly number[];
  readonly ranges: ReadonlyMap<number, RangeLog>;
  readonly tracker: TrackerSnapshot;
  readonly tornTail: TornTail | null;
  readonly nextSequence: number;
  readonly nextSegmentId: number;
  readonly recordCount: number;
  readonly bytesRead: number;
  readonly durationMs: number;
}

/** The error for a log that must not be used as it is. */
export function corrupt(file: string, offset: number, what: string): SkerryError {
  return new SkerryError(
    'KV_CORRUPT',
    `The write-ahead log is damaged: ${file}, offset ${offset}: ${what}. Nothing was changed. ` +
      `Run "skerry wal verify ${path.dirname(file)}" for all damage; restore the node from its peers or a backup, ` +
      'or accept the loss with "skerry wal repair --force".',
    { hint: { file, offset, what } },
  );
}

/** The manifest and the segments that it wants. Throws KV_CORRUPT when one is missing or the manifest is damaged. */
export function readLayout(
  disk: Disk,
  dir: string,
): { manifest: Manifest | null; live: number[]; leftovers: number[] } {
  const manifest = disk.exists(dir) ? readManifest(disk, dir) : undefined;
  const ids = disk.exists(dir) ? listSegments(disk, dir) : [];
  if (manifest === undefined && ids.length === 0) return { manifest: null, live: [], leftovers: [] };
  if (manifest === undefined || manifest === null) {
    throw corrupt(path.join(dir, 'manifest'), 0, manifest === null ? 'no copy of it is valid' : 'the file is missing');
  }
  const live = ids.filter((id) => id >= manifest.firstSegment);
  const last = lastWanted(manifest, live.at(-1) ?? 0);
  for (let id = manifest.firstSegment; id <= last; id++) {
    if (live[id - manifest.firstSegment] !== id)
      throw corrupt(path.join(dir, segmentName(id)), 0, 'the file is missing');
  }
  return { manifest, live, leftovers: ids.filter((id) => id < manifest.firstSegment) };
}

/**
 * Reads and verifies the whole log. `onRecord` gets every whole record, in order. Throws KV_CORRUPT, with file and offset in
 * the message and the hint, on anything that a crash of the process or the machine cannot explain.
 */
export function scanWal(disk: Disk, dir: string, onRecord?: OnRecord): WalScan {
  const started = performance.now();
  const { manifest, live, leftovers } = readLayout(disk, dir);
  const logs = new RangeLogs();
  const tracker = new WalTracker();
  const assembler = new EntryAssembler((type, flags, term, rangeId, index, buffer, start, end, sequence) => {
    logs.record(type, flags, term, rangeId, index, buffer, start, sequence);
    onRecord?.(type, flags, term, rangeId, index, buffer, start, end, sequence);
  }, onRecord !== undefined);
  let windowFor = 0;
  let window = createWindow(windowFor);
  const open = (segmentId: number | undefined): OpenSegment | null =>
    segmentId === undefined ? null : openSegment(disk, dir, segmentId, (manifest as Manifest).logId);
  const segments: ScannedSegment[] = [];
  let tornTail: TornTail | null = null;
  let sequence = 0;
  let recordCount = 0;
  let bytesRead = 0;
  let current = open(live[0]);
  let next: OpenSegment | null = null;
  try {
    for (let i = 1; current !== null; i++) {
      const { header, sealed, name } = current;
      next = open(live[i]);
      if (sequence !== 0 && header.startSequence !== sequence) {
        throw corrupt(name, 0, `it begins with record ${header.startSequence} where ${sequence} is expected`);
      }
      tracker.opened(header.segmentId);
      const limit = sealed?.dataEnd ?? header.segmentBytes;
      if (header.segmentBytes > windowFor) {
        windowFor = header.segmentBytes;
        window = createWindow(windowFor);
      }
      const reader = new SegmentReader(current.file, segmentSeed(header.segmentId, header.logId), limit, window);
      const walk = startWalk(header.startSequence);
      walkSegment(reader, walk, limit, (record) => {
        trackRecord(tracker, record);
        assembler.push(record, window);
      });
      if (sealed !== null) checkSeal(name, sealed, walk);
      else if (next !== null) checkEnd(name, walk, next.header.startSequence);
      else tornTail = judgeTail(name, reader, walk);
      if (next === null && sealed?.state === STATE_CONTINUED) {
        throw corrupt(path.join(dir, segmentName(header.segmentId + 1)), 0, 'the file is missing');
      }
      segments.push({
        segmentId: header.segmentId,
        state: sealed?.state ?? STATE_OPEN,
        segmentBytes: header.segmentBytes,
        startSequence: header.startSequence,
        endSequence: walk.sequence - 1,
        entryCount: walk.entryCount,
        dataChecksum: walk.dataChecksum,
        createdUs: header.createdUs,
        dataEnd: walk.position,
        lastBatchStart: walk.lastBatchStart,
      });
      sequence = walk.sequence;
      recordCount += walk.entryCount;
      bytesRead += reader.bytesRead;
      current.file.close();
      current = next;
      next = null;
    }
  } finally {
    current?.file.close();
    next?.file.close();
  }
  logs.checkBeginnings();
  return {
    logId: manifest?.logId ?? 0,
    manifest,
    segments,
    leftovers,
    ranges: logs.ranges,
    tracker: tracker.snapshot(),
    tornTail,
    nextSequence: sequence === 0 ? 1 : sequence,
    nextSegmentId: (live.at(-1) ?? (manifest?.firstSegment ?? 1) - 1) + 1,
    recordCount,
    bytesRead,
    durationMs: performance.now() - started,
  };
}

/** Tells the tracker of one record. */
function trackRecord(tracker: WalTracker, record: RecordView): void {
  if ((record.flags & FLAG_IDLE_MARK) !== 0) return;
  if ((record.flags & FLAG_HARD_STATE) !== 0) tracker.hardState(record.rangeId, record.bytes);
  else if (record.type !== TYPE_CHECKPOINT)
    tracker.entry(record.rangeId, record.index, record.bytes, isEntryStart(record.flags), isEntryEnd(record.flags));
  else if ((record.flags & FLAG_CUT) === 0) tracker.checkpointed(record.rangeId, record.index);
  else tracker.cut(record.rangeId, record.index);
}

interface OpenSegment {
  readonly name: string;
  readonly file: DiskFile;
  readonly header: SegmentHeader;
  readonly sealed: SegmentHeader | null;
}

function openSegment(disk: Disk, dir: string, segmentId: number, logId: number): OpenSegment {
  const name = path.join(dir, segmentName(segmentId));
  const file = disk.openFile(name, 'r');
  try {
    const { opened, sealed } = readSegmentHeaders(file, segmentId, logId);
    const header = opened ?? sealed;
    if (header === null) throw corrupt(name, 0, 'the segment header does not hold');
    if (file.size() !== header.segmentBytes) {
      throw corrupt(name, file.size(), `the file has ${file.size()} bytes where ${header.segmentBytes} are expected`);
    }
    return { name, file, header, sealed };
  } catch (error) {
    file.close();
    throw error;
  }
}

type Walk = ReturnType<typeof startWalk>;

/**
 * Verifies the next `bytesMax` bytes of a sealed segment, or the rest of the record that they end in. `from` null: from the
 * beginning. Returns where to go on; null at the end, or when the segment is still written to. Throws KV_CORRUPT, and ENOENT
 * when the segment is no longer there.
 */
export function scrubSegment(
  disk: Disk,
  dir: string,
  segmentId: number,
  logId: number,
  from: SegmentWalk | null,
  bytesMax: number,
): SegmentWalk | null {
  const { name, file, header, sealed } = openSegment(disk, dir, segmentId, logId);
  try {
    if (sealed === null) return null;
    const { dataEnd } = sealed;
    const walk = from ?? startWalk(header.startSequence);
    const reader = new SegmentReader(file, segmentSeed(segmentId, logId), dataEnd, createWindow());
    walkSegment(reader, walk, Math.min(walk.position + bytesMax, dataEnd), () => undefined);
    if (walk.reason !== null) throw corrupt(name, walk.position, walk.reason);
    if (walk.position < dataEnd) return walk;
    checkSeal(name, sealed, walk);
    return null;
  } finally {
    file.close();
  }
}

function checkSeal(name: string, sealed: SegmentHeader, walk: Walk): void {
  if (walk.reason !== null) throw corrupt(name, walk.position, walk.reason);
  const holds =
    walk.position === sealed.dataEnd &&
    walk.sequence === sealed.endSequence + 1 &&
    walk.entryCount === sealed.entryCount &&
    walk.dataChecksum === sealed.dataChecksum;
  if (!holds) throw corrupt(name, walk.position, 'the records are not those that the segment was sealed with');
}

/** A segment without a seal, but with a successor: the crash came between opening the one and sealing the other. */
function checkEnd(name: string, walk: Walk, nextSequence: number): void {
  if (walk.sequence === nextSequence) return;
  const what = walk.reason ?? 'the segment ends';
  throw corrupt(name, walk.position, `${what}, and the next segment begins with record ${nextSequence}`);
}

/**
 * The end of a log that was not closed. Batches are written one at a time, each after the one before it is durable; so if
 * any later batch has left a valid record, the batch at the end of the walk was durable once, and is damaged. If none has,
 * it is the last one, and what it lacks was never acknowledged.
 */
function judgeTail(name: string, reader: SegmentReader, walk: Walk): TornTail | null {
  if (walk.reason === null) return null;
  let isTorn = false;
  for (let from = walk.position; reader.find(from, walk.sequence);) {
    const { batch, position, sequence, bytes } = reader.record;
    if (batch !== walk.batch) {
      const behind = `a later valid record (${sequence}, at offset ${position}) proves that it was complete once`;
      throw corrupt(name, walk.position, `${walk.reason}, and ${behind}`);
    }
    isTorn = true;
    from = position + bytes;
  }
  return isTorn || walk.inBatch ? { file: name, offset: walk.position, reason: walk.reason } : null;
}

/**
 * Closes the log behind its last valid record, so that it can go on in a new segment. The last batch may have been read from
 * memory that no fsync has written (also one that an fsync reported as lost): it is written again, the same bytes to
 * the same place, so that no crash in between can harm what is valid.
 */
export function settleWal(disk: Disk, dir: string, scan: WalScan, nowUs: number): void {
  const last = scan.segments.at(-1);
  if (last === undefined || last.state !== STATE_OPEN) return;
  const file = disk.openFile(path.join(dir, segmentName(last.segmentId)), 'r+');
  try {
    if (last.lastBatchStart > 0) {
      const end = alignToBlock(last.dataEnd);
      const window = createWindow(end - last.lastBatchStart);
      for (let at = last.lastBatchStart; at < end; at += window.length) {
        const bytes = file.read(window, 0, Math.min(window.length, end - at), at);
        file.write(window, 0, bytes, at);
      }
      file.datasync();
    }
    const { segmentId, startSequence, endSequence, entryCount, segmentBytes, dataChecksum, dataEnd, createdUs } = last;
    sealSegment(file, {
      segmentId,
      logId: scan.logId,
      startSequence,
      endSequence,
      entryCount,
      segmentBytes,
      createdUs,
      modifiedUs: nowUs,
      dataChecksum,
      dataEnd,
      state: STATE_CLOSED,
    });
  } finally {
    file.close();
  }
}

/**
 * Reads the records of the ranges that `wants` says, in order, from the segments that hold some. The scan has verified
 * them; they are not verified again.
 */
export function replayWal(
  disk: Disk,
  dir: string,
  scan: WalScan,
  wants: (rangeId: number) => boolean,
  onRecord: OnRecord,
): void {
  const assembler = new EntryAssembler(onRecord, true);
  const window = createWindow(Math.max(0, ...scan.segments.map(({ segmentBytes }) => segmentBytes)));
  for (const segment of scan.segments) {
    if (segment.entryCount === 0) continue;
    const name = path.join(dir, segmentName(segment.segmentId));
    const file = disk.openFile(name, 'r');
    try {
      const reader = new SegmentReader(file, 0, segment.dataEnd, window);
      const walk = startWalk(segment.startSequence);
      const visit = (record: RecordView): void => {
        if (wants(record.rangeId)) assembler.push(record, window);
      };
      walkSegment(reader, walk, segment.dataEnd, visit, true);
      if (walk.sequence !== segment.endSequence + 1)
        throw corrupt(name, walk.position, 'it changed since it was scanned');
    } finally {
      file.close();
    }
  }
}
