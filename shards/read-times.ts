/** When a read that is to be explained passed the points of its way (core/kv/explanation.ts). Monotonic milliseconds. */
import type { ReadExplanation } from '../src/core/kv/explanation.ts';
import { roundedMs } from '../src/core/kv/explanation.ts';
import { CONSISTENCY_STALE } from '../src/core/kv/spec.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';

export class ReadTimes {
  readonly #sinceMs: number;
  /** When it began to wait for a quorum; 0 = it did not. */
  #askedMs = 0;
  #startedMs = 0;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  asked(nowMs: number): void {
    if (this.#askedMs === 0) this.#askedMs = nowMs;
  }

  started(nowMs: number): void {
    this.#startedMs = nowMs;
  }

  explain(
    spec: CommandSpec,
    where: Pick<ReadExplanation, 'rangeId' | 'nodeId' | 'worker' | 'term' | 'index'>,
    nowMs: number,
  ): ReadExplanation {
    const isAsked = this.#askedMs !== 0;
    return {
      kind: 'read',
      ...where,
      restsOn: spec.consistency === CONSISTENCY_STALE ? 'stale' : isAsked ? 'readIndex' : 'lease',
      queueMs: roundedMs((isAsked ? this.#askedMs : this.#startedMs) - this.#sinceMs),
      readIndexMs: isAsked ? roundedMs(this.#startedMs - this.#askedMs) : null,
      readMs: roundedMs(nowMs - this.#startedMs),
      totalMs: roundedMs(nowMs - this.#sinceMs),
    };
  }
}
