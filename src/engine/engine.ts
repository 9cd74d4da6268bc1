/**
 * What every engine offers to the host of a range, on top of the port that commands are executed against
 * (src/core/kv/store.ts): frozen states for checkpoints and snapshots, cutting for range splits, bulk loading for recovery.
 */
import type { Hlc } from '../core/brands.ts';
import type { OrderedStore, StoreCursor } from '../core/kv/store.ts';

/**
 * A state of a store that no longer changes. Plain data: post it to another thread and read it there with
 * openFrozen(). It stays readable until the owner release()s it; the owner must know that the reader is done.
 */
export interface FrozenStore {
  /** Identifies the frozen state within the arena of its owner. */
  readonly id: number;
  readonly pageBytes: number;
  readonly slabBytes: number;
  /** The slabs that hold the frozen pages, by slab number. */
  readonly slabs: readonly SharedArrayBuffer[];
  /** Values too long for a slab, by number. */
  readonly huge: readonly (readonly [number, SharedArrayBuffer])[];
  readonly rootPage: number;
  readonly rootLevel: number;
  readonly keyCount: number;
  readonly expiringCount: number;
  readonly bytesUsed: number;
}

/** Reads a frozen state on any thread, in any order. `value` and `key…` are those of StoreCursor. */
export interface FrozenReader extends StoreCursor {
  readonly keyCount: number;
}

/** Fills an empty store in ascending order of keys; much faster than put(), and the pages come out nearly full. */
export interface BulkLoader {
  /** Keys must ascend. Throws KV_OUT_OF_MEMORY; the caller then destroy()s the store. */
  add(
    key: Buffer,
    keyStart: number,
    keyEnd: number,
    value: Buffer,
    valueStart: number,
    valueEnd: number,
    version: Hlc,
    expiresAtMs: number,
    tag: number,
  ): void;
  /**
   * Room for the value of the next key, to be filled by the caller before add() is called for that key with exactly
   * this buffer, start and end: long values then need no copy.
   */
  reserveValue(valueBytes: number): { buffer: Buffer; start: number; end: number };
  /** Ends the loading; the store may be used. */
  finish(): void;
}

export interface Engine extends OrderedStore {
  /**
   * Freezes the present state: plain data that may be posted to another thread, read there by openFrozen(); later
   * mutations here copy pages instead of changing them.
   */
  freeze(): FrozenStore;
  /** Gives the frozen state up; its pages are free again. Any store of the same arena may release it. */
  release(frozen: FrozenStore): void;
  /**
   * Cuts at key[start, end): this store keeps keys below it, the returned one has the rest. One path is touched, no value is
   * copied. Pins hold in both stores, and are unpinned in each.
   */
  splitAt(key: Buffer, start: number, end: number): Engine;
  /** Drops versions that no pin needs any more, in at most `leafMax` leaves. Returns whether there may be more. */
  sweepVersions(leafMax: number): boolean;
  /** The store must be empty and without pins; nobody else may use it until finish(). */
  bulkLoad(): BulkLoader;
  /** Frees everything. Nothing may be called afterwards. */
  destroy(): void;
}
