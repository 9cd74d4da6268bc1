/**
 * Page allocator: a binary buddy system (Knowlton, 1965) over the slabs, whose runs are trimmed to the pages asked for.
 *
 *     run of 5:  | 0 1 2 3 4 | 5 | 6 7 |      an aligned block of 8, of which 5 and 6–7 go back at once
 *
 * Free blocks stand in one doubly linked list per order; links live in typed arrays outside the slabs, because only
 * the owner's thread allocates.
 *
 * A slab may be closed: nothing is allocated in it any more, and when its last page is freed it is given up, and its number
 * goes to the next new one (compaction.ts empties slabs so). Single pages can be moved out of a slab, runs cannot.
 */
import { assert } from '../../core/assert.ts';
import { SkerryError } from '../../core/errors.ts';
import { type PageMemory, Slab } from './slab.ts';

const NONE = -1;
/** In #order: a free page of a closed slab. */
const CLOSED = -2;
/** Stands where a slab has been given up. */
const NO_SLAB = new Slab(new SharedArrayBuffer(0));

export class PageAllocator {
  readonly memory: PageMemory;
  readonly maxBytes: number;
  /** Free pages in the slabs that are not closed. */
  freePages = 0;
  /** Pages in use. */
  usedPages = 0;
  /** Slabs that have been given up, of all time. */
  slabsGivenUp = 0;
  /** Bytes of SharedArrayBuffers held: slabs and huge values. */
  reservedBytes = 0;
  /** Bytes of huge values alone. */
  hugeBytes = 0;
  #orders: number;
  #heads: Int32Array;
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  /** Order of the free block that begins at a page, NONE elsewhere. */
  #order = new Int8Array(0);
  /** By slab: pages in use, and those of them in runs. */
  readonly #used: number[] = [];
  readonly #inRuns: number[] = [];
  readonly #closed = new Set<number>();
  readonly #givenUp: number[] = [];

  constructor(memory: PageMemory, maxBytes: number) {
    this.memory = memory;
    this.maxBytes = maxBytes;
    this.#orders = memory.slabShift + 1;
    this.#heads = new Int32Array(this.#orders).fill(NONE);
  }

  /** The longest run that may be asked for. */
  get runPagesMax(): number {
    return 1 << this.memory.slabShift;
  }

  /** Makes sure of `pages` free pages. Throws KV_OUT_OF_MEMORY, and then nothing has changed. */
  reserve(pages: number, pastLimit: boolean): void {
    while (this.freePages < pages) this.#addSlab(pastLimit);
  }

  page(): number {
    return this.#take(1, true);
  }

  freePage(page: number): void {
    this.#give(page, 1);
  }

  /** First page of `pages` neighbouring ones. Throws KV_OUT_OF_MEMORY. */
  run(pages: number, pastLimit: boolean): number {
    assert(pages > 0 && pages <= this.runPagesMax, 'run: length');
    const first = this.#take(pages, pastLimit);
    const slab = first >>> this.memory.slabShift;
    this.#inRuns[slab] = (this.#inRuns[slab] as number) + pages;
    return first;
  }

  /** Frees `pages` pages of a run, from `first` on. */
  free(first: number, pages: number): void {
    const slab = first >>> this.memory.slabShift;
    this.#inRuns[slab] = (this.#inRuns[slab] as number) - pages;
    this.#give(first, pages);
  }

  /** Slabs that single pages alone are used in, those with fewest first, as many as the other slabs have room for. */
  sparseSlabs(sparePages: number): number[] {
    const pagesPerSlab = this.runPagesMax;
    const count = Math.floor((this.freePages - sparePages) / pagesPerSlab);
    if (count <= 0) return [];
    const movable = this.#used.flatMap((_, slab) => (this.#isMovable(slab) ? [slab] : []));
    return movable.sort((a, b) => (this.#used[a] as number) - (this.#used[b] as number)).slice(0, count);
  }

  isClosed(page: number): boolean {
    return this.#closed.has(page >>> this.memory.slabShift);
  }

  get closedSlabs(): number {
    return this.#closed.size;
  }

  /** Allocates nothing in the slab any more, and gives it up when it is empty. */
  close(slab: number): void {
    const end = (slab + 1) << this.memory.slabShift;
    this.#closed.add(slab);
    for (let page = slab << this.memory.slabShift; page < end;) {
      const order = this.#order[page] as number;
      if (order === NONE) {
        page++;
        continue;
      }
      this.#unlink(page, order);
      this.#order.fill(CLOSED, page, page + (1 << order));
      this.freePages -= 1 << order;
      page += 1 << order;
    }
    if (this.#used[slab] === 0) this.#giveUp(slab);
  }

  /** Uses all closed slabs again. */
  reopenAll(): void {
    for (const slab of this.#closed) {
      this.#closed.delete(slab);
      const first = slab << this.memory.slabShift;
      for (let page = first; page < first + this.runPagesMax; page++) {
        if (this.#order[page] !== CLOSED) continue;
        this.#order[page] = NONE;
        this.freePages++;
        this.#freeBlock(page, 0);
      }
    }
  }

  #isMovable(slab: number): boolean {
    return slab > 0 && this.memory.slabs[slab] !== NO_SLAB && this.#inRuns[slab] === 0;
  }

  #giveUp(slab: number): void {
    const first = slab << this.memory.slabShift;
    this.#order.fill(NONE, first, first + this.runPagesMax);
    this.#closed.delete(slab);
    this.#givenUp.push(slab);
    this.slabsGivenUp++;
    this.memory.slabs[slab] = NO_SLAB;
    this.reservedBytes -= this.memory.slabBytes;
  }

  #take(pages: number, pastLimit: boolean): number {
    const wanted = pages === 1 ? 0 : 32 - Math.clz32(pages - 1);
    let order = wanted;
    while (order < this.#orders && this.#heads[order] === NONE) order++;
    if (order === this.#orders) {
      this.#addSlab(pastLimit);
      order--;
    }
    const first = this.#heads[order] as number;
    this.#unlink(first, order);
    while (order > wanted) {
      order--;
      this.#link(first + (1 << order), order);
    }
    this.#count(first, 1 << wanted);
    this.freePages -= 1 << wanted;
    if (pages < 1 << wanted) this.#give(first + pages, (1 << wanted) - pages);
    return first;
  }

  #count(page: number, pages: number): void {
    const slab = page >>> this.memory.slabShift;
    this.#used[slab] = (this.#used[slab] as number) + pages;
    this.usedPages += pages;
  }

  /** Frees pages of one slab, which need not have been allocated together. */
  #give(first: number, pages: number): void {
    const slab = first >>> this.memory.slabShift;
    this.#count(first, -pages);
    if (this.#closed.has(slab)) {
      for (let page = first; page < first + pages; page++) assert(this.#order[page] === NONE, 'page freed twice');
      this.#order.fill(CLOSED, first, first + pages);
      if (this.#used[slab] === 0) this.#giveUp(slab);
      return;
    }
    this.freePages += pages;
    const end = first + pages;
    while (first < end) {
      let order = first === 0 ? this.#orders - 1 : Math.min(31 - Math.clz32(first & -first), this.#orders - 1);
      while (first + (1 << order) > end) order--;
      this.#freeBlock(first, order);
      first += 1 << order;
    }
  }

  /** A buffer of its own for one value. Throws KV_OUT_OF_MEMORY. */
  huge(valueBytes: number, pastLimit: boolean): SharedArrayBuffer {
    const shared = this.#allocate(valueBytes, pastLimit);
    this.hugeBytes += valueBytes;
    return shared;
  }

  freeHuge(valueBytes: number): void {
    this.hugeBytes -= valueBytes;
    this.reservedBytes -= valueBytes;
  }

  #freeBlock(block: number, order: number): void {
    while (order < this.#orders - 1) {
      const buddy = block ^ (1 << order);
      if (this.#order[buddy] !== order) break;
      this.#unlink(buddy, order);
      block &= ~(1 << order);
      order++;
    }
    this.#link(block, order);
  }

  #link(block: number, order: number): void {
    assert(this.#order[block] === NONE, 'page freed twice');
    const head = this.#heads[order] as number;
    this.#next[block] = head;
    this.#previous[block] = NONE;
    if (head !== NONE) this.#previous[head] = block;
    this.#heads[order] = block;
    this.#order[block] = order;
  }

  #unlink(block: number, order: number): void {
    const next = this.#next[block] as number;
    const previous = this.#previous[block] as number;
    if (previous === NONE) this.#heads[order] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
    this.#order[block] = NONE;
  }

  #addSlab(pastLimit: boolean): void {
    const { memory } = this;
    const slab = new Slab(this.#allocate(memory.slabBytes, pastLimit));
    const pagesPerSlab = this.runPagesMax;
    const number = this.#givenUp.pop() ?? memory.slabs.length;
    const first = number * pagesPerSlab;
    if (first + pagesPerSlab > this.#order.length) {
      const length = Math.max(first + pagesPerSlab, this.#order.length * 2);
      this.#next = grown(this.#next, length);
      this.#previous = grown(this.#previous, length);
      const order = new Int8Array(length).fill(NONE);
      order.set(this.#order);
      this.#order = order;
    }
    memory.slabs[number] = slab;
    this.#used[number] = 0;
    this.#inRuns[number] = 0;
    this.freePages += pagesPerSlab;
    this.#link(first, this.#orders - 1);
  }

  #allocate(bytes: number, pastLimit: boolean): SharedArrayBuffer {
    if (!pastLimit && this.reservedBytes + bytes > this.maxBytes) {
      throw outOfMemory(`the memory limit of ${this.maxBytes} bytes is reached`, undefined);
    }
    let shared: SharedArrayBuffer;
    try {
      shared = new SharedArrayBuffer(bytes);
    } catch (cause) {
      throw outOfMemory(`the system refused ${bytes} bytes`, cause);
    }
    this.reservedBytes += bytes;
    return shared;
  }
}

function outOfMemory(why: string, cause: unknown): SkerryError {
  return new SkerryError('KV_OUT_OF_MEMORY', `${why}: delete keys or raise --max-memory`, { cause });
}

function grown(from: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const to = new Int32Array(length);
  to.set(from);
  return to;
}
