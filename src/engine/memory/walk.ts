/** Walks the leaves of a tree in order, past subtrees without anything of interest. For expiry and for the version sweep. */
import { COLUMN_CHILD, KEY_BYTES_MAX, column, pageCount, readKey } from './page.ts';
import type { Slab } from './slab.ts';
import type { Tree } from './tree.ts';

const key = Buffer.alloc(KEY_BYTES_MAX + 4);

/**
 * Calls `visit` for the leaf where `from` belongs, and for the ones behind it whose sum in the column `which` is not 0, at
 * most `leafMax` in all. Returns the key to go on from, or null at the end. `visit` must not change the tree.
 */
export function walkLeaves(
  tree: Tree,
  which: number,
  from: Buffer,
  leafMax: number,
  visit: (slab: Slab, base: number) => void,
): Buffer | null {
  tree.seek(from, 0, from.length);
  for (let leaves = 1; ; leaves++) {
    visit(tree.leafSlab, tree.leafBase);
    const level = nextSubtree(tree, which);
    if (level === 0) return null;
    if (leaves >= leafMax) {
      const page = tree.path[level] as number;
      const entry = tree.pathEntry[level] as number;
      const length = readKey(tree.memory.slabOfPage(page), tree.memory.baseOfPage(page), entry, key);
      return Buffer.from(key.subarray(0, length));
    }
    descend(tree, which, level);
  }
}

/** Moves the path to the next subtree of interest and returns the level of the page that has it as a child, 0 at the end. */
function nextSubtree(tree: Tree, which: number): number {
  for (let level = 1; level <= tree.rootLevel; level++) {
    const next = interesting(tree, which, level, (tree.pathEntry[level] as number) + 1);
    if (next < 0) continue;
    tree.pathEntry[level] = next;
    return level;
  }
  return 0;
}

function descend(tree: Tree, which: number, level: number): void {
  for (; level > 0; level--) {
    const page = tree.path[level] as number;
    const slab = tree.memory.slabOfPage(page);
    const children = column(slab, tree.memory.baseOfPage(page), COLUMN_CHILD);
    tree.path[level - 1] = slab.words[children + (tree.pathEntry[level] as number)] as number;
    if (level > 1) tree.pathEntry[level - 1] = interesting(tree, which, level - 1, 0);
  }
}

/** The first entry from `from` on, of the page on the path, whose sum is not 0; -1 when there is none. */
function interesting(tree: Tree, which: number, level: number, from: number): number {
  const page = tree.path[level] as number;
  const slab = tree.memory.slabOfPage(page);
  const base = tree.memory.baseOfPage(page);
  const sums = column(slab, base, which);
  const count = pageCount(slab, base);
  for (let entry = from; entry < count; entry++) if (slab.words[sums + entry] !== 0) return entry;
  return -1;
}
