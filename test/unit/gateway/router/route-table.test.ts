import test from 'ava';
import { array, assert as check, boolean, integer, property, record } from 'fast-check';
import type { MemberId, RangeId, Term } from '../../../../src/core/brands.ts';
import type { Route } from '../../../../src/core/range.ts';
import { rangesOverlap } from '../../../../src/core/range.ts';
import { RouteTable } from '../../../../src/gateway/router/route-table.ts';

const ENDS_AT = 10;

function route(rangeId: number, start: number, end: number, version = 1, fields: Partial<Route> = {}): Route {
  return {
    range: {
      rangeId: rangeId as RangeId,
      startKey: start === 0 ? Buffer.alloc(0) : Buffer.of(start),
      endKey: end === ENDS_AT ? null : Buffer.of(end),
      epoch: { confVersion: 1, version },
      replicas: [],
    },
    leader: 1 as MemberId,
    term: 1 as Term,
    ...fields,
  };
}

const anyRoute = record({
  rangeId: integer({ min: 1, max: 3 }),
  start: integer({ min: 0, max: 9 }),
  length: integer({ min: 1, max: 10 }),
  version: integer({ min: 1, max: 3 }),
  leader: integer({ min: 0, max: 2 }),
  term: integer({ min: 1, max: 3 }),
  isOver: boolean(),
}).map(({ rangeId, start, length, version, leader, term, isOver }) =>
  route(rangeId, start, Math.min(ENDS_AT, start + length), version, {
    leader: leader as MemberId,
    term: term as Term,
    isTermOver: leader === 0 && isOver,
  }),
);

/** The rule itself, over all routes each time. */
function naive(routes: readonly Route[], changed: readonly Route[]): Route[] {
  let known = [...routes];
  for (const next of changed) {
    const overlapping = known.filter(({ range }) => rangesOverlap(range, next.range));
    const probe = new RouteTable();
    // Against one at a time the table says which of the two it keeps.
    const isOlder = overlapping.some((one) => {
      probe.reset([one]);
      probe.update([next]);
      return probe.routes[0] === one;
    });
    if (!isOlder) known = [...known.filter((one) => !overlapping.includes(one)), next];
  }
  return known.toSorted((a, b) => Buffer.compare(a.range.startKey, b.range.startKey));
}

test('what is newer replaces all that it overlaps, whatever is known before', (t) => {
  check(
    property(array(array(anyRoute, { maxLength: 6 }), { maxLength: 6 }), (batches) => {
      const table = new RouteTable();
      let known: Route[] = [];
      for (const batch of batches) {
        known = naive(known, batch);
        table.update(batch);
        t.deepEqual(table.routes, known);
      }
    }),
    { numRuns: 500 },
  );
});

test('what is known already changes nothing: nobody is told of it again', (t) => {
  check(
    property(array(anyRoute, { minLength: 1, maxLength: 6 }), boolean(), (routes, isReversed) => {
      const table = new RouteTable();
      table.update(routes);
      const { generation } = table;
      table.update(isReversed ? table.routes.toReversed() : table.routes);
      t.is(table.generation, generation);
    }),
  );
});

test('a split is taken with both halves, and the whole that it came from no longer', (t) => {
  const table = new RouteTable();
  table.update([route(1, 0, 5), route(2, 5, ENDS_AT)]);
  const halves = [route(1, 0, 3, 2), route(3, 3, 5, 2)];
  table.update(halves);
  table.update([route(1, 0, 5)]);
  t.deepEqual(
    table.routes.map(({ range }) => range.rangeId as number),
    [1, 3, 2],
  );
  t.is(table.find(Buffer.of(4), 0, 1).range.rangeId, 3 as RangeId);
});

test('who does not know who leads proves nothing; a leader that says it has stepped down does', (t) => {
  const table = new RouteTable();
  const [nobody, leads] = [0 as MemberId, route(1, 0, ENDS_AT)];
  const over = { ...leads, leader: nobody, isTermOver: true };
  const leader = (): number => table.routes[0]?.leader as number;
  table.update([leads]);
  table.update([{ ...leads, leader: nobody }]);
  t.is(leader(), 1);
  table.update([over]);
  t.is(leader(), 0);
  table.update([leads]);
  t.is(leader(), 0, 'others hear of it late');
  table.update([{ ...leads, leader: 2 as MemberId, term: 2 as Term }]);
  table.update([over]);
  t.is(leader(), 2);
});
