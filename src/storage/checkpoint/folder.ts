/**
 * Where a node's checkpoints lie, and what each name means:
 *
 *     checkpoints/
 *       range-7/
 *         0000000000000042.ckpt      state of range 7 at index 42
 *         0000000000000050.staged    a snapshot of it at index 50, whole and durable, whose place in the log is being made:
 *                                    it counts once the log has its cut record, and is renamed then
 *         born-4328521729            this node's member of the range: it may have spoken, and has no checkpoint yet
 *         member-4328521729          the same; it has a checkpoint
 *         tombstone                  this node's members of range 7 up to the one named in it are gone for good, or damaged:
 *                                    then it says how, until the group has taken the member out
 *         ….damaged-17…              a file that was damaged, or belonged to a damaged member; never deleted
 *
 * The names of members say what must be there, whatever becomes of the files: without them a range whose checkpoint is gone
 * would look like one that never was, and a member that has voted like one that has not. Beside a tombstone of the member,
 * its name says that the log has yet to hear of its end.
 *         ….tmp, ….part              half written; deleted at the next start
 */
import path from 'node:path';
import type { LogIndex, MemberId, RangeId } from '../../core/brands.ts';
import { incarnationOf } from '../../core/member.ts';
import type { Disk } from '../disk.ts';
import { readTombstone, writeTombstone } from './tombstone.ts';
import type { Damage } from './tombstone.ts';
import { TEMPORARY_SUFFIX } from './write.ts';

const RANGE_NAME = /^range-(\d+)$/;
const FILE_NAME = /^(\d{16})\.(ckpt|staged)$/;
const MEMBER_NAME = /^(?:member|born)-(\d+)$/;
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
  /** Why the tombstone's member was given up, while its group has not taken it out. */
  readonly damage: Damage | null;
  /** The latest of this node's members of the range; null when none may have said anything. */
  readonly member: { readonly memberId: MemberId; readonly hasCheckpoint: boolean } | null;
}

export class CheckpointFolder {
  readonly #disk: Disk;
  readonly #dir: string;
  /** Checkpoints that were found damaged, by file, and when. */
  readonly #damaged = new Map<string, number>();

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

  /** The checkpoint is damaged: when a newer one has taken its place, it is set aside. */
  keepAside(file: string, nowMs: number): void {
    this.#damaged.set(file, nowMs);
  }

  /** Deletes the range's checkpoints before `index`, which are of no more use; those that are damaged are set aside. */
  dropOlder(rangeId: number, index: number): void {
    const dir = this.#rangeDir(rangeId);
    for (const found of this.#filesIn(dir)) {
      const file = path.join(dir, found.name);
      if (found.kind !== 'ckpt' || found.index >= index) continue;
      const sinceMs = this.#damaged.get(file);
      this.#damaged.delete(file);
      if (sinceMs === undefined) this.#unlink(file);
      else this.#disk.rename(file, `${file}.damaged-${sinceMs}`);
    }
    this.#disk.syncDir(dir);
  }

  /** Whether a member of the range, whichever, has ever said anything here that was counted. */
  isNamed(rangeId: number): boolean {
    const dir = this.#rangeDir(rangeId);
    if (!this.#disk.exists(dir)) return false;
    return readTombstone(this.#disk, dir).member !== 0 || this.#membersIn(dir).length > 0;
  }

  /** The member is about to say something, and has no checkpoint yet. Durable. */
  born(rangeId: number, member: MemberId): void {
    const dir = this.#madeRangeDir(rangeId);
    if (this.#hasName(dir, `member-${member}`) || this.#hasName(dir, `born-${member}`)) return;
    this.#disk.openFile(path.join(dir, `born-${member}`), 'w+').close();
    this.#disk.syncDir(dir);
  }

  /** The member has a durable checkpoint. Durable. */
  stored(rangeId: number, member: MemberId): void {
    const dir = this.#madeRangeDir(rangeId);
    if (this.#hasName(dir, `member-${member}`)) return;
    this.#disk.openFile(path.join(dir, `member-${member}`), 'w+').close();
    this.#disk.syncDir(dir);
    if (this.#hasName(dir, `born-${member}`)) this.#disk.unlink(path.join(dir, `born-${member}`));
  }

  /** This member is gone for good, and so is all that it stored. Its name stays until forget(). */
  bury(rangeId: number, member: MemberId): void {
    const dir = this.#madeRangeDir(rangeId);
    writeTombstone(this.#disk, dir, { member, damage: null });
    for (const { name } of this.#filesIn(dir)) this.#unlink(path.join(dir, name));
    this.#disk.syncDir(dir);
  }

  /** The log has heard of the end of this member, and of all before it. */
  forget(rangeId: number, through: MemberId): void {
    const dir = this.#rangeDir(rangeId);
    for (const { name, memberId } of this.#membersIn(dir)) {
      if (isBuried(memberId, through)) this.#unlink(path.join(dir, name));
    }
    this.#disk.syncDir(dir);
  }

  /** This node's members of the range that live, or whose end the log has yet to hear of. */
  membersOf(rangeId: number): MemberId[] {
    const dir = this.#rangeDir(rangeId);
    return this.#disk.exists(dir) ? this.#membersIn(dir).map(({ memberId }) => memberId) : [];
  }

  /**
   * This member must never speak again, because something of what it stored is lost. What there is of it is set aside; its name
   * stays until forget(). Durable, and may be repeated.
   */
  condemn(rangeId: number, member: MemberId, damage: Damage): void {
    const dir = this.#madeRangeDir(rangeId);
    // A crash in between leaves a member without its checkpoint, which the next start finds.
    for (const { name } of this.#filesIn(dir)) {
      this.#disk.rename(path.join(dir, name), path.join(dir, `${name}.damaged-${damage.sinceMs}`));
    }
    writeTombstone(this.#disk, dir, { member, damage });
  }

  /** The group of a damaged member goes on without it: it is like any other that is gone. */
  forgive(rangeId: number): void {
    const dir = this.#rangeDir(rangeId);
    const { member } = readTombstone(this.#disk, dir);
    writeTombstone(this.#disk, dir, { member, damage: null });
  }

  /** The newest checkpoint of each range. */
  newest(): { readonly rangeId: RangeId; readonly file: string }[] {
    return this.#rangeDirs().flatMap(({ rangeId, dir }) => {
      const found = this.#filesIn(dir).findLast(({ kind }) => kind === 'ckpt');
      return found === undefined ? [] : [{ rangeId, file: path.join(dir, found.name) }];
    });
  }

  /** All ranges that have something here. Deletes what a crash left half written. Throws KV_CORRUPT. */
  find(): RangeFiles[] {
    const ranges: RangeFiles[] = [];
    for (const { rangeId, dir } of this.#rangeDirs()) {
      for (const name of this.#disk.list(dir)) {
        if (name.endsWith(TEMPORARY_SUFFIX) || name.endsWith(PART_SUFFIX)) this.#disk.unlink(path.join(dir, name));
      }
      const files = this.#filesIn(dir);
      const tombstone = readTombstone(this.#disk, dir);
      const checkpoint = files.filter(({ kind }) => kind === 'ckpt').at(-1);
      ranges.push({
        rangeId,
        checkpoint: checkpoint === undefined ? null : path.join(dir, checkpoint.name),
        staged: files
          .filter(({ kind }) => kind === 'staged')
          .map(({ name, index }) => ({ index, file: path.join(dir, name) })),
        tombstone: tombstone.member,
        damage: tombstone.damage,
        member: this.#latestMember(dir, tombstone.member),
      });
    }
    return ranges;
  }

  #rangeDirs(): { rangeId: RangeId; dir: string }[] {
    return this.#disk.list(this.#dir).flatMap((name) => {
      const match = RANGE_NAME.exec(name);
      return match === null ? [] : [{ rangeId: Number(match[1]) as RangeId, dir: path.join(this.#dir, name) }];
    });
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

  #latestMember(dir: string, tombstone: MemberId): RangeFiles['member'] {
    const alive = this.#membersIn(dir).filter(({ memberId }) => !isBuried(memberId, tombstone));
    const [latest] = alive.sort((a, b) => incarnationOf(b.memberId) - incarnationOf(a.memberId));
    if (latest === undefined) return null;
    const { memberId } = latest;
    return { memberId, hasCheckpoint: this.#hasName(dir, `member-${memberId}`) };
  }

  #membersIn(dir: string): { name: string; memberId: MemberId }[] {
    return this.#disk.list(dir).flatMap((name) => {
      const match = MEMBER_NAME.exec(name);
      return match === null ? [] : [{ name, memberId: Number(match[1]) as MemberId }];
    });
  }

  /** Another thread may have deleted it as well: what a new checkpoint replaces goes in one, what a snapshot does in another. */
  #unlink(file: string): void {
    try {
      this.#disk.unlink(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  #hasName(dir: string, name: string): boolean {
    return this.#disk.exists(path.join(dir, name));
  }
}

/** Whether a member of this node lived before the tombstone was written. */
export function isBuried(member: MemberId, tombstone: MemberId): boolean {
  return tombstone !== 0 && incarnationOf(member) <= incarnationOf(tombstone);
}
