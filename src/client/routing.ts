/** What the client believes of the ranges: key → range and worker. A guess that the store corrects. */
import type { Argument } from '../codec/native/frame.ts';
import type { RangeRoute, Topology } from '../codec/native/messages.ts';
import { compareBytes } from '../core/range.ts';

interface Route extends RangeRoute {
  readonly startKey: Buffer;
  readonly endKey: Buffer | null;
}

const SCRATCH_BYTES = 4096;

export class Routing {
  #routes: readonly Route[] = [];
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

  get routes(): readonly Route[] {
    return this.#routes;
  }

  /** Takes the topology as it is: there is nobody left who told us anything else. */
  replace(topology: Topology): void {
    this.#routes = topology.ranges.map((range) => ({
      ...range,
      startKey: Buffer.from(range.startKey),
      endKey: range.endKey === null ? null : Buffer.from(range.endKey),
    }));
  }

  /**
   * Takes the topology unless everything in it is older than what is known. A node may not have heard yet who leads a
   * range now: of leaders, those of greater terms are kept. Returns whether it was taken.
   */
  learn(topology: Topology): boolean {
    const known = new Map(this.#routes.map((route) => [route.rangeId, route]));
    const versions = topology.ranges.map(
      (range) => range.epoch.version - (known.get(range.rangeId)?.epoch.version ?? 0),
    );
    if (versions.some((ahead) => ahead < 0) && !versions.some((ahead) => ahead > 0)) return false;
    const ranges = topology.ranges.map((range) => {
      const { worker, term } = known.get(range.rangeId) ?? range;
      return term > range.term ? { ...range, worker, term } : range;
    });
    this.replace({ ...topology, ranges });
    return true;
  }

  /** The range that owns the key; null when no range is known at all. */
  find(key: Argument): Route | null {
    const routes = this.#routes;
    if (routes.length < 2) return routes[0] ?? null;
    if (typeof key !== 'string') return this.#search(key as Buffer, key.length);
    const room = key.length * 3 <= SCRATCH_BYTES;
    const bytes = room ? this.#scratch : Buffer.from(key, 'utf8');
    return this.#search(bytes, room ? bytes.write(key, 0, 'utf8') : bytes.length);
  }

  #search(key: Buffer, length: number): Route {
    const routes = this.#routes;
    let low = 0;
    let high = routes.length - 1;
    // Invariant: the owner is in routes[low..high].
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const { startKey } = routes[middle] as Route;
      if (compareBytes(key, 0, length, startKey, 0, startKey.length) < 0) high = middle - 1;
      else low = middle;
    }
    return routes[low] as Route;
  }
}
