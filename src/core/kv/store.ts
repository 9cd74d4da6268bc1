/**
 * The port to a range's ordered store; src/engine implements it. Keys are compared as unsigned bytes, shorter first.
 * Values carry a version (HLC) and, if they expire, when. The store never looks at a clock: what is expired is the
 * caller's to decide.
 */
import type { Hlc } from '../brands.ts';

/** A value in place, filled by get() and by cursors. The bytes are valid until the next mutation of the store. */
export interface ValueRef {
  buffer: Buffer;
  start: number;
  end: number;
  version: Hlc;
  /** Unix milliseconds; 0 = never. */
  expiresAtMs: number;
  /** What kind of value: 0 = string; others are for the collections to come. One byte. */
  tag: number;
}

export function createValueRef(): ValueRef {
  return { buffer: Buffer.alloc(0), start: 0, end: 0, version: 0 as Hlc, expiresAtMs: 0, tag: 0 };
}

export interface StoreCursor {
  /** To the first key ≥ key[start, end) (or, with `after`, > it). Returns false at the end. */
  seek(key: Buffer, start: number, end: number, after?: boolean): boolean;
  /** To the last key < key[start, end). */
  seekBefore(key: Buffer, start: number, end: number): boolean;
  first(): boolean;
  last(): boolean;
  next(): boolean;
  previous(): boolean;
  /** The key at the cursor, in place: keyBuffer[keyStart, keyEnd). */
  readonly keyBuffer: Buffer;
  readonly keyStart: number;
  readonly keyEnd: number;
  /** The value at the cursor, in place. */
  readonly value: ValueRef;
}

export interface OrderedStore {
  /** Keys present (expired ones that nobody has deleted yet included). */
  readonly keyCount: number;
  /** Keys present that have an expiry. */
  readonly expiringCount: number;
  /** Bytes of pages and extents that this store alone keeps in use, older versions included; exact after a split, too. */
  readonly bytesUsed: number;
  /** No value is longer than this, in bytes. An estimate from above: nothing that replicas must agree on may rest on it. */
  readonly longestValueBytes: number;

  get(key: Buffer, start: number, end: number, out: ValueRef): boolean;
  /** The newest version ≤ `at`; only versions that a pin() protects are still there. A deleted key is absent. */
  getAt(key: Buffer, start: number, end: number, at: Hlc, out: ValueRef): boolean;
  /**
   * Inserts or replaces. The value's bytes may lie in this very store; the key's may not. `version` is above all versions
   * of the key. Throws KV_OUT_OF_MEMORY, and then nothing has changed.
   */
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
  ): void;
  /**
   * Changes only the expiry (and the version) of a present key. Returns whether it was there. Like delete() and clear(),
   * it goes on when memory has run out.
   */
  setExpiry(key: Buffer, start: number, end: number, version: Hlc, expiresAtMs: number): boolean;
  /** Returns whether the key was there. */
  delete(key: Buffer, start: number, end: number, version: Hlc): boolean;
  /** Deletes every key. */
  clear(version: Hlc): void;

  /** A cursor over the newest versions. Any mutation invalidates its position; seek again. */
  cursor(): StoreCursor;
  /**
   * Puts `cursor`, which is one of this store's, on the key of rank `rank` (0-based, in order): random keys, medians. Returns
   * false when there are not that many.
   */
  seekRank(cursor: StoreCursor, rank: number): boolean;
  /**
   * Walks from the key `from` on and calls `visit` with each key whose expiry is ≤ nowMs, in at most `leafMax` pages; what has
   * no expiring keys is passed without being counted. Returns the key to go on from, or null at the end. `visit` must not
   * mutate the store, and the key's bytes are valid only while it runs.
   */
  scanExpired(
    from: Buffer,
    nowMs: number,
    leafMax: number,
    visit: (key: Buffer, start: number, end: number) => void,
  ): Buffer | null;

  /**
   * Keeps every version that a reader at `at` can see until unpin. Pins of the same `at` count. While one holds, clear()
   * deletes key by key.
   */
  pin(at: Hlc): void;
  unpin(at: Hlc): void;
}
