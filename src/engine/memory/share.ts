/**
 * A full leaf makes room at its neighbours' cost without rebuilding them: entries move across the borders, and what they
 * leave behind are holes, which cells of the same size fill again.
 *
 *     sharing:      [████████] [████░░░░]         →  [██████··] [██████░░]
 *     three → four: [████████] [████████] [████████]
 *                   →  [██████··] [██ + ████··] [new: ████ + ██░░] [··██████]
 *
 * Only where that is simple: neighbours under the same parent, none of them frozen, with the same prefix where cells move.
 * For all else restructure.ts rebuilds.
 */
import type { MemoryArena } from './arena.ts';
import { chainUnits } from './chain.ts';
import type { BuiltPage } from './gather.ts';
import { CHAINED, EXPIRES, EXTENT, TOMBSTONE, cellBytesOf, createCellBody, readBody } from './leaf.ts';
import {
  COLUMN_CHILD,
  COLUMN_KEYS,
  INNER_COLUMNS,
  KEY_BYTES_MAX,
  LEAF_COLUMNS,
  PAGE_HEADER_BYTES,
  SUMS,
  addPageTombstones,
  column,
  columnGrowth,
  dropCell,
  hintColumn,
  keyCellBytes,
  makeSlot,
  pageBirth,
  pageCapacity,
  pageCount,
  pageMinExpiry,
  pagePrefix,
  pageSlot,
  pageUsed,
  readKey,
  resizeEntries,
  setPageMinExpiry,
  slotFlags,
  slotOffset,
  slotSuffix,
  takeCell,
  takeRoom,
  writeEntryKey,
} from './page.ts';
import {
  PACK_FILL_MAX,
  SHARE_FREE_MIN,
  isLeftEdge,
  isRightEdge,
  neighbourUsed,
  replaceEntries,
} from './restructure.ts';
import type { Slab } from './slab.ts';
import type { Tree } from './tree.ts';
import { commonBytes } from './gather.ts';

const leftKey = Buffer.alloc(KEY_BYTES_MAX + 4);
const rightKey = Buffer.alloc(KEY_BYTES_MAX + 4);
const body = createCellBody();
const moved = new Int32Array(SUMS);

/** A leaf that takes part, and the sums of its parent's entry. */
interface Leaf {
  page: number;
  slab: Slab;
  base: number;
  readonly sums: Int32Array;
}
