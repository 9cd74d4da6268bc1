/**
 * Extents: places for values that do not go into a leaf, and for older versions. Each is contiguous.
 *
 *     up to ~64 KiB      a block of its size class, many to a chunk of pages        8 classes per doubling: ≤ 12.5 % lost
 *     up to slab / 4     a run of whole pages
 *     above              a SharedArrayBuffer of its own ("huge")
 *
 *     block or run:   i32 birth epoch | i32 length of the value | value …           (a free block: i32 next free block)
 *
 * The length alone decides which of the three it is, so a reference is one number: of the 16-byte unit where the
 * extent begins, or of the huge buffer.
 */
import { assert } from '../../core/assert.ts';
import { EXTENT_HEADER_BYTES } from './leaf.ts';
import type { PageAllocator } from './pages.ts';
import { SizeCensus } from './size-census.ts';
import { type PageMemory, UNIT_BYTES } from './slab.ts';

const BLOCK_BYTES_MAX = 65536 + UNIT_BYTES;
const CHUNK_PAGES_MAX = 64;
const NONE = -1;

/** A run of pages cut into blocks of one class. */
interface Chunk {
  firstPage: number;
  sizeClass: number;
  used: number;
  /** Blocks never handed out begin here. */
  fresh: number;
  /** Number of the first free block, NONE = none. */
  freeBlock: number;
  /** Neighbours among the class's chunks that have room. */
  next: Chunk | null;
  previous: Chunk | null;
}

interface SizeClass {
  blockBytes: number;
  chunkPages: number;
  blocks: number;
  withRoom: Chunk | null;
}

export class ExtentAllocator {
  readonly #memory: PageMemory;
  readonly #pages: PageAllocator;
  readonly #classes: SizeClass[] = [];
  /** Size class by units, rounded up. */
  readonly #classOfUnits: Uint8Array;
  readonly #chunkOfPage: (Chunk | undefined)[] = [];
  readonly #hugeBirth = new Map<number, number>();
  #lastHuge = 0;
  readonly #census = new SizeCensus();

  constructor(memory: PageMemory, pages: PageAllocator) {
    this.#memory = memory;
    this.#pages = pages;
    const largest = Math.min(BLOCK_BYTES_MAX, memory.slabValueBytesMax);
    for (let blockBytes = UNIT_BYTES * 2; blockBytes <= largest;) {
      this.#classes.push(sizeClassOf(blockBytes, memory));
      const doubling = 2 ** Math.floor(Math.log2(Math.max(blockBytes - UNIT_BYTES, 128)));
      blockBytes += Math.max(UNIT_BYTES, doubling / 8);
    }
    const last = this.#classes.at(-1) as SizeClass;
    this.#classOfUnits = new Uint8Array(last.blockBytes / UNIT_BYTES + 1);
    let sizeClass = 0;
    for (let units = 0; units < this.#classOfUnits.length; units++) {
      if (units * UNIT_BYTES > (this.#classes[sizeClass] as SizeClass).blockBytes) sizeClass++;
      this.#classOfUnits[units] = sizeClass;
    }
  }

  /** Memory that a value of this length takes, in units. */
  unitsFor(valueBytes: number): number {
    if (valueBytes > this.#memory.slabValueBytesMax) return Math.ceil(valueBytes / UNIT_BYTES);
    const units = Math.ceil((valueBytes + EXTENT_HEADER_BYTES) / UNIT_BYTES);
    if (units < this.#classOfUnits.length) return this.#classAt(units).blockBytes / UNIT_BYTES;
    return this.#pagesFor(valueBytes) * (this.#memory.pageBytes / UNIT_BYTES);
  }

  /** No extent is longer than this, in bytes. */
  get longest(): number {
    return this.#census.longest;
  }

  /** Room for `valueBytes` bytes: its number. Throws KV_OUT_OF_MEMORY, and then nothing has changed. */
  allocate(valueBytes: number, epoch: number, pastLimit: boolean): number {
    const extent = this.#allocate(valueBytes, epoch, pastLimit);
    this.#census.add(valueBytes);
    return extent;
  }

  #allocate(valueBytes: number, epoch: number, pastLimit: boolean): number {
    const memory = this.#memory;
    if (valueBytes > memory.slabValueBytesMax) {
      const buffer = Buffer.from(this.#pages.huge(valueBytes, pastLimit));
      const number = ++this.#lastHuge;
      memory.huge.set(number, buffer);
      this.#hugeBirth.set(number, epoch);
      return number;
    }
    const units = Math.ceil((valueBytes + EXTENT_HEADER_BYTES) / UNIT_BYTES);
    const extent =
      units < this.#classOfUnits.length
        ? this.#allocateBlock(units, pastLimit)
        : this.#pages.run(this.#pagesFor(valueBytes), pastLimit) * (memory.pageBytes / UNIT_BYTES);
    const word = memory.baseOfUnit(extent) >> 2;
    const { words } = memory.slabOfUnit(extent);
    words[word] = epoch;
    words[word + 1] = valueBytes;
    return extent;
  }

  free(extent: number, valueBytes: number): void {
    this.#census.remove(valueBytes);
    const memory = this.#memory;
    if (valueBytes > memory.slabValueBytesMax) {
      assert(memory.huge.delete(extent), 'huge value freed twice');
      this.#hugeBirth.delete(extent);
      this.#pages.freeHuge(valueBytes);
      return;
    }
    const { words } = memory.slabOfUnit(extent);
    const word = memory.baseOfUnit(extent) >> 2;
    assert(words[word + 1] === valueBytes, 'extent freed twice, or with a wrong length');
    words[word + 1] = NONE;
    const page = Math.floor(extent / (memory.pageBytes / UNIT_BYTES));
    const chunk = this.#chunkOfPage[page];
    if (chunk === undefined) this.#pages.free(page, this.#pagesFor(valueBytes));
    else this.#freeBlock(chunk, extent);
  }

  /** Bytes of chunks that no block in use takes, remainders included. */
  get chunkBytesFree(): number {
    let bytes = 0;
    for (const chunk of new Set(this.#chunkOfPage)) {
      if (chunk === undefined) continue;
      const sizeClass = this.#classes[chunk.sizeClass] as SizeClass;
      bytes += sizeClass.chunkPages * this.#memory.pageBytes - chunk.used * sizeClass.blockBytes;
    }
    return bytes;
  }

  /** The epoch that the extent was allocated in. */
  birth(extent: number, valueBytes: number): number {
    const memory = this.#memory;
    if (valueBytes > memory.slabValueBytesMax) return this.#hugeBirth.get(extent) as number;
    return memory.slabOfUnit(extent).words[memory.baseOfUnit(extent) >> 2] as number;
  }

  #classAt(units: number): SizeClass {
    return this.#classes[this.#classOfUnits[units] as number] as SizeClass;
  }

  #pagesFor(valueBytes: number): number {
    return Math.ceil((valueBytes + EXTENT_HEADER_BYTES) / this.#memory.pageBytes);
  }

  #allocateBlock(units: number, pastLimit: boolean): number {
    const memory = this.#memory;
    const sizeClass = this.#classAt(units);
    const chunk = sizeClass.withRoom ?? this.#addChunk(units, pastLimit);
    let block = chunk.freeBlock;
    const first = chunk.firstPage * (memory.pageBytes / UNIT_BYTES);
    const blockUnits = sizeClass.blockBytes / UNIT_BYTES;
    if (block === NONE) {
      block = chunk.fresh++;
    } else {
      const extent = first + block * blockUnits;
      chunk.freeBlock = memory.slabOfUnit(extent).words[memory.baseOfUnit(extent) >> 2] as number;
    }
    chunk.used++;
    if (chunk.used === sizeClass.blocks) unlinkChunk(sizeClass, chunk);
    return first + block * blockUnits;
  }

  #addChunk(units: number, pastLimit: boolean): Chunk {
    const sizeClass = this.#classAt(units);
    const firstPage = this.#pages.run(sizeClass.chunkPages, pastLimit);
    const chunk: Chunk = {
      firstPage,
      sizeClass: this.#classOfUnits[units] as number,
      used: 0,
      fresh: 0,
      freeBlock: NONE,
      next: null,
      previous: null,
    };
    for (let page = firstPage; page < firstPage + sizeClass.chunkPages; page++) this.#chunkOfPage[page] = chunk;
    linkChunk(sizeClass, chunk);
    return chunk;
  }

  #freeBlock(chunk: Chunk, extent: number): void {
    const memory = this.#memory;
    const sizeClass = this.#classes[chunk.sizeClass] as SizeClass;
    const firstUnit = chunk.firstPage * (memory.pageBytes / UNIT_BYTES);
    const block = (extent - firstUnit) / (sizeClass.blockBytes / UNIT_BYTES);
    assert(Number.isInteger(block) && block < chunk.fresh, 'extent does not begin a block');
    memory.slabOfUnit(extent).words[memory.baseOfUnit(extent) >> 2] = chunk.freeBlock;
    chunk.freeBlock = block;
    if (chunk.used === sizeClass.blocks) linkChunk(sizeClass, chunk);
    chunk.used--;
    if (chunk.used > 0) return;
    unlinkChunk(sizeClass, chunk);
    for (let page = chunk.firstPage; page < chunk.firstPage + sizeClass.chunkPages; page++) {
      this.#chunkOfPage[page] = undefined;
    }
    this.#pages.free(chunk.firstPage, sizeClass.chunkPages);
  }
}

/** The chunk length that loses least to the remainder, short chunks preferred. */
function sizeClassOf(blockBytes: number, memory: PageMemory): SizeClass {
  let chunkPages = 0;
  let leastLost = Infinity;
  const pagesMax = Math.min(CHUNK_PAGES_MAX + 1, 1 << (memory.slabShift - 1));
  for (let pages = 1; pages <= pagesMax; pages++) {
    const bytes = pages * memory.pageBytes;
    if (bytes < blockBytes) continue;
    const lost = (bytes % blockBytes) / bytes + pages * 0.001;
    if (lost < leastLost) {
      leastLost = lost;
      chunkPages = pages;
    }
  }
  const blocks = Math.floor((chunkPages * memory.pageBytes) / blockBytes);
  return { blockBytes, chunkPages, blocks, withRoom: null };
}

function linkChunk(sizeClass: SizeClass, chunk: Chunk): void {
  chunk.previous = null;
  chunk.next = sizeClass.withRoom;
  if (chunk.next !== null) chunk.next.previous = chunk;
  sizeClass.withRoom = chunk;
}

function unlinkChunk(sizeClass: SizeClass, chunk: Chunk): void {
  if (chunk.previous === null) sizeClass.withRoom = chunk.next;
  else chunk.previous.next = chunk.next;
  if (chunk.next !== null) chunk.next.previous = chunk.previous;
  chunk.next = null;
  chunk.previous = null;
}
