/**
 * Key → range and its leader, in one thread. For ranges that this worker leads the table is the truth (the host changes it
 * in the same turn as the range); for others it is the last that was heard, and the leader looks again.
 *
 * The ranges always cover the whole key space without gaps or overlaps.
 */
import { assert } from '../../core/assert.ts';
import type { MemberId, RangeId } from '../../core/brands.ts';
import type { RangeDescriptor, Route } from '../../core/range.ts';
import { compareBytes, rangesOverlap } from '../../core/range.ts';

export class RouteTable {
  #routes: Route[] = [];
  /** Grows with every change, so that whoever computed something from the table knows when it is stale. */
  generation = 0;

  get routes(): readonly Route[] {
    return this.#routes;
  }

  /** The route that owns key[start, end). */
  find(key: Buffer, start: number, end: number): Route {
    const routes = this.#routes;
    let low = 0;
    let high = routes.length - 1;
    // Invariant: the owner is in routes[low..high].
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const { startKey } = (routes[middle] as Route).range;
      if (compareBytes(key, start, end, startKey, 0, startKey.length) < 0) high = middle - 1;
      else low = middle;
    }
    const route = routes[low];
    assert(route !== undefined, 'route table: used before the first range is known');
    return route;
  }

  /** Somebody says that this member leads the range; whether that is news. Only newer terms prove anything. */
  suggestLeader(rangeId: RangeId, leader: MemberId): boolean {
    const at = this.#routes.findIndex(({ range }) => range.rangeId === rangeId);
    const known = this.#routes[at];
    if (known === undefined || known.leader === leader) return false;
    this.#routes[at] = { ...known, leader, isTermOver: false };
    this.generation++;
    return true;
  }

  /** Replaces everything. `routes` may come in any order. */
  reset(routes: readonly Route[]): void {
    this.#routes = [...routes].sort((a, b) => Buffer.compare(a.range.startKey, b.range.startKey));
    this.generation++;
  }

  /**
   * Takes what is now known of the given ranges: each replaces everything older that it overlaps. What is older than
   * what the table has is ignored.
   */
  update(changed: readonly Route[]): void {
    const routes = [...this.#routes];
    let hasChanged = false;
    for (const route of changed) {
      const first = firstNotBefore(routes, route.range);
      let end = first;
      while (end < routes.length && rangesOverlap((routes[end] as Route).range, route.range)) end++;
      if (routes.slice(first, end).some((known) => saysAll(known, route))) continue;
      routes.splice(first, end - first, route);
      hasChanged = true;
    }
    if (!hasChanged) return;
    this.#routes = routes;
    this.generation++;
  }
}

/** Index of the first route that does not end before `range` begins. */
function firstNotBefore(routes: readonly Route[], { startKey }: RangeDescriptor): number {
  let low = 0;
  let high = routes.length;
  // Invariant: routes before low end before the range begins, those from high on do not.
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { endKey } = (routes[middle] as Route).range;
    if (endKey !== null && Buffer.compare(endKey, startKey) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether `known` says all that `route` says, or more, about the same keys: of boundaries first, then of who leads, then of members. */
function saysAll(known: Route, route: Route): boolean {
  const boundaries = known.range.epoch.version - route.range.epoch.version;
  if (boundaries !== 0 || known.range.rangeId !== route.range.rangeId) return boundaries > 0;
  if (known.term !== route.term) return known.term > route.term;
  const isOver = known.isTermOver === true;
  if (isOver !== (route.isTermOver === true)) return isOver;
  if (known.leader !== route.leader) return route.leader === 0;
  return known.range.epoch.confVersion >= route.range.epoch.confVersion;
}
