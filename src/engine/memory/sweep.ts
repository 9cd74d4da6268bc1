/**
 * Dropping versions that no pin needs any more. An unpin asks for one full circle over the leaves that have older versions or
 * tombstones (inner pages count them, so all others are passed), and does a first piece of it at once; the host asks for
 * the rest in its idle moments. Another unpin meanwhile starts the circle anew from where it stands, not from the start, so
 * that frequent pins starve no part of the key space.
 */
import { CHAINED, TOMBSTONE } from './leaf.ts';
import { COLUMN_VERSIONED, KEY_BYTES_MAX, pageCount, pageSlot, readKey, slotFlags } from './page.ts';
import type { MemoryStore } from './store.ts';
import { walkLeaves } from './walk.ts';

export const SWEEP_LEAVES_PER_UNPIN = 16;

const START = Buffer.alloc(0);

export class VersionSweep {
  readonly #store: MemoryStore;
  /** Where the circle goes on. */
  #at: Buffer = START;
  /** Where it ends; null = no circle is under way. */
  #end: Buffer | null = null;
  #wrapped = false;
  readonly #key = Buffer.alloc(KEY_BYTES_MAX + 4);

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  restart(): void {
    this.#end = this.#at;
    this.#wrapped = false;
  }

  get isUnderWay(): boolean {
    return this.#end !== null;
  }

  /** Visits at most `leafMax` leaves. Returns whether the circle goes on. */
  run(leafMax: number): boolean {
    for (let leaves = 0; leaves < leafMax && this.#end !== null; leaves++) this.#step(this.#end);
    return this.#end !== null;
  }

  #step(end: Buffer): void {
    const { tree } = this.#store;
    if (tree.sums[2] === 0) {
      this.#end = null;
      return;
    }
    const keys: Buffer[] = [];
    const next = walkLeaves(tree, COLUMN_VERSIONED, this.#at, 1, (slab, base) => {
      const count = pageCount(slab, base);
      for (let entry = 0; entry < count; entry++) {
        if ((slotFlags(pageSlot(slab, base, entry)) & (CHAINED | TOMBSTONE)) === 0) continue;
        keys.push(Buffer.from(this.#key.subarray(0, readKey(slab, base, entry, this.#key))));
      }
    });
    for (const key of keys) this.#store.settle(key);
    if (next === null) {
      if (this.#wrapped || end.length === 0) this.#end = null;
      this.#wrapped = true;
      this.#at = START;
    } else {
      this.#at = next;
      if (this.#wrapped && next.compare(end) > 0) this.#end = null;
    }
  }
}
