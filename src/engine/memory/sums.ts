/** What an entry of a leaf adds to the sums of its page: live keys, expiring ones, versioned cells, units of memory. */
import { chainUnits } from './chain.ts';
import type { Epochs } from './epochs.ts';
import { CHAINED, EXPIRES, EXTENT, TOMBSTONE, createCellBody, readBody } from './leaf.ts';
import { pageSlot, slotFlags } from './page.ts';
import type { Slab } from './slab.ts';

const body = createCellBody();

export function addEntrySums(epochs: Epochs, slab: Slab, base: number, entry: number, sums: Int32Array): void {
  const flags = slotFlags(pageSlot(slab, base, entry));
  if ((flags & TOMBSTONE) === 0) {
    sums[0] = (sums[0] as number) + 1;
    if ((flags & EXPIRES) !== 0) sums[1] = (sums[1] as number) + 1;
  }
  if ((flags & (CHAINED | TOMBSTONE)) !== 0) sums[2] = (sums[2] as number) + 1;
  if ((flags & (EXTENT | CHAINED)) === 0) return;
  readBody(slab, base, entry, body);
  const value = (flags & EXTENT) !== 0 ? epochs.extents.unitsFor(body.valueBytes) : 0;
  sums[3] = (sums[3] as number) + value + (body.chain === 0 ? 0 : chainUnits(epochs, body.chain));
}
