/**
 * Snapshots on their way into this worker.
 *
 *     file, whole and durable ─▶ load into a new store, a few blocks a turn ─▶ step SNAPSHOT ─▶ Ready: install
 *                                                                                └ not wanted: thrown away
 *
 * Loading comes before the message is stepped, so that the range changes from the old state to the new one between two
 * commands, however long the loading takes.
 */
import type { LogIndex, RangeId, Term } from '../src/core/brands.ts';
import type { StateMachine } from '../src/core/kv/state-machine.ts';
import { createStateMachine } from '../src/core/kv/state-machine.ts';
import type { Message, SnapshotMeta } from '../src/core/raft/types.ts';
import type { BulkLoader, Engine } from '../src/engine/engine.ts';
import type { CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import { loadCheckpointSteps } from '../src/storage/checkpoint/index.ts';
import type { Disk } from '../src/storage/disk.ts';
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
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** The contents are here: steps the message, installs or throws away. */
  readonly loaded: (snapshot: LoadedSnapshot) => void;
  /** It could not be read; the leader will send another one. */
  readonly failed: (rangeId: RangeId, error: unknown) => void;
}

/** What one turn spends on loading. */
const TURN_MS = 2;
/**
 * How much longer than a turn's loading the next one waits: commands and the other threads of the machine come first, since
 * a range that gets another replica is in no hurry. Loading alone would take a whole core.
 */
const PAUSE_FACTOR = 7;

interface Loading {
  readonly rangeId: RangeId;
  readonly message: Message;
  readonly file: string;
  readonly done: SnapshotCallback;
  readonly store: Engine;
  readonly loader: BulkLoader;
  readonly steps: Generator<unknown, CheckpointInfo>;
}

export class IncomingSnapshots {
  readonly #ports: IncomingPorts;
  readonly #waiting: Pick<Loading, 'rangeId' | 'message' | 'file' | 'done'>[] = [];
  #loading: Loading | null = null;
  /** When the next piece may be loaded. */
  #nextMs = 0;

  constructor(ports: IncomingPorts) {
    this.#ports = ports;
  }

  /** `file` is whole, verified and durable; it belongs to this class from now on. */
  arrived(rangeId: RangeId, message: Message, file: string, done: SnapshotCallback): void {
    this.#waiting.push({ rangeId, message, file, done });
  }

  /** Loads for a while. In how many milliseconds there is more to do; null = there is nothing. */
  turn(): number | null {
    if (this.#loading === null && this.#waiting.length === 0) return null;
    const startMs = this.#ports.monotonicMs();
    if (startMs < this.#nextMs) return this.#nextMs - startMs;
    let nowMs = startMs;
    while (nowMs < startMs + TURN_MS) {
      this.#loading ??= this.#begin();
      if (this.#loading === null) return null;
      this.#step(this.#loading);
      nowMs = this.#ports.monotonicMs();
    }
    const pauseMs = (nowMs - startMs) * PAUSE_FACTOR;
    this.#nextMs = nowMs + pauseMs;
    return pauseMs;
  }

  #begin(): Loading | null {
    const next = this.#waiting.shift();
    if (next === undefined) return null;
    const store = this.#ports.createStore();
    const loader = store.bulkLoad();
    return { ...next, store, loader, steps: loadCheckpointSteps(this.#ports.disk, next.file, loader) };
  }

  #step(loading: Loading): void {
    const { disk, loaded, failed } = this.#ports;
    const { rangeId, message, file, done, store, loader, steps } = loading;
    try {
      const { done: isDone, value } = steps.next();
      if (isDone !== true) return;
      loader.finish();
      this.#loading = null;
      const info = value as CheckpointInfo;
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
  }
}
