/**
 * A range's tombstone: which of this node's members of it are gone for good.
 *
 *     {"member":4328521729}                                              and all before it: destroyed
 *     {"member":4328521729,"damage":{"what":"…","sinceMs":17…}}          damaged, and its group may still count on it
 */
import path from 'node:path';
import type { MemberId } from '../../core/brands.ts';
import { SkerryError } from '../../core/errors.ts';
import type { Disk } from '../disk.ts';
import { readWhole, writeWhole } from '../whole-file.ts';

const NAME = 'tombstone';

/** What is wrong with what a member stored. */
export interface Damage {
  /** For people: what is damaged, and where. */
  readonly what: string;
  /** Unix milliseconds; the names of the files that were set aside end with it. */
  readonly sinceMs: number;
}

export interface Tombstone {
  /** 0 = there is none. */
  readonly member: MemberId;
  readonly damage: Damage | null;
}

export function writeTombstone(disk: Disk, dir: string, { member, damage }: Tombstone): void {
  const text = JSON.stringify(damage === null ? { member } : { member, damage });
  writeWhole(disk, path.join(dir, NAME), `${text}\n`);
}

/** Throws KV_CORRUPT. */
export function readTombstone(disk: Disk, dir: string): Tombstone {
  const file = path.join(dir, NAME);
  if (!disk.exists(file)) return { member: 0 as MemberId, damage: null };
  try {
    const { member, damage } = JSON.parse(readWhole(disk, file)) as Partial<Tombstone>;
    if (typeof member === 'number') return { member, damage: damage ?? null };
  } catch (cause) {
    throw new SkerryError('KV_CORRUPT', `${file} cannot be read as JSON. Restore it from a backup.`, { cause });
  }
  throw new SkerryError('KV_CORRUPT', `${file} names no member. Restore it from a backup.`);
}
