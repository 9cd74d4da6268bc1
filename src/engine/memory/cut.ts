/**
 * Cutting a tree in two along one path:
 *
 *          [ a b|c d ]                 [ a b' ]     [ c' d ]
 *            /  |  \          →          /  \         /  \
 *        …  [e f|g]  …                …  [e f]     [g]   …
 *
 * On every level the page on the path keeps what is left of the cut, and one new page takes the rest. No other page
 * is touched, and no value is copied that does not lie in the leaf on the path.
 */
import { assert } from '../../core/assert.ts';
import type { MemoryArena } from './arena.ts';
import { TOMBSTONE, cellBytesOf } from './leaf.ts';
import {
  COLUMN_CHILD,
  COLUMN_KEYS,
  INNER_COLUMNS,
  SUMS,
  addPageTombstones,
  column,
  columnsOfLevel,
  dropCell,
  keyCellBytes,
  pageCapacity,
  pageCount,
  pageSlot,
  resizeEntries,
  slotFlags,
  slotOffset,
  slotSuffix,
  writeEntryKey,
} from './page.ts';
import { mendEdge, sumEntries } from './restructure.ts';
import { UNIT_BYTES, type Slab } from './slab.ts';
import type { Tree } from './tree.ts';
import type { BuiltPage } from './gather.ts';

/** Moves the keys from key[start, end) on to `rightTree`, which is empty and of the same line. The pages are reserved. */
export function cutTree(tree: Tree, rightTree: Tree, key: Buffer, start: number, end: number): void {
  const { arena } = tree;
  const { memory, gather } = arena;
  const found = tree.seek(key, start, end);
  tree.makeWritable();

  const moved = new Int32Array(SUMS);
  let right: BuiltPage | null = null;
  let rightLevel = 0;
  for (let level = 0; level <= tree.rootLevel; level++) {
    const page = tree.path[level] as number;
    const slab = memory.slabOfPage(page);
    const base = memory.baseOfPage(page);
    const count = pageCount(slab, base);
    const at = level > 0 ? (tree.pathEntry[level] as number) + 1 : found < 0 ? ~found : found;
    gather.begin(level);
    if (right !== null) gatherChild(arena, right, level);
    gather.add(slab, base, at, count);
    if (level > 0) {
      const capacity = pageCapacity(slab, base);
      const sums = column(slab, base, COLUMN_KEYS) + at - 1;
      for (let s = 0; s < SUMS; s++) {
        const i = sums + s * capacity;
        slab.words[i] = (slab.words[i] as number) - (moved[s] as number);
      }
      sumEntries(slab, base, at, count, 1, moved);
    }
    if (gather.count > 0) {
      gather.cut(1, 0);
      assert(gather.builtCount === 1, 'cut: a part of a page fits a page');
      const built = gather.built[0] as BuiltPage;
      right = { ...built, sums: built.sums.slice() };
      rightLevel = level;
      if (level === 0) {
        moved.set(built.sums);
        moved[3] = (moved[3] as number) - memory.pageBytes / UNIT_BYTES;
      }
    }
    truncate(slab, base, level, at);
  }
  for (let s = 0; s < SUMS; s++) tree.sums[s] = (tree.sums[s] as number) - (moved[s] as number);
  mendEdge(tree, true);

  if (right !== null) {
    arena.epochs.retirePage(rightTree.root, null);
    rightTree.root = right.page;
    rightTree.rootLevel = rightLevel;
    rightTree.sums.set(right.sums);
    mendEdge(rightTree, false);
  }
}

/** Gathers the right half's child as the first entry, which needs no key. */
function gatherChild(arena: MemoryArena, child: BuiltPage, level: number): void {
  const { slab, key } = arena.scratch;
  const pending = arena.scratch.begin(level);
  resizeEntries(slab, pending, INNER_COLUMNS, 0, 0, 1);
  writeEntryKey(slab, pending, 0, 0, 0, key, 0, 0);
  const first = column(slab, pending, COLUMN_CHILD);
  const capacity = pageCapacity(slab, pending);
  slab.words[first] = child.page;
  for (let s = 0; s < SUMS; s++) slab.words[first + (s + 1) * capacity] = child.sums[s] as number;
  arena.gather.add(slab, pending, 0, 1);
}

/** Drops entries from `at` on. */
function truncate(slab: Slab, base: number, level: number, at: number): void {
  const count = pageCount(slab, base);
  for (let entry = at; entry < count; entry++) {
    const slot = pageSlot(slab, base, entry);
    const cellBytes = level === 0 ? cellBytesOf(slab, base, slot) : keyCellBytes(slotSuffix(slot));
    dropCell(slab, base, slotOffset(slot), cellBytes);
    if (level === 0 && (slotFlags(slot) & TOMBSTONE) !== 0) addPageTombstones(slab, base, -1);
  }
  resizeEntries(slab, base, columnsOfLevel(level), at, count - at, 0);
}
