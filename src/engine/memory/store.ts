/**
 * One range's store: the port of src/core/kv/store.ts over a tree of the arena. Here lives what an entry means:
 * values in the leaf or in an extent, versions and pins, expiry.
 */
import { assert } from '../../core/assert.ts';
import type { Hlc } from '../../core/brands.ts';
import type { StoreCursor, ValueRef } from '../../core/kv/store.ts';
import type { BulkLoader, Engine, FrozenStore } from '../engine.ts';
import type { MemoryArena } from './arena.ts';
import { createBulkLoader } from './bulk.ts';
import { chainUnits, findVersion, linkVersion, makeVersion, pruneChain } from './chain.ts';
import { TreeCursor } from './cursor.ts';
import { cutTree } from './cut.ts';
import { scanExpired } from './expiry.ts';
import {
  type CellBody,
  CHAINED,
  EXPIRES,
  EXTENT,
  TAGGED,
  TOMBSTONE,
  createCellBody,
  readBody,
  readValue,
  referExtent,
} from './leaf.ts';
import { KEY_BYTES_MAX, pageSlot, slotFlags } from './page.ts';
import { Pins } from './pins.ts';
import { SWEEP_LEAVES_PER_UNPIN, VersionSweep } from './sweep.ts';
import { Tree } from './tree.ts';

/** Things freed by each mutation while there is a backlog. */
const RECLAIM_STEPS = 8;
/** New pages per level that a cut can need, mending both edges included. */
const CUT_PAGES_PER_LEVEL = 16;

export class MemoryStore implements Engine {
  readonly arena: MemoryArena;
  readonly tree: Tree;
  readonly pins = new Pins();
  /** While keys are being loaded in bulk. */
  loader: ReturnType<typeof createBulkLoader> | null = null;
  readonly #sweep: VersionSweep;
  readonly #old = createCellBody();
  readonly #body = createCellBody();
  readonly #place = { buffer: Buffer.alloc(0), start: 0, end: 0 };

  constructor(arena: MemoryArena, origin: MemoryStore | null) {
    this.arena = arena;
    arena.reserve(1, false);
    this.tree = new Tree(arena, origin === null ? null : origin.tree.newest);
    this.#sweep = new VersionSweep(this);
    if (origin !== null) {
      origin.pins.copyTo(this.pins);
      if (origin.#sweep.isUnderWay) this.#sweep.restart();
    }
    arena.stores.add(this);
  }

  get keyCount(): number {
    return this.tree.sums[0] as number;
  }

  get expiringCount(): number {
    return this.tree.sums[1] as number;
  }

  get bytesUsed(): number {
    return (this.tree.sums[3] as number) * 16;
  }

  get longestValueBytes(): number {
    return this.arena.longestValueBytes;
  }

  get(key: Buffer, start: number, end: number, out: ValueRef): boolean {
    const { tree } = this;
    const entry = tree.seek(key, start, end);
    if (entry < 0) return false;
    const slab = tree.leafSlab;
    const base = tree.leafBase;
    const slot = pageSlot(slab, base, entry);
    if ((slotFlags(slot) & TOMBSTONE) !== 0) return false;
    readValue(tree.memory, slab, base, slot, out);
    return true;
  }

  getAt(key: Buffer, start: number, end: number, at: Hlc, out: ValueRef): boolean {
    const { tree } = this;
    const entry = tree.seek(key, start, end);
    if (entry < 0) return false;
    const body = this.#old;
    readBody(tree.leafSlab, tree.leafBase, entry, body);
    if (body.version > at) return findVersion(this.arena.epochs, body, at, out);
    if ((body.flags & TOMBSTONE) !== 0) return false;
    readValue(tree.memory, tree.leafSlab, tree.leafBase, pageSlot(tree.leafSlab, tree.leafBase, entry), out);
    return true;
  }

  put(
    key: Buffer,
    keyStart: number,
    keyEnd: number,
    value: Buffer,
    valueStart: number,
    valueEnd: number,
    version: Hlc,
    expiresAtMs: number,
    tag: number,
  ): void {
    assert(keyEnd - keyStart <= KEY_BYTES_MAX, 'put: key too long');
    const { tree, arena } = this;
    const valueBytes = valueEnd - valueStart;
    const inExtent = valueBytes > tree.memory.inlineBytesMax;
    const flags = (expiresAtMs > 0 ? EXPIRES : 0) | (tag !== 0 ? TAGGED : 0) | (inExtent ? EXTENT : 0);
    if (arena.epochs.backlog) arena.reclaim(RECLAIM_STEPS);
    const extent = inExtent ? this.storeValue(value, valueStart, valueEnd) : 0;
    this.#reserve(extent, valueBytes);
    const body = this.#body;
    body.flags = flags;
    body.version = version;
    body.expiresAtMs = expiresAtMs;
    body.tag = tag;
    body.chain = 0;
    body.valueBytes = valueBytes;
    body.extent = extent;
    body.source = value;
    body.sourceStart = valueStart;

    const entry = tree.seek(key, keyStart, keyEnd);
    if (entry < 0) {
      const units = inExtent ? arena.extents.unitsFor(valueBytes) : 0;
      tree.makeWritable();
      tree.insert(~entry, key, keyStart, keyEnd, body, expiresAtMs > 0 ? 1 : 0, 0, units);
    } else if (inExtent || this.pins.count > 0 || !tree.overwrite(entry, body)) {
      this.#supersede(entry, body, 0, false);
    }
  }

  setExpiry(key: Buffer, start: number, end: number, version: Hlc, expiresAtMs: number): boolean {
    const { tree } = this;
    tree.reserve(true);
    const entry = tree.seek(key, start, end);
    if (entry < 0) return false;
    const body = this.#body;
    readBody(tree.leafSlab, tree.leafBase, entry, body);
    if ((body.flags & TOMBSTONE) !== 0) return false;
    body.flags = (body.flags & ~(EXPIRES | CHAINED)) | (expiresAtMs > 0 ? EXPIRES : 0);
    body.version = version;
    body.expiresAtMs = expiresAtMs;
    body.chain = 0;
    this.#supersede(entry, body, body.extent, true);
    return true;
  }

  delete(key: Buffer, start: number, end: number, version: Hlc): boolean {
    const { tree, arena } = this;
    if (arena.epochs.backlog) arena.reclaim(RECLAIM_STEPS);
    tree.reserve(true);
    const entry = tree.seek(key, start, end);
    if (entry < 0 || (slotFlags(pageSlot(tree.leafSlab, tree.leafBase, entry)) & TOMBSTONE) !== 0) return false;
    const body = this.#body;
    body.flags = TOMBSTONE;
    body.version = version;
    body.expiresAtMs = 0;
    body.tag = 0;
    body.chain = 0;
    body.valueBytes = 0;
    body.extent = 0;
    this.#supersede(entry, body, 0, true);
    return true;
  }

  clear(version: Hlc): void {
    const { tree, arena } = this;
    if (this.pins.count > 0) {
      const cursor = this.cursor();
      for (let more = cursor.first(); more; more = cursor.first()) {
        this.delete(cursor.keyBuffer, cursor.keyStart, cursor.keyEnd, version);
      }
      return;
    }
    arena.reserve(1, true);
    arena.epochs.retireTree(tree.root, tree.newest);
    tree.reset();
  }

  cursor(): TreeCursor {
    return new TreeCursor(this.arena.memory, this.tree);
  }

  seekRank(cursor: StoreCursor, rank: number): boolean {
    assert(cursor instanceof TreeCursor, 'seekRank: a cursor of this store');
    return cursor.seekRank(rank);
  }

  scanExpired(
    from: Buffer,
    nowMs: number,
    leafMax: number,
    visit: (key: Buffer, start: number, end: number) => void,
  ): Buffer | null {
    return scanExpired(this.tree, from, nowMs, leafMax, visit);
  }

  pin(at: Hlc): void {
    this.pins.add(at);
  }

  unpin(at: Hlc): void {
    assert(this.pins.remove(at), 'unpin: not pinned');
    this.#sweep.restart();
    this.#sweep.run(SWEEP_LEAVES_PER_UNPIN);
  }

  sweepVersions(leafMax: number): boolean {
    return this.#sweep.run(leafMax);
  }

  freeze(): FrozenStore {
    const { tree, arena } = this;
    const { memory } = arena;
    const freeze = arena.epochs.freeze(tree.newest);
    tree.newest = freeze;
    return {
      id: freeze.id,
      pageBytes: memory.pageBytes,
      slabBytes: memory.slabBytes,
      slabs: memory.slabs.map((slab) => slab.shared),
      huge: [...memory.huge].map(([number, buffer]) => [number, buffer.buffer as SharedArrayBuffer] as const),
      rootPage: tree.root,
      rootLevel: tree.rootLevel,
      keyCount: this.keyCount,
      expiringCount: this.expiringCount,
      bytesUsed: this.bytesUsed,
    };
  }

  release(frozen: FrozenStore): void {
    assert(this.arena.epochs.release(frozen.id), 'release: not frozen, or released before');
    for (const store of this.arena.stores) store.tree.refreshFreezes();
  }

  splitAt(key: Buffer, start: number, end: number): MemoryStore {
    const { arena, tree } = this;
    arena.reserve((tree.rootLevel + 2) * CUT_PAGES_PER_LEVEL, true);
    const right = new MemoryStore(arena, this);
    cutTree(tree, right.tree, key, start, end);
    return right;
  }

  bulkLoad(): BulkLoader {
    assert(this.keyCount === 0 && this.pins.count === 0, 'bulkLoad: into an empty store without pins');
    this.loader = createBulkLoader(this);
    return this.loader;
  }

  destroy(): void {
    this.loader?.abandon();
    this.arena.epochs.retireTree(this.tree.root, this.tree.newest);
    this.tree.changes++;
    this.arena.stores.delete(this);
  }

  /**
   * Drops versions of a key that no pin needs. Part of the sweep; the key may have no older versions.
   */
  settle(key: Buffer): void {
    const { tree } = this;
    tree.reserve(true);
    const entry = tree.seek(key, 0, key.length);
    if (entry < 0) return;
    const body = this.#body;
    readBody(tree.leafSlab, tree.leafBase, entry, body);
    if ((body.flags & (CHAINED | TOMBSTONE)) === 0) return;
    const unitsBefore = chainUnits(this.arena.epochs, body.chain);
    tree.makeWritable();
    const chain = pruneChain(this.arena.epochs, body.chain, body.version, this.pins.needed, 0, 0, tree.newest);
    const units = chainUnits(this.arena.epochs, chain) - unitsBefore;
    if (chain === 0 && (body.flags & TOMBSTONE) !== 0) {
      tree.remove(entry, 0, 0, -1, units);
    } else if (chain === 0) {
      body.flags &= ~CHAINED;
      tree.replace(entry, body, 0, 0, -1, units);
    } else {
      body.chain = chain;
      tree.replace(entry, body, 0, 0, 0, units);
    }
  }

  /** Copies a value into an extent of its own and returns its number. Throws KV_OUT_OF_MEMORY. */
  storeValue(value: Buffer, start: number, end: number): number {
    const { epochs, extents, memory } = this.arena;
    const extent = extents.allocate(end - start, epochs.now, false);
    const place = this.#place;
    referExtent(memory, extent, end - start, place);
    value.copy(place.buffer, place.start, start, end);
    return extent;
  }

  /** Makes sure of pages for one change, or gives the new value's extent back and throws. */
  #reserve(extent: number, valueBytes: number): void {
    try {
      this.tree.reserve(false);
    } catch (error) {
      if (extent !== 0) this.arena.extents.free(extent, valueBytes);
      throw error;
    }
  }

  /**
   * The new body takes the place of an entry's present one, which goes into the chain when a pin needs it. `keptExtent`: the
   * extent that both have. A tombstone that hides nothing takes the entry out.
   */
  #supersede(entry: number, body: CellBody, keptExtent: number, pastLimit: boolean): void {
    const { tree, pins } = this;
    const { epochs, extents } = this.arena;
    const old = this.#old;
    readBody(tree.leafSlab, tree.leafBase, entry, old);
    const unitsBefore = this.#units(old);
    const keepOld = pins.needed(old.version, body.version);
    let record = 0;
    if (keepOld) {
      try {
        record = makeVersion(epochs, old, keptExtent !== 0, pastLimit);
      } catch (error) {
        if (body.extent !== keptExtent) extents.free(body.extent, body.valueBytes);
        throw error;
      }
    }
    tree.makeWritable();
    tree.detachValue(body);
    const givenUp = keepOld || keptExtent !== 0 ? 0 : old.extent;
    let chain = pruneChain(epochs, old.chain, old.version, pins.needed, givenUp, old.valueBytes, tree.newest);
    if (record !== 0) {
      linkVersion(epochs, record, chain);
      chain = record;
    }
    body.chain = chain;
    if (chain !== 0) body.flags |= CHAINED;
    const keys = liveOf(body.flags) - liveOf(old.flags);
    const expiring = expiringOf(body.flags) - expiringOf(old.flags);
    if (chain === 0 && (body.flags & TOMBSTONE) !== 0) {
      tree.remove(entry, keys, expiring, -versionedOf(old.flags), -unitsBefore);
    } else {
      const versioned = versionedOf(body.flags) - versionedOf(old.flags);
      tree.replace(entry, body, keys, expiring, versioned, this.#units(body) - unitsBefore);
    }
  }

  /** Memory of an entry outside its leaf. */
  #units(body: CellBody): number {
    const { epochs, extents } = this.arena;
    const value = (body.flags & EXTENT) !== 0 ? extents.unitsFor(body.valueBytes) : 0;
    return body.chain === 0 ? value : value + chainUnits(epochs, body.chain);
  }
}

const liveOf = (flags: number): number => ((flags & TOMBSTONE) === 0 ? 1 : 0);
const expiringOf = (flags: number): number => ((flags & (TOMBSTONE | EXPIRES)) === EXPIRES ? 1 : 0);
const versionedOf = (flags: number): number => ((flags & (TOMBSTONE | CHAINED)) === 0 ? 0 : 1);
