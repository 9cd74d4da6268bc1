/**
 * The main thread's side of the log: the pool of I/O threads, and the handle of a log that runs on it.
 *
 *     main ──startWal──▶ io thread 1: writer ◀── rings ── shard workers
 *       │  ◀─ prepare ──┘     ▲
 *       └─ task ─▶ io thread 2: zero-fill ─▶ main ─ 'spare' ─┘
 */
import { EventEmitter } from 'node:events';
import path from 'node:path';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { FatalError, SkerryError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { createDoorbell, Doorbell } from '../../sharedarraybuffer-ring/index.ts';
import { makeDirDurably, nodeDisk } from '../disk.ts';
import type { DiskLock } from '../disk.ts';
import type { IoPorts, IoTask } from './io-tasks.ts';
import type { WalControl, WalEvent, WalFailure, WalStats } from './messages.ts';
import { LOCK_NAME } from './names.ts';
import { ReadEnds } from './range-reader.ts';
import type { RangeAnswer, RangePlace, RangeRead, ReadEntry } from './range-reader.ts';
import type { WalScan } from './recovery.ts';
import { createWalStatus, WalStatusWords } from './status.ts';
import type { WalWorker } from './writer.ts';
import type { Laggard } from './tracker.ts';

/** The same file is .ts in a checkout and .js in the published package. */
const IO_WORKER = new URL(`../../../workers/io.worker${path.extname(import.meta.url)}`, import.meta.url).href;

const SPARE_COUNT = 1;
const IDLE_MARK_MS = 100;
const RETRY_MS = 1000;

/** Threads for blocking I/O. One of them is taken by each log that runs; at least one more does the work beside. */
export function createIoPool(threads: number): Piscina {
  return new Piscina({
    filename: IO_WORKER,
    minThreads: threads,
    maxThreads: threads,
    // Piscina's own Atomics.wait would keep a thread from reading the port of its writer.
    atomics: 'disabled',
  });
}

export interface StartWalOptions extends IoPorts {
  readonly dir: string;
  /** createIoPool(), with a thread free for this log and one for the work beside it. */
  readonly pool: Piscina;
  /** One ring per shard worker (createRing), and the doorbell that wakes the worker when something of it is durable. */
  readonly workers: readonly WalWorker[];
  readonly segmentBytes?: number;
  /** Spare segments kept ready besides those that the rings may need on a full disk. Default 1. */
  readonly spareCount?: number;
  /** Idle time after which the last batch is followed by a mark. Default 100. */
  readonly idleMarkMs?: number;
  /** How often to look for room again on a full disk. Default 1000. */
  readonly retryMs?: number;
  /** Area of the writer's metrics; see observe/counters.ts. */
  readonly metricsArea?: SharedArrayBuffer;
}

interface WalHandleEvents {
  /** The log takes no more writes; what was under way has an unknown result. The node must stop. Emitted once. */
  fatal: [FatalError];
  /** No room for the next segment: new writes are refused until 'resumed'. */
  full: [];
  resumed: [];
  /** A segment is full. `laggards`: the ranges that hold back the oldest of the `segmentCount` segments. */
  sealed: [{ segmentId: number; segmentCount: number; laggards: readonly Laggard[] }];
}

export interface WalHandle extends EventEmitter<WalHandleEvents> {
  readonly dir: string;
  /** What was in the log; replayWal() takes it. */
  readonly recovery: WalScan;
  /** To ring the writer: RingProducer's consumerDoorbell. */
  readonly doorbell: SharedArrayBuffer;
  /** For WalStatusWords, on any thread. */
  readonly status: SharedArrayBuffer;
  /** All ranges are replayed. No segment is used again before this is said. */
  replayed(): void;
  /** The range has a durable checkpoint through `index`. A CHECKPOINT record in the log says the same. */
  checkpointed(rangeId: number, index: number): void;
  /** The segment is damaged: when it is no longer needed, its file is kept under another name, not used again. */
  keepAside(segmentId: number): void;
  /** Nothing of the range is needed any more; its id is never used again. */
  removed(rangeId: number): void;
  /** Entries that have left memory; null when the log does not have them any more. Throws KV_STATE when the log has ended. */
  read(wanted: RangeRead): Promise<readonly ReadEntry[] | null>;
  /** Throws KV_STATE when the log has ended. */
  stats(): Promise<WalStats>;
  /** Writes what is in the rings, closes the log, and lets go of the directory. After a fatal error it only lets go. */
  stop(): Promise<void>;
}

/**
 * Locks, recovers and opens the log in `dir`, which is made if it is missing. Throws KV_STATE when another process has it,
 * KV_CORRUPT when it is damaged.
 */
export async function startWal(options: StartWalOptions): Promise<WalHandle> {
  makeDirDurably(nodeDisk, options.dir);
  const lock = nodeDisk.lockFile(path.join(options.dir, LOCK_NAME));
  try {
    const handle = new Handle(options, lock);
    await handle.opened;
    return handle;
  } catch (error) {
    lock.release();
    throw error;
  }
}

class Handle extends EventEmitter<WalHandleEvents> implements WalHandle {
  readonly dir: string;
  readonly doorbell = createDoorbell();
  readonly status = createWalStatus();
  /** Resolves when the log is open. */
  readonly opened: Promise<void>;
  readonly #options: StartWalOptions;
  readonly #lock: DiskLock;
  readonly #port: MessagePort;
  readonly #bell: Doorbell;
  readonly #words: WalStatusWords;
  readonly #segmentBytes: number;
  readonly #stats = new Map<number, PromiseWithResolvers<WalStats>>();
  readonly #places = new Map<number, PromiseWithResolvers<RangePlace>>();
  readonly #readEnds = new ReadEnds();
  readonly #opening = Promise.withResolvers<void>();
  readonly #ended: Promise<void>;
  readonly #beside = new Set<Promise<void>>();
  readonly #damaged = new Set<number>();
  #recovery: WalScan | null = null;
  #hasFailed = false;
  #isEnded = false;
  #stopping: Promise<void> | null = null;
  #nextQuestionId = 1;

  constructor(options: StartWalOptions, lock: DiskLock) {
    super();
    this.dir = options.dir;
    this.#options = options;
    this.#lock = lock;
    this.#bell = new Doorbell(this.doorbell);
    this.#words = new WalStatusWords(this.status);
    this.#segmentBytes = options.segmentBytes ?? limits.walSegmentBytes;
    this.opened = this.#opening.promise;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', (event: WalEvent) => this.#onEvent(event));
    const task: IoTask = {
      kind: 'wal-writer',
      port: port2,
      options: {
        dir: options.dir,
        segmentBytes: this.#segmentBytes,
        spareCount: options.spareCount ?? SPARE_COUNT,
        idleMarkMs: options.idleMarkMs ?? IDLE_MARK_MS,
        retryMs: options.retryMs ?? RETRY_MS,
        workers: options.workers,
        status: this.status,
        doorbell: this.doorbell,
      },
      ...this.#diskModule,
      ...(options.metricsArea === undefined ? {} : { metricsArea: options.metricsArea }),
    };
    // Piscina takes an array; its type follows an overload of postMessage that newer Node types end with.
    const transferList = [port2] as never;
    this.#ended = options.pool.run(task, { transferList }).then(
      () => this.#onEnd(),
      (error: unknown) => {
        this.#onFatal({ code: 'KV_STATE', message: `The WAL writer ended: ${String(error)}`, hint: { dir: this.dir } });
        this.#onEnd();
      },
    );
  }

  get recovery(): WalScan {
    return this.#recovery as WalScan;
  }

  replayed(): void {
    this.#post({ type: 'replayed' });
  }

  checkpointed(rangeId: number, index: number): void {
    this.#post({ type: 'checkpointed', rangeId, index });
  }

  keepAside(segmentId: number): void {
    this.#damaged.add(segmentId);
  }

  removed(rangeId: number): void {
    this.#post({ type: 'removed', rangeId });
  }

  stats(): Promise<WalStats> {
    return this.#ask(this.#stats, (id) => ({ type: 'stats', id }));
  }

  async read(wanted: RangeRead): Promise<readonly ReadEntry[] | null> {
    const { rangeId, first: index } = wanted;
    const place = await this.#ask(this.#places, (id) => ({ type: 'locate', id, rangeId, index }));
    if (place.segments.length === 0) return null;
    const from = this.#readEnds.find(rangeId, index);
    const task: IoTask = { kind: 'read', dir: this.dir, place, wanted, from, ...this.#diskModule };
    const answer = (await this.#options.pool.run(task)) as RangeAnswer | null;
    if (answer !== null) this.#readEnds.note(rangeId, answer);
    return answer?.entries ?? null;
  }

  #ask<T>(waiting: Map<number, PromiseWithResolvers<T>>, question: (id: number) => WalControl): Promise<T> {
    const waiter = Promise.withResolvers<T>();
    if (this.#isEnded) {
      waiter.reject(this.#endedError());
      return waiter.promise;
    }
    const id = this.#nextQuestionId++;
    waiting.set(id, waiter);
    this.#post(question(id));
    return waiter.promise;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#post({ type: 'stop' });
    await this.#ended;
    await Promise.all(this.#beside);
    this.#lock.release();
  }

  get #diskModule(): IoPorts {
    const { diskModule } = this.#options;
    return diskModule === undefined ? {} : { diskModule };
  }

  #post(message: WalControl): void {
    const port = this.#port;
    port.postMessage(message);
    this.#words.countControl();
    this.#bell.ring();
  }

  #onEvent(event: WalEvent): void {
    switch (event.type) {
      case 'recovered':
        this.#recovery = event.scan;
        this.#opening.resolve();
        break;
      case 'fatal':
        this.#onFatal(event.error);
        break;
      case 'full':
      case 'resumed':
        this.emit(event.type);
        break;
      case 'sealed':
        this.emit('sealed', event);
        break;
      case 'located':
        this.#places.get(event.id)?.resolve(event.place);
        this.#places.delete(event.id);
        break;
      case 'stats':
        this.#stats.get(event.id)?.resolve(event.stats);
        this.#stats.delete(event.id);
        break;
      case 'prepare':
        this.#besideWriter({ kind: 'prepare', dir: this.dir, segmentBytes: this.#segmentBytes, number: event.number });
        break;
      case 'recycle': {
        const { segmentId, number } = event;
        if (this.#damaged.has(segmentId)) this.#keepAside(segmentId, true);
        else
          this.#besideWriter({ kind: 'recycle', dir: this.dir, segmentBytes: this.#segmentBytes, segmentId, number });
        break;
      }
      case 'delete':
        if (this.#damaged.has(event.segmentId)) this.#keepAside(event.segmentId, false);
        else this.#besideWriter({ kind: 'delete', dir: this.dir, segmentId: event.segmentId });
        break;
    }
  }

  #keepAside(segmentId: number, isRecycled: boolean): void {
    this.#damaged.delete(segmentId);
    this.#besideWriter({ kind: 'keep-aside', dir: this.dir, segmentId, isRecycled });
  }

  #besideWriter(task: IoTask): void {
    // What is left undone now, the next start does.
    if (this.#isEnded) return;
    const done = this.#runBeside(task);
    this.#beside.add(done);
    void done.finally(() => this.#beside.delete(done));
  }

  /** Never rejects. */
  async #runBeside(task: IoTask): Promise<void> {
    try {
      const answer = (await this.#options.pool.run({ ...task, ...this.#diskModule })) as WalControl | null;
      if (answer !== null) this.#post(answer);
    } catch (error) {
      const message = `The write-ahead log in ${this.dir} cannot prepare its segments: ${String(error)}. Check the disk.`;
      this.#onFatal({ code: 'KV_STATE', message, hint: { dir: this.dir } });
    }
  }

  #onFatal(failure: WalFailure): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    if (this.#recovery === null) {
      this.#opening.reject(new SkerryError(failure.code, failure.message, { hint: failure.hint }));
    } else {
      this.emit('fatal', new FatalError(failure.code, failure.message, { hint: failure.hint }));
    }
  }

  #onEnd(): void {
    this.#isEnded = true;
    // The task's result and the writer's last messages come by different ports, in any order.
    for (let last = receiveMessageOnPort(this.#port); last !== undefined; last = receiveMessageOnPort(this.#port)) {
      this.#onEvent(last.message as WalEvent);
    }
    this.#port.close();
    for (const waiter of [...this.#stats.values(), ...this.#places.values()]) waiter.reject(this.#endedError());
    this.#stats.clear();
    this.#places.clear();
  }

  #endedError(): SkerryError {
    return new SkerryError('KV_STATE', `The write-ahead log in ${this.dir} is closed.`);
  }
}
