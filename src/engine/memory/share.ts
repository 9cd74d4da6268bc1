/**
 * A full leaf makes room at its neighbours' cost without rebuilding them: entries move across the borders, and what they
 * leave behind are holes, which cells of the same size fill again.
 *
 *     sharing:      [████████] [████░░░░]         →  [██████··] [██████░░]
 *     three → four: [████████] [████████] [████████]
 *                   →  [██████··] [██ + ████··] [new: ████ + ██░░] [··██████]
 *
 * Only where that is simple: neighbours under the same parent, none of them frozen, with the same prefix where cells move.
 * For all else restructure.ts rebuilds.
 */
import { type BuiltPage, commonBytes } from './gather.ts';
import { TOMBSTONE, cellBytesOf } from './leaf.ts';
import {
  COLUMN_CHILD,
  COLUMN_KEYS,
  INNER_COLUMNS,
  KEY_BYTES_MAX,
  LEAF_COLUMNS,
  PAGE_HEADER_BYTES,
  SUMS,
  addPageTombstones,
  column,
  columnGrowth,
  dropCell,
  hintColumn,
  keyCellBytes,
  makeSlot,
  pageBirth,
  pageCapacity,
  pageCount,
  pageGap,
  pageMinExpiry,
  pagePrefix,
  pageSlot,
  pageUsed,
  readKey,
  resizeEntries,
  setPageMinExpiry,
  slotFlags,
  slotOffset,
  slotSuffix,
  takeCell,
  takeRoom,
  writeEntryKey,
} from './page.ts';
import { PACK_FILL_MAX, isLeftEdge, isRightEdge, neighbourUsed, replaceEntries } from './restructure.ts';
import type { Slab } from './slab.ts';
import { addEntrySums } from './sums.ts';
import type { Tree } from './tree.ts';

/** A neighbour takes part of a full leaf's entries when this much of it is free. Less: better filled, more often. */
const SHARE_FREE_MIN = 0.04;
const ENTRY_COLUMN_BYTES = LEAF_COLUMNS * 4;

const leftKey = Buffer.alloc(KEY_BYTES_MAX + 4);
const rightKey = Buffer.alloc(KEY_BYTES_MAX + 4);
const entrySums = new Int32Array(SUMS);

/** A leaf that takes part. */
interface Leaf {
  readonly page: number;
  readonly slab: Slab;
  readonly base: number;
  /** As in its parent's columns; kept true as entries move. */
  readonly sums: Int32Array;
}

/**
 * The leaf on the path has no room for a new entry of about `cellBytes` at `entry`. Returns whether entries have moved:
 * then the path does not hold any more. Pages are reserved.
 */
export function shareLeaf(tree: Tree, entry: number, cellBytes: number): boolean {
  if (tree.rootLevel === 0) return false;
  const { pageBytes } = tree.memory;
  const slab = tree.leafSlab;
  const base = tree.leafBase;
  if (pageUsed(slab, base, pageBytes) + cellBytes <= pageBytes * PACK_FILL_MAX) return false;
  if (entry === pageCount(slab, base) && isRightEdge(tree, 0)) return false;
  if (entry === 0 && isLeftEdge(tree)) return false;
  const parent = tree.path[1] as number;
  const parentSlab = tree.memory.slabOfPage(parent);
  const parentBase = tree.memory.baseOfPage(parent);
  const at = tree.pathEntry[1] as number;
  const left = neighbourUsed(tree, parentSlab, parentBase, at - 1);
  const right = neighbourUsed(tree, parentSlab, parentBase, at + 1);
  const least = Math.min(left, right);
  if (least <= pageBytes * (1 - SHARE_FREE_MIN) && least + 2 * cellBytes <= pageBytes) {
    return shareBetween(tree, left <= right ? at - 1 : at);
  }
  const siblings = pageCount(parentSlab, parentBase);
  return siblings >= 3 && threeToFour(tree, Math.max(0, Math.min(at - 1, siblings - 3)));
}

/** Levels the children `first` and `first + 1` of the page above the leaves. */
function shareBetween(tree: Tree, first: number): boolean {
  const left = openLeaf(tree, first);
  const right = openLeaf(tree, first + 1);
  if (left === null || right === null || !samePrefix(left, right)) return false;
  const difference = usedBytes(tree, left) - usedBytes(tree, right);
  const moves =
    difference > 0 ? moveRight(tree, left, right, difference / 2) : moveLeft(tree, right, left, -difference / 2);
  if (!moves) return false;
  replaceLeaves(tree, first, 2, [left, right]);
  return true;
}

/** The children `first` … `first + 2` become four of about the same length. */
function threeToFour(tree: Tree, first: number): boolean {
  const { gather, epochs } = tree.arena;
  const left = openLeaf(tree, first);
  const middle = openLeaf(tree, first + 1);
  const right = openLeaf(tree, first + 2);
  if (left === null || middle === null || right === null) return false;
  const leftUsed = usedBytes(tree, left);
  const middleUsed = usedBytes(tree, middle);
  const rightUsed = usedBytes(tree, right);
  const target = (leftUsed + middleUsed + rightUsed) / 4;
  const middleCount = pageCount(middle.slab, middle.base);
  const fromMiddle = entriesAtEnd(middle, middleUsed + leftUsed - 2 * target);
  const fromRight = entriesAtStart(right, rightUsed - target);
  if (fromMiddle >= middleCount || fromRight >= pageCount(right.slab, right.base)) return false;
  gather.begin(0);
  gather.add(middle.slab, middle.base, middleCount - fromMiddle, middleCount);
  gather.add(right.slab, right.base, 0, fromRight);
  if (gather.packedBytes > tree.memory.pageBytes) return false;
  gather.cut(1, 0);
  const built = gather.built[0] as BuiltPage;
  const fresh = leafAt(tree, built.page, built.sums.slice());
  for (const [leaf, from, count] of [
    [middle, middleCount - fromMiddle, fromMiddle],
    [right, 0, fromRight],
  ] as const) {
    entrySums.fill(0);
    for (let i = from; i < from + count; i++) addEntrySums(epochs, leaf.slab, leaf.base, i, entrySums);
    addSums(leaf.sums, entrySums, -1);
    dropEntries(leaf, from, count);
  }
  if (samePrefix(left, middle)) moveRight(tree, left, middle, leftUsed - target);
  replaceLeaves(tree, first, 3, [left, middle, fresh, right]);
  return true;
}

/** Null when the leaf is frozen, so that it cannot be changed in place. */
function openLeaf(tree: Tree, child: number): Leaf | null {
  const { memory } = tree;
  const parent = tree.path[1] as number;
  const parentSlab = memory.slabOfPage(parent);
  const parentBase = memory.baseOfPage(parent);
  const page = parentSlab.words[column(parentSlab, parentBase, COLUMN_CHILD) + child] as number;
  const sums = new Int32Array(SUMS);
  for (let s = 0; s < SUMS; s++) {
    sums[s] = parentSlab.words[column(parentSlab, parentBase, COLUMN_KEYS + s) + child] as number;
  }
  const leaf = leafAt(tree, page, sums);
  return tree.newest !== null && pageBirth(leaf.slab, leaf.base) <= tree.newest.epoch ? null : leaf;
}

function leafAt({ memory }: Tree, page: number, sums: Int32Array): Leaf {
  return { page, slab: memory.slabOfPage(page), base: memory.baseOfPage(page), sums };
}

const usedBytes = (tree: Tree, leaf: Leaf): number => pageUsed(leaf.slab, leaf.base, tree.memory.pageBytes);

function samePrefix(left: Leaf, right: Leaf): boolean {
  const length = pagePrefix(left.slab, left.base);
  if (pagePrefix(right.slab, right.base) !== length) return false;
  const from = left.base + PAGE_HEADER_BYTES;
  const to = right.base + PAGE_HEADER_BYTES;
  for (let i = 0; i < length; i++) if (left.slab.bytes[from + i] !== right.slab.bytes[to + i]) return false;
  return true;
}

const entryBytes = ({ slab, base }: Leaf, entry: number): number =>
  ENTRY_COLUMN_BYTES + cellBytesOf(slab, base, pageSlot(slab, base, entry));

/** How many entries at the end, or at the start, have about `bytes` bytes. */
function entriesAtEnd(leaf: Leaf, bytes: number): number {
  const count = pageCount(leaf.slab, leaf.base);
  let entries = 0;
  for (let sum = 0; entries < count; entries++) {
    sum += entryBytes(leaf, count - 1 - entries);
    if (sum > bytes) break;
  }
  return entries;
}

function entriesAtStart(leaf: Leaf, bytes: number): number {
  const count = pageCount(leaf.slab, leaf.base);
  let entries = 0;
  for (let sum = 0; entries < count; entries++) {
    sum += entryBytes(leaf, entries);
    if (sum > bytes) break;
  }
  return entries;
}

/** Moves about `bytes` bytes from the end of a leaf to the start of the next, as far as there is room. */
function moveRight(tree: Tree, from: Leaf, to: Leaf, bytes: number): boolean {
  const wanted = entriesAtEnd(from, bytes);
  if (!makeColumns(to, 0, wanted)) return false;
  const count = pageCount(from.slab, from.base);
  let moved = 0;
  while (moved < wanted && moveEntry(tree, from, count - 1 - moved, to, wanted - 1 - moved)) moved++;
  resizeEntries(to.slab, to.base, LEAF_COLUMNS, 0, wanted - moved, 0);
  dropEntries(from, count - moved, moved);
  return moved > 0;
}

/** Likewise from the start of a leaf to the end of the one before. */
function moveLeft(tree: Tree, from: Leaf, to: Leaf, bytes: number): boolean {
  const wanted = entriesAtStart(from, bytes);
  const end = pageCount(to.slab, to.base);
  if (!makeColumns(to, end, wanted)) return false;
  let moved = 0;
  while (moved < wanted && moveEntry(tree, from, moved, to, end + moved)) moved++;
  resizeEntries(to.slab, to.base, LEAF_COLUMNS, end + moved, wanted - moved, 0);
  dropEntries(from, 0, moved);
  return moved > 0;
}

function makeColumns({ slab, base }: Leaf, at: number, count: number): boolean {
  if (count === 0 || pageGap(slab, base, LEAF_COLUMNS) < columnGrowth(slab, base, LEAF_COLUMNS, count)) return false;
  resizeEntries(slab, base, LEAF_COLUMNS, at, 0, count);
  return true;
}

/** Copies one entry into columns already made, and moves its sums. Returns false when there is no room for its cell. */
function moveEntry(tree: Tree, from: Leaf, entry: number, to: Leaf, target: number): boolean {
  const { epochs } = tree.arena;
  const slot = pageSlot(from.slab, from.base, entry);
  const cellBytes = cellBytesOf(from.slab, from.base, slot);
  const cell = takeRoom(to.slab, to.base, LEAF_COLUMNS, cellBytes, 0);
  if (cell < 0) return false;
  const source = from.slab.words;
  const words = to.slab.words;
  const hints = hintColumn(to.slab, to.base);
  words[hints + target] = source[hintColumn(from.slab, from.base) + entry] as number;
  words[hints + pageCapacity(to.slab, to.base) + target] = makeSlot(cell, slotSuffix(slot), slotFlags(slot));
  const first = (from.base + slotOffset(slot)) >> 2;
  const end = first + (cellBytes >> 2);
  for (let i = first, t = (to.base + cell) >> 2; i < end; i++, t++) words[t] = source[i] as number;

  entrySums.fill(0);
  addEntrySums(epochs, from.slab, from.base, entry, entrySums);
  addSums(from.sums, entrySums, -1);
  addSums(to.sums, entrySums, 1);
  if ((slotFlags(slot) & TOMBSTONE) !== 0) addPageTombstones(to.slab, to.base, 1);
  const earliest = pageMinExpiry(from.slab, from.base);
  if (earliest < pageMinExpiry(to.slab, to.base)) setPageMinExpiry(to.slab, to.base, earliest);
  return true;
}

function addSums(sums: Int32Array, change: Int32Array, sign: number): void {
  for (let s = 0; s < SUMS; s++) sums[s] = (sums[s] as number) + sign * (change[s] as number);
}

function dropEntries({ slab, base }: Leaf, from: number, count: number): void {
  for (let entry = from; entry < from + count; entry++) {
    const slot = pageSlot(slab, base, entry);
    if ((slotFlags(slot) & TOMBSTONE) !== 0) addPageTombstones(slab, base, -1);
    dropCell(slab, base, slotOffset(slot), cellBytesOf(slab, base, slot));
  }
  resizeEntries(slab, base, LEAF_COLUMNS, from, count, 0);
}

/** The parent's `count` entries from `first` on now are these leaves, with the separators that their keys ask for. */
function replaceLeaves(tree: Tree, first: number, count: number, leaves: readonly Leaf[]): void {
  const { scratch } = tree.arena;
  const parent = tree.path[1] as number;
  const pending = scratch.begin(1);
  const { slab } = scratch;
  resizeEntries(slab, pending, INNER_COLUMNS, 0, 0, leaves.length);
  const capacity = pageCapacity(slab, pending);
  for (const [i, leaf] of leaves.entries()) {
    let length = 0;
    if (i > 0) length = separator(leaves[i - 1] as Leaf, leaf);
    else if (first > 0) {
      length = readKey(tree.memory.slabOfPage(parent), tree.memory.baseOfPage(parent), first, rightKey);
    }
    writeEntryKey(slab, pending, i, takeCell(slab, pending, keyCellBytes(length)), 0, rightKey, 0, length);
    let at = column(slab, pending, COLUMN_CHILD) + i;
    slab.words[at] = leaf.page;
    for (let s = 0; s < SUMS; s++) {
      at += capacity;
      slab.words[at] = leaf.sums[s] as number;
    }
  }
  replaceEntries(tree, 1, first, first + count);
}

/** The shortest key that parts two neighbours, in rightKey. Returns its length. */
function separator(left: Leaf, right: Leaf): number {
  const leftLength = readKey(left.slab, left.base, pageCount(left.slab, left.base) - 1, leftKey);
  const rightLength = readKey(right.slab, right.base, 0, rightKey);
  return commonBytes(leftKey, leftLength, rightKey, rightLength) + 1;
}
