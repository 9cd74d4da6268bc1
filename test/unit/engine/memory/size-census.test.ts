import test from 'ava';
import { array, assert, boolean, integer, oneof, property, tuple } from 'fast-check';
import { SizeCensus } from '../../../../src/engine/memory/size-census.ts';

test('the longest is known within a quarter, whatever comes and goes', (t) => {
  const length = oneof(integer({ min: 4, max: 2 ** 29 }), integer({ min: 4, max: 2000 }));
  const holds = property(array(tuple(length, boolean())), (steps) => {
    const census = new SizeCensus();
    const there: number[] = [];
    for (const [bytes, goes] of steps) {
      const gone = goes ? there.pop() : undefined;
      if (gone === undefined) {
        census.add(bytes);
        there.push(bytes);
      } else {
        census.remove(gone);
      }
      const longest = Math.max(0, ...there);
      if (census.longest < longest || census.longest > longest * 1.25) return false;
    }
    return true;
  });
  t.notThrows(() => assert(holds));
});
