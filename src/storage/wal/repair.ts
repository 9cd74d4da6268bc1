/**
 * `skerry wal repair --force`: makes a damaged log usable by ending it before the first damage. What comes behind is moved
 * aside, never deleted, and told record by record. Only for a node that cannot be restored from its peers or a backup.
 *
 *     segment 12        13                 14                cut-2026-…/
 *     records ········  records ✗ ·····    records      ──▶  0000000000000013.wal.from-204800   a copy
 *                               └ sealed here                0000000000000014.wal               the file itself
 *
 * Done again after a crash, it goes on where it stopped.
 */
import path from 'node:path';
import { SkerryError } from '../../core/errors.ts';
import type { Disk } from '../disk.ts';
import { BLOCK_BYTES, DATA_OFFSET, STATE_CLOSED, STATE_OPEN, TYPE_CHECKPOINT, writeSegmentHeader } from './format.ts';
import type { SegmentHeader } from './format.ts';
import { FLAG_HARD_STATE, FLAG_IDLE_MARK } from './format.ts';
import { createManifest, lastWanted, writeManifest } from './manifest.ts';
import { segmentIdOf, segmentName, sealSegment } from './segment.ts';
import { surveyWal } from './survey.ts';
import type { SurveyedSegment, WalDamage, WalSurvey } from './survey.ts';

export interface LostRange {
  readonly rangeId: number;
  /** Valid records behind the cut. */
  records: number;
  /** Entries of the Raft log among them; 0 and 0 when there are none. */
  firstIndex: number;
  lastIndex: number;
}

export interface RepairReport {
  /** Nothing was wrong, and nothing was done. */
  readonly wasGood: boolean;
  /** Where the log ends now; null when nothing had to be cut. */
  readonly cut: { readonly file: string; readonly offset: number; readonly reason: string } | null;
  /** Folder with what was cut off; null when nothing was. */
  readonly sideDir: string | null;
  /** What is known of what was lost: valid records behind the cut, by range. */
  readonly lost: readonly LostRange[];
  /** Records that could not even be read, if their number is known from the sequence numbers around them; else a lower bound. */
  readonly unreadableRecords: number;
  readonly unreadableBytes: number;
  /** Repaired without loss. */
  readonly rebuilt: readonly string[];
}

/** Repairs. `sideName`: a name for the folder of what is cut off, e.g. with the time in it. `nowUs`: Unix microseconds. */
export function repairWal(disk: Disk, dir: string, sideName: string, nowUs: number): RepairReport {
  const rebuilt: string[] = [];
  let survey = surveyWal(disk, dir);
  if (survey.damages.length === 0) return report({ wasGood: true });
  if (survey.logId === 0) {
    throw new SkerryError(
      'KV_CORRUPT',
      `${dir} cannot be repaired: neither the manifest nor any segment header is readable. Restore the node from its peers ` +
        'or a backup.',
      { hint: { dir } },
    );
  }
  if (survey.damages.some(({ kind }) => kind === 'manifest')) {
    rebuildManifest(disk, survey);
    rebuilt.push(path.join(dir, 'manifest'));
    survey = surveyWal(disk, dir);
  }
  for (const damage of survey.damages.filter(({ kind, isHarmless }) => kind === 'header' && !isHarmless)) {
    if (!rebuildHeader(disk, survey, damage, nowUs)) continue;
    rebuilt.push(damage.file);
    survey = surveyWal(disk, dir);
  }
  const first = survey.damages.find(({ isHarmless }) => !isHarmless);
  if (first === undefined) return report({ rebuilt });
  return { ...cutAt(disk, survey, first, sideName, nowUs), rebuilt };
}

function report(known: Partial<RepairReport>): RepairReport {
  return {
    wasGood: false,
    cut: null,
    sideDir: null,
    lost: [],
    unreadableRecords: 0,
    unreadableBytes: 0,
    rebuilt: [],
    ...known,
  };
}

function rebuildManifest(disk: Disk, survey: WalSurvey): void {
  const ids = survey.segments.map(({ segmentId }) => segmentId);
  createManifest(disk, survey.dir, {
    generation: 1,
    logId: survey.logId,
    firstSegment: ids[0] ?? 1,
    openedSegment: ids.at(-1) ?? 0,
  });
}

/** A header says nothing that the file's name, the manifest and the records do not say; with none of these it stays lost. */
function rebuildHeader(disk: Disk, survey: WalSurvey, damage: WalDamage, nowUs: number): boolean {
  const segment = survey.segments.find(({ segmentId }) => segmentId === damage.segmentId);
  if (segment === undefined || segment.recordCount === 0 || segment.startSequence === 0) return false;
  const file = disk.openFile(segment.file, 'r+');
  try {
    const block = Buffer.alloc(BLOCK_BYTES);
    writeSegmentHeader(block, headerOf(survey, segment, nowUs));
    file.write(block, 0, BLOCK_BYTES, 0);
    file.datasync();
  } finally {
    file.close();
  }
  return true;
}

function headerOf(survey: WalSurvey, segment: SurveyedSegment, nowUs: number): SegmentHeader {
  return {
    segmentId: segment.segmentId,
    logId: survey.logId,
    startSequence: segment.startSequence,
    endSequence: 0,
    entryCount: 0,
    segmentBytes: segment.segmentBytes,
    createdUs: segment.createdUs === 0 ? nowUs : segment.createdUs,
    modifiedUs: nowUs,
    dataChecksum: 0,
    dataEnd: 0,
    state: STATE_OPEN,
  };
}

function cutAt(disk: Disk, survey: WalSurvey, damage: WalDamage, sideName: string, nowUs: number): RepairReport {
  const { dir } = survey;
  const segment = survey.segments.find(({ segmentId }) => segmentId === damage.segmentId) ?? null;
  // A record that is damaged ends its segment; a whole segment that is no good ends the log before it.
  const keepsPart = segment !== null && (damage.kind === 'record' || damage.kind === 'size' || damage.kind === 'seal');
  const lastKept = keepsPart ? damage.segmentId : damage.segmentId - 1;
  const position = keepsPart ? segment.cut.position : DATA_OFFSET;
  const lost = countLost(disk, survey, lastKept, position);
  const sideDir = path.join(dir, sideName);
  disk.mkdir(sideDir);
  disk.syncDir(dir);
  if (keepsPart) {
    copyAside(disk, segment.file, position, path.join(sideDir, `${segmentName(lastKept)}.from-${position}`));
  }
  for (const name of disk.list(dir).reverse()) {
    const segmentId = segmentIdOf(name);
    if (segmentId === null || segmentId <= lastKept) continue;
    disk.rename(path.join(dir, name), path.join(sideDir, name));
  }
  disk.syncDir(sideDir);
  if (keepsPart) sealAt(disk, survey, segment, nowUs);
  else closeLast(disk, survey, lastKept, nowUs);
  const { manifest } = survey;
  if (manifest !== null) {
    const kept = survey.segments.some(({ segmentId }) => segmentId === lastKept);
    writeManifest(disk, dir, {
      ...manifest,
      generation: manifest.generation + 1,
      // With nothing left, the log begins anew behind everything that was.
      firstSegment: kept ? manifest.firstSegment : lastWanted(manifest, Math.max(0, ...ids(survey))) + 1,
      openedSegment: kept ? lastKept : 0,
    });
  }
  disk.syncDir(dir);
  const unreadable = survey.damages.filter(({ kind }) => kind === 'record' || kind === 'size' || kind === 'missing');
  return report({
    cut: { file: damage.file, offset: keepsPart ? position : 0, reason: damage.what },
    sideDir,
    lost: lost.ranges,
    unreadableRecords: lost.unreadableRecords,
    unreadableBytes: unreadable.reduce((sum, { bytes }) => sum + bytes, 0),
  });
}

function ids(survey: WalSurvey): number[] {
  return survey.segments.map(({ segmentId }) => segmentId);
}

function countLost(
  disk: Disk,
  survey: WalSurvey,
  lastKept: number,
  position: number,
): { ranges: LostRange[]; unreadableRecords: number } {
  const ranges = new Map<number, LostRange>();
  const kept = survey.segments.find(({ segmentId }) => segmentId === lastKept);
  let expected = kept === undefined ? 0 : kept.cut.sequence;
  let unreadableRecords = 0;
  surveyWal(disk, survey.dir, {
    record({ type, flags, rangeId, index, sequence, position: at }, _buffer, segmentId) {
      if (segmentId < lastKept || (segmentId === lastKept && at < position)) return;
      if (expected !== 0 && sequence > expected) unreadableRecords += sequence - expected;
      expected = sequence + 1;
      if ((flags & FLAG_IDLE_MARK) !== 0) return;
      const range = ranges.get(rangeId) ?? { rangeId, records: 0, firstIndex: 0, lastIndex: 0 };
      ranges.set(rangeId, range);
      range.records += 1;
      if (type === TYPE_CHECKPOINT || (flags & FLAG_HARD_STATE) !== 0) return;
      if (range.firstIndex === 0 || index < range.firstIndex) range.firstIndex = index;
      if (index > range.lastIndex) range.lastIndex = index;
    },
  });
  return { ranges: [...ranges.values()].sort((a, b) => a.rangeId - b.rangeId), unreadableRecords };
}

/** Copies a file's bytes from `position` to its end, durably. */
function copyAside(disk: Disk, from: string, position: number, to: string): void {
  const source = disk.openFile(from, 'r');
  const target = disk.openFile(to, 'w+');
  try {
    const buffer = Buffer.alloc(1024 * 1024);
    for (let at = position; ;) {
      const bytes = source.read(buffer, 0, buffer.length, at);
      if (bytes === 0) break;
      target.write(buffer, 0, bytes, at - position);
      at += bytes;
    }
    target.sync();
  } finally {
    source.close();
    target.close();
  }
}

/** Ends the segment behind its last good record. */
function sealAt(disk: Disk, survey: WalSurvey, segment: SurveyedSegment, nowUs: number): void {
  const { cut } = segment;
  const file = disk.openFile(segment.file, 'r+');
  try {
    if (file.size() < segment.segmentBytes) file.truncate(segment.segmentBytes);
    sealSegment(file, {
      ...headerOf(survey, segment, nowUs),
      endSequence: cut.sequence - 1,
      entryCount: cut.entryCount,
      dataChecksum: cut.dataChecksum,
      dataEnd: cut.position,
      state: STATE_CLOSED,
    });
    file.sync();
  } finally {
    file.close();
  }
}

/** The log ends with a whole segment: its seal must not promise a next one. */
function closeLast(disk: Disk, survey: WalSurvey, lastKept: number, nowUs: number): void {
  const segment = survey.segments.find(({ segmentId }) => segmentId === lastKept);
  if (segment !== undefined) sealAt(disk, survey, segment, nowUs);
}
