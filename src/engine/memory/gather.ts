/**
 * Rebuilding pages: the entries of one page or of neighbours, with a change among them, are gathered in order, cut into new
 * pages, and built there. Building always writes new pages, so it never disturbs a frozen one.
 *
 *     gathered:  page 3 [0…41] · page 4 [0…17] · new entry · page 4 [18…55]
 *     cut:       |--------- 33 --------|--------- 33 --------|--------- 33 --------|
 */
import { assert } from '../../core/assert.ts';
import type { Epochs } from './epochs.ts';
import { EXPIRES, TOMBSTONE, cellBytesOf, copyBytes, readExpiry, storedBodyBytes } from './leaf.ts';
import {
  COLUMN_CHILD,
  COLUMN_KEYS,
  COLUMN_SLOT,
  COLUMN_WEIGHT,
  HINT_BYTES,
  KEY_BYTES_MAX,
  PAGE_HEADER_BYTES,
  SUMS,
  addPageTombstones,
  column,
  columnsOfLevel,
  columnsStart,
  hintColumn,
  initPage,
  keyCellBytes,
  makeSlot,
  pageCapacity,
  pagePrefix,
  pageSlot,
  readKey,
  restBytes,
  setPageMinExpiry,
  slotFlags,
  slotOffset,
  slotSuffix,
  takeCell,
  wholeWords,
  writeEntryKey,
} from './page.ts';
import { addEntrySums } from './sums.ts';
import { type Slab, UNIT_BYTES } from './slab.ts';

/** One page that came out of a cut. */
export interface BuiltPage {
  page: number;
  /** Gathered entries [from, to). */
  from: number;
  to: number;
  /** Sums as in an inner page's columns, from COLUMN_KEYS on. */
  readonly sums: Int32Array;
}

export class Gather {
  count = 0;
  level = 0;
  /** Pages of the last cut(). */
  readonly built: BuiltPage[] = [];
  builtCount = 0;
  readonly #epochs: Epochs;
  readonly #slabs: Slab[] = [];
  readonly #bases: number[] = [];
  /** Where an entry's columns and body are, and where its key is: not the same for the first entry of an inner page. */
  #source: Uint8Array;
  #entry: Uint16Array;
  #keySource: Uint8Array;
  #keyEntry: Uint16Array;
  /** Bytes of column and cell in the present page. */
  #size: Uint16Array;
  #totalBytes = 0;
  /** Of the last #fits(). */
  #prefix = 0;
  #packed = 0;
  readonly #leftKey = Buffer.alloc(KEY_BYTES_MAX + 4);
  readonly #rightKey = Buffer.alloc(KEY_BYTES_MAX + 4);

  constructor(epochs: Epochs) {
    this.#epochs = epochs;
    const entriesMax = epochs.memory.pageBytes;
    this.#source = new Uint8Array(entriesMax);
    this.#entry = new Uint16Array(entriesMax);
    this.#keySource = new Uint8Array(entriesMax);
    this.#keyEntry = new Uint16Array(entriesMax);
    this.#size = new Uint16Array(entriesMax);
  }

  begin(level: number): void {
    this.level = level;
    this.count = 0;
    this.builtCount = 0;
    this.#totalBytes = 0;
    this.#slabs.length = 0;
    this.#bases.length = 0;
  }

  /** Appends entries [from, to) of a page. */
  add(slab: Slab, base: number, from: number, to: number): void {
    if (from >= to) return;
    const source = this.#slabs.length;
    this.#slabs.push(slab);
    this.#bases.push(base);
    const columnBytes = columnsOfLevel(this.level) * 4;
    const slots = column(slab, base, COLUMN_SLOT);
    for (let entry = from; entry < to; entry++) {
      const i = this.count++;
      const slot = slab.words[slots + entry] as number;
      const cell = this.level === 0 ? cellBytesOf(slab, base, slot) : keyCellBytes(slotSuffix(slot));
      this.#source[i] = source;
      this.#entry[i] = entry;
      this.#keySource[i] = source;
      this.#keyEntry[i] = entry;
      this.#size[i] = columnBytes + cell;
      this.#totalBytes += columnBytes + cell;
    }
  }

  /** Takes the key of gathered entry `i` from an entry of another page of the same or a higher level. */
  keyFrom(i: number, slab: Slab, base: number, entry: number): void {
    this.#keySource[i] = this.#slabs.length;
    this.#keyEntry[i] = entry;
    this.#slabs.push(slab);
    this.#bases.push(base);
    const size = columnsOfLevel(this.level) * 4 + keyCellBytes(slotSuffix(pageSlot(slab, base, entry)));
    this.#totalBytes += size - (this.#size[i] as number);
    this.#size[i] = size;
  }

  /** Estimate of the bytes that all would take in one page. */
  get bytes(): number {
    return this.#totalBytes + PAGE_HEADER_BYTES;
  }

  /** Bytes that all take in one page, exactly. */
  get packedBytes(): number {
    return this.#packedBytes(0, this.count, this.#commonPrefix(0, this.count));
  }

  /** The key of a gathered entry. Returns its length. */
  key(i: number, target: Buffer): number {
    const source = this.#keySource[i] as number;
    return readKey(this.#slabs[source] as Slab, this.#bases[source] as number, this.#keyEntry[i] as number, target);
  }

  /**
   * The separator between gathered entries i - 1 and i, in target: for leaves the shortest key that parts them
   * (Bayer and Unterauer, "Prefix B-trees", 1977), for inner pages the key itself. Returns its length.
   */
  separator(i: number, target: Buffer): number {
    const length = this.key(i, target);
    if (this.level > 0) return length;
    const leftLength = this.key(i - 1, this.#leftKey);
    return commonBytes(this.#leftKey, leftLength, target, length) + 1;
  }

  /**
   * Builds `pages` pages of about equal bytes; when large cells do not allow that, as many as it takes, each filled
   * as far as it goes. `firstAt`: where the second page begins instead, 0 = anywhere.
   */
  cut(pages: number, firstAt: number): void {
    this.builtCount = 0;
    if (this.count === 0) return;
    const ends: number[] = [];
    if (firstAt > 0) {
      ends.push(firstAt);
    } else {
      const { level } = this;
      let bytes = 0;
      for (let i = 0; i < this.count && ends.length < pages - 1; i++) {
        const size = this.#size[i] as number;
        const target = (this.#totalBytes * (ends.length + 1)) / pages;
        if (bytes + size / 2 >= target && i > (ends.at(-1) ?? 0) + (level === 0 ? 0 : 1)) ends.push(i);
        bytes += size;
      }
    }
    ends.push(this.count);
    if (!this.#allFit(ends)) this.#cutGreedily(ends);
    let from = 0;
    for (const to of ends) {
      this.#build(from, to);
      from = to;
    }
  }

  #allFit(ends: readonly number[]): boolean {
    let from = 0;
    for (const to of ends) {
      if (!this.#fits(from, to)) return false;
      from = to;
    }
    return true;
  }

  #cutGreedily(ends: number[]): void {
    ends.length = 0;
    for (let from = 0; from < this.count;) {
      let to = from + 1;
      while (to < this.count && this.#fits(from, to + 1)) to++;
      ends.push(to);
      from = to;
    }
  }

  /**
   * Whether entries [from, to) fit into one page; sets #prefix and #packed. The longest common prefix is best but for a few
   * bytes, when suffixes become shorter than a hint; then the one that the entries have now may fit where the longer does not.
   */
  #fits(from: number, to: number): boolean {
    const { pageBytes } = this.#epochs.memory;
    this.#prefix = this.#commonPrefix(from, to);
    this.#packed = this.#packedBytes(from, to, this.#prefix);
    if (this.#packed <= pageBytes) return true;
    let shortest = this.#prefix;
    for (let source = 0; source < this.#slabs.length; source++) {
      shortest = Math.min(shortest, pagePrefix(this.#slabs[source] as Slab, this.#bases[source] as number));
    }
    if (shortest === this.#prefix) return false;
    this.#prefix = shortest;
    this.#packed = this.#packedBytes(from, to, shortest);
    return this.#packed <= pageBytes;
  }

  /**
   * Length of the prefix for a page of entries [from, to). An inner page's first entry has no key. A new root has only one;
   * it guesses that keys to come differ from it in the hint's bytes. A root that guessed wrong is rebuilt, one without a
   * prefix would have the same hint everywhere, and every search would compare whole keys, until it overflows.
   */
  #commonPrefix(from: number, to: number): number {
    const first = this.level === 0 ? from : from + 1;
    if (to === first) return 0;
    const left = this.key(first, this.#leftKey);
    if (to - first === 1) return this.level === 0 ? 0 : Math.max(0, left - HINT_BYTES);
    const right = this.key(to - 1, this.#rightKey);
    return commonBytes(this.#leftKey, left, this.#rightKey, right);
  }

  #packedBytes(from: number, to: number, prefixLength: number): number {
    const columnBytes = columnsOfLevel(this.level) * 4;
    let bytes = columnsStart(prefixLength);
    for (let i = from; i < to; i++) {
      const keySource = this.#keySource[i] as number;
      const slab = this.#slabs[keySource] as Slab;
      const base = this.#bases[keySource] as number;
      const oldPrefix = pagePrefix(slab, base);
      if (this.level > 0 && i === from) {
        bytes += columnBytes;
      } else if (oldPrefix === prefixLength) {
        bytes += this.#size[i] as number;
      } else {
        // Rounded up once more than needed; the page may come out a few bytes shorter.
        const suffix = slotSuffix(pageSlot(slab, base, this.#keyEntry[i] as number));
        const change = restBytes(suffix + oldPrefix - prefixLength) - restBytes(suffix);
        bytes += (this.#size[i] as number) + wholeWords(change);
      }
    }
    return bytes;
  }

  #build(from: number, to: number): void {
    const { memory, pages, now } = this.#epochs;
    const { level } = this;
    const columns = columnsOfLevel(level);
    assert(this.#fits(from, to), 'what was cut fits a page');
    const prefixLength = this.#prefix;
    const packed = this.#packed;
    const free = memory.pageBytes - packed;
    const average = Math.ceil((packed - columnsStart(prefixLength)) / (to - from));
    const capacity = to - from + Math.min(Math.ceil(free / average), Math.floor(free / (columns * 4)));
    const page = pages.page();
    const slab = memory.slabOfPage(page);
    const base = memory.baseOfPage(page);
    initPage(slab, base, memory.pageBytes, now, level, capacity, prefixLength);
    if (prefixLength > 0) this.#leftKey.copy(slab.bytes, base + PAGE_HEADER_BYTES, 0, prefixLength);
    const out = this.#nextBuilt();
    out.page = page;
    out.from = from;
    out.to = to;
    out.sums.fill(0);
    out.sums[COLUMN_WEIGHT - COLUMN_KEYS] = memory.pageBytes / UNIT_BYTES;
    if (level === 0) this.#buildLeaf(slab, base, out);
    else this.#buildInner(slab, base, out);
    slab.halves[(base + 4) >> 1] = to - from;
  }

  #buildLeaf(slab: Slab, base: number, out: BuiltPage): void {
    const { sums, from, to } = out;
    const prefixLength = pagePrefix(slab, base);
    const hints = hintColumn(slab, base);
    const slots = hints + pageCapacity(slab, base);
    let minExpiry = Infinity;
    let keys = 0;
    for (let i = from; i < to; i++) {
      const source = this.#source[i] as number;
      const entry = this.#entry[i] as number;
      const other = this.#slabs[source] as Slab;
      const otherBase = this.#bases[source] as number;
      const otherHints = hintColumn(other, otherBase);
      const slot = other.words[otherHints + pageCapacity(other, otherBase) + entry] as number;
      const flags = slotFlags(slot);
      const suffix = slotSuffix(slot);
      const oldCell = (this.#size[i] as number) - 8;
      const oldPrefix = pagePrefix(other, otherBase);
      if (oldPrefix === prefixLength) {
        const cell = takeCell(slab, base, oldCell);
        slab.words[hints + i - from] = other.words[otherHints + entry] as number;
        slab.words[slots + i - from] = makeSlot(cell, suffix, flags);
        copyWords(other, otherBase + slotOffset(slot), slab, base + cell, oldCell);
      } else {
        const body = storedBodyBytes(other, otherBase + slotOffset(slot) + restBytes(suffix), flags);
        const cell = takeCell(slab, base, wholeWords(body + restBytes(suffix + oldPrefix - prefixLength)));
        const length = readKey(other, otherBase, entry, this.#rightKey);
        const at = writeEntryKey(slab, base, i - from, cell, flags, this.#rightKey, 0, length);
        copyBytes(other.bytes, otherBase + slotOffset(slot) + restBytes(suffix), body, slab.bytes, at);
      }
      if (flags === 0) {
        keys++;
        continue;
      }
      addEntrySums(this.#epochs, other, otherBase, entry, sums);
      if ((flags & TOMBSTONE) !== 0) addPageTombstones(slab, base, 1);
      else if ((flags & EXPIRES) !== 0) minExpiry = Math.min(minExpiry, readExpiry(other, otherBase, slot));
    }
    sums[0] = (sums[0] as number) + keys;
    if (minExpiry !== Infinity) setPageMinExpiry(slab, base, minExpiry);
  }

  #buildInner(slab: Slab, base: number, out: BuiltPage): void {
    const { sums, from, to } = out;
    const prefixLength = pagePrefix(slab, base);
    const capacity = pageCapacity(slab, base);
    const hints = hintColumn(slab, base);
    slab.words[hints] = 0;
    slab.words[hints + capacity] = makeSlot(memoryEnd(this.#epochs), 0, 0);
    for (let i = from; i < to; i++) {
      if (i > from) {
        const length = this.key(i, this.#rightKey);
        const cell = takeCell(slab, base, keyCellBytes(length - prefixLength));
        writeEntryKey(slab, base, i - from, cell, 0, this.#rightKey, 0, length);
      }
      const source = this.#source[i] as number;
      const other = this.#slabs[source] as Slab;
      const otherBase = this.#bases[source] as number;
      const step = pageCapacity(other, otherBase);
      let at = column(other, otherBase, COLUMN_CHILD) + (this.#entry[i] as number);
      let to = hints + COLUMN_CHILD * capacity + i - from;
      slab.words[to] = other.words[at] as number;
      for (let s = 0; s < SUMS; s++) {
        at += step;
        to += capacity;
        const value = other.words[at] as number;
        slab.words[to] = value;
        sums[s] = (sums[s] as number) + value;
      }
    }
  }

  #nextBuilt(): BuiltPage {
    const i = this.builtCount++;
    let out = this.built[i];
    if (out === undefined) {
      out = { page: 0, from: 0, to: 0, sums: new Int32Array(SUMS) };
      this.built.push(out);
    }
    return out;
  }
}

/** The cell offset of an entry without a cell: behind the last byte. 16 bits hold it, since pages end at 32 KiB. */
const memoryEnd = (epochs: Epochs): number => epochs.memory.pageBytes;

function copyWords(from: Slab, at: number, to: Slab, target: number, length: number): void {
  if (length > 256) {
    from.bytes.copy(to.bytes, target, at, at + length);
    return;
  }
  const source = from.words;
  const words = to.words;
  const end = (at + length) >> 2;
  for (let i = at >> 2, t = target >> 2; i < end; i++, t++) words[t] = source[i] as number;
}

export function commonBytes(left: Buffer, leftLength: number, right: Buffer, rightLength: number): number {
  const length = Math.min(leftLength, rightLength);
  let i = 0;
  while (i < length && left[i] === right[i]) i++;
  return i;
}
