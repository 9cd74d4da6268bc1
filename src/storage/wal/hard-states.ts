/**
 * The newest hard state of every range, kept so that the writer can move it forward: an idle range's vote, written long ago,
 * would otherwise hold the oldest segment for ever. Also makes the records that the log writes by itself.
 */
import type { LogIndex, RangeId, Term } from '../../core/brands.ts';
import { writeU64 } from '../../core/kv/batch.ts';
import type { Batch } from './batch.ts';
import type { RangeLog } from './entries.ts';
import {
  FLAG_HARD_STATE,
  FLAG_IDLE_MARK,
  HARD_STATE_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_PREFIX_BYTES,
  recordBytes,
  TYPE_NOOP,
} from './format.ts';
import { writeRecord } from './record.ts';

const BUFFER_BYTES = 64 * 1024;
const RECORD_BYTES = recordBytes(HARD_STATE_BYTES);

export class HardStates {
  readonly #states = new Map<number, { term: number; vote: number; commit: number }>();
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  /** Ranges whose hard state is to be written again. */
  #moving: number[] = [];

  constructor(ranges: ReadonlyMap<number, RangeLog>) {
    for (const [rangeId, { hardState }] of ranges) {
      if (hardState !== null) this.#states.set(rangeId, { ...hardState });
    }
  }

  written(rangeId: number, term: number, vote: number, commit: number): void {
    const state = this.#states.get(rangeId);
    if (state === undefined) {
      this.#states.set(rangeId, { term, vote, commit });
      return;
    }
    state.term = term;
    state.vote = vote;
    state.commit = commit;
  }

  removed(rangeId: number): void {
    this.#states.delete(rangeId);
  }

  /** Write the hard states of these ranges again. */
  move(rangeIds: readonly number[]): void {
    this.#moving = rangeIds.filter((rangeId) => this.#states.has(rangeId));
  }

  get isMoving(): boolean {
    return this.#moving.length > 0;
  }

  /** Puts the hard states to be moved into the batch, which is empty. Returns false when the segment has no room for all. */
  gather(batch: Batch): boolean {
    let bytes = 0;
    for (const rangeId of this.#moving) {
      const state = this.#states.get(rangeId);
      if (state === undefined || bytes + RECORD_BYTES > BUFFER_BYTES) continue;
      writeU64(this.#buffer, state.vote, bytes + RECORD_HEADER_BYTES + RECORD_PREFIX_BYTES);
      const { term, commit } = state;
      writeOwn(this.#buffer, bytes, FLAG_HARD_STATE, term, rangeId, commit, HARD_STATE_BYTES);
      bytes += RECORD_BYTES;
    }
    // What did not come in now holds back its segment still, and is found again when that is looked at next.
    this.#moving = [];
    return batch.takeOwn(this.#buffer, bytes) === bytes;
  }
}

const mark = Buffer.alloc(recordBytes(RECORD_PREFIX_BYTES));

/** Puts an idle mark into the batch, which is empty. Returns false when there is no room in the segment. */
export function gatherIdleMark(batch: Batch): boolean {
  writeOwn(mark, 0, FLAG_IDLE_MARK, 0, 0, 0, RECORD_PREFIX_BYTES);
  return batch.takeOwn(mark, mark.length) > 0;
}

function writeOwn(
  buffer: Buffer,
  at: number,
  flags: number,
  term: number,
  rangeId: number,
  index: number,
  payloadBytes: number,
): void {
  const nowUs = Date.now() * 1000;
  writeRecord(buffer, at, TYPE_NOOP, flags, term as Term, rangeId as RangeId, index as LogIndex, payloadBytes, nowUs);
}
