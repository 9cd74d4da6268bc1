/**
 * Key → range, in one thread. For ranges of this worker the table is the truth (the host changes it in the same turn as
 * the range); for others it is the last that was heard, and the owner looks again.
 *
 * The ranges always cover the whole key space without gaps or overlaps.
 */
import { assert } from '../../core/assert.ts';
import type { RangeDescriptor } from '../../core/range.ts';
import { compareBytes } from '../../core/range.ts';

export interface Route {
  readonly range: RangeDescriptor;
  readonly workerIndex: number;
}

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

  /** Replaces everything. `routes` may come in any order. */
  reset(routes: readonly Route[]): void {
    this.#routes = [...routes].sort((a, b) => Buffer.compare(a.range.startKey, b.range.startKey));
    this.generation++;
  }

  /**
   * Takes what is now known of the given ranges: each replaces everything older that it overlaps. What is older than
   * what the table has (by epoch version) is ignored.
   */
  update(changed: readonly Route[]): void {
    let routes = this.#routes;
    for (const route of changed) {
      const overlapping = routes.filter((known) => overlaps(known.range, route.range));
      if (overlapping.some((known) => known.range.epoch.version > route.range.epoch.version)) continue;
      routes = routes.filter((known) => !overlapping.includes(known));
      routes.push(route);
    }
    this.reset(routes);
  }
}

function overlaps(a: RangeDescriptor, b: RangeDescriptor): boolean {
  const aBeforeB = a.endKey !== null && Buffer.compare(a.endKey, b.startKey) <= 0;
  const bBeforeA = b.endKey !== null && Buffer.compare(b.endKey, a.startKey) <= 0;
  return !aBeforeB && !bBeforeA;
}
