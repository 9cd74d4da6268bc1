/**
 * Where the time of one command went, as the range that ran it saw it. Milliseconds, exact to a microsecond. The phases
 * follow one another and add up to `totalMs`; a phase that the command did not wait for is null.
 *
 *     write   arrived ─ queue ─▶ in the log ─ WAL wait ─▶ ─ fsync ─▶ ─ notice ─▶ ─ replication ─▶ committed ─ apply ─▶ replied
 *                                    └────────── replication, when others were faster than the disk here ──▶┘
 *     read    arrived ─ queue ─▶ ─ ReadIndex ─▶ ─ read ─▶ replied
 */
interface Place {
  readonly rangeId: number;
  /** The node and the worker of it that ran the command: where the range leads, unless the read was a stale one. */
  readonly nodeId: number;
  readonly worker: number;
  readonly term: number;
  /** Of the write's entry; for a read, of the last entry that its answer rests on. */
  readonly index: number;
}

export interface WriteExplanation extends Place {
  readonly kind: 'write';
  /** Writes that shared the entry. */
  readonly batchCommands: number;
  /** Until it was in the log and on its way to the disk and to the other members. */
  readonly queueMs: number;
  /** Until the WAL writer began to write it: the sync before it had to end. */
  readonly walWaitMs: number | null;
  /** Write and sync of the WAL. */
  readonly fsyncMs: number | null;
  /** Until this worker took notice of the sync. */
  readonly noticeMs: number | null;
  /**
   * Until a majority of the voters had it, from then on; or from the queue's end, when that was before the disk here was
   * done. 0: the others had it already. Null: nobody else votes.
   */
  readonly replicationMs: number | null;
  /** Until it was applied and its reply was made. */
  readonly applyMs: number;
  readonly totalMs: number;
}

export interface ReadExplanation extends Place {
  readonly kind: 'read';
  /** What made the answer admissible: the leader's lease, a quorum that was asked (ReadIndex), or nothing (stale). */
  readonly restsOn: 'lease' | 'readIndex' | 'stale';
  /** Until the writes that it comes behind were applied. */
  readonly queueMs: number;
  /** Until a quorum had answered and its index was applied. */
  readonly readIndexMs: number | null;
  readonly readMs: number;
  readonly totalMs: number;
}

export type RangeExplanation = WriteExplanation | ReadExplanation;

/** `ms` to the microsecond; differences of clocks that were read out of order do not go below 0. */
export function roundedMs(ms: number): number {
  return Math.max(0, Math.round(ms * 1000) / 1000);
}
