/**
 * The memory of one shard worker: all its ranges' stores take their pages and extents from here, off the V8 heap.
 *
 *     MemoryArena ── PageAllocator ── slabs (SharedArrayBuffers, on demand up to maxBytes)
 *                 ├─ ExtentAllocator     long values, older versions
 *                 ├─ Epochs              what frozen states still see, and the backlog of what is to be freed
 *                 └─ stores              each a tree of its own
 */
import { assert } from '../../core/assert.ts';
import type { Engine } from '../engine.ts';
import { Compaction } from './compaction.ts';
import { Epochs } from './epochs.ts';
import { ExtentAllocator } from './extents.ts';
import { Gather } from './gather.ts';
import { PageAllocator } from './pages.ts';
import { Scratch } from './restructure.ts';
import { PageMemory } from './slab.ts';
import { MemoryStore } from './store.ts';

export interface MemoryArenaOptions {
  /** A power of two; memory is taken from the system in pieces of this size, which it fills only when they are used. */
  readonly slabBytes?: number;
  /** Beyond this, put() throws KV_OUT_OF_MEMORY. At most 32 GiB. */
  readonly maxBytes: number;
  /** A power of two from 4 KiB to 32 KiB. */
  readonly pageBytes?: number;
}

const SLAB_BYTES = 16 * 2 ** 20;
const PAGE_BYTES = 8192;
const MAX_BYTES = 32 * 2 ** 30;

export class MemoryArena {
  readonly memory: PageMemory;
  readonly pages: PageAllocator;
  readonly extents: ExtentAllocator;
  readonly epochs: Epochs;
  readonly gather: Gather;
  readonly scratch = new Scratch();
  readonly stores = new Set<MemoryStore>();
  readonly #compaction: Compaction;

  constructor(options: MemoryArenaOptions) {
    assert(options.maxBytes <= MAX_BYTES, 'arena: at most 32 GiB');
    this.memory = new PageMemory(options.pageBytes ?? PAGE_BYTES, options.slabBytes ?? SLAB_BYTES);
    this.pages = new PageAllocator(this.memory, options.maxBytes);
    this.extents = new ExtentAllocator(this.memory, this.pages);
    this.epochs = new Epochs(this.memory, this.pages, this.extents);
    this.gather = new Gather(this.epochs);
    this.#compaction = new Compaction(this);
    // Page 0 is nobody's, so that extent number 0 can mean "none".
    assert(this.pages.page() === 0, 'the first page is page 0');
  }

  createStore(): Engine {
    return new MemoryStore(this, null);
  }

  /** Bytes of SharedArrayBuffers taken from the system (which counts only what has been touched). */
  get bytesReserved(): number {
    return this.pages.reservedBytes;
  }

  /** Bytes of pages in use, by trees, extents and frozen states, and of the backlog. */
  get bytesUsed(): number {
    const { memory, pages } = this;
    return (pages.usedPages - 1) * memory.pageBytes + pages.hugeBytes;
  }

  /** No value is longer than this, in bytes; values given up and not yet freed included. */
  get longestValueBytes(): number {
    return Math.max(this.memory.inlineBytesMax, this.extents.longest);
  }

  /**
   * Frees memory that has been given up, at most about `stepMax` pages and extents. Mutations do a little of it by themselves;
   * an idle worker calls this until it returns false.
   */
  reclaim(stepMax: number): boolean {
    return this.epochs.reclaim(stepMax);
  }

  /**
   * Empties slabs that are little used, so that the system gets their memory back when the garbage collectors of all threads
   * that know them have run. Does a piece of about a millisecond; returns whether there is more to do. Between two changes,
   * while no cursor stands anywhere.
   */
  compact(): boolean {
    return this.#compaction.run();
  }

  /** Slabs that have been given up so far. */
  get slabsGivenUp(): number {
    return this.pages.slabsGivenUp;
  }

  /** Makes sure of free pages. Throws KV_OUT_OF_MEMORY unless `pastLimit`. */
  reserve(pages: number, pastLimit: boolean): void {
    while (this.pages.freePages < pages && this.epochs.backlog) this.epochs.reclaim(pages * 4);
    this.pages.reserve(pages, pastLimit);
  }
}
