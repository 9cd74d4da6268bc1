/**
 * Where a node's checkpoints lie, and what each name means:
 *
 *     checkpoints/
 *       range-7/
 *         0000000000000042.ckpt      state of range 7 at index 42
 *         0000000000000050.staged    a snapshot of it at index 50, whole and durable, whose place in the log is being made:
 *                                    it counts once the log has its cut record, and is renamed then
 *         tombstone                  this node's members of range 7 up to the one named in it are gone for good
 *         ….tmp, ….part              half written; deleted at the next start
 */
import path from 'node:path';
import type { LogIndex, MemberId, RangeId } from '../../core/brands.ts';
import { SkerryError } from '../../core/errors.ts';
import { incarnationOf } from '../../core/member.ts';
import type { Disk } from '../disk.ts';
import { readWhole, writeWhole } from '../whole-file.ts';
import { TEMPORARY_SUFFIX } from './write.ts';

const RANGE_NAME = /^range-(\d+)$/;
const FILE_NAME = /^(\d{16})\.(ckpt|staged)$/;
const TOMBSTONE = 'tombstone';
/** Of a snapshot that is still coming in. */
const PART_SUFFIX = '.part';

/** What lies in the folder of one range. */
export interface RangeFiles {
  readonly rangeId: RangeId;
  /** The newest checkpoint; null when there is none. */
  readonly checkpoint: string | null;
  readonly staged: readonly { readonly index: LogIndex; readonly file: string }[];
  /** 0 = none. */
  readonly tombstone: MemberId;
}

export class CheckpointFolder {
  readonly #disk: Disk;
  readonly #dir: string;

  constructor(disk: Disk, dir: string) {
    this.#disk = disk;
    this.#dir = dir;
  }

  make(): void {
    this.#disk.mkdir(this.#dir);
    this.#disk.syncDir(path.dirname(this.#dir));
  }

  /** The name of the checkpoint at `index`; the range's folder is made. */
  checkpointFile(rangeId: number, index: number): string {
    return this.#file(rangeId, index, 'ckpt');
  }

  /** The name for a snapshot that is received; unlike any other of this process. */
  incomingFile(rangeId: number, index: number, unique: number): string {
    return `${this.#file(rangeId, index, 'staged')}.${unique}${PART_SUFFIX}`;
  }

  /** A snapshot came in whole and is durable: gives it the name under which a restart may find it. */
  stage(rangeId: number, index: number, incoming: string): void {
    this.#disk.rename(incoming, this.#file(rangeId, index, 'staged'));
    this.#disk.syncDir(this.#rangeDir(rangeId));
  }

  /** The log has the cut record: the staged snapshot is the range's checkpoint now. Older ones go. */
  install(rangeId: number, index: number): string {
    const file = this.checkpointFile(rangeId, index);
    this.#disk.rename(this.#file(rangeId, index, 'staged'), file);
    this.dropOlder(rangeId, index);
    return file;
  }

  /** Deletes the range's checkpoints before `index`, which are of no more use. */
  dropOlder(rangeId: number, index: number): void {
    const dir = this.#rangeDir(rangeId);
    for (const found of this.#filesIn(dir)) {
      if (found.kind === 'ckpt' && found.index < index) this.#disk.unlink(path.join(dir, found.name));
    }
    this.#disk.syncDir(dir);
  }

  /** This member is gone for good, and so is all that it stored. */
  bury(rangeId: number, member: MemberId): void {
    const dir = this.#madeRangeDir(rangeId);
    writeWhole(this.#disk, path.join(dir, TOMBSTONE), `${JSON.stringify({ member })}\n`);
    for (const { name } of this.#filesIn(dir)) this.#disk.unlink(path.join(dir, name));
    this.#disk.syncDir(dir);
  }

  /** All ranges that have something here. Deletes what a crash left half written. Throws KV_CORRUPT. */
  find(): RangeFiles[] {
    const ranges: RangeFiles[] = [];
    for (const rangeName of this.#disk.list(this.#dir)) {
      const rangeId = Number(RANGE_NAME.exec(rangeName)?.[1]) as RangeId;
      if (!Number.isSafeInteger(rangeId)) continue;
      const dir = path.join(this.#dir, rangeName);
      for (const name of this.#disk.list(dir)) {
        if (name.endsWith(TEMPORARY_SUFFIX) || name.endsWith(PART_SUFFIX)) this.#disk.unlink(path.join(dir, name));
      }
      const files = this.#filesIn(dir);
      const checkpoint = files.filter(({ kind }) => kind === 'ckpt').at(-1);
      ranges.push({
        rangeId,
        checkpoint: checkpoint === undefined ? null : path.join(dir, checkpoint.name),
        staged: files
          .filter(({ kind }) => kind === 'staged')
          .map(({ name, index }) => ({ index, file: path.join(dir, name) })),
        tombstone: this.#tombstone(dir),
      });
    }
    return ranges;
  }

  #file(rangeId: number, index: number, kind: 'ckpt' | 'staged'): string {
    return path.join(this.#madeRangeDir(rangeId), `${String(index).padStart(16, '0')}.${kind}`);
  }

  #rangeDir(rangeId: number): string {
    return path.join(this.#dir, `range-${rangeId}`);
  }

  #madeRangeDir(rangeId: number): string {
    const dir = this.#rangeDir(rangeId);
    if (!this.#disk.exists(dir)) {
      this.#disk.mkdir(dir);
      this.#disk.syncDir(this.#dir);
    }
    return dir;
  }

  /** Oldest first. */
  #filesIn(dir: string): { name: string; index: LogIndex; kind: string }[] {
    return this.#disk
      .list(dir)
      .flatMap((name) => {
        const match = FILE_NAME.exec(name);
        return match === null ? [] : [{ name, index: Number(match[1]) as LogIndex, kind: match[2] as string }];
      })
      .sort((a, b) => a.index - b.index);
  }

  #tombstone(dir: string): MemberId {
    const file = path.join(dir, TOMBSTONE);
    if (!this.#disk.exists(file)) return 0 as MemberId;
    try {
      const { member } = JSON.parse(readWhole(this.#disk, file)) as { member: unknown };
      if (typeof member === 'number') return member as MemberId;
    } catch (cause) {
      throw new SkerryError('KV_CORRUPT', `${file} cannot be read as JSON. Restore it from a backup.`, { cause });
    }
    throw new SkerryError('KV_CORRUPT', `${file} names no member. Restore it from a backup.`);
  }
}

/** Whether a member of this node lived before the tombstone was written. */
export function isBuried(member: MemberId, tombstone: MemberId): boolean {
  return tombstone !== 0 && incarnationOf(member) <= incarnationOf(tombstone);
}
