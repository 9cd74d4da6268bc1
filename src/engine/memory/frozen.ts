/** Reading a frozen state, on the thread of its owner or any other. */
import type { FrozenReader, FrozenStore } from '../engine.ts';
import { TreeCursor } from './cursor.ts';
import { PageMemory, Slab } from './slab.ts';

class FrozenCursor extends TreeCursor implements FrozenReader {
  readonly keyCount: number;

  constructor(memory: PageMemory, frozen: FrozenStore) {
    super(memory, { root: frozen.rootPage, rootLevel: frozen.rootLevel, changes: 0 });
    this.keyCount = frozen.keyCount;
  }
}

/** Opens a frozen state for reading. It must not be released before the reader is done. */
export function openFrozen(frozen: FrozenStore): FrozenReader {
  const memory = new PageMemory(frozen.pageBytes, frozen.slabBytes);
  for (const shared of frozen.slabs) memory.slabs.push(new Slab(shared));
  for (const [number, shared] of frozen.huge) memory.huge.set(number, Buffer.from(shared));
  return new FrozenCursor(memory, frozen);
}
