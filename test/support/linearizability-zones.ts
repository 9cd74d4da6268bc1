/**
 * Linearizability of one register whose writes all put different values, in O(n log n): Gibbons & Korach, "Testing
 * shared memories" (1997), §4. All operations on one value form a cluster, and a cluster stands in one piece of any
 * legal order: its write, then its reads.
 *
 *     write a ├────┤                 first end ─▶│────────│◀─ last call      forward zone: the value must hold all through it
 *     read a              ├────┤
 *
 *     write b ├──────────┤        last call ─▶│──│◀─ first end              backward zone: one moment in it is enough
 *     read b       ├────────┤
 *
 * The history is linearizable exactly if no read ends before its write is called, no two forward zones overlap, and no
 * backward zone lies inside a forward one.
 */
import type { Operation } from './linearizability.ts';

interface Cluster {
  readonly operations: Operation[];
  /** null: the value that was there at first, nothing. */
  write: Operation | null;
  firstEnd: number;
  lastCall: number;
}

export interface ZoneConflict {
  readonly reason: string;
  readonly operations: readonly Operation[];
}

/** Whether checkZones() applies: reads and writes only, and no value is written twice. */
export function hasUniqueWrites(operations: readonly Operation[]): boolean {
  const written = new Set<string | null>([null]);
  for (const { kind, value } of operations) {
    if (kind === 'read') continue;
    if (kind !== 'write' || written.has(value)) return false;
    written.add(value);
  }
  return true;
}

/** The first contradiction, or null. Operations that failed, and reads nobody answered, are left out by the caller. */
export function checkZones(operations: readonly Operation[]): ZoneConflict | null {
  const clusters = new Map<string | null, Cluster>();
  const clusterOf = (value: string | null): Cluster => {
    let cluster = clusters.get(value);
    if (cluster === undefined) {
      cluster = { operations: [], write: null, firstEnd: Infinity, lastCall: -Infinity };
      clusters.set(value, cluster);
    }
    return cluster;
  };
  const initial = clusterOf(null);
  initial.firstEnd = -Infinity;
  for (const operation of operations) {
    const cluster = clusterOf(operation.value);
    cluster.operations.push(operation);
    if (operation.kind === 'write') cluster.write = operation;
    cluster.firstEnd = Math.min(cluster.firstEnd, operation.returnedAt ?? Infinity);
    cluster.lastCall = Math.max(cluster.lastCall, operation.invokedAt);
  }
  for (const cluster of clusters.values()) {
    if (cluster === initial) continue;
    const { write } = cluster;
    if (write === null) return { reason: 'nobody wrote what was read', operations: cluster.operations };
    const early = cluster.operations.find(({ returnedAt }) => (returnedAt ?? Infinity) < write.invokedAt);
    if (early !== undefined) return { reason: 'a read returned what was written later', operations: [early, write] };
  }
  return overlap([...clusters.values()].filter((cluster) => cluster.operations.length > 0));
}

function overlap(clusters: readonly Cluster[]): ZoneConflict | null {
  const forward = clusters.filter(({ firstEnd, lastCall }) => firstEnd < lastCall);
  forward.sort((a, b) => a.firstEnd - b.firstEnd);
  for (let i = 1; i < forward.length; i++) {
    const [before, after] = [forward[i - 1] as Cluster, forward[i] as Cluster];
    if (after.firstEnd < before.lastCall) return conflict('two values must have held at one time', before, after);
  }
  // No two forward zones overlap from here on, so the last one that begins before a point is the only one around it.
  for (const cluster of clusters) {
    const { firstEnd, lastCall } = cluster;
    if (firstEnd < lastCall) continue;
    const around = forward[lowerBound(forward, lastCall) - 1];
    if (around !== undefined && firstEnd < around.lastCall) {
      return conflict('a value must have held while another one did', cluster, around);
    }
  }
  return null;
}

/** How many of the zones begin before `time`. */
function lowerBound(forward: readonly Cluster[], time: number): number {
  let low = 0;
  let high = forward.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((forward[middle] as Cluster).firstEnd < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The operations that prove it: of each of the two, its write, what ended first and what was called last. */
function conflict(reason: string, ...clusters: readonly Cluster[]): ZoneConflict {
  const operations = new Set<Operation>();
  for (const { write, firstEnd, lastCall, operations: all } of clusters) {
    if (write !== null) operations.add(write);
    for (const operation of all) {
      if (operation.returnedAt === firstEnd || operation.invokedAt === lastCall) operations.add(operation);
    }
  }
  return { reason, operations: [...operations] };
}
