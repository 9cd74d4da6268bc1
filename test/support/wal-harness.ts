/**
 * A whole log in one thread: rings, appenders, the writer, and the tasks beside it, on any disk. Every step happens when
 * the test says so.
 */
import type { LogIndex, MemberId, RangeId, Term } from '../../src/core/brands.ts';
import { createDoorbell, createRing, RingProducer } from '../../src/sharedarraybuffer-ring/index.ts';
import type { Disk } from '../../src/storage/disk.ts';
import { FLAG_CUT, SEGMENT_BYTES_MIN, TYPE_CHECKPOINT, TYPE_DATA } from '../../src/storage/wal/format.ts';
import type { WalControl, WalEvent } from '../../src/storage/wal/messages.ts';
import { WalAppender } from '../../src/storage/wal/record.ts';
import type { OnRecord } from '../../src/storage/wal/entries.ts';
import { scanWal } from '../../src/storage/wal/recovery.ts';
import type { ReadBack } from '../../shards/log.ts';
import type { NodeSurroundings } from '../sim/node.ts';
import { ReadEnds, readRange } from '../../src/storage/wal/range-reader.ts';
import type { RangeRead, ReadEntry } from '../../src/storage/wal/range-reader.ts';
import type { WalScan } from '../../src/storage/wal/recovery.ts';
import { segmentIdOf } from '../../src/storage/wal/segment.ts';
import { deleteSegment, openWal, prepareSegment, recycleIntoSpare } from '../../src/storage/wal/run.ts';
import { createWalStatus, WalStatusWords } from '../../src/storage/wal/status.ts';
import { WalWriter } from '../../src/storage/wal/writer.ts';
import type { WalWriterOptions } from '../../src/storage/wal/writer.ts';

export const WAL_DIR = '/wal';
const EMPTY = Buffer.alloc(0);

export interface LogRecord {
  readonly type: number;
  readonly flags: number;
  readonly term: number;
  readonly rangeId: number;
  readonly index: number;
  readonly data: Buffer;
  readonly sequence: number;
}

export interface HarnessOptions {
  readonly workers?: number;
  readonly ringBytes?: number;
  readonly dir?: string;
  /** Default true: every range counts as replayed at once. */
  readonly isReplayed?: boolean;
  readonly wal?: Partial<WalWriterOptions>;
}

export class WalHarness {
  readonly disk: Disk;
  readonly dir: string;
  readonly events: WalEvent[] = [];
  readonly appenders: WalAppender[];
  readonly status: WalStatusWords;
  readonly writer: WalWriter;
  readonly recovery: WalScan;
  readonly segmentBytes: number;
  /** While set, tasks beside the writer wait. */
  holdTasks = false;
  readonly #readEnds = new ReadEnds();
  readonly #answers: WalControl[] = [];
  #tasks: WalEvent[] = [];

  /** Opens the log, as a start of the process does. */
  constructor(disk: Disk, options: HarnessOptions = {}) {
    this.disk = disk;
    this.dir = options.dir ?? WAL_DIR;
    const count = options.workers ?? 1;
    const rings = Array.from({ length: count }, () => createRing({ capacityBytes: options.ringBytes ?? 256 * 1024 }));
    const shared = createWalStatus();
    this.status = new WalStatusWords(shared);
    this.appenders = rings.map(
      (ring) =>
        new WalAppender(new RingProducer(ring, null), { status: this.status, nowUs: () => 1_700_000_000_000_000 }),
    );
    this.segmentBytes = options.wal?.segmentBytes ?? SEGMENT_BYTES_MIN;
    const { scan, tail } = openWal(disk, this.dir, this.segmentBytes);
    this.recovery = scan;
    const writerOptions: WalWriterOptions = {
      dir: this.dir,
      segmentBytes: this.segmentBytes,
      spareCount: 1,
      idleMarkMs: Infinity,
      retryMs: 0,
      workers: rings.map((ring) => ({ ring, doorbell: createDoorbell() })),
      ...options.wal,
    };
    const send = (event: WalEvent): void => this.#onEvent(event);
    this.writer = new WalWriter(writerOptions, { disk, status: this.status, send, metrics: null }, tail);
    this.runTasks();
    if (options.isReplayed ?? true) this.writer.control({ type: 'replayed' });
  }

  #onEvent(event: WalEvent): void {
    this.events.push(event);
    if (event.type === 'prepare' || event.type === 'recycle' || event.type === 'delete') this.#tasks.push(event);
  }

  appenderOf(worker: number): WalAppender {
    return this.appenders[worker] as WalAppender;
  }

  /** Reads that end after a while. */
  readsLater({ prng, later }: Pick<NodeSurroundings<never>, 'prng' | 'later'>): ReadBack {
    return (wanted) => new Promise((resolve) => later(prng.next() * 20, () => resolve(this.read(wanted))));
  }

  /** Entries as an I/O thread reads them back. */
  read(wanted: RangeRead): readonly ReadEntry[] | null {
    this.writer.control({ type: 'locate', id: 0, rangeId: wanted.rangeId, index: wanted.first });
    const located = this.events.pop();
    if (located?.type !== 'located') throw new Error('the writer says where entries are');
    if (located.place.segments.length === 0) return null;
    const from = this.#readEnds.find(wanted.rangeId, wanted.first);
    const answer = readRange(this.disk, this.dir, located.place, wanted, from);
    if (answer !== null) this.#readEnds.note(wanted.rangeId, answer);
    return answer?.entries ?? null;
  }

  /** Does what the other I/O threads would do, and tells the writer. */
  runTasks(): void {
    const { disk, dir, segmentBytes } = this;
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) {
      if (task.type === 'prepare') this.#answers.push(prepareSegment(disk, dir, task.number, segmentBytes));
      if (task.type === 'recycle') {
        this.#answers.push(recycleIntoSpare(disk, dir, task.segmentId, task.number, segmentBytes));
      }
      if (task.type === 'delete') deleteSegment(disk, dir, task.segmentId);
    }
    for (const answer of this.#answers.splice(0)) if (answer.type !== 'stop') this.writer.control(answer);
  }

  /** Puts an entry into a worker's ring. Returns false when it finds no room. */
  append(
    rangeId: number,
    index: number,
    data: Buffer | string,
    { worker = 0, term = 1, type = TYPE_DATA, flags = 0 } = {},
  ): boolean {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    const appender = this.appenders[worker] as WalAppender;
    const [t, r, i] = [term as Term, rangeId as RangeId, index as LogIndex];
    const done = appender.append(type as 1, flags, t, r, i, bytes, 0, bytes.length);
    appender.publish();
    return done;
  }

  hardState(rangeId: number, term: number, vote: number, commit: number, worker = 0): boolean {
    const appender = this.appenders[worker] as WalAppender;
    const done = appender.hardState(rangeId as RangeId, term as Term, vote as MemberId, commit as LogIndex);
    appender.publish();
    return done;
  }

  checkpoint(rangeId: number, index: number, { worker = 0, term = 1 } = {}): boolean {
    return this.append(rangeId, index, EMPTY, { worker, term, type: TYPE_CHECKPOINT });
  }

  /** A snapshot at the index takes the place of all that the range has in the log. */
  cut(rangeId: number, index: number, term: number): boolean {
    return this.append(rangeId, index, EMPTY, { term, type: TYPE_CHECKPOINT, flags: FLAG_CUT });
  }

  /** One turn of the writer, and then of the tasks that it asked for. */
  turn(): boolean {
    const worked = this.writer.turn();
    if (!this.holdTasks) this.runTasks();
    return worked;
  }

  /** Turns until nothing is left to do; long entries included. */
  flush(): void {
    for (;;) {
      for (const appender of this.appenders) {
        appender.pump();
        appender.publish();
      }
      const worked = this.turn();
      if (!worked && !this.writer.isReady) return;
    }
  }

  /** Has everything that was appended become durable? */
  get isDurable(): boolean {
    return this.appenders.every((appender) => !appender.isPending && appender.durable === appender.position);
  }
}

/** Collects copies of what a scan or a replay reads. */
export function collectRecords(into: LogRecord[]): OnRecord {
  return (type, flags, term, rangeId, index, buffer, start, end, sequence) => {
    into.push({ type, flags, term, rangeId, index, data: Buffer.from(buffer.subarray(start, end)), sequence });
  };
}

export function readLog(disk: Disk, dir: string = WAL_DIR): { scan: WalScan; records: LogRecord[] } {
  const records: LogRecord[] = [];
  const scan = scanWal(disk, dir, collectRecords(records));
  return { scan, records };
}

/** Ids of the segments whose files are there. */
export function segmentsOn(disk: Disk): number[] {
  return disk
    .list(WAL_DIR)
    .map(segmentIdOf)
    .filter((id) => id !== null);
}

/** Appends entries of a range, from `index` on, until the log is in segment `segmentId`. Returns the next index. */
export function fillUntil(log: WalHarness, segmentId: number, rangeId: number, index: number): number {
  while ((log.writer.stats().segmentIds.at(-1) ?? 0) < segmentId) {
    log.append(rangeId, index++, Buffer.alloc(60_000, index));
    log.flush();
  }
  return index;
}
