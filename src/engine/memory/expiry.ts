/** Finding expired keys without walking everything: subtrees without expiring keys and leaves whose earliest is yet to come are passed. */
import { EXPIRES, TOMBSTONE, readExpiry } from './leaf.ts';
import {
  COLUMN_EXPIRING,
  KEY_BYTES_MAX,
  pageCount,
  pageMinExpiry,
  pageSlot,
  readKey,
  searchPage,
  setPageMinExpiry,
  slotFlags,
} from './page.ts';
import type { Tree } from './tree.ts';
import { walkLeaves } from './walk.ts';

const key = Buffer.alloc(KEY_BYTES_MAX + 4);

/** See OrderedStore.scanExpired. */
export function scanExpired(
  tree: Tree,
  from: Buffer,
  nowMs: number,
  leafMax: number,
  visit: (key: Buffer, start: number, end: number) => void,
): Buffer | null {
  if (tree.sums[1] === 0) return null;
  let firstLeaf = true;
  return walkLeaves(tree, COLUMN_EXPIRING, from, leafMax, (slab, base) => {
    const found = firstLeaf ? searchPage(slab, base, 0, from, 0, from.length) : 0;
    const first = found < 0 ? ~found : found;
    firstLeaf = false;
    if (pageMinExpiry(slab, base) > nowMs) return;
    const count = pageCount(slab, base);
    let earliest = Infinity;
    for (let entry = 0; entry < count; entry++) {
      const slot = pageSlot(slab, base, entry);
      if ((slotFlags(slot) & (EXPIRES | TOMBSTONE)) !== EXPIRES) continue;
      const expiresAtMs = readExpiry(slab, base, slot);
      if (expiresAtMs < earliest) earliest = expiresAtMs;
      if (expiresAtMs <= nowMs && entry >= first) visit(key, 0, readKey(slab, base, entry, key));
    }
    // Readers of frozen states do not look at this field, so it may change in a frozen page.
    setPageMinExpiry(slab, base, earliest);
  });
}
