import test from 'ava';
import { MemoryArena } from '../../../../src/engine/memory/arena.ts';
import { openFrozen } from '../../../../src/engine/memory/frozen.ts';
import { MemoryStore } from '../../../../src/engine/memory/store.ts';
import { verifyArena, verifyStore } from '../../../support/verify-memory.ts';
import { testEngine } from '../../../conformance/engine.ts';

for (const [name, pageBytes, slabBytes] of [
  ['memory engine, 4 KiB pages', 4096, 4096 * 64],
  ['memory engine, 8 KiB pages', 8192, 2 ** 24],
] as const) {
  testEngine(test, name, () => {
    const arena = new MemoryArena({ maxBytes: 2 ** 30, pageBytes, slabBytes });
    return {
      createEngine: () => arena.createStore(),
      openFrozen,
      verify(engine) {
        if (!(engine instanceof MemoryStore)) throw new Error('another engine');
        verifyStore(engine);
        verifyArena(arena);
      },
      dispose() {
        while (arena.reclaim(1000));
        verifyArena(arena);
        if (arena.bytesUsed !== 0) throw new Error(`${arena.bytesUsed} bytes are lost`);
      },
    };
  });
}
