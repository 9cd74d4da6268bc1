/**
 * Raft entries that change the range itself, and what a checkpoint says of its range. Both are rare, so both are msgpack
 * objects; the first byte of an entry's data tells it from a batch of commands (core/kv/batch.ts, kind 1).
 *
 *     u8 kind = 2   split: { newRangeId, splitKey, rangeVersion }
 *     u8 kind = 3   a change of the catalog, in range 1 only (codec/catalog.ts)
 */
import { pack, unpack } from 'msgpackr';
import type { ConfState, HardState } from '../src/core/raft/types.ts';
import type { LogIndex, MemberId, RangeId, Term } from '../src/core/brands.ts';
import type { RangeDescriptor } from '../src/core/range.ts';
import { rangeContains } from '../src/core/range.ts';

export const SPLIT_KIND = 2;
export const CATALOG_KIND = 3;

export interface SplitEntry {
  /** Id of the right half. */
  readonly newRangeId: RangeId;
  /** First key of the right half. */
  readonly splitKey: Buffer;
  /** Epoch version that the proposer saw; the split does nothing when it no longer holds. */
  readonly rangeVersion: number;
}

export function encodeSplit(split: SplitEntry): Buffer {
  return Buffer.concat([Buffer.of(SPLIT_KIND), pack(split)]);
}

export function decodeSplit(data: Buffer): SplitEntry {
  return unpack(data.subarray(1)) as SplitEntry;
}

export function encodeCatalogChange(op: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(CATALOG_KIND), op]);
}

/** Where the log of a new range begins: as if an entry 1 of term 1 had made its first state. */
export const FIRST_INDEX = 1 as LogIndex;
export const FIRST_TERM = 1 as Term;

/** Of a member that has not said anything yet. */
export const NOTHING_PROMISED: HardState = { term: 0 as Term, vote: 0 as MemberId, commit: 0 as LogIndex };

/** The two halves' descriptors, or null when the range has changed since the split was asked for: then it does nothing. */
export function applySplitTo(
  descriptor: RangeDescriptor,
  { newRangeId, splitKey, rangeVersion }: SplitEntry,
): { left: RangeDescriptor; right: RangeDescriptor } | null {
  const isInside =
    rangeContains(descriptor, splitKey, 0, splitKey.length) && Buffer.compare(splitKey, descriptor.startKey) > 0;
  if (rangeVersion !== descriptor.epoch.version || !isInside) return null;
  const epoch = { ...descriptor.epoch, version: descriptor.epoch.version + 1 };
  return {
    left: { ...descriptor, endKey: splitKey, epoch },
    right: { ...descriptor, rangeId: newRangeId, startKey: splitKey, epoch },
  };
}

/** The opaque part of a checkpoint: all of a range's state that is not keys and values. */
export interface RangeMeta {
  readonly descriptor: RangeDescriptor;
  readonly conf: ConfState;
  /** Request ids and their recorded replies (core/kv/sessions.ts). */
  readonly sessions: Buffer;
  /** Of range 1: the catalog (codec/catalog.ts). */
  readonly catalog?: Buffer;
}

export function encodeRangeMeta(meta: RangeMeta): Buffer {
  return pack(meta);
}

export function decodeRangeMeta(bytes: Buffer): RangeMeta {
  return unpack(bytes) as RangeMeta;
}
