/** Checks everything that must hold in a store or an arena. For tests; walks all of it and throws AssertionFailed. */
import { assert } from '../../src/core/assert.ts';
import type { MemoryArena } from '../../src/engine/memory/arena.ts';
import { chainUnits } from '../../src/engine/memory/chain.ts';
import {
  CHAINED,
  EXPIRES,
  EXTENT,
  TOMBSTONE,
  cellBytesOf,
  createCellBody,
  readBody,
  referExtent,
} from '../../src/engine/memory/leaf.ts';
import {
  COLUMN_CHILD,
  COLUMN_KEYS,
  KEY_BYTES_MAX,
  SUMS,
  column,
  columnsOfLevel,
  keyCellBytes,
  pageBirth,
  pageCapacity,
  pageCells,
  pageCount,
  pageDead,
  pageFirstHole,
  pageGap,
  pageLevel,
  pageMinExpiry,
  pageSlot,
  pageTombstones,
  pageUsed,
  readKey,
  slotFlags,
  slotOffset,
  slotSuffix,
} from '../../src/engine/memory/page.ts';
import { UNIT_BYTES, type Slab } from '../../src/engine/memory/slab.ts';
import type { MemoryStore } from '../../src/engine/memory/store.ts';

export interface StoreShape {
  readonly keys: number;
  readonly levels: number;
  readonly leaves: number;
  readonly innerPages: number;
  /** Mean share of leaves and of inner pages that is in use. */
  readonly leafFill: number;
  readonly innerFill: number;
  /** Extents of values and older versions, in bytes. */
  readonly extentBytes: number;
}

/** Walks a store and checks order, separators, counts, page bookkeeping and births. Returns its shape. */
export function verifyStore(store: MemoryStore): StoreShape {
  const walk = new Walk(store);
  const sums = walk.page(store.tree.root, store.tree.rootLevel, null, null, Infinity);
  for (let s = 0; s < SUMS; s++) assert(sums[s] === store.tree.sums[s], `verify: sum ${s} of the store`);
  const { pageBytes } = store.arena.memory;
  return {
    keys: sums[0] as number,
    levels: store.tree.rootLevel + 1,
    leaves: walk.leaves,
    innerPages: walk.innerPages,
    leafFill: walk.leafBytes / (walk.leaves * pageBytes),
    innerFill: walk.innerPages === 0 ? 1 : walk.innerBytes / (walk.innerPages * pageBytes),
    extentBytes: walk.extentUnits * UNIT_BYTES,
  };
}

/** Checks that no page is used twice and, when nothing is frozen and no backlog is left, that none is lost. */
export function verifyArena(arena: MemoryArena): void {
  let used = 0;
  for (const store of arena.stores) {
    verifyStore(store);
    used += store.bytesUsed;
  }
  if (arena.epochs.liveFreezes > 0 || arena.epochs.backlog) return;
  const { chunkBytesFree } = arena.extents;
  assert(used <= arena.bytesUsed + slack(arena), 'verify: stores use more than the arena');
  assert(arena.bytesUsed - used <= chunkBytesFree + slack(arena), 'verify: pages are lost');
}

/** Stores count huge values in units, the arena in bytes. */
const slack = (arena: MemoryArena): number => arena.memory.huge.size * UNIT_BYTES;

class Walk {
  leaves = 0;
  innerPages = 0;
  leafBytes = 0;
  innerBytes = 0;
  extentUnits = 0;
  readonly #store: MemoryStore;
  readonly #seen = new Set<number>();
  readonly #body = createCellBody();

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  /** Checks the subtree whose keys lie in [low, high); returns its sums. */
  page(page: number, level: number, low: Buffer | null, high: Buffer | null, parentBirth: number): Int32Array {
    const { memory, epochs } = this.#store.arena;
    const { pageBytes } = memory;
    assert(!this.#seen.has(page), 'verify: page used twice');
    this.#seen.add(page);
    const slab = memory.slabOfPage(page);
    const base = memory.baseOfPage(page);
    assert(pageLevel(slab, base) === level, 'verify: level');
    const birth = pageBirth(slab, base);
    assert(birth <= epochs.now, 'verify: born in the future');
    for (let freeze = this.#store.tree.newest; freeze !== null; freeze = freeze.previous) {
      if (freeze.released || parentBirth > freeze.epoch) continue;
      assert(birth <= freeze.epoch, 'verify: a page that the freeze does not know under one that it does');
    }
    const columns = columnsOfLevel(level);
    assert(pageCount(slab, base) <= pageCapacity(slab, base), 'verify: capacity');
    assert(pageGap(slab, base, columns) >= 0, 'verify: gap');
    assert(pageUsed(slab, base, pageBytes) <= pageBytes, 'verify: used');
    assert(pageCount(slab, base) > 0 || page === this.#store.tree.root, 'verify: empty page');
    const cells = this.#keys(slab, base, level, low, high);
    assert(pageBytes - pageCells(slab, base) - pageDead(slab, base) === cells, 'verify: dead bytes');
    assert(holeBytes(slab, base, pageBytes) === pageDead(slab, base), 'verify: holes');
    if (level === 0) {
      this.leaves++;
      this.leafBytes += pageUsed(slab, base, pageBytes);
      return this.#leaf(slab, base);
    }
    this.innerPages++;
    this.innerBytes += pageUsed(slab, base, pageBytes);
    return this.#inner(slab, base, level, low, high);
  }

  /** Checks order and bounds; returns the bytes of all cells. */
  #keys(slab: Slab, base: number, level: number, low: Buffer | null, high: Buffer | null): number {
    const { pageBytes } = this.#store.arena.memory;
    const count = pageCount(slab, base);
    let cells = 0;
    let previous = low;
    for (let entry = 0; entry < count; entry++) {
      const slot = pageSlot(slab, base, entry);
      const bytes = level === 0 ? cellBytesOf(slab, base, slot) : keyCellBytes(slotSuffix(slot));
      cells += bytes;
      assert(bytes === 0 || slotOffset(slot) >= pageCells(slab, base), 'verify: cell in the gap');
      assert(bytes === 0 || slotOffset(slot) + bytes <= pageBytes, 'verify: cell past the page');
      if (level > 0 && entry === 0) continue;
      const key = keyOf(slab, base, entry);
      if (previous !== null) {
        const order = previous.compare(key);
        const first = entry === (level === 0 ? 0 : 1);
        assert(order < 0 || (order === 0 && first && level === 0), 'verify: order of keys');
      }
      if (high !== null) assert(key.compare(high) < 0, 'verify: key past its separator');
      previous = key;
    }
    return cells;
  }

  #inner(slab: Slab, base: number, level: number, low: Buffer | null, high: Buffer | null): Int32Array {
    const { memory } = this.#store.arena;
    const total = new Int32Array(SUMS);
    total[3] = memory.pageBytes / UNIT_BYTES;
    const count = pageCount(slab, base);
    const children = column(slab, base, COLUMN_CHILD);
    for (let entry = 0; entry < count; entry++) {
      const from = entry === 0 ? low : keyOf(slab, base, entry);
      const to = entry === count - 1 ? high : keyOf(slab, base, entry + 1);
      const child = slab.words[children + entry] as number;
      const sums = this.page(child, level - 1, from, to, pageBirth(slab, base));
      for (let s = 0; s < SUMS; s++) {
        const stored = slab.words[column(slab, base, COLUMN_KEYS + s) + entry];
        assert(sums[s] === stored, `verify: sum ${s} of a child at level ${level - 1}`);
        total[s] = (total[s] as number) + (sums[s] as number);
      }
    }
    return total;
  }

  #leaf(slab: Slab, base: number): Int32Array {
    const { memory, epochs, extents } = this.#store.arena;
    const total = new Int32Array(SUMS);
    let units = memory.pageBytes / UNIT_BYTES;
    let [keys, expiring, versioned, tombstones] = [0, 0, 0, 0];
    const count = pageCount(slab, base);
    const body = this.#body;
    for (let entry = 0; entry < count; entry++) {
      const flags = slotFlags(pageSlot(slab, base, entry));
      readBody(slab, base, entry, body);
      if ((flags & (CHAINED | TOMBSTONE)) !== 0) versioned++;
      if ((flags & CHAINED) !== 0) {
        assert(body.chain !== 0, 'verify: chained to nothing');
        this.extentUnits += chainUnits(epochs, body.chain);
        units += chainUnits(epochs, body.chain);
      }
      if ((flags & TOMBSTONE) !== 0) {
        tombstones++;
        assert((flags & (EXPIRES | EXTENT)) === 0, 'verify: tombstone with a value');
        assert(body.chain !== 0, 'verify: tombstone that hides nothing');
        continue;
      }
      keys++;
      if ((flags & EXTENT) !== 0) {
        const place = { buffer: slab.bytes, start: 0, end: 0 };
        referExtent(memory, body.extent, body.valueBytes, place);
        assert(place.end - place.start === body.valueBytes, 'verify: extent');
        assert(extents.birth(body.extent, body.valueBytes) <= epochs.now, 'verify: extent born in the future');
        units += extents.unitsFor(body.valueBytes);
        this.extentUnits += extents.unitsFor(body.valueBytes);
      } else {
        assert(body.valueBytes <= memory.inlineBytesMax, 'verify: inline value too long');
      }
      if ((flags & EXPIRES) === 0) continue;
      expiring++;
      assert(body.expiresAtMs >= pageMinExpiry(slab, base), 'verify: earliest expiry');
    }
    assert(tombstones === pageTombstones(slab, base), 'verify: tombstones');
    total.set([keys, expiring, versioned, units]);
    return total;
  }
}

function holeBytes(slab: Slab, base: number, pageBytes: number): number {
  let bytes = 0;
  for (let hole = pageFirstHole(slab, base); hole !== 0; hole = slab.halves[(base + hole) >> 1] as number) {
    const length = slab.halves[((base + hole) >> 1) + 1] as number;
    assert(hole >= pageCells(slab, base) && hole + length <= pageBytes && length > 0, 'verify: hole out of place');
    bytes += length;
    assert(bytes <= pageBytes, 'verify: holes in a circle');
  }
  return bytes;
}

function keyOf(slab: Slab, base: number, entry: number): Buffer {
  const key = Buffer.alloc(KEY_BYTES_MAX + 4);
  return key.subarray(0, readKey(slab, base, entry, key));
}
