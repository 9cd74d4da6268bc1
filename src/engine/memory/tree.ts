/**
 * The B+ tree of one store: the way down, pages made writable, entries put in and taken out (splits and merges: restructure.ts).
 * What an entry's body means is the store's business (store.ts).
 *
 * path[level] is the page on the way to the last key sought, pathEntry[level] the entry taken there (level 0: the leaf).
 * Invariant: a page born after the newest freeze has only such pages above it, because what changes a page first copies
 * the whole path.
 */
import type { MemoryArena } from './arena.ts';
import { type Freeze, newestLive } from './epochs.ts';
import {
  type CellBody,
  EXPIRES,
  EXTENT,
  TOMBSTONE,
  bodyBytes,
  bodyOffset,
  cellBytesOf,
  copyBytes,
  storedBodyBytes,
  writeBody,
} from './leaf.ts';
import {
  COLUMN_CHILD,
  COLUMN_KEYS,
  COLUMN_SLOT,
  COLUMN_WEIGHT,
  KEY_BYTES_MAX,
  LEAF_COLUMNS,
  SUMS,
  addPageTombstones,
  column,
  columnGrowth,
  dropCell,
  initPage,
  makeSlot,
  pageBirth,
  pageCapacity,
  pageMinExpiry,
  pagePrefix,
  pageSlot,
  pageUsed,
  readKey,
  resizeEntries,
  restBytes,
  searchPage,
  setPageBirth,
  setPageMinExpiry,
  sharesPrefix,
  slotFlags,
  slotOffset,
  slotSuffix,
  takeRoom,
  wholeWords,
  writeEntryKey,
} from './page.ts';
import { overflow, underflow } from './restructure.ts';
import { shareLeaf } from './share.ts';
import { type PageMemory, type Slab, UNIT_BYTES } from './slab.ts';

const LEVELS_MAX = 24;
/** A leaf that falls below this joins a neighbour if both then fit into one page comfortably. */
const MERGE_FILL = 0.3;
/** New pages per level that one change can need, generously. */
const PAGES_PER_LEVEL = 8;

export class Tree {
  readonly arena: MemoryArena;
  readonly memory: PageMemory;
  root = 0;
  rootLevel = 0;
  /** The newest freeze that sees pages of this tree; ask frozenEpoch. */
  newest: Freeze | null = null;
  /** Sums over the whole tree, as in an inner page's columns: keys, expiring, versioned, weight. */
  readonly sums = new Int32Array(SUMS);
  readonly path = new Int32Array(LEVELS_MAX);
  readonly pathEntry = new Int32Array(LEVELS_MAX);
  /** Counts changes, so that a cursor can tell that its position is gone. */
  changes = 0;
  /** What touchLeaf() has read; kept so that the reads are not optimized away. */
  touched = 0;
  readonly #key = Buffer.alloc(KEY_BYTES_MAX + 4);
  readonly #value: Buffer;

  constructor(arena: MemoryArena, newest: Freeze | null) {
    this.arena = arena;
    this.memory = arena.memory;
    this.newest = newest;
    this.#value = Buffer.alloc(arena.memory.inlineBytesMax);
    this.reset();
  }

  /** Forgets freezes that have been released. */
  refreshFreezes(): void {
    this.newest = newestLive(this.newest);
  }

  /** Makes sure that one change of one key finds the pages it may need. Throws KV_OUT_OF_MEMORY. */
  reserve(pastLimit: boolean): void {
    const pages = (this.rootLevel + 2) * PAGES_PER_LEVEL;
    if (this.arena.pages.freePages < pages) this.arena.reserve(pages, pastLimit);
  }

  /** Goes down to the leaf of key[start, end): its entry there, or ~(the entry that it would come before). */
  seek(key: Buffer, start: number, end: number): number {
    const { memory } = this;
    let page = this.root;
    for (let level = this.rootLevel; level > 0; level--) {
      const slab = memory.slabOfPage(page);
      const base = memory.baseOfPage(page);
      const found = searchPage(slab, base, 1, key, start, end);
      const entry = found >= 0 ? found : ~found - 1;
      this.path[level] = page;
      this.pathEntry[level] = entry;
      page = slab.words[column(slab, base, COLUMN_CHILD) + entry] as number;
    }
    this.path[0] = page;
    const slab = memory.slabOfPage(page);
    const base = memory.baseOfPage(page);
    this.touched = touchLeaf(slab, base);
    const found = searchPage(slab, base, 0, key, start, end);
    this.pathEntry[0] = found >= 0 ? found : ~found;
    return found;
  }

  /** Copies the pages of the path that are frozen. */
  makeWritable(): void {
    this.changes++;
    if (this.newest === null) return;
    const { epoch } = this.newest;
    const { memory } = this;
    const leaf = this.path[0] as number;
    if (pageBirth(memory.slabOfPage(leaf), memory.baseOfPage(leaf)) > epoch) return;
    this.copyPath(0);
  }

  /** Copies the pages of the path that are frozen, from the root to `lowest`. */
  copyPath(lowest: number): void {
    if (this.newest === null) return;
    const { epoch } = this.newest;
    const { memory } = this;
    for (let level = this.rootLevel; level >= lowest; level--) {
      const page = this.path[level] as number;
      if (pageBirth(memory.slabOfPage(page), memory.baseOfPage(page)) > epoch) continue;
      const copy = this.#copyPage(page);
      this.path[level] = copy;
      if (level === this.rootLevel) {
        this.root = copy;
      } else {
        const parent = this.path[level + 1] as number;
        const slab = memory.slabOfPage(parent);
        const children = column(slab, memory.baseOfPage(parent), COLUMN_CHILD);
        slab.words[children + (this.pathEntry[level + 1] as number)] = copy;
      }
    }
  }

  /**
   * Puts an entry before `entry` of the leaf. The path is writable, pages are reserved. The sums are the entry's own.
   * Returns whether the path still holds.
   */
  insert(
    entry: number,
    key: Buffer,
    start: number,
    end: number,
    body: CellBody,
    expiring: number,
    versioned: number,
    units: number,
  ): boolean {
    if (this.#insertInPlace(entry, key, start, end, body, expiring, versioned, units)) return true;
    this.detachValue(body);
    const fitsPrefix = sharesPrefix(this.leafSlab, this.leafBase, key, start, end);
    if (fitsPrefix && shareLeaf(this, entry, bodyBytes(body) + end - start)) {
      entry = ~this.seek(key, start, end);
      if (this.#insertInPlace(entry, key, start, end, body, expiring, versioned, units)) return false;
    }
    overflow(this, entry, entry, key, start, end, body);
    return false;
  }

  #insertInPlace(
    entry: number,
    key: Buffer,
    start: number,
    end: number,
    body: CellBody,
    expiring: number,
    versioned: number,
    units: number,
  ): boolean {
    const slab = this.leafSlab;
    const base = this.leafBase;
    if (!sharesPrefix(slab, base, key, start, end)) return false;
    const cellBytes = wholeWords(restBytes(end - start - pagePrefix(slab, base)) + bodyBytes(body));
    const cell = takeRoom(slab, base, LEAF_COLUMNS, cellBytes, columnGrowth(slab, base, LEAF_COLUMNS, 1));
    if (cell < 0) return false;
    resizeEntries(slab, base, LEAF_COLUMNS, entry, 0, 1);
    writeBody(slab, writeEntryKey(slab, base, entry, cell, body.flags, key, start, end), body);
    noteExpiry(slab, base, body);
    this.addSums(0, 1, expiring, versioned, units);
    return true;
  }

  /**
   * Writes over an inline value of the same shape and length, which changes no sums. Returns false, having done nothing,
   * when the entry is not such a one.
   */
  overwrite(entry: number, body: CellBody): boolean {
    const slot = pageSlot(this.leafSlab, this.leafBase, entry);
    if (slotFlags(slot) !== body.flags) return false;
    const bytes = bodyBytes(body);
    if (storedBodyBytes(this.leafSlab, bodyOffset(this.leafBase, slot), body.flags) !== bytes) return false;
    this.makeWritable();
    const slab = this.leafSlab;
    const base = this.leafBase;
    writeBody(slab, bodyOffset(base, slot), body);
    noteExpiry(slab, base, body);
    return true;
  }

  /** Copies an inline value out of wherever it lies, which may be the very cell that is about to change. */
  detachValue(body: CellBody): void {
    if ((body.flags & (EXTENT | TOMBSTONE)) !== 0 || body.source === this.#value) return;
    copyBytes(body.source, body.sourceStart, body.valueBytes, this.#value, 0);
    body.source = this.#value;
    body.sourceStart = 0;
  }

  /**
   * Gives an entry of the leaf another body. The path is writable, pages are reserved. The sums are what changes.
   * The path does not hold any more.
   */
  replace(entry: number, body: CellBody, keys: number, expiring: number, versioned: number, units: number): void {
    const slab = this.leafSlab;
    const base = this.leafBase;
    this.detachValue(body);
    const slots = column(slab, base, COLUMN_SLOT);
    const slot = slab.words[slots + entry] as number;
    const offset = slotOffset(slot);
    const suffix = slotSuffix(slot);
    const rest = restBytes(suffix);
    const oldBytes = wholeWords(rest + storedBodyBytes(slab, base + offset + rest, slotFlags(slot)));
    const newBytes = wholeWords(rest + bodyBytes(body));
    let cell = offset;
    if (newBytes <= oldBytes) {
      dropCell(slab, base, offset + newBytes, oldBytes - newBytes);
    } else {
      cell = takeRoom(slab, base, LEAF_COLUMNS, newBytes, 0);
      if (cell < 0) {
        const length = readKey(slab, base, entry, this.#key);
        overflow(this, entry, entry + 1, this.#key, 0, length, body);
        return;
      }
      copyBytes(slab.bytes, base + offset, rest, slab.bytes, base + cell);
      dropCell(slab, base, offset, oldBytes);
    }
    slab.words[slots + entry] = makeSlot(cell, suffix, body.flags);
    writeBody(slab, base + cell + rest, body);
    addPageTombstones(slab, base, ((body.flags & TOMBSTONE) >> 4) - ((slotFlags(slot) & TOMBSTONE) >> 4));
    noteExpiry(slab, base, body);
    this.addSums(0, keys, expiring, versioned, units);
  }

  /** Takes an entry out of the leaf. The path is writable, pages are reserved. The sums are what changes. */
  remove(entry: number, keys: number, expiring: number, versioned: number, units: number): void {
    const slab = this.leafSlab;
    const base = this.leafBase;
    const slot = pageSlot(slab, base, entry);
    dropCell(slab, base, slotOffset(slot), cellBytesOf(slab, base, slot));
    if ((slotFlags(slot) & TOMBSTONE) !== 0) addPageTombstones(slab, base, -1);
    resizeEntries(slab, base, LEAF_COLUMNS, entry, 1, 0);
    this.addSums(0, keys, expiring, versioned, units);
    if (pageUsed(slab, base, this.memory.pageBytes) < this.memory.pageBytes * MERGE_FILL) underflow(this, 0);
  }

  /** Adds to the sums of everything above `level`. */
  addSums(level: number, keys: number, expiring: number, versioned: number, units: number): void {
    if ((keys | expiring | versioned | units) === 0) return;
    for (let above = level + 1; above <= this.rootLevel; above++) {
      const page = this.path[above] as number;
      const slab = this.memory.slabOfPage(page);
      const base = this.memory.baseOfPage(page);
      const { words } = slab;
      const capacity = pageCapacity(slab, base);
      const at = column(slab, base, COLUMN_KEYS) + (this.pathEntry[above] as number);
      words[at] = (words[at] as number) + keys;
      if ((expiring | versioned | units) === 0) continue;
      words[at + capacity] = (words[at + capacity] as number) + expiring;
      words[at + 2 * capacity] = (words[at + 2 * capacity] as number) + versioned;
      words[at + 3 * capacity] = (words[at + 3 * capacity] as number) + units;
    }
    const { sums } = this;
    sums[0] = (sums[0] as number) + keys;
    sums[1] = (sums[1] as number) + expiring;
    sums[2] = (sums[2] as number) + versioned;
    sums[3] = (sums[3] as number) + units;
  }

  get leafSlab(): Slab {
    return this.memory.slabOfPage(this.path[0] as number);
  }

  get leafBase(): number {
    return this.memory.baseOfPage(this.path[0] as number);
  }

  /** Starts anew with one empty leaf; the caller has seen to the old pages. */
  reset(): void {
    this.changes++;
    const page = this.arena.pages.page();
    const { memory } = this;
    initPage(memory.slabOfPage(page), memory.baseOfPage(page), memory.pageBytes, this.arena.epochs.now, 0, 0, 0);
    this.root = page;
    this.rootLevel = 0;
    this.sums.fill(0);
    this.sums[COLUMN_WEIGHT - COLUMN_KEYS] = memory.pageBytes / UNIT_BYTES;
  }

  #copyPage(page: number): number {
    const { memory, arena } = this;
    const copy = arena.pages.page();
    const from = memory.baseOfPage(page);
    const slab = memory.slabOfPage(copy);
    const base = memory.baseOfPage(copy);
    memory.slabOfPage(page).bytes.copy(slab.bytes, base, from, from + memory.pageBytes);
    setPageBirth(slab, base, arena.epochs.now);
    arena.epochs.retirePage(page, this.newest);
    return copy;
  }
}

/**
 * Reads the start of the header, of the hints and of the slots at once, before the search needs them one after another: the
 * processor then waits for the four cache lines together, instead of three times in a row.
 */
function touchLeaf({ words }: Slab, base: number): number {
  const first = base >> 2;
  return (
    (words[first] as number) ^
    (words[first + 32] as number) ^
    (words[first + 64] as number) ^
    (words[first + 96] as number)
  );
}

function noteExpiry(slab: Slab, base: number, body: CellBody): void {
  if ((body.flags & (EXPIRES | TOMBSTONE)) !== EXPIRES) return;
  if (body.expiresAtMs < pageMinExpiry(slab, base)) setPageMinExpiry(slab, base, body.expiresAtMs);
}
