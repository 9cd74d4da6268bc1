/**
 * One page of the B+ tree: how entries are laid out, found and moved. Leaves (level 0) and inner pages share it.
 *
 *     0   i32  birth epoch
 *     4   u16  entries
 *     6   u16  level
 *     8   u16  capacity of the columns, in entries
 *    10   u16  prefix length: all keys of the page begin with these bytes
 *    12   u16  where the lowest cell begins
 *    14   u16  dead bytes among the cells: all holes
 *    16   f64  leaf: no key here expires before this (Unix ms; may be too early, never too late)
 *    24   u16  leaf: tombstones
 *    26   u16  offset of the first hole, 0 = none; a hole begins with u16 next hole, u16 bytes
 *    28   prefix bytes, padded to 4
 *         columns of i32, each `capacity` long:   hint | slot                                                    leaf
 *                                                 hint | slot | child | keys | expiring | versioned | weight     inner
 *         free gap
 *         cells, growing downwards, each in whole words; it begins with the key's bytes behind the prefix and the hint
 *
 * hint: the first four bytes of the key behind the prefix, big-endian, sign bit flipped, so that signed compares order
 * them; they stand nowhere else. slot: cell offset in the page (16 bits), length of the key without the prefix (11), flags (5).
 * Entry 0 of an inner page has no key: it stands for everything below entry 1.
 */
import { assert } from '../../core/assert.ts';
import type { Slab } from './slab.ts';

export const PAGE_HEADER_BYTES = 28;
export const LEAF_COLUMNS = 2;
export const INNER_COLUMNS = 7;
export const COLUMN_SLOT = 1;
export const COLUMN_CHILD = 2;
/** Sums over the child's subtree: live keys, live keys with an expiry, cells with older versions or tombstones, units of memory. */
export const COLUMN_KEYS = 3;
export const COLUMN_EXPIRING = 4;
export const COLUMN_VERSIONED = 5;
export const COLUMN_WEIGHT = 6;
export const SUMS = 4;

export const KEY_BYTES_MAX = 1024;

/** Bytes of the key that its hint stands for. */
export const HINT_BYTES = 4;
const SIGN = 0x80000000 | 0;
const GROWTH = 4;
/** Cells of one size fill each other's holes exactly; for mixed sizes a longer search would not pay. */
const HOLES_LOOKED_AT = 8;

export const pageBirth = (slab: Slab, base: number): number => slab.words[base >> 2] as number;
export const pageCount = (slab: Slab, base: number): number => slab.halves[(base + 4) >> 1] as number;
export const pageLevel = (slab: Slab, base: number): number => slab.halves[(base + 6) >> 1] as number;
export const pageCapacity = (slab: Slab, base: number): number => slab.halves[(base + 8) >> 1] as number;
export const pagePrefix = (slab: Slab, base: number): number => slab.halves[(base + 10) >> 1] as number;
export const pageCells = (slab: Slab, base: number): number => slab.halves[(base + 12) >> 1] as number;
export const pageDead = (slab: Slab, base: number): number => slab.halves[(base + 14) >> 1] as number;
export const pageMinExpiry = (slab: Slab, base: number): number => slab.view.getFloat64(base + 16, true);
export const pageFirstHole = (slab: Slab, base: number): number => slab.halves[(base + 26) >> 1] as number;
export const pageTombstones = (slab: Slab, base: number): number => slab.halves[(base + 24) >> 1] as number;

export function setPageBirth(slab: Slab, base: number, epoch: number): void {
  slab.words[base >> 2] = epoch;
}
export function setPageMinExpiry(slab: Slab, base: number, expiresAtMs: number): void {
  slab.view.setFloat64(base + 16, expiresAtMs, true);
}
export function addPageTombstones(slab: Slab, base: number, delta: number): void {
  slab.halves[(base + 24) >> 1] = pageTombstones(slab, base) + delta;
}

export const columnsOfLevel = (level: number): number => (level === 0 ? LEAF_COLUMNS : INNER_COLUMNS);

/** Bytes before the columns. */
export const columnsStart = (prefixLength: number): number => (PAGE_HEADER_BYTES + prefixLength + 3) & ~3;

/** Index of the hint column in `words`. */
export const hintColumn = (slab: Slab, base: number): number =>
  (base + PAGE_HEADER_BYTES + pagePrefix(slab, base) + 3) >> 2;

/** Index of any column in `words`. */
export const column = (slab: Slab, base: number, which: number): number =>
  hintColumn(slab, base) + which * pageCapacity(slab, base);

export const pageSlot = (slab: Slab, base: number, entry: number): number =>
  slab.words[column(slab, base, COLUMN_SLOT) + entry] as number;
export const slotOffset = (slot: number): number => slot & 0xffff;
export const slotSuffix = (slot: number): number => (slot >>> 16) & 0x7ff;
export const slotFlags = (slot: number): number => slot >>> 27;
export const makeSlot = (offset: number, suffix: number, flags: number): number =>
  offset | (suffix << 16) | (flags << 27);
/** Cells take whole words, so that they move by words. */
export const wholeWords = (bytes: number): number => (bytes + 3) & ~3;
/** Bytes of the key that stand in the cell. */
export const restBytes = (suffix: number): number => (suffix > HINT_BYTES ? suffix - HINT_BYTES : 0);
/** Bytes of an inner page's cell, which is only the key's rest. */
export const keyCellBytes = (suffix: number): number => wholeWords(restBytes(suffix));

/** Bytes from the columns' end to the lowest cell. */
export function pageGap(slab: Slab, base: number, columns: number): number {
  return pageCells(slab, base) - columnsStart(pagePrefix(slab, base)) - pageCapacity(slab, base) * columns * 4;
}

/** Bytes that the page's content needs when packed. */
export function pageUsed(slab: Slab, base: number, pageBytes: number): number {
  const columns = columnsOfLevel(pageLevel(slab, base));
  return (
    columnsStart(pagePrefix(slab, base)) +
    pageCount(slab, base) * columns * 4 +
    (pageBytes - pageCells(slab, base) - pageDead(slab, base))
  );
}

/** Makes an empty page; the caller writes the prefix bytes before the first entry. */
export function initPage(
  slab: Slab,
  base: number,
  pageBytes: number,
  epoch: number,
  level: number,
  capacity: number,
  prefixLength: number,
): void {
  const { words, halves } = slab;
  words[base >> 2] = epoch;
  halves[(base + 4) >> 1] = 0;
  halves[(base + 6) >> 1] = level;
  halves[(base + 8) >> 1] = capacity;
  halves[(base + 10) >> 1] = prefixLength;
  halves[(base + 12) >> 1] = pageBytes;
  halves[(base + 14) >> 1] = 0;
  slab.view.setFloat64(base + 16, Infinity, true);
  words[(base + 24) >> 2] = 0;
}

/** The four key bytes at `from` as a hint; bytes behind `end` count as 0. */
function hintAt(key: Buffer, from: number, end: number): number {
  if (end - from >= HINT_BYTES) {
    return (
      (((key[from] as number) << 24) |
        ((key[from + 1] as number) << 16) |
        ((key[from + 2] as number) << 8) |
        (key[from + 3] as number)) ^
      SIGN
    );
  }
  let hint = 0;
  for (let i = 0; i < HINT_BYTES; i++) hint = (hint << 8) | (from + i < end ? (key[from + i] as number) : 0);
  return hint ^ SIGN;
}

/**
 * Finds key[start, end) among the entries from `first` on: its entry, or ~(the entry that it would come before).
 */
export function searchPage(slab: Slab, base: number, first: number, key: Buffer, start: number, end: number): number {
  const { bytes, words } = slab;
  const prefixLength = pagePrefix(slab, base);
  let high = pageCount(slab, base);
  const prefixEnd = start + prefixLength;
  for (let i = start, at = base + PAGE_HEADER_BYTES; i < prefixEnd; i++, at++) {
    if (i === end) return ~first;
    const difference = (key[i] as number) - (bytes[at] as number);
    if (difference !== 0) return difference < 0 ? ~first : ~high;
  }
  const hints = hintColumn(slab, base);
  const slots = hints + pageCapacity(slab, base);
  const hint = hintAt(key, prefixEnd, end);
  let low = first;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = words[hints + middle] as number;
    if (other < hint) {
      low = middle + 1;
    } else if (other > hint) {
      high = middle;
    } else {
      const order = compareRest(bytes, base, words[slots + middle] as number, key, prefixEnd, end);
      if (order === 0) return middle;
      if (order > 0) low = middle + 1;
      else high = middle;
    }
  }
  return ~low;
}

/** Orders the key against an entry with the same prefix and hint. */
function compareRest(bytes: Buffer, base: number, slot: number, key: Buffer, suffixStart: number, end: number): number {
  const suffix = slotSuffix(slot);
  const from = suffixStart + HINT_BYTES;
  const at = base + slotOffset(slot);
  const rest = end - from;
  const otherRest = suffix - HINT_BYTES;
  const shared = rest < otherRest ? rest : otherRest;
  for (let i = 0; i < shared; i++) {
    const difference = (key[from + i] as number) - (bytes[at + i] as number);
    if (difference !== 0) return difference;
  }
  return end - suffixStart - suffix;
}

/** Writes the key of an entry to target[0…) and returns its length. */
export function readKey(slab: Slab, base: number, entry: number, target: Buffer): number {
  const prefixLength = pagePrefix(slab, base);
  const { bytes } = slab;
  const from = base + PAGE_HEADER_BYTES;
  for (let i = 0; i < prefixLength; i++) target[i] = bytes[from + i] as number;
  return readSuffix(slab, base, entry, prefixLength, target);
}

/** Writes the key's bytes behind the prefix to target[prefixLength…) and returns the key's length. */
export function readSuffix(slab: Slab, base: number, entry: number, prefixLength: number, target: Buffer): number {
  const { bytes, words } = slab;
  const hints = (base + columnsStart(prefixLength)) >> 2;
  const hint = (words[hints + entry] as number) ^ SIGN;
  const slot = words[hints + pageCapacity(slab, base) + entry] as number;
  const suffix = slotSuffix(slot);
  target[prefixLength] = hint >>> 24;
  target[prefixLength + 1] = hint >>> 16;
  target[prefixLength + 2] = hint >>> 8;
  target[prefixLength + 3] = hint;
  if (suffix > HINT_BYTES) {
    const at = base + slotOffset(slot) - HINT_BYTES;
    if (suffix < 48) for (let i = HINT_BYTES; i < suffix; i++) target[prefixLength + i] = bytes[at + i] as number;
    else bytes.copy(target, prefixLength + HINT_BYTES, at + HINT_BYTES, at + suffix);
  }
  return prefixLength + suffix;
}

/** Whether key[start, end) begins with the page's prefix. */
export function sharesPrefix(slab: Slab, base: number, key: Buffer, start: number, end: number): boolean {
  const prefixLength = pagePrefix(slab, base);
  if (end - start < prefixLength) return false;
  const { bytes } = slab;
  const from = base + PAGE_HEADER_BYTES;
  for (let i = 0; i < prefixLength; i++) if (key[start + i] !== bytes[from + i]) return false;
  return true;
}

/** Bytes that `added` more entries take from the gap for columns alone. */
export function columnGrowth(slab: Slab, base: number, columns: number, added: number): number {
  const missing = pageCount(slab, base) + added - pageCapacity(slab, base);
  return missing <= 0 ? 0 : (missing + GROWTH - 1) * columns * 4;
}

/**
 * Replaces `removed` entries at `at` by `added` empty ones. Cells are left as they are: the caller counts them dead.
 * The gap has room for columnGrowth().
 */
export function resizeEntries(
  slab: Slab,
  base: number,
  columns: number,
  at: number,
  removed: number,
  added: number,
): void {
  const { words, halves } = slab;
  const count = pageCount(slab, base);
  const newCount = count - removed + added;
  let capacity = pageCapacity(slab, base);
  const first = hintColumn(slab, base);
  if (newCount > capacity) {
    const larger = newCount + GROWTH - 1;
    for (let c = columns - 1; c > 0; c--) {
      words.copyWithin(first + c * larger, first + c * capacity, first + c * capacity + count);
    }
    capacity = larger;
    halves[(base + 8) >> 1] = capacity;
    assert(pageGap(slab, base, columns) >= 0, 'page: columns run into cells');
  }
  if (removed !== added) {
    for (let c = 0; c < columns; c++) {
      const from = first + c * capacity;
      if (removed === 0 && added === 1 && count - at < 48) {
        for (let i = from + count; i > from + at; i--) words[i] = words[i - 1] as number;
      } else {
        words.copyWithin(from + at + added, from + at + removed, from + count);
      }
    }
  }
  halves[(base + 4) >> 1] = newCount;
}

/** Takes `cellBytes` from the gap for a new cell and returns its offset in the page. */
export function takeCell(slab: Slab, base: number, cellBytes: number): number {
  const offset = pageCells(slab, base) - cellBytes;
  slab.halves[(base + 12) >> 1] = offset;
  return offset;
}

/**
 * Room for a cell: one of the first few holes if it is large enough, else of the gap as long as `growth` bytes are left of it
 * for the columns. Returns its offset in the page, -1 when there is none.
 */
export function takeRoom(slab: Slab, base: number, columns: number, cellBytes: number, growth: number): number {
  const gap = pageGap(slab, base, columns);
  if (gap < growth) return -1;
  if (cellBytes > 0 && pageDead(slab, base) >= cellBytes) {
    const hole = takeHole(slab, base, cellBytes);
    if (hole >= 0) return hole;
  }
  return gap < growth + cellBytes ? -1 : takeCell(slab, base, cellBytes);
}

function takeHole(slab: Slab, base: number, cellBytes: number): number {
  const { halves } = slab;
  let link = (base + 26) >> 1;
  for (let looked = 0; looked < HOLES_LOOKED_AT; looked++) {
    const hole = halves[link] as number;
    if (hole === 0) return -1;
    const at = (base + hole) >> 1;
    const left = (halves[at + 1] as number) - cellBytes;
    if (left >= 0) {
      if (left === 0) halves[link] = halves[at] as number;
      else halves[at + 1] = left;
      halves[(base + 14) >> 1] = pageDead(slab, base) - cellBytes;
      return hole + left;
    }
    link = at;
  }
  return -1;
}

/** Gives a cell's bytes back, or the rest of one: to the gap if it is the lowest cell, else as a hole. */
export function dropCell(slab: Slab, base: number, offset: number, cellBytes: number): void {
  if (cellBytes === 0) return;
  const { halves } = slab;
  if (offset === pageCells(slab, base)) {
    halves[(base + 12) >> 1] = offset + cellBytes;
    return;
  }
  const at = (base + offset) >> 1;
  halves[at] = pageFirstHole(slab, base);
  halves[at + 1] = cellBytes;
  halves[(base + 26) >> 1] = offset;
  halves[(base + 14) >> 1] = pageDead(slab, base) + cellBytes;
}

/** Writes hint and slot of an entry and its key's rest; the body follows at the returned slab offset. */
export function writeEntryKey(
  slab: Slab,
  base: number,
  entry: number,
  cell: number,
  flags: number,
  key: Buffer,
  start: number,
  end: number,
): number {
  const { bytes, words } = slab;
  const prefixLength = pagePrefix(slab, base);
  const suffixStart = start + prefixLength;
  const hints = (base + columnsStart(prefixLength)) >> 2;
  words[hints + entry] = hintAt(key, suffixStart, end);
  words[hints + pageCapacity(slab, base) + entry] = makeSlot(cell, end - suffixStart, flags);
  let at = base + cell;
  const from = suffixStart + HINT_BYTES;
  if (end - from > 48) {
    key.copy(bytes, at, from, end);
    return at + end - from;
  }
  for (let i = from; i < end; i++) bytes[at++] = key[i] as number;
  return at;
}
