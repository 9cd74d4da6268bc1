/** Loading in key order: every entry goes to the right edge of the tree, whose path is kept from one to the next. */
import { assert } from '../../core/assert.ts';
import { compareBytes } from '../../core/range.ts';
import type { BulkLoader } from '../engine.ts';
import { EXPIRES, EXTENT, TAGGED, createCellBody, referExtent } from './leaf.ts';
import { COLUMN_CHILD, KEY_BYTES_MAX, column, pageCount, pageUsed } from './page.ts';
import type { MemoryStore } from './store.ts';
import { overflow } from './restructure.ts';

/** Pages are left this full, so that the first writes after a restart do not split every one of them. */
const LOAD_FILL = 0.95;

export function createBulkLoader(store: MemoryStore): BulkLoader & { abandon(): void } {
  const { tree, arena } = store;
  const { memory } = arena;
  const body = createCellBody();
  const lastKey = Buffer.alloc(KEY_BYTES_MAX);
  let lastKeyLength = -1;
  let pathHolds = false;
  const reserved = { extent: 0, valueBytes: 0, buffer: Buffer.alloc(0), start: 0, end: 0 };

  const toRightEdge = (): void => {
    let page = tree.root;
    for (let level = tree.rootLevel; level > 0; level--) {
      const slab = memory.slabOfPage(page);
      const base = memory.baseOfPage(page);
      const entry = pageCount(slab, base) - 1;
      tree.path[level] = page;
      tree.pathEntry[level] = entry;
      page = slab.words[column(slab, base, COLUMN_CHILD) + entry] as number;
    }
    tree.path[0] = page;
  };

  return {
    reserveValue(valueBytes) {
      assert(reserved.extent === 0, 'bulkLoad: one value at a time');
      if (valueBytes <= memory.inlineBytesMax) {
        if (reserved.buffer.length < memory.inlineBytesMax) reserved.buffer = Buffer.alloc(memory.inlineBytesMax);
        return { buffer: reserved.buffer, start: 0, end: valueBytes };
      }
      reserved.extent = arena.extents.allocate(valueBytes, arena.epochs.now, false);
      reserved.valueBytes = valueBytes;
      const place = { buffer: reserved.buffer, start: 0, end: 0 };
      referExtent(memory, reserved.extent, valueBytes, place);
      return place;
    },

    add(key, keyStart, keyEnd, value, valueStart, valueEnd, version, expiresAtMs, tag) {
      assert(keyEnd - keyStart <= KEY_BYTES_MAX, 'bulkLoad: key too long');
      assert(
        lastKeyLength < 0 || compareBytes(lastKey, 0, lastKeyLength, key, keyStart, keyEnd) < 0,
        'bulkLoad: keys must ascend',
      );
      const valueBytes = valueEnd - valueStart;
      const inExtent = valueBytes > memory.inlineBytesMax;
      tree.reserve(false);
      body.extent = 0;
      if (inExtent) {
        body.extent = reserved.extent === 0 ? store.storeValue(value, valueStart, valueEnd) : reserved.extent;
        assert(reserved.extent === 0 || reserved.valueBytes === valueBytes, 'bulkLoad: not the value reserved');
        reserved.extent = 0;
      }
      body.flags = (expiresAtMs > 0 ? EXPIRES : 0) | (tag !== 0 ? TAGGED : 0) | (inExtent ? EXTENT : 0);
      body.version = version;
      body.expiresAtMs = expiresAtMs;
      body.tag = tag;
      body.valueBytes = valueBytes;
      body.source = value;
      body.sourceStart = valueStart;
      if (!pathHolds) toRightEdge();
      const slab = tree.leafSlab;
      const base = tree.leafBase;
      const entry = pageCount(slab, base);
      if (pageUsed(slab, base, memory.pageBytes) < memory.pageBytes * LOAD_FILL) {
        const units = inExtent ? arena.extents.unitsFor(valueBytes) : 0;
        pathHolds = tree.insert(entry, key, keyStart, keyEnd, body, expiresAtMs > 0 ? 1 : 0, 0, units);
      } else {
        overflow(tree, entry, entry, key, keyStart, keyEnd, body);
        pathHolds = false;
      }
      key.copy(lastKey, 0, keyStart, keyEnd);
      lastKeyLength = keyEnd - keyStart;
    },

    /** The store is given up in the middle of loading. */
    abandon() {
      if (reserved.extent !== 0) arena.extents.free(reserved.extent, reserved.valueBytes);
      reserved.extent = 0;
    },

    finish() {
      assert(reserved.extent === 0, 'bulkLoad: a value was reserved and not added');
      tree.changes++;
      store.loader = null;
    },
  };
}
