/**
 * When a batch of writes passed the points of its way, and what that says of each write in it (core/kv/explanation.ts).
 * The clock is read once for a batch and point; all of one batch share the way from the log on.
 */
import type { WriteExplanation } from '../src/core/kv/explanation.ts';
import { roundedMs } from '../src/core/kv/explanation.ts';

/** When a sync began and ended, monotonic milliseconds. */
export interface SyncTime {
  readonly startedMs: number;
  readonly endedMs: number;
}

/** How long a write spent in each phase, milliseconds; -1: it did not wait for that. */
export interface WritePhases {
  queueMs: number;
  walWaitMs: number;
  fsyncMs: number;
  noticeMs: number;
  replicationMs: number;
  applyMs: number;
}

/** Monotonic milliseconds. */
export class WriteTimes {
  /** The first write came. */
  beganMs = 0;
  /** It became an entry of the log. */
  enteredMs = 0;
  syncStartedMs = 0;
  syncEndedMs = 0;
  /** This worker saw that the log here is durable; 0 = not yet. */
  noticedMs = 0;
  /** A majority has it, and this worker is about to apply it. */
  committedMs = 0;

  begin(nowMs: number): void {
    this.beganMs = nowMs;
    this.noticedMs = 0;
  }

  logged(sync: SyncTime | null, noticedMs: number): void {
    if (this.noticedMs !== 0) return;
    this.noticedMs = noticedMs;
    this.syncStartedMs = sync === null ? this.enteredMs : sync.startedMs;
    this.syncEndedMs = sync === null ? noticedMs : sync.endedMs;
  }

  /** Fills `out` for a write that came at `sinceMs` and was applied at `appliedMs`. `isShared`: others vote, too. */
  phases(sinceMs: number, appliedMs: number, isShared: boolean, out: WritePhases): void {
    const isLogged = this.noticedMs !== 0;
    out.queueMs = this.enteredMs - sinceMs;
    out.walWaitMs = isLogged ? Math.max(0, this.syncStartedMs - this.enteredMs) : -1;
    out.fsyncMs = isLogged ? this.syncEndedMs - Math.max(this.syncStartedMs, this.enteredMs) : -1;
    const noticedMs = isShared ? this.noticedMs : this.committedMs;
    out.noticeMs = isLogged ? noticedMs - this.syncEndedMs : -1;
    out.replicationMs = isShared ? this.committedMs - (isLogged ? this.noticedMs : this.enteredMs) : -1;
    out.applyMs = appliedMs - this.committedMs;
  }
}

/** The writes of a batch that are to be explained. */
export class ExplainedWrites {
  readonly #sinceMs = new Map<number, number>();

  /** Write `i` of the batch, which came at `sinceMs`. */
  add(i: number, sinceMs: number): void {
    this.#sinceMs.set(i, sinceMs);
  }

  has(i: number): boolean {
    return this.#sinceMs.size > 0 && this.#sinceMs.has(i);
  }

  /** When write `i` came; undefined: nobody asked. */
  since(i: number): number | undefined {
    return this.#sinceMs.size === 0 ? undefined : this.#sinceMs.get(i);
  }

  clear(): void {
    if (this.#sinceMs.size > 0) this.#sinceMs.clear();
  }
}

export function createPhases(): WritePhases {
  return { queueMs: 0, walWaitMs: -1, fsyncMs: -1, noticeMs: -1, replicationMs: -1, applyMs: 0 };
}

/** A write of a batch, which came at `sinceMs` and was applied here at `nowMs`. */
export function explainWrite(
  place: Pick<WriteExplanation, 'rangeId' | 'nodeId' | 'worker'>,
  batch: { readonly index: number; readonly term: number; readonly count: number; readonly times: WriteTimes },
  sinceMs: number,
  nowMs: number,
  isShared: boolean,
): WriteExplanation {
  const { index, term, count, times } = batch;
  const phases = createPhases();
  times.phases(sinceMs, nowMs, isShared, phases);
  return {
    kind: 'write',
    ...place,
    index,
    term,
    batchCommands: count,
    queueMs: roundedMs(phases.queueMs),
    walWaitMs: waited(phases.walWaitMs),
    fsyncMs: waited(phases.fsyncMs),
    noticeMs: waited(phases.noticeMs),
    replicationMs: waited(phases.replicationMs),
    applyMs: roundedMs(phases.applyMs),
    totalMs: roundedMs(nowMs - sinceMs),
  };
}

function waited(ms: number): number | null {
  return ms < 0 ? null : roundedMs(ms);
}
