/**
 * Giving slabs back. While a state is frozen, changes copy its pages; when it is released, the old ones are free, here and there in
 * all slabs: as many pages as there are data, when writes fall everywhere. So the least used slabs are closed, the pages of
 * the trees that lie in them are moved to others, and what becomes empty is given up.
 *
 *     slabs   [▒░░▒░▒░░] [░▒░░░▒░░] [▓▓░▓▓▓▓░]        ▒ moved    ░ free
 *                  └─────────┴────▶  [▓▓▒▓▓▓▓▒] …
 *
 * Moving a page changes nothing but its parent's reference. It goes through each tree in the order of keys, a page above the
 * leaves with all its children at a time. As long as any state is frozen or anything is still to be freed, nothing is moved.
 * Slabs that hold extents stay: they have references that are not found so.
 */
import type { MemoryArena } from './arena.ts';
import { COLUMN_CHILD, KEY_BYTES_MAX, column, pageCount, readKey } from './page.ts';
import type { MemoryStore } from './store.ts';
import type { Tree } from './tree.ts';

/** Of the pages in use, what may be free for what comes. */
const SPARE_SHARE = 1 / 32;

export class Compaction {
  readonly #arena: MemoryArena;
  /** Stores still to be gone through; the last one is under way. */
  #stores: MemoryStore[] = [];
  /** Where to go on in it. */
  #from = Buffer.alloc(0);
  readonly #key = Buffer.alloc(KEY_BYTES_MAX + 4);

  constructor(arena: MemoryArena) {
    this.#arena = arena;
  }

  /** One piece. Returns whether there is more to do. */
  run(): boolean {
    const { epochs, pages, stores } = this.#arena;
    if (epochs.liveFreezes > 0 || epochs.backlog) return this.#end();
    if (pages.closedSlabs === 0 && !this.#begin()) return false;
    const store = this.#stores.at(-1);
    if (store === undefined) return this.#end();
    // One that is being loaded keeps the path to its last page.
    const isFixed = !stores.has(store) || store.loader !== null;
    const isWhole = isFixed || this.#moveSome(store.tree);
    if (isWhole) {
      this.#stores.pop();
      this.#from = Buffer.alloc(0);
    }
    return pages.closedSlabs > 0 || this.#end();
  }

  #begin(): boolean {
    const { pages, stores } = this.#arena;
    const spare = Math.ceil(pages.usedPages * SPARE_SHARE);
    const slabs = pages.sparseSlabs(spare);
    for (const slab of slabs) pages.close(slab);
    this.#stores = [...stores];
    this.#from = Buffer.alloc(0);
    return slabs.length > 0;
  }

  /** Slabs that could not be emptied (trees were cut or changed under way) are used again. */
  #end(): false {
    if (this.#arena.pages.closedSlabs > 0) this.#arena.pages.reopenAll();
    this.#stores = [];
    return false;
  }

  /** Moves the pages on one path, and the leaves beside. Returns whether that was the end of the tree. */
  #moveSome(tree: Tree): boolean {
    const { memory, pages } = this.#arena;
    tree.seek(this.#from, 0, this.#from.length);
    tree.changes++;
    for (let level = tree.rootLevel; level > 1; level--) this.#moveOnPath(tree, level);
    if (tree.rootLevel === 0) {
      this.#moveOnPath(tree, 0);
      return true;
    }
    const parent = this.#moveOnPath(tree, 1);
    const slab = memory.slabOfPage(parent);
    const base = memory.baseOfPage(parent);
    const children = column(slab, base, COLUMN_CHILD);
    for (let entry = pageCount(slab, base) - 1; entry >= 0; entry--) {
      const child = slab.words[children + entry] as number;
      if (pages.isClosed(child)) slab.words[children + entry] = this.#move(child);
    }
    return !this.#toNext(tree);
  }

  /** Moves the page on the path if it lies in a closed slab. Returns where it is. */
  #moveOnPath(tree: Tree, level: number): number {
    const { memory, pages } = this.#arena;
    const page = tree.path[level] as number;
    if (!pages.isClosed(page)) return page;
    const moved = this.#move(page);
    tree.path[level] = moved;
    if (level === tree.rootLevel) {
      tree.root = moved;
    } else {
      const parent = tree.path[level + 1] as number;
      const slab = memory.slabOfPage(parent);
      const children = column(slab, memory.baseOfPage(parent), COLUMN_CHILD);
      slab.words[children + (tree.pathEntry[level + 1] as number)] = moved;
    }
    return moved;
  }

  #move(page: number): number {
    const { memory, pages } = this.#arena;
    const moved = pages.page();
    const from = memory.baseOfPage(page);
    const target = memory.slabOfPage(moved).bytes;
    memory.slabOfPage(page).bytes.copy(target, memory.baseOfPage(moved), from, from + memory.pageBytes);
    pages.freePage(page);
    return moved;
  }

  /** Goes on behind the page above the leaves. Returns false at the end of the tree. */
  #toNext(tree: Tree): boolean {
    const { memory } = this.#arena;
    for (let level = 2; level <= tree.rootLevel; level++) {
      const page = tree.path[level] as number;
      const slab = memory.slabOfPage(page);
      const base = memory.baseOfPage(page);
      const entry = (tree.pathEntry[level] as number) + 1;
      if (entry >= pageCount(slab, base)) continue;
      this.#from = Buffer.from(this.#key.subarray(0, readKey(slab, base, entry, this.#key)));
      return true;
    }
    return false;
  }
}
