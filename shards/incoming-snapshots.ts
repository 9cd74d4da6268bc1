/**
 * Snapshots on their way into this worker.
 *
 *     file, whole and durable ─▶ load into a new store, a few blocks a turn ─▶ step SNAPSHOT ─▶ Ready: install
 *                                                                                └ not wanted: thrown away
 *
 * Loading comes before the message is stepped, so that the range changes from the old state to the new one between two
 * commands, however long the loading takes.
 *
 * It is slow on purpose, and so it can be too slow: when the leader's log has been used again meanwhile, the range's new member is
 * sent another snapshot. That one is loaded without regard to the rate, so that it ends.
 */
import type { LogIndex, RangeId, Term } from '../src/core/brands.ts';
import type { StateMachine } from '../src/core/kv/state-machine.ts';
import { createStateMachine } from '../src/core/kv/state-machine.ts';
import type { Message, SnapshotMeta } from '../src/core/raft/types.ts';
import type { BulkLoader, Engine } from '../src/engine/engine.ts';
import type { CheckpointInfo, LoadStep } from '../src/storage/checkpoint/index.ts';
import { loadCheckpointSteps } from '../src/storage/checkpoint/index.ts';
import type { Disk } from '../src/storage/disk.ts';
import { BackgroundWork } from './background-work.ts';
import type { RangeMeta } from './entry.ts';
import { decodeRangeMeta } from './entry.ts';

/** Called once: whether the member has what the snapshot holds, so that the leader need not send it again. */
export type SnapshotCallback = (isTaken: boolean) => void;

export interface LoadedSnapshot {
  readonly rangeId: RangeId;
  readonly message: Message;
  readonly file: string;
  readonly index: LogIndex;
  readonly term: Term;
  readonly meta: RangeMeta;
  readonly store: Engine;
  readonly machine: StateMachine;
  readonly done: SnapshotCallback;
}

export interface IncomingPorts {
  readonly disk: Disk;
  readonly createStore: () => Engine;
  readonly valueBytesMax: number;
  /** What may be loaded now, uncompressed; 0 = no limit. */
  readonly bytesPerSecond: () => number;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** The contents are here: steps the message, installs or throws away. */
  readonly loaded: (snapshot: LoadedSnapshot) => void;
  /** It could not be read; the leader will send another one. */
  readonly failed: (rangeId: RangeId, error: unknown) => void;
}

/** What one turn spends on loading. */
const TURN_MS = 2;
/** A snapshot of a range that had one within this time comes because that one was too old when it was loaded. */
const AGAIN_MS = 300_000;

interface Loading {
  readonly rangeId: RangeId;
  readonly message: Message;
  readonly file: string;
  readonly done: SnapshotCallback;
  readonly store: Engine;
  readonly loader: BulkLoader;
  readonly isRushed: boolean;
  readonly steps: Generator<LoadStep, CheckpointInfo>;
}

export class IncomingSnapshots {
  readonly #ports: IncomingPorts;
  readonly #waiting: Pick<Loading, 'rangeId' | 'message' | 'file' | 'done'>[] = [];
  #loading: Loading | null = null;
  readonly #work: BackgroundWork;
  /** When the last snapshot of each range was here, as far as that is not long ago. */
  readonly #loadedMs = new Map<RangeId, number>();

  constructor(ports: IncomingPorts) {
    this.#ports = ports;
    this.#work = new BackgroundWork({ turnMs: TURN_MS, monotonicMs: ports.monotonicMs });
  }

  /** `file` is whole, verified and durable; it belongs to this class from now on. */
  arrived(rangeId: RangeId, message: Message, file: string, done: SnapshotCallback): void {
    this.#waiting.push({ rangeId, message, file, done });
  }

  /** Loads for a while. In how many milliseconds there is more to do; null = there is nothing. */
  turn(): number | null {
    if (this.#loading === null && this.#waiting.length === 0) return null;
    let pacedBytes = 0;
    const step = (nowMs: number): boolean => {
      this.#loading ??= this.#begin(nowMs);
      if (this.#loading === null) return false;
      pacedBytes += this.#step(this.#loading, nowMs);
      return true;
    };
    return this.#work.turn(step, (spentMs) => {
      const bytesPerSecond = this.#ports.bytesPerSecond();
      return bytesPerSecond === 0 ? 0 : (pacedBytes / bytesPerSecond) * 1000 - spentMs;
    });
  }

  #begin(nowMs: number): Loading | null {
    const next = this.#waiting.shift();
    if (next === undefined) return null;
    const store = this.#ports.createStore();
    const loader = store.bulkLoad();
    for (const [rangeId, loadedMs] of this.#loadedMs) if (nowMs - loadedMs > AGAIN_MS) this.#loadedMs.delete(rangeId);
    const isRushed = this.#loadedMs.has(next.rangeId);
    return { ...next, store, loader, isRushed, steps: loadCheckpointSteps(this.#ports.disk, next.file, loader) };
  }

  /** Loads a block. Returns the bytes that count for the rate. */
  #step(loading: Loading, nowMs: number): number {
    const { disk, loaded, failed } = this.#ports;
    const { rangeId, message, file, done, store, loader, isRushed, steps } = loading;
    try {
      const step = steps.next();
      if (step.done !== true) return isRushed ? 0 : step.value.rawBytes;
      loader.finish();
      this.#loading = null;
      this.#loadedMs.set(rangeId, nowMs);
      const info = step.value;
      const { index, term } = message.snapshot as SnapshotMeta;
      const isThis = info.rangeId === rangeId && info.appliedIndex === index && info.appliedTerm === term;
      if (!isThis) throw new Error('the snapshot holds another range or another state than was announced');
      const meta = decodeRangeMeta(info.meta);
      const machine = createStateMachine({
        store,
        valueBytesMax: this.#ports.valueBytesMax,
        sessions: meta.sessions,
        latestVersion: info.latestVersion,
      });
      loaded({ rangeId, message, file, index, term, meta, store, machine, done });
    } catch (error) {
      this.#loading = null;
      store.destroy();
      disk.unlink(file);
      failed(rangeId, error);
      done(false);
    }
    return 0;
  }
}
