/**
 * When the last syncs of the log began and ended, for one shard worker, in shared memory: what a write waited for.
 *
 *     0    count      syncs that made records of this worker durable
 *     1    position of the ring behind what the sync made durable │ began │ ended      × SYNCS_KEPT, the oldest overwritten
 *
 * The writer stores them before it releases the ring, so whoever sees a position durable finds its sync here. Times are
 * milliseconds of the process's clock: the threads' own clocks (performance.now) begin when the threads do.
 */
const SYNCS_KEPT = 16;
const SYNC_SLOTS = 3;

export function createSyncTimes(): SharedArrayBuffer {
  return new SharedArrayBuffer((1 + SYNCS_KEPT * SYNC_SLOTS) * Float64Array.BYTES_PER_ELEMENT);
}

/** The thread may be stopped between two readings of the clocks: the pair that lies closest together counts. */
const OFFSET_READINGS = 16;

/** What to add to performance.now() of this thread for the process's clock. Both are the system's monotonic clock. */
const offsetMs = measureOffsetMs();

function measureOffsetMs(): number {
  let closestMs = Infinity;
  let offset = 0;
  for (let i = 0; i < OFFSET_READINGS; i++) {
    const beforeMs = performance.now();
    const [seconds, nanoseconds] = process.hrtime();
    const tookMs = performance.now() - beforeMs;
    if (tookMs >= closestMs) continue;
    closestMs = tookMs;
    offset = seconds * 1000 + nanoseconds / 1e6 - beforeMs - tookMs / 2;
  }
  return offset;
}

export class SyncTimes {
  /** Of the sync that find() found, in this thread's performance.now(). */
  startedMs = 0;
  endedMs = 0;
  readonly #values: Float64Array;

  /** `shared`: createSyncTimes() */
  constructor(shared: SharedArrayBuffer) {
    this.#values = new Float64Array(shared);
  }

  /** The writer's: everything before `position` is durable. Times as performance.now() gives them. */
  record(position: number, startedMs: number, endedMs: number): void {
    const values = this.#values;
    const count = values[0] as number;
    const at = 1 + (count % SYNCS_KEPT) * SYNC_SLOTS;
    values[at] = position;
    values[at + 1] = startedMs + offsetMs;
    values[at + 2] = endedMs + offsetMs;
    values[0] = count + 1;
  }

  /** The worker's: finds the sync that made `position` durable. False: it was not yet, or too many syncs ago. */
  find(position: number): boolean {
    const values = this.#values;
    const count = values[0] as number;
    let found = 0;
    for (let back = 1; back <= Math.min(count, SYNCS_KEPT); back++) {
      const at = 1 + ((count - back) % SYNCS_KEPT) * SYNC_SLOTS;
      if ((values[at] as number) < position) break;
      found = at;
      if (back === SYNCS_KEPT) return false;
    }
    if (found === 0) return false;
    this.startedMs = (values[found + 1] as number) - offsetMs;
    this.endedMs = (values[found + 2] as number) - offsetMs;
    return true;
  }
}
