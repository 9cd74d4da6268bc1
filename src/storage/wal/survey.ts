/**
 * Reads a log the way a doctor does: everything, on past every damage, changing nothing. What scanWal refuses at once is
 * listed here in full.
 *
 *     records ──✗ damage ──(search for the next valid record)──▶ records ──▶ …
 */
import path from 'node:path';
import type { Disk, DiskFile } from '../disk.ts';
import { readSegmentHeader, segmentSeed, STATE_CONTINUED, STATE_OPEN } from './format.ts';
import type { SegmentHeader, SegmentState } from './format.ts';
import { lastWanted, MANIFEST_NAME, readManifest } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import { createWindow, SegmentReader, startWalk, walkSegment } from './reader.ts';
import type { RecordView, SegmentWalk } from './reader.ts';
import { listSegments, readSegmentHeaders, segmentName } from './segment.ts';

export type DamageKind = 'manifest' | 'missing' | 'header' | 'size' | 'record' | 'seal' | 'sequence';

export interface WalDamage {
  readonly kind: DamageKind;
  /** Nothing is lost by it: the same is known from elsewhere. */
  readonly isHarmless: boolean;
  readonly file: string;
  /** 0 = the manifest. */
  readonly segmentId: number;
  readonly offset: number;
  /** Bytes that cannot be read. */
  readonly bytes: number;
  readonly what: string;
}

export interface SurveyedSegment {
  readonly segmentId: number;
  readonly file: string;
  readonly state: SegmentState | null;
  readonly startSequence: number;
  /** Sequence number behind the last valid record. */
  readonly endSequence: number;
  readonly recordCount: number;
  /** Behind the last valid record before the first damage, and what a seal there has to say. */
  readonly cut: SegmentWalk;
  readonly segmentBytes: number;
  readonly createdUs: number;
}

export interface WalSurvey {
  readonly dir: string;
  readonly manifest: Manifest | null;
  /** 0 when neither manifest nor any header tells it. */
  readonly logId: number;
  readonly segments: readonly SurveyedSegment[];
  readonly damages: readonly WalDamage[];
  /** Where a crash cut off the last batch; no damage. */
  readonly tornTail: { readonly file: string; readonly offset: number } | null;
  readonly recordCount: number;
}

export interface SurveyVisitor {
  /** Each valid record, in order; the record's payload lies in `buffer`. */
  readonly record?: (record: RecordView, buffer: Buffer, segmentId: number) => void;
  readonly damage?: (damage: WalDamage) => void;
}

interface Found {
  readonly file: DiskFile;
  readonly name: string;
  readonly segmentId: number;
  readonly opened: SegmentHeader | null;
  readonly sealed: SegmentHeader | null;
}

export function surveyWal(disk: Disk, dir: string, visitor: SurveyVisitor = {}): WalSurvey {
  const survey = new Survey(disk, dir, visitor);
  survey.run();
  return survey;
}

class Survey implements WalSurvey {
  readonly dir: string;
  manifest: Manifest | null = null;
  logId = 0;
  readonly segments: SurveyedSegment[] = [];
  readonly damages: WalDamage[] = [];
  tornTail: { readonly file: string; readonly offset: number } | null = null;
  recordCount = 0;
  readonly #disk: Disk;
  readonly #visitor: SurveyVisitor;
  readonly #window = createWindow();
  /** Sequence number that the next segment should begin with; 0 = not known. */
  #sequence = 0;

  constructor(disk: Disk, dir: string, visitor: SurveyVisitor) {
    this.#disk = disk;
    this.dir = dir;
    this.#visitor = visitor;
  }

  run(): void {
    const ids = listSegments(this.#disk, this.dir);
    this.#readManifest(ids);
    const first = this.manifest?.firstSegment ?? ids[0] ?? 1;
    const live = ids.filter((id) => id >= first);
    const newest = live.at(-1) ?? 0;
    const last = this.manifest === null ? newest : lastWanted(this.manifest, newest);
    const present = new Set(live);
    for (let id = first; id <= last; id++) {
      if (!present.has(id)) {
        this.#damage('missing', id, 0, 0, 'the file is missing');
        this.#sequence = 0;
        continue;
      }
      const found = this.#open(id);
      try {
        this.#segment(found, id === last, present.has(id + 1) ? this.#startOf(id + 1) : 0);
        if (id === last && found.sealed?.state === STATE_CONTINUED) {
          this.#damage('missing', id + 1, 0, 0, 'the file is missing');
        }
      } finally {
        found.file.close();
      }
    }
  }

  #readManifest(ids: readonly number[]): void {
    const manifest = readManifest(this.#disk, this.dir);
    if (manifest !== undefined && manifest !== null) {
      this.manifest = manifest;
      this.logId = manifest.logId;
      return;
    }
    if (manifest === undefined && ids.length === 0) return;
    this.#damage('manifest', 0, 0, 0, manifest === null ? 'no copy of it is valid' : 'the file is missing');
    for (const id of ids) {
      const header = this.#anyHeader(id);
      if (header === null || header.segmentId !== id) continue;
      this.logId = header.logId;
      return;
    }
  }

  /** The first header of a segment whatever log it names. */
  #anyHeader(segmentId: number): SegmentHeader | null {
    const file = this.#disk.openFile(this.#nameOf(segmentId), 'r');
    try {
      const block = Buffer.alloc(4096);
      file.read(block, 0, block.length, 0);
      return readSegmentHeader(block, 0);
    } finally {
      file.close();
    }
  }

  #open(segmentId: number): Found {
    const name = this.#nameOf(segmentId);
    const file = this.#disk.openFile(name, 'r');
    return { file, name, segmentId, ...readSegmentHeaders(file, segmentId, this.logId) };
  }

  /** Sequence number that a segment's header says it begins with; 0 when it says nothing. */
  #startOf(segmentId: number): number {
    const { file, opened, sealed } = this.#open(segmentId);
    file.close();
    return (opened ?? sealed)?.startSequence ?? 0;
  }

  #segment(found: Found, isLast: boolean, nextStart: number): void {
    const { file, segmentId, opened, sealed } = found;
    const header = opened ?? sealed;
    const fileBytes = file.size();
    if (header === null) {
      this.#damage('header', segmentId, 0, 128, 'the segment header does not hold');
    } else {
      if (opened === null) this.#damage('header', segmentId, 0, 128, 'the first header does not hold', true);
      if (fileBytes !== header.segmentBytes) {
        const what = `the file has ${fileBytes} bytes where ${header.segmentBytes} are expected`;
        this.#damage('size', segmentId, fileBytes, Math.max(0, header.segmentBytes - fileBytes), what);
      }
      if (this.#sequence !== 0 && header.startSequence !== this.#sequence) {
        const what = `it begins with record ${header.startSequence} where ${this.#sequence} is expected`;
        this.#damage('sequence', segmentId, 0, 0, what);
      }
    }
    const limit = Math.min(sealed?.dataEnd ?? fileBytes, fileBytes);
    const reader = new SegmentReader(file, segmentSeed(segmentId, this.logId), limit, this.#window);
    const walk = startWalk(header?.startSequence ?? this.#sequence);
    // No header says where it begins: the first record does.
    if (walk.sequence === 0 && reader.check(walk.position) === null) walk.sequence = reader.record.sequence;
    const startSequence = walk.sequence;
    const before = this.recordCount;
    const damagesBefore = this.damages.length;
    const cut = this.#walk(found, reader, walk, limit, isLast && sealed === null, nextStart);
    const isWhole = this.damages.length === damagesBefore;
    if (
      sealed !== null &&
      isWhole &&
      (walk.sequence !== sealed.endSequence + 1 || walk.dataChecksum !== sealed.dataChecksum)
    ) {
      this.#damage('seal', segmentId, walk.position, 0, 'the records are not those that the segment was sealed with');
    }
    this.segments.push({
      segmentId,
      file: found.name,
      state: header === null ? null : (sealed?.state ?? STATE_OPEN),
      startSequence,
      endSequence: walk.sequence - 1,
      recordCount: this.recordCount - before,
      cut,
      segmentBytes: header?.segmentBytes ?? fileBytes,
      createdUs: header?.createdUs ?? 0,
    });
    this.#sequence = sealed !== null ? sealed.endSequence + 1 : nextStart;
  }

  /** Walks on past every damage. Returns where the first one is, or the end. */
  #walk(
    found: Found,
    reader: SegmentReader,
    walk: SegmentWalk,
    limit: number,
    isTail: boolean,
    nextStart: number,
  ): SegmentWalk {
    const { segmentId, name } = found;
    let cut: SegmentWalk | null = null;
    for (;;) {
      walkSegment(reader, walk, limit, (record) => {
        this.recordCount += 1;
        this.#visitor.record?.(record, reader.buffer, segmentId);
      });
      if (walk.reason === null) break;
      const { position, sequence, batch, inBatch, reason } = walk;
      const isEnd = found.sealed === null && cut === null && !inBatch && sequence === nextStart;
      if (isEnd) break;
      const isFound = reader.find(position, sequence);
      const next = isFound ? { ...reader.record } : null;
      if (isTail && !this.#provesDamage(reader, walk)) {
        if (inBatch || next !== null) this.tornTail = { file: name, offset: position };
        break;
      }
      cut ??= { ...walk };
      const end = next?.position ?? limit;
      const lost = next === null ? '' : `, ${next.sequence - sequence} records are lost before the next valid one`;
      this.#damage('record', segmentId, position, end - position, `${reason} (batch ${batch})${lost}`);
      if (next === null) break;
      walk.position = next.position;
      walk.sequence = next.sequence;
      walk.batch = next.batch;
      walk.inBatch = false;
    }
    return cut ?? { ...walk };
  }

  /** Some record behind the walk's end belongs to a later batch. */
  #provesDamage(reader: SegmentReader, walk: SegmentWalk): boolean {
    const { record } = reader;
    for (let from = walk.position; reader.find(from, walk.sequence); from = record.position + record.bytes) {
      if (record.batch !== walk.batch) return true;
    }
    return false;
  }

  #nameOf(segmentId: number): string {
    return path.join(this.dir, segmentId === 0 ? MANIFEST_NAME : segmentName(segmentId));
  }

  #damage(kind: DamageKind, segmentId: number, offset: number, bytes: number, what: string, isHarmless = false): void {
    const damage = { kind, isHarmless, file: this.#nameOf(segmentId), segmentId, offset, bytes, what };
    this.damages.push(damage);
    this.#visitor.damage?.(damage);
  }
}
