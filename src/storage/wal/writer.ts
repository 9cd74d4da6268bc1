/**
 * The WAL writer: the one that writes to a log. Each turn it takes everything that lies in the rings, writes it with one
 * call, makes it durable with one sync, and gives the room back: what is released to a ring is durable.
 *
 *     rings ─▶ Batch ─▶ write ──▶ sync ──────▶ release, one doorbell per worker
 *                          │           └─ failed: poisoned. Nothing is released any more, nothing is tried again:
 *                          │              after a failed fsync the kernel may have dropped the data and say "ok" next time
 *                          └─ segment full: the next spare becomes the segment, the old one is sealed
 *
 * While one batch is being synced, the next one gathers in the rings: group commit needs no timer.
 */
import type { RangeLog } from './entries.ts';
import { readVote } from './entries.ts';
import { Doorbell, RingConsumer } from '../../sharedarraybuffer-ring/index.ts';
import type { Disk } from '../disk.ts';
import { Batch, payloadIndex, payloadRangeId } from './batch.ts';
import {
  FLAG_CUT,
  FLAG_HARD_STATE,
  FLAG_IDLE_MARK,
  isEntryEnd,
  isEntryStart,
  RECORD_PREFIX_BYTES,
  STATE_CLOSED,
  STATE_CONTINUED,
  TYPE_CHECKPOINT,
} from './format.ts';
import type { SegmentState } from './format.ts';
import { gatherIdleMark, HardStates } from './hard-states.ts';
import { writeManifest } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import type { WalControl, WalEvent, WalStats } from './messages.ts';
import { OpenSegment } from './open-segment.ts';
import { isNoSpace } from './segment.ts';
import { Spares } from './spares.ts';
import { WAL_FULL, WAL_POISONED, WAL_RUNNING, WAL_STOPPED } from './status.ts';
import type { WalStatusWords } from './status.ts';
import { SyncTimes } from './sync-times.ts';
import { WalTracker } from './tracker.ts';
import type { TrackerSnapshot } from './tracker.ts';

export interface WalWriterOptions {
  readonly dir: string;
  readonly segmentBytes: number;
  /** Spares to keep besides the reserve. */
  readonly spareCount: number;
  /** When the log has been idle for so long, it writes a mark behind its last batch; see docs/wal-format.md. */
  readonly idleMarkMs: number;
  /** How long to wait before asking again for a spare that the disk had no room for. */
  readonly retryMs: number;
  readonly workers: readonly WalWorker[];
}

/** What a shard worker and the writer share. */
export interface WalWorker {
  readonly ring: SharedArrayBuffer;
  /** Wakes the worker. */
  readonly doorbell: SharedArrayBuffer;
  /** createSyncTimes(); for a worker that wants to know. */
  readonly syncTimes?: SharedArrayBuffer;
}

/** Where the writer goes on: what a scan found, once it is settled. */
export interface WalTail {
  readonly manifest: Manifest;
  readonly nextSegmentId: number;
  readonly nextSequence: number;
  readonly ranges: ReadonlyMap<number, RangeLog>;
  readonly tracker: TrackerSnapshot;
  /** Segments that are not needed and still have their name. */
  readonly leftovers: readonly number[];
  /** Names of the spares that are there. */
  readonly spares: readonly string[];
  /** Number of the next spare; no file has it. */
  readonly nextSpareNumber: number;
}

/** Where the writer counts. */
export interface WalMetrics {
  synced(bytes: number, records: number, durationUs: number): void;
  segments(count: number): void;
  full(isFull: boolean): void;
}

export interface WalWriterPorts {
  readonly disk: Disk;
  readonly status: WalStatusWords;
  readonly send: (event: WalEvent) => void;
  readonly metrics: WalMetrics | null;
}

interface Source {
  readonly ring: RingConsumer;
  readonly doorbell: Doorbell;
  readonly syncTimes: SyncTimes | null;
  /** Position up to which the ring was released. */
  released: number;
}

export class WalWriter {
  readonly #options: WalWriterOptions;
  readonly #ports: WalWriterPorts;
  readonly #sources: readonly Source[];
  readonly #tracker: WalTracker;
  readonly #hardStates: HardStates;
  readonly #spares: Spares;
  readonly #batch: Batch;
  #manifest: Manifest;
  #segment: OpenSegment | null = null;
  #nextSegmentId: number;
  #nextSequence: number;
  /** The next record finds no room in the segment. */
  #needsSegment = true;
  /** A batch that the disk had no room for; it is written before anything else. */
  #isBatchWaiting = false;
  /** The batch is an idle mark: it needs none behind it. */
  #isMark = false;
  #markAtMs = Infinity;
  /** Segments may have become reusable. */
  #reclaimDue = false;
  #isReplayed = false;
  #firstSource = 0;
  #syncCount = 0;
  #recordCount = 0;
  #writtenBytes = 0;

  constructor(options: WalWriterOptions, ports: WalWriterPorts, tail: WalTail) {
    this.#options = options;
    this.#ports = ports;
    this.#sources = options.workers.map(({ ring, doorbell, syncTimes: shared }) => {
      const consumer = new RingConsumer(ring);
      const syncTimes = shared === undefined ? null : new SyncTimes(shared);
      return { ring: consumer, doorbell: new Doorbell(doorbell), syncTimes, released: consumer.position };
    });
    this.#tracker = new WalTracker(tail.tracker);
    this.#hardStates = new HardStates(tail.ranges);
    this.#batch = new Batch((type, flags, term, buffer, payload, bytes) =>
      this.#onBatched(type, flags, term, buffer, payload, bytes),
    );
    this.#manifest = tail.manifest;
    this.#nextSegmentId = tail.nextSegmentId;
    this.#nextSequence = tail.nextSequence;
    let ringBytes = 0;
    for (const { ring } of this.#sources) ringBytes += ring.buffer.length;
    this.#spares = new Spares(tail.spares, {
      // Half of a segment is a careful guess of what is used when each record that does not fit begins a new one.
      reserveCount: Math.ceil(ringBytes / (options.segmentBytes / 2)),
      spareCount: options.spareCount,
      retryMs: options.retryMs,
      nextNumber: tail.nextSpareNumber,
      send: ports.send,
    });
    ports.status.status = WAL_RUNNING;
    for (const segmentId of tail.leftovers) this.#spares.reuse(segmentId);
    this.#spares.ask();
  }

  /** Takes one message from the main thread. */
  control(message: Exclude<WalControl, { readonly type: 'stop' }>): void {
    switch (message.type) {
      case 'spare':
        this.#spares.added(message.name);
        break;
      case 'noSpare':
        this.#spares.missed(message.isDiskFull);
        break;
      case 'checkpointed':
        this.#tracker.checkpointed(message.rangeId, message.index);
        this.#reclaimDue = true;
        break;
      case 'removed':
        this.#tracker.removed(message.rangeId);
        this.#hardStates.removed(message.rangeId);
        this.#reclaimDue = true;
        break;
      case 'replayed':
        this.#isReplayed = true;
        this.#reclaimDue = true;
        break;
      case 'stats':
        this.#ports.send({ type: 'stats', id: message.id, stats: this.stats() });
        break;
      case 'locate': {
        const segments = this.#tracker.holding(message.rangeId, message.index);
        this.#ports.send({ type: 'located', id: message.id, place: { logId: this.#manifest.logId, segments } });
        break;
      }
    }
    this.#showFull();
  }

  /**
   * Writes and syncs one batch of everything that waits. Returns whether it did. Whatever it throws is fatal: call poison().
   */
  turn(): boolean {
    if (this.isPoisoned) return false;
    this.#spares.retry();
    if (!this.#isBatchWaiting) {
      if (this.#reclaimDue) this.#reclaim();
      if (!this.#fill()) return false;
      this.#batch.seal();
      this.#isBatchWaiting = true;
    }
    return this.#write();
  }

  /** There is something that turn() can do at once. Reads shared memory: the doorbell's re-check. */
  get isReady(): boolean {
    if (this.isPoisoned || this.#isBatchWaiting) return false;
    if (this.#reclaimDue) return true;
    if (this.#needsSegment && this.#spares.count === 0) return false;
    return this.#hasWork;
  }

  /** How long to sleep at most when nothing is ready. */
  get waitMs(): number {
    if (this.isPoisoned) return Infinity;
    return Math.max(0, Math.min(this.#markAtMs, this.#spares.retryAtMs) - performance.now());
  }

  get isPoisoned(): boolean {
    return this.#ports.status.status === WAL_POISONED;
  }

  /** Something failed that must not be tried again: from now on nothing becomes durable. */
  poison(): void {
    this.#ports.status.status = WAL_POISONED;
    this.#ringAll();
  }

  /** Ends the log: writes everything that is in the rings, as far as there is room for it, and seals the segment. */
  stop(): void {
    while (this.turn());
    const segment = this.#segment;
    if (segment !== null) {
      if (!this.isPoisoned && !this.#isBatchWaiting) this.#seal(segment, STATE_CLOSED);
      segment.close();
      this.#segment = null;
    }
    if (!this.isPoisoned) this.#ports.status.status = WAL_STOPPED;
    this.#ringAll();
  }

  stats(): WalStats {
    return {
      nextSequence: this.#nextSequence,
      segmentIds: this.#tracker.segmentIds,
      spareCount: this.#spares.count,
      syncCount: this.#syncCount,
      recordCount: this.#recordCount,
      writtenBytes: this.#writtenBytes,
      laggards: this.#tracker.laggards(),
      bytesBehind: new Map(this.#tracker.rangeIds.map((id) => [id, this.#tracker.bytesBehind(id)])),
    };
  }

  get #hasWork(): boolean {
    return this.#hardStates.isMoving || this.#sources.some(({ ring }) => ring.readable);
  }

  /** Gathers a batch. Returns false when there is nothing to write, or no segment to write it to. */
  #fill(): boolean {
    const isMarkDue = performance.now() >= this.#markAtMs;
    if (!isMarkDue && !this.#hasWork) return false;
    if (this.#needsSegment && !this.#openSegment()) return false;
    if (this.#gather(isMarkDue)) return true;
    // The first record that waits does not fit into what is left of the segment.
    return this.#needsSegment && this.#openSegment() && this.#gather(false);
  }

  #gather(isMarkDue: boolean): boolean {
    const segment = this.#segment as OpenSegment;
    const batch = this.#batch;
    batch.begin(segment);
    if (this.#hardStates.isMoving && !this.#hardStates.gather(batch)) this.#needsSegment = true;
    const { length } = this.#sources;
    for (let i = 0; i < length; i++) {
      const { ring } = this.#sources[(this.#firstSource + i) % length] as Source;
      if (!batch.take(ring)) this.#needsSegment = true;
    }
    this.#firstSource = (this.#firstSource + 1) % length;
    this.#isMark = isMarkDue && batch.recordCount === 0;
    if (this.#isMark) {
      this.#markAtMs = Infinity;
      // Where it finds no room, the next segment's header will say as much.
      if (!this.#needsSegment && !gatherIdleMark(batch)) this.#needsSegment = true;
    }
    return batch.recordCount > 0;
  }

  #onBatched(type: number, flags: number, term: number, buffer: Buffer, payload: number, bytes: number): void {
    if ((flags & FLAG_IDLE_MARK) !== 0) return;
    const rangeId = payloadRangeId(buffer, payload);
    const index = payloadIndex(buffer, payload);
    if ((flags & FLAG_HARD_STATE) !== 0) {
      this.#tracker.hardState(rangeId, bytes);
      this.#hardStates.written(rangeId, term, readVote(buffer, payload + RECORD_PREFIX_BYTES), index);
      this.#reclaimDue = true;
    } else if (type === TYPE_CHECKPOINT) {
      if ((flags & FLAG_CUT) === 0) this.#tracker.checkpointed(rangeId, index);
      else this.#tracker.cut(rangeId, index);
      if ((flags & FLAG_CUT) !== 0 && index === 0) this.#hardStates.removed(rangeId);
      this.#reclaimDue = true;
    } else {
      this.#tracker.entry(rangeId, index, bytes, isEntryStart(flags), isEntryEnd(flags));
    }
  }

  #write(): boolean {
    const segment = this.#segment as OpenSegment;
    const batch = this.#batch;
    const startedMs = performance.now();
    try {
      segment.write(batch.views);
    } catch (error) {
      // Only where the file system allocates when a block is written again. Nothing was synced: writing may be repeated.
      if (!isNoSpace(error)) throw error;
      this.#spares.noSpace();
      this.#showFull();
      return false;
    }
    segment.sync();
    const endedMs = performance.now();
    this.#isBatchWaiting = false;
    segment.wrote(batch.bytes, batch.recordCount, batch.dataChecksum);
    this.#nextSequence = segment.nextSequence;
    this.#syncCount += 1;
    this.#recordCount += batch.recordCount;
    this.#writtenBytes += batch.bytes;
    this.#markAtMs = this.#isMark ? Infinity : endedMs + this.#options.idleMarkMs;
    for (const source of this.#sources) {
      const { ring } = source;
      if (ring.position === source.released) continue;
      source.syncTimes?.record(ring.position, startedMs, endedMs);
      ring.release();
      source.released = ring.position;
      source.doorbell.ring();
    }
    this.#ports.metrics?.synced(batch.bytes, batch.recordCount, (endedMs - startedMs) * 1000);
    return true;
  }

  /**
   * Makes the next spare the segment, then seals the one before: a seal that says "continued" means that the next one
   * exists. Returns false when there is no spare.
   */
  #openSegment(): boolean {
    const spare = this.#spares.take();
    if (spare === undefined) {
      this.#markAtMs = Infinity;
      return false;
    }
    const { dir, segmentBytes } = this.#options;
    const previous = this.#segment;
    const segmentId = this.#nextSegmentId++;
    const id = { segmentId, logId: this.#manifest.logId, startSequence: this.#nextSequence };
    this.#segment = new OpenSegment(this.#ports.disk, dir, spare, id, segmentBytes);
    this.#tracker.opened(segmentId);
    if (previous === null) {
      this.#storeManifest({ openedSegment: segmentId });
    } else {
      this.#seal(previous, STATE_CONTINUED);
      previous.close();
    }
    this.#needsSegment = false;
    this.#reclaimDue = true;
    this.#spares.ask();
    this.#showFull();
    this.#ports.metrics?.segments(this.#tracker.segmentIds.length);
    return true;
  }

  #seal(segment: OpenSegment, state: SegmentState): void {
    segment.seal(state);
    const { segmentId } = segment;
    const segmentCount = this.#tracker.segmentIds.length;
    this.#ports.send({ type: 'sealed', segmentId, segmentCount, laggards: this.#tracker.laggards() });
  }

  /**
   * Gives up the segments that nobody needs: first the manifest says so, then their files may go. Invariant: what frees them
   * (a checkpoint record, a hard state moved forward) is durable, because this runs when no batch is under way.
   */
  #reclaim(): void {
    this.#reclaimDue = false;
    if (!this.#isReplayed) return;
    const reusable = this.#tracker.reusable();
    const newest = reusable.at(-1);
    if (newest !== undefined) {
      this.#storeManifest({ firstSegment: newest + 1 });
      this.#tracker.dropThrough(newest);
      for (const segmentId of reusable) this.#spares.reuse(segmentId);
      this.#ports.metrics?.segments(this.#tracker.segmentIds.length);
    }
    const laggards = this.#tracker.laggards();
    if (laggards.every(({ checkpointIndex }) => checkpointIndex === 0)) {
      this.#hardStates.move(laggards.map(({ rangeId }) => rangeId));
    }
  }

  #storeManifest(change: Partial<Manifest>): void {
    this.#manifest = { ...this.#manifest, ...change, generation: this.#manifest.generation + 1 };
    writeManifest(this.#ports.disk, this.#options.dir, this.#manifest);
  }

  #showFull(): void {
    const { status, send, metrics } = this.#ports;
    const { isFull } = this.#spares;
    if (status.status !== (isFull ? WAL_RUNNING : WAL_FULL)) return;
    status.status = isFull ? WAL_FULL : WAL_RUNNING;
    send({ type: isFull ? 'full' : 'resumed' });
    metrics?.full(isFull);
    this.#ringAll();
  }

  #ringAll(): void {
    for (const { doorbell } of this.#sources) doorbell.ring();
  }
}
