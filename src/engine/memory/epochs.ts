/**
 * Copy on write by epochs. Every page and extent knows the epoch it was born in; a freeze ends an epoch.
 *
 *     epoch      1        2        3        4 (now)
 *                    ▲ freeze 1     ▲ freeze 3          a freeze sees what was born in its epoch or before
 *     page  a ───────┼──────────────┼────────────       born in 1: seen by both
 *     page  b             ──────────┼────────────       born in 2: seen by freeze 3 alone
 *     page  c                           ─────────       born in 4: nobody's but the live tree's: changed in place
 *
 * What dies while a freeze sees it waits in the list of the newest such freeze. When that one is released, its dead
 * move on to the next older freeze that saw them, or are free. A store knows the newest live freeze of its own line;
 * older ones hang behind it, and a split shares them, so freezes of one store never make another store copy.
 *
 * Freeing is put off and done in small steps (the backlog), so that neither a release nor a clear makes a pause.
 */
import type { ExtentAllocator } from './extents.ts';
import { CHAINED, EXTENT, createCellBody, readBody } from './leaf.ts';
import { COLUMN_CHILD, COLUMN_WEIGHT, column, pageBirth, pageCount, pageLevel, pageSlot, slotFlags } from './page.ts';
import type { PageAllocator } from './pages.ts';
import { type PageMemory, UNIT_BYTES } from './slab.ts';
import { freeChain } from './chain.ts';

export class Freeze {
  readonly id: number;
  readonly epoch: number;
  /** The next older freeze of the same line. */
  previous: Freeze | null;
  released = false;
  /** Pages that only this freeze and older ones still see. */
  readonly deadPages: number[] = [];
  /** Extents likewise: number and length by turns. */
  readonly deadExtents: number[] = [];

  constructor(id: number, epoch: number, previous: Freeze | null) {
    this.id = id;
    this.epoch = epoch;
    this.previous = previous;
  }
}

/** `freeze`, or the newest live one behind it. Forgets released ones on the way. */
export function newestLive(freeze: Freeze | null): Freeze | null {
  while (freeze !== null && freeze.released) freeze = freeze.previous;
  if (freeze !== null) freeze.previous = newestLive(freeze.previous);
  return freeze;
}

/** A part of a tree that nobody but the freezes up to `newest` can reach any more. */
interface DeadTree {
  readonly pages: number[];
  readonly newest: Freeze | null;
}

export class Epochs {
  readonly memory: PageMemory;
  readonly pages: PageAllocator;
  readonly extents: ExtentAllocator;
  /** Births of now. */
  now = 1;
  readonly #live = new Map<number, Freeze>();
  readonly #released: Freeze[] = [];
  readonly #deadTrees: DeadTree[] = [];
  readonly #body = createCellBody();

  constructor(memory: PageMemory, pages: PageAllocator, extents: ExtentAllocator) {
    this.memory = memory;
    this.pages = pages;
    this.extents = extents;
  }

  get liveFreezes(): number {
    return this.#live.size;
  }

  /** Whether there is memory to be freed in steps. */
  get backlog(): boolean {
    return this.#released.length > 0 || this.#deadTrees.length > 0;
  }

  freeze(previous: Freeze | null): Freeze {
    const freeze = new Freeze(this.now, this.now, newestLive(previous));
    this.#live.set(freeze.id, freeze);
    this.now++;
    return freeze;
  }

  /** Returns whether there was such a freeze. */
  release(id: number): boolean {
    const freeze = this.#live.get(id);
    if (freeze === undefined) return false;
    this.#live.delete(id);
    freeze.released = true;
    this.#released.push(freeze);
    return true;
  }

  /** The page is no longer part of the tree whose newest live freeze is `newest`. */
  retirePage(page: number, newest: Freeze | null): void {
    const slab = this.memory.slabOfPage(page);
    if (newest !== null && pageBirth(slab, this.memory.baseOfPage(page)) <= newest.epoch) newest.deadPages.push(page);
    else this.pages.freePage(page);
  }

  retireExtent(extent: number, valueBytes: number, newest: Freeze | null): void {
    if (newest !== null && this.extents.birth(extent, valueBytes) <= newest.epoch) {
      newest.deadExtents.push(extent, valueBytes);
    } else {
      this.extents.free(extent, valueBytes);
    }
  }

  /** Frees the tree under `root` bit by bit. */
  retireTree(root: number, newest: Freeze | null): void {
    this.#deadTrees.push({ pages: [root], newest });
  }

  /** Frees at most about `stepMax` things of the backlog. Returns whether there are more. */
  reclaim(stepMax: number): boolean {
    let steps = stepMax;
    while (steps > 0 && this.#released.length > 0) {
      const freeze = this.#released.at(-1) as Freeze;
      if (freeze.deadPages.length === 0 && freeze.deadExtents.length === 0) {
        this.#released.pop();
        continue;
      }
      const older = newestLive(freeze.previous);
      const page = freeze.deadPages.pop();
      if (page === undefined) {
        const valueBytes = freeze.deadExtents.pop() as number;
        this.retireExtent(freeze.deadExtents.pop() as number, valueBytes, older);
      } else {
        this.retirePage(page, older);
      }
      steps--;
    }
    while (steps > 0 && this.#deadTrees.length > 0) {
      const tree = this.#deadTrees.at(-1) as DeadTree;
      const page = tree.pages.pop();
      if (page === undefined) this.#deadTrees.pop();
      else steps -= this.#retireTreePage(tree, page, newestLive(tree.newest));
    }
    return this.backlog;
  }

  /** Returns the work done, in steps. */
  #retireTreePage(tree: DeadTree, page: number, newest: Freeze | null): number {
    const { memory } = this;
    const slab = memory.slabOfPage(page);
    const base = memory.baseOfPage(page);
    const count = pageCount(slab, base);
    const level = pageLevel(slab, base);
    let steps = 1;
    if (level > 0) {
      const children = column(slab, base, COLUMN_CHILD);
      const weights = column(slab, base, COLUMN_WEIGHT);
      const pageUnits = memory.pageBytes / UNIT_BYTES;
      for (let i = 0; i < count; i++) {
        const child = slab.words[children + i] as number;
        const bare = level === 1 && slab.words[weights + i] === pageUnits;
        if (bare) {
          this.retirePage(child, newest);
          steps++;
        } else {
          tree.pages.push(child);
        }
      }
    } else {
      for (let i = 0; i < count; i++) {
        const flags = slotFlags(pageSlot(slab, base, i));
        if ((flags & (EXTENT | CHAINED)) === 0) continue;
        readBody(slab, base, i, this.#body);
        if ((flags & CHAINED) !== 0) freeChain(this, this.#body.chain, newest);
        if ((flags & EXTENT) !== 0) this.retireExtent(this.#body.extent, this.#body.valueBytes, newest);
        steps++;
      }
    }
    this.retirePage(page, newest);
    return steps;
  }
}
