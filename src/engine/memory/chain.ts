/**
 * Older versions of a key: a chain of extents, newest first, that hangs on the key's cell. Only the owner of the store
 * reads chains, never a frozen reader, so they change in place.
 *
 *     0   u32  extent number of the next older version, 0 = none
 *     4   u56  version
 *    11   u56  expiry, Unix ms, 0 = never
 *    18   u8   tag
 *    19   u8   flags: EXTENT, TOMBSTONE, SHARED
 *    20   u32  length of the value
 *    24   value, or u32 extent number when EXTENT or SHARED
 *
 * SHARED: the value is that of the next newer version (an expiry was changed, not the value), whose extent it uses; when that
 * version goes, the extent becomes this one's.
 */
import type { Hlc } from '../../core/brands.ts';
import type { ValueRef } from '../../core/kv/store.ts';
import type { Epochs, Freeze } from './epochs.ts';
import {
  type CellBody,
  EXTENT,
  EXTENT_HEADER_BYTES,
  TOMBSTONE,
  VERSION_BYTES,
  copyBytes,
  readU56,
  referExtent,
  writeU56,
} from './leaf.ts';
import type { Slab } from './slab.ts';

const SHARED = 32;
const RECORD_BYTES = 24;

/** Says which versions somebody may still read: whether a pin lies in [version, newer). */
export type Needed = (version: number, newer: number) => boolean;

const recordAt = (epochs: Epochs, record: number): number => epochs.memory.baseOfUnit(record) + EXTENT_HEADER_BYTES;

function recordBytes(flags: number, valueBytes: number): number {
  if ((flags & TOMBSTONE) !== 0) return RECORD_BYTES;
  return RECORD_BYTES + ((flags & (EXTENT | SHARED)) !== 0 ? 4 : valueBytes);
}

function storedRecordBytes(slab: Slab, at: number): number {
  return recordBytes(slab.bytes[at + 19] as number, slab.view.getUint32(at + 20, true));
}

/**
 * Makes a record of a cell's version, as yet without older ones behind it (linkVersion). With `shareExtent` the cell's
 * next version keeps the extent. Throws KV_OUT_OF_MEMORY, and then nothing has changed.
 */
export function makeVersion(epochs: Epochs, body: CellBody, shareExtent: boolean, pastLimit: boolean): number {
  const inExtent = (body.flags & EXTENT) !== 0;
  const flags = (body.flags & TOMBSTONE) | (inExtent ? (shareExtent ? SHARED : EXTENT) : 0);
  const record = epochs.extents.allocate(recordBytes(flags, body.valueBytes), epochs.now, pastLimit);
  const slab = epochs.memory.slabOfUnit(record);
  const at = recordAt(epochs, record);
  const { view, bytes } = slab;
  view.setUint32(at, 0, true);
  writeU56(view, at + 4, body.version);
  writeU56(view, at + 4 + VERSION_BYTES, body.expiresAtMs);
  bytes[at + 18] = body.tag;
  bytes[at + 19] = flags;
  view.setUint32(at + 20, body.valueBytes, true);
  if (inExtent) view.setUint32(at + RECORD_BYTES, body.extent, true);
  else if ((flags & TOMBSTONE) === 0)
    copyBytes(body.source, body.sourceStart, body.valueBytes, bytes, at + RECORD_BYTES);
  return record;
}

/** Hangs the chain `next` behind a record. */
export function linkVersion(epochs: Epochs, record: number, next: number): void {
  epochs.memory.slabOfUnit(record).view.setUint32(recordAt(epochs, record), next, true);
}

/**
 * Drops the versions of a chain that nobody needs and returns the new head. `newer`: the version in front of the head.
 * `extent`, `extentBytes`: the value of a version that is being dropped in front of the head (0: none); it goes to the head
 * if that shares it, else it is retired.
 */
export function pruneChain(
  epochs: Epochs,
  head: number,
  newer: number,
  needed: Needed,
  extent: number,
  extentBytes: number,
  newest: Freeze | null,
): number {
  let kept = 0;
  let newHead = 0;
  let record = head;
  while (record !== 0) {
    const slab = epochs.memory.slabOfUnit(record);
    const at = recordAt(epochs, record);
    const { view, bytes } = slab;
    const next = view.getUint32(at, true);
    const version = readU56(view, at + 4);
    const flags = bytes[at + 19] as number;
    if (extent !== 0) {
      if ((flags & SHARED) !== 0) bytes[at + 19] = (flags & ~SHARED) | EXTENT;
      else epochs.retireExtent(extent, extentBytes, newest);
      extent = 0;
    }
    if (needed(version, newer)) {
      if (kept === 0) newHead = record;
      else linkVersion(epochs, kept, record);
      kept = record;
    } else {
      if (((bytes[at + 19] as number) & EXTENT) !== 0) {
        extent = view.getUint32(at + RECORD_BYTES, true);
        extentBytes = view.getUint32(at + 20, true);
      }
      epochs.extents.free(record, storedRecordBytes(slab, at));
    }
    newer = version;
    record = next;
  }
  if (kept !== 0) linkVersion(epochs, kept, 0);
  if (extent !== 0) epochs.retireExtent(extent, extentBytes, newest);
  return newHead;
}

const nothingNeeded: Needed = () => false;

/** Frees a whole chain whose cell keeps its own extent, if any, for itself. */
export function freeChain(epochs: Epochs, head: number, newest: Freeze | null): void {
  pruneChain(epochs, head, 0, nothingNeeded, 0, 0, newest);
}

/** Memory of a chain and of the values that it alone holds, in units. */
export function chainUnits(epochs: Epochs, head: number): number {
  let units = 0;
  for (let record = head; record !== 0;) {
    const slab = epochs.memory.slabOfUnit(record);
    const at = recordAt(epochs, record);
    units += epochs.extents.unitsFor(storedRecordBytes(slab, at));
    if (((slab.bytes[at + 19] as number) & EXTENT) !== 0) {
      units += epochs.extents.unitsFor(slab.view.getUint32(at + 20, true));
    }
    record = slab.view.getUint32(at, true);
  }
  return units;
}

/** Fills `out` with the newest version ≤ `at` of the chain behind `body`. False when there is none, or it is a tombstone. */
export function findVersion(epochs: Epochs, body: CellBody, at: number, out: ValueRef): boolean {
  for (let record = body.chain; record !== 0;) {
    const slab = epochs.memory.slabOfUnit(record);
    const from = recordAt(epochs, record);
    const { view, bytes } = slab;
    const version = readU56(view, from + 4);
    if (version > at) {
      record = view.getUint32(from, true);
      continue;
    }
    const flags = bytes[from + 19] as number;
    if ((flags & TOMBSTONE) !== 0) return false;
    out.version = version as Hlc;
    out.expiresAtMs = readU56(view, from + 4 + VERSION_BYTES);
    out.tag = bytes[from + 18] as number;
    const valueBytes = view.getUint32(from + 20, true);
    if ((flags & (EXTENT | SHARED)) !== 0) {
      referExtent(epochs.memory, view.getUint32(from + RECORD_BYTES, true), valueBytes, out);
    } else {
      out.buffer = bytes;
      out.start = from + RECORD_BYTES;
      out.end = out.start + valueBytes;
    }
    return true;
  }
  return false;
}
