/**
 * Pages that overflow or run empty. After Knuth's B*-tree (TAOCP 3, 6.2.4): a full leaf first shares with a neighbour that
 * has room; only when both neighbours are full, three leaves become four. Random inserts fill leaves to 87 % so,
 * where plain halving gives 69 %. At the right or left edge of the tree a full page is left full. share.ts does both in
 * place where it can; here is the general way, which builds new pages.
 *
 * A change of one level is `replaceEntries`: entries [from, to) of a page give way to pending ones, which stand in a scratch
 * page of their own. Where they do not fit, the page (with neighbours) is rebuilt, which is a change of the level above.
 */
import { assert } from '../../core/assert.ts';
import type { MemoryArena } from './arena.ts';
import type { Gather } from './gather.ts';
import { type CellBody, bodyBytes, writeBody } from './leaf.ts';
import {
  COLUMN_CHILD,
  INNER_COLUMNS,
  KEY_BYTES_MAX,
  SUMS,
  column,
  columnGrowth,
  dropCell,
  initPage,
  keyCellBytes,
  pageCapacity,
  pageCount,
  pageGap,
  pagePrefix,
  pageSlot,
  pageUsed,
  readKey,
  resizeEntries,
  restBytes,
  sharesPrefix,
  slotOffset,
  slotSuffix,
  takeCell,
  takeRoom,
  wholeWords,
  writeEntryKey,
} from './page.ts';
import { Slab, UNIT_BYTES } from './slab.ts';
import type { Tree } from './tree.ts';

/** A page that packing would leave fuller than this is shared or split instead. */
export const PACK_FILL_MAX = 0.95;
const MERGE_FILL = 0.3;
const MERGED_FILL_MAX = 0.8;

const SCRATCH_PAGE_BYTES = 32768;
const SCRATCH_ENTRIES = 16;

/** Room to prepare changes in: two scratch pages, for levels by turns. One per arena. */
export class Scratch {
  readonly slab = new Slab(new SharedArrayBuffer(2 * SCRATCH_PAGE_BYTES));
  readonly key = Buffer.alloc(KEY_BYTES_MAX + 4);
  readonly delta = new Int32Array(SUMS);

  /** Empties the scratch page of a level and returns its base. */
  begin(level: number): number {
    const base = this.base(level);
    initPage(this.slab, base, SCRATCH_PAGE_BYTES, 0, level, SCRATCH_ENTRIES, 0);
    return base;
  }

  base(level: number): number {
    return (level & 1) * SCRATCH_PAGE_BYTES;
  }
}

/** Replaces entries [from, to) of the leaf on the path by one, where it does not fit in place. */
export function overflow(
  tree: Tree,
  from: number,
  to: number,
  key: Buffer,
  start: number,
  end: number,
  body: CellBody,
): void {
  const { scratch } = tree.arena;
  const base = scratch.begin(0);
  resizeEntries(scratch.slab, base, 2, 0, 0, 1);
  const cell = takeCell(scratch.slab, base, wholeWords(restBytes(end - start) + bodyBytes(body)));
  writeBody(scratch.slab, writeEntryKey(scratch.slab, base, 0, cell, body.flags, key, start, end), body);
  rebuild(tree, 0, from, to);
  collapseRoot(tree);
}

/** The page on the path has become small: joins it with a neighbour, or takes it out when it is empty. */
export function underflow(tree: Tree, level: number): void {
  while (level < tree.rootLevel && joinWithNeighbour(tree, level)) level++;
  collapseRoot(tree);
}

/** Mends the pages at one edge of a tree after a cut: empty ones go, small ones join their neighbours. */
export function mendEdge(tree: Tree, right: boolean): void {
  const { memory } = tree;
  for (let level = 0; level < tree.rootLevel; level++) {
    let page = tree.root;
    for (let above = tree.rootLevel; above > level; above--) {
      const slab = memory.slabOfPage(page);
      const base = memory.baseOfPage(page);
      const entry = right ? pageCount(slab, base) - 1 : 0;
      tree.path[above] = page;
      tree.pathEntry[above] = entry;
      page = slab.words[column(slab, base, COLUMN_CHILD) + entry] as number;
    }
    tree.path[level] = page;
    tree.copyPath(level + 1);
    joinWithNeighbour(tree, level);
  }
  collapseRoot(tree);
}

/** Returns whether the parent has lost an entry and still is where the path says. */
function joinWithNeighbour(tree: Tree, level: number): boolean {
  const { memory, arena } = tree;
  const page = tree.path[level] as number;
  const slab = memory.slabOfPage(page);
  const base = memory.baseOfPage(page);
  const parent = tree.path[level + 1] as number;
  const parentSlab = memory.slabOfPage(parent);
  const parentBase = memory.baseOfPage(parent);
  const entry = tree.pathEntry[level + 1] as number;
  if (pageCount(slab, base) === 0) {
    arena.scratch.begin(level + 1);
    arena.epochs.retirePage(page, tree.newest);
    return replaceEntries(tree, level + 1, entry, entry + 1);
  }
  const used = pageUsed(slab, base, memory.pageBytes);
  if (used >= memory.pageBytes * MERGE_FILL) return false;
  const left = neighbourUsed(tree, parentSlab, parentBase, entry - 1);
  const right = neighbourUsed(tree, parentSlab, parentBase, entry + 1);
  if (used + Math.min(left, right) > memory.pageBytes * MERGED_FILL_MAX) return false;
  const first = left <= right ? entry - 1 : entry;
  gatherChildren(tree, arena.gather, level, first, first + 1, entry, 0, 0, false);
  arena.gather.cut(1, 0);
  return replaceChildren(tree, level, first, first + 1);
}

/** Rebuilds the page on the path, with neighbours if that helps, so that the pending entries stand for [from, to). */
function rebuild(tree: Tree, level: number, from: number, to: number): void {
  const { memory } = tree;
  const { gather } = tree.arena;
  const { pageBytes } = memory;
  const isRoot = level === tree.rootLevel;
  const page = tree.path[level] as number;
  const count = pageCount(memory.slabOfPage(page), memory.baseOfPage(page));
  const entry = isRoot ? 0 : (tree.pathEntry[level + 1] as number);
  gatherChildren(tree, gather, level, entry, entry, entry, from, to, true);
  const packed = gather.count === 0 ? 0 : gather.packedBytes;
  let first = entry;
  let last = entry;
  if (packed <= pageBytes * PACK_FILL_MAX) {
    gather.cut(1, 0);
  } else if (isRightEdge(tree, level) && to === count && from >= count - level && from > 0) {
    gather.cut(2, gather.count - 1);
  } else if (isRoot || level > 0) {
    gather.cut(2, 0);
  } else if (isLeftEdge(tree) && to === 0 && packed > pageBytes) {
    gather.cut(2, 1);
  } else {
    const parent = tree.path[1] as number;
    const parentSlab = memory.slabOfPage(parent);
    const parentBase = memory.baseOfPage(parent);
    const siblings = pageCount(parentSlab, parentBase);
    const left = neighbourUsed(tree, parentSlab, parentBase, entry - 1);
    const right = neighbourUsed(tree, parentSlab, parentBase, entry + 1);
    const least = Math.min(left, right);
    const share = packed + least <= 2 * pageBytes * PACK_FILL_MAX;
    if (share) {
      if (left <= right) first--;
      else last++;
    } else {
      first = Math.max(0, Math.min(entry - 1, siblings - 3));
      last = Math.min(siblings - 1, first + 2);
    }
    if (first < last) gatherChildren(tree, gather, 0, first, last, entry, from, to, true);
    gather.cut(share ? 2 : last - first + 2, 0);
  }
  replaceChildren(tree, level, first, last);
}

/** Bytes used in a child, Infinity when there is no such child. */
export function neighbourUsed(tree: Tree, slab: Slab, base: number, entry: number): number {
  if (entry < 0 || entry >= pageCount(slab, base)) return Infinity;
  const child = slab.words[column(slab, base, COLUMN_CHILD) + entry] as number;
  const { memory } = tree;
  return pageUsed(memory.slabOfPage(child), memory.baseOfPage(child), memory.pageBytes);
}

export function isRightEdge(tree: Tree, level: number): boolean {
  for (let above = level + 1; above <= tree.rootLevel; above++) {
    const page = tree.path[above] as number;
    const count = pageCount(tree.memory.slabOfPage(page), tree.memory.baseOfPage(page));
    if (tree.pathEntry[above] !== count - 1) return false;
  }
  return true;
}

export function isLeftEdge(tree: Tree): boolean {
  for (let above = 1; above <= tree.rootLevel; above++) if (tree.pathEntry[above] !== 0) return false;
  return true;
}

/**
 * Gathers the children [first, last] of the page above `level`; in the child at `changed`, the pending entries stand for
 * [from, to) when `withPending`. At the root there is one child: the root.
 */
function gatherChildren(
  tree: Tree,
  gather: Gather,
  level: number,
  first: number,
  last: number,
  changed: number,
  from: number,
  to: number,
  withPending: boolean,
): void {
  const { memory } = tree;
  const { scratch } = tree.arena;
  gather.begin(level);
  const isRoot = level === tree.rootLevel;
  const parent = isRoot ? 0 : (tree.path[level + 1] as number);
  const parentSlab = memory.slabOfPage(parent);
  const parentBase = memory.baseOfPage(parent);
  for (let child = first; child <= last; child++) {
    const begin = gather.count;
    const page = isRoot
      ? (tree.path[level] as number)
      : (parentSlab.words[column(parentSlab, parentBase, COLUMN_CHILD) + child] as number);
    const slab = memory.slabOfPage(page);
    const base = memory.baseOfPage(page);
    const count = pageCount(slab, base);
    if (child === changed && withPending) {
      const pending = scratch.base(level);
      gather.add(slab, base, 0, from);
      gather.add(scratch.slab, pending, 0, pageCount(scratch.slab, pending));
      gather.add(slab, base, to, count);
    } else {
      gather.add(slab, base, 0, count);
    }
    if (level > 0 && child > first && gather.count > begin) gather.keyFrom(begin, parentSlab, parentBase, child);
  }
}

/**
 * The pages that the gather has built take the place of children [first, last] of the page above `level`. Returns
 * whether that page still is where the path says.
 */
function replaceChildren(tree: Tree, level: number, first: number, last: number): boolean {
  const { memory, arena } = tree;
  const isRoot = level === tree.rootLevel;
  if (isRoot) {
    const old = tree.path[level] as number;
    newRoot(tree, level);
    arena.epochs.retirePage(old, tree.newest);
    return false;
  }
  const parent = tree.path[level + 1] as number;
  const slab = memory.slabOfPage(parent);
  const base = memory.baseOfPage(parent);
  preparePending(arena, level, slab, base, first);
  const children = column(slab, base, COLUMN_CHILD);
  for (let child = first; child <= last; child++) {
    arena.epochs.retirePage(slab.words[children + child] as number, tree.newest);
  }
  return replaceEntries(tree, level + 1, first, last + 1);
}

/** Makes pending entries of the level above from the pages built. The first one's separator is that of entry `first`. */
function preparePending(arena: MemoryArena, level: number, parentSlab: Slab, parentBase: number, first: number): void {
  const { scratch, gather } = arena;
  const { slab, key } = scratch;
  const pending = scratch.begin(level + 1);
  resizeEntries(slab, pending, INNER_COLUMNS, 0, 0, gather.builtCount);
  const capacity = pageCapacity(slab, pending);
  for (let i = 0; i < gather.builtCount; i++) {
    const built = gather.built[i] as (typeof gather.built)[number];
    let length = 0;
    if (i > 0) length = gather.separator(built.from, key);
    else if (first > 0) length = readKey(parentSlab, parentBase, first, key);
    writeEntryKey(slab, pending, i, takeCell(slab, pending, keyCellBytes(length)), 0, key, 0, length);
    let at = column(slab, pending, COLUMN_CHILD) + i;
    slab.words[at] = built.page;
    for (let s = 0; s < SUMS; s++) {
      at += capacity;
      slab.words[at] = built.sums[s] as number;
    }
  }
}

/** The pages built at `level` become the root, under a page of their own when there are several. */
function newRoot(tree: Tree, level: number): void {
  const { arena } = tree;
  const { gather, scratch } = arena;
  if (gather.builtCount === 0) {
    tree.reset();
    return;
  }
  let top = level;
  while (gather.builtCount > 1) {
    preparePending(arena, top, scratch.slab, 0, 0);
    top++;
    gather.begin(top);
    const pending = scratch.base(top);
    gather.add(scratch.slab, pending, 0, pageCount(scratch.slab, pending));
    gather.cut(gather.packedBytes <= tree.memory.pageBytes ? 1 : 2, 0);
  }
  const built = gather.built[0] as (typeof gather.built)[number];
  tree.root = built.page;
  tree.rootLevel = top;
  tree.sums.set(built.sums);
}

/**
 * Entries [from, to) of the inner page on the path give way to the pending ones; the first of these has the separator of
 * entry `from`. Returns whether the page still is where the path says.
 */
export function replaceEntries(tree: Tree, level: number, from: number, to: number): boolean {
  assert(level > 0 && level <= tree.rootLevel && from < to, 'replaceEntries: an inner page');
  if (!replaceInPlace(tree, level, from, to)) {
    rebuild(tree, level, from, to);
    return false;
  }
  const { delta } = tree.arena.scratch;
  tree.addSums(level, delta[0] as number, delta[1] as number, delta[2] as number, delta[3] as number);
  return true;
}

/** Returns false, having done nothing, when the page has no room. Leaves the change of its sums in scratch.delta. */
function replaceInPlace(tree: Tree, level: number, from: number, to: number): boolean {
  const { scratch } = tree.arena;
  const { key, delta } = scratch;
  const page = tree.path[level] as number;
  const slab = tree.memory.slabOfPage(page);
  const base = tree.memory.baseOfPage(page);
  const pending = scratch.base(level);
  const added = pageCount(scratch.slab, pending);
  const removed = to - from;
  let cells = 0;
  for (let i = 1; i < added; i++) {
    const length = readKey(scratch.slab, pending, i, key);
    if (!sharesPrefix(slab, base, key, 0, length)) return false;
    cells += keyCellBytes(length - pagePrefix(slab, base));
  }
  const columns = columnGrowth(slab, base, INNER_COLUMNS, added - removed);
  if (pageGap(slab, base, INNER_COLUMNS) < cells + columns) return false;

  sumEntries(slab, base, from, to, -1, delta.fill(0));
  const kept = added === 0 ? 0 : 1;
  for (let entry = from + kept; entry < to; entry++) {
    const slot = pageSlot(slab, base, entry);
    dropCell(slab, base, slotOffset(slot), keyCellBytes(slotSuffix(slot)));
  }
  resizeEntries(slab, base, INNER_COLUMNS, from + kept, removed - kept, added - kept);
  const capacity = pageCapacity(slab, base);
  const pendingCapacity = pageCapacity(scratch.slab, pending);
  for (let i = 0; i < added; i++) {
    if (i > 0) {
      const length = readKey(scratch.slab, pending, i, key);
      const cell = takeRoom(slab, base, INNER_COLUMNS, keyCellBytes(length - pagePrefix(slab, base)), 0);
      assert(cell >= 0, 'replaceInPlace: room');
      writeEntryKey(slab, base, from + i, cell, 0, key, 0, length);
    }
    let target = column(slab, base, COLUMN_CHILD) + from + i;
    let source = column(scratch.slab, pending, COLUMN_CHILD) + i;
    for (let c = 0; c <= SUMS; c++) {
      slab.words[target] = scratch.slab.words[source] as number;
      target += capacity;
      source += pendingCapacity;
    }
  }
  sumEntries(slab, base, from, from + added, 1, delta);
  return true;
}

/** Adds the sums of entries [from, to) of an inner page to `total`, times `sign`. */
export function sumEntries(slab: Slab, base: number, from: number, to: number, sign: number, total: Int32Array): void {
  const capacity = pageCapacity(slab, base);
  let first = column(slab, base, COLUMN_CHILD);
  for (let s = 0; s < SUMS; s++) {
    first += capacity;
    let sum = total[s] as number;
    for (let entry = from; entry < to; entry++) sum += sign * (slab.words[first + entry] as number);
    total[s] = sum;
  }
}

/** While the root has one child, that is the root. */
function collapseRoot(tree: Tree): void {
  const { memory } = tree;
  while (tree.rootLevel > 0) {
    const slab = memory.slabOfPage(tree.root);
    const base = memory.baseOfPage(tree.root);
    const count = pageCount(slab, base);
    if (count > 1) return;
    if (count === 0) {
      tree.arena.epochs.retirePage(tree.root, tree.newest);
      tree.reset();
      return;
    }
    const child = slab.words[column(slab, base, COLUMN_CHILD)] as number;
    tree.arena.epochs.retirePage(tree.root, tree.newest);
    tree.root = child;
    tree.rootLevel--;
    tree.sums[3] = (tree.sums[3] as number) - memory.pageBytes / UNIT_BYTES;
  }
}
