/**
 * Slabs: large SharedArrayBuffers that hold all pages and extents of an arena, and how a number names a place in them.
 *
 *     page number   = slab × pagesPerSlab + page in slab
 *     extent number = byte address / 16          (so 2^31 of them reach 32 GiB)
 *
 * The same addressing serves the owner and the readers of frozen states on other threads.
 */
import { assert } from '../../core/assert.ts';

/** Extents begin at multiples of this; their numbers and all weights count in it. */
export const UNIT_BYTES = 16;

/** One slab under its views. A class, so that hot code sees one shape. */
export class Slab {
  readonly shared: SharedArrayBuffer;
  readonly bytes: Buffer;
  readonly words: Int32Array;
  readonly halves: Uint16Array;
  readonly view: DataView;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.bytes = Buffer.from(shared);
    this.words = new Int32Array(shared);
    this.halves = new Uint16Array(shared);
    this.view = new DataView(shared);
  }
}

/** Where pages and extents lie: all that reading a tree needs. */
export class PageMemory {
  readonly slabs: Slab[] = [];
  /** Values too long for a slab, by number, each in a buffer of its own. */
  readonly huge = new Map<number, Buffer>();
  readonly pageBytes: number;
  readonly slabBytes: number;
  readonly pageShift: number;
  /** page number >>> slabShift = slab. */
  readonly slabShift: number;
  readonly pageMask: number;
  readonly unitShift: number;
  readonly unitMask: number;
  /** Values of at most this many bytes lie in the leaf itself. */
  readonly inlineBytesMax: number;
  /** Values of more bytes than this have a buffer of their own. */
  readonly slabValueBytesMax: number;

  constructor(pageBytes: number, slabBytes: number) {
    assert(Number.isInteger(Math.log2(pageBytes)) && pageBytes >= 4096 && pageBytes <= 32768, 'page size');
    assert(Number.isInteger(Math.log2(slabBytes)) && slabBytes >= 16 * pageBytes && slabBytes <= 2 ** 30, 'slab size');
    this.pageBytes = pageBytes;
    this.slabBytes = slabBytes;
    this.pageShift = Math.log2(pageBytes);
    this.slabShift = Math.log2(slabBytes / pageBytes);
    this.pageMask = slabBytes / pageBytes - 1;
    this.unitShift = Math.log2(slabBytes / UNIT_BYTES);
    this.unitMask = slabBytes / UNIT_BYTES - 1;
    this.inlineBytesMax = pageBytes / 16;
    this.slabValueBytesMax = slabBytes / 4;
  }

  slabOfPage(page: number): Slab {
    return this.slabs[page >>> this.slabShift] as Slab;
  }

  /** Byte offset of the page in its slab. */
  baseOfPage(page: number): number {
    return (page & this.pageMask) << this.pageShift;
  }

  slabOfUnit(unit: number): Slab {
    return this.slabs[unit >>> this.unitShift] as Slab;
  }

  baseOfUnit(unit: number): number {
    return (unit & this.unitMask) * UNIT_BYTES;
  }
}
