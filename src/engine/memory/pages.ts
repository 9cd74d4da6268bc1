/**
 * Page allocator: a binary buddy system (Knowlton, 1965) over the slabs, whose runs are trimmed to the pages asked for.
 *
 *     run of 5:  | 0 1 2 3 4 | 5 | 6 7 |      an aligned block of 8, of which 5 and 6–7 go back at once
 *
 * Free blocks stand in one doubly linked list per order; links live in typed arrays outside the slabs, because only
 * the owner's thread allocates.
 */
import { assert } from '../../core/assert.ts';
import { SkerryError } from '../../core/errors.ts';
import { type PageMemory, Slab } from './slab.ts';

const NONE = -1;

export class PageAllocator {
  readonly memory: PageMemory;
  readonly maxBytes: number;
  /** Free pages in the slabs there are. */
  freePages = 0;
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
    return this.run(1, true);
  }

  /** First page of `pages` neighbouring ones. Throws KV_OUT_OF_MEMORY. */
  run(pages: number, pastLimit: boolean): number {
    assert(pages > 0 && pages <= this.runPagesMax, 'run: length');
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
    this.freePages -= 1 << wanted;
    if (pages < 1 << wanted) this.free(first + pages, (1 << wanted) - pages);
    return first;
  }

  /** Frees `pages` pages from `first` on, which need not have been allocated as one run. */
  free(first: number, pages: number): void {
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
    const pagesPerSlab = 1 << memory.slabShift;
    const first = memory.slabs.length * pagesPerSlab;
    if (first + pagesPerSlab > this.#order.length) {
      const length = Math.max(first + pagesPerSlab, this.#order.length * 2);
      this.#next = grown(this.#next, length);
      this.#previous = grown(this.#previous, length);
      const order = new Int8Array(length).fill(NONE);
      order.set(this.#order);
      this.#order = order;
    }
    memory.slabs.push(slab);
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
