/**
 * A cursor over the live entries of a tree, or of a frozen one on any thread. Leaves are not linked to each other (a copied leaf
 * would leave its neighbours' links stale), so the cursor keeps its way down.
 */
import { assert } from '../../core/assert.ts';
import { type ValueRef, type StoreCursor, createValueRef } from '../../core/kv/store.ts';
import { TOMBSTONE, readValue } from './leaf.ts';
import {
  COLUMN_CHILD,
  COLUMN_KEYS,
  KEY_BYTES_MAX,
  column,
  pageCount,
  pagePrefix,
  pageSlot,
  pageTombstones,
  readKey,
  readSuffix,
  searchPage,
  slotFlags,
} from './page.ts';
import type { PageMemory, Slab } from './slab.ts';

/** The tree that a cursor walks: a store's, which may change between two calls, or a frozen one. */
export interface TreeRoot {
  readonly root: number;
  readonly rootLevel: number;
  readonly changes: number;
}

const LEVELS_MAX = 24;
const NOWHERE = -1;

export class TreeCursor implements StoreCursor {
  readonly keyBuffer = Buffer.alloc(KEY_BYTES_MAX + 4);
  readonly keyStart = 0;
  keyEnd = 0;
  readonly #memory: PageMemory;
  readonly #tree: TreeRoot;
  readonly #value = createValueRef();
  readonly #path = new Int32Array(LEVELS_MAX);
  readonly #pathEntry = new Int32Array(LEVELS_MAX);
  #slab: Slab;
  #base = 0;
  #count = 0;
  #entry = NOWHERE;
  #prefixLength = 0;
  #valueRead = false;
  #changes = 0;

  constructor(memory: PageMemory, tree: TreeRoot) {
    this.#memory = memory;
    this.#tree = tree;
    this.#slab = memory.slabs[0] as Slab;
  }

  seek(key: Buffer, start: number, end: number, after = false): boolean {
    const found = this.#descend(key, start, end);
    this.#entry = found < 0 ? ~found : after ? found + 1 : found;
    return this.#forward();
  }

  seekBefore(key: Buffer, start: number, end: number): boolean {
    const found = this.#descend(key, start, end);
    this.#entry = (found < 0 ? ~found : found) - 1;
    return this.#backward();
  }

  first(): boolean {
    this.#toEdge(this.#tree.rootLevel, this.#tree.root, false);
    this.#entry = 0;
    return this.#forward();
  }

  last(): boolean {
    this.#toEdge(this.#tree.rootLevel, this.#tree.root, true);
    this.#entry = this.#count - 1;
    return this.#backward();
  }

  next(): boolean {
    this.#mustStand();
    this.#entry++;
    return this.#forward();
  }

  previous(): boolean {
    this.#mustStand();
    this.#entry--;
    return this.#backward();
  }

  get value(): ValueRef {
    if (!this.#valueRead) {
      this.#mustStand();
      readValue(this.#memory, this.#slab, this.#base, pageSlot(this.#slab, this.#base, this.#entry), this.#value);
      this.#valueRead = true;
    }
    return this.#value;
  }

  /** To the live entry of rank `rank` in order. False when there are not that many. */
  seekRank(rank: number): boolean {
    const memory = this.#memory;
    let page = this.#tree.root;
    for (let level = this.#tree.rootLevel; level > 0; level--) {
      const slab = memory.slabOfPage(page);
      const base = memory.baseOfPage(page);
      const keys = column(slab, base, COLUMN_KEYS);
      const count = pageCount(slab, base);
      let entry = 0;
      while (entry < count - 1 && rank >= (slab.words[keys + entry] as number)) {
        rank -= slab.words[keys + entry] as number;
        entry++;
      }
      this.#path[level] = page;
      this.#pathEntry[level] = entry;
      page = slab.words[column(slab, base, COLUMN_CHILD) + entry] as number;
    }
    this.#enterLeaf(page);
    if (pageTombstones(this.#slab, this.#base) === 0) {
      this.#entry = rank;
    } else {
      let entry = 0;
      for (; entry < this.#count; entry++) if (this.#isLive(entry) && rank-- === 0) break;
      this.#entry = entry;
    }
    if (this.#entry >= this.#count) {
      this.#entry = NOWHERE;
      return false;
    }
    return this.#forward();
  }

  /** The page of the leaf that the cursor stands in; the scan of expiries walks by leaves. */
  get leaf(): number {
    return this.#path[0] as number;
  }

  #descend(key: Buffer, start: number, end: number): number {
    const memory = this.#memory;
    let page = this.#tree.root;
    for (let level = this.#tree.rootLevel; level > 0; level--) {
      const slab = memory.slabOfPage(page);
      const base = memory.baseOfPage(page);
      const found = searchPage(slab, base, 1, key, start, end);
      const entry = found >= 0 ? found : ~found - 1;
      this.#path[level] = page;
      this.#pathEntry[level] = entry;
      page = slab.words[column(slab, base, COLUMN_CHILD) + entry] as number;
    }
    this.#enterLeaf(page);
    return searchPage(this.#slab, this.#base, 0, key, start, end);
  }

  #enterLeaf(page: number): void {
    const slab = this.#memory.slabOfPage(page);
    const base = this.#memory.baseOfPage(page);
    this.#path[0] = page;
    this.#slab = slab;
    this.#base = base;
    this.#count = pageCount(slab, base);
    this.#prefixLength = NOWHERE;
    this.#changes = this.#tree.changes;
  }

  /** Down to the first or last leaf under a page. */
  #toEdge(level: number, page: number, right: boolean): void {
    const memory = this.#memory;
    for (; level > 0; level--) {
      const slab = memory.slabOfPage(page);
      const base = memory.baseOfPage(page);
      const entry = right ? pageCount(slab, base) - 1 : 0;
      this.#path[level] = page;
      this.#pathEntry[level] = entry;
      page = slab.words[column(slab, base, COLUMN_CHILD) + entry] as number;
    }
    this.#enterLeaf(page);
  }

  /** To the next or previous leaf. False at the end. */
  #step(right: boolean): boolean {
    const memory = this.#memory;
    for (let level = 1; level <= this.#tree.rootLevel; level++) {
      const page = this.#path[level] as number;
      const slab = memory.slabOfPage(page);
      const base = memory.baseOfPage(page);
      const entry = (this.#pathEntry[level] as number) + (right ? 1 : -1);
      if (entry < 0 || entry >= pageCount(slab, base)) continue;
      this.#pathEntry[level] = entry;
      this.#toEdge(level - 1, slab.words[column(slab, base, COLUMN_CHILD) + entry] as number, !right);
      return true;
    }
    return false;
  }

  #isLive(entry: number): boolean {
    return (slotFlags(pageSlot(this.#slab, this.#base, entry)) & TOMBSTONE) === 0;
  }

  /** From #entry on, stands at the first live entry. */
  #forward(): boolean {
    for (;;) {
      while (this.#entry < this.#count) {
        if (this.#isLive(this.#entry)) return this.#stand();
        this.#entry++;
      }
      if (!this.#step(true)) break;
      this.#entry = 0;
    }
    this.#entry = NOWHERE;
    return false;
  }

  #backward(): boolean {
    for (;;) {
      while (this.#entry >= 0) {
        if (this.#isLive(this.#entry)) return this.#stand();
        this.#entry--;
      }
      if (!this.#step(false)) break;
      this.#entry = this.#count - 1;
    }
    this.#entry = NOWHERE;
    return false;
  }

  #stand(): boolean {
    this.#valueRead = false;
    if (this.#prefixLength === NOWHERE) {
      this.#prefixLength = pagePrefix(this.#slab, this.#base);
      this.keyEnd = readKey(this.#slab, this.#base, this.#entry, this.keyBuffer);
    } else {
      this.keyEnd = readSuffix(this.#slab, this.#base, this.#entry, this.#prefixLength, this.keyBuffer);
    }
    return true;
  }

  #mustStand(): void {
    assert(this.#entry !== NOWHERE, 'cursor: stands nowhere');
    assert(this.#changes === this.#tree.changes, 'cursor: the store has changed');
  }
}
