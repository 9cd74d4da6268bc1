/** Requests whose replies are to be explained: since when they are here, and what the ranges have said so far. */
import type { ServerExplanation } from '../../codec/native/explanation.ts';
import type { RangeExplanation } from '../../core/kv/explanation.ts';
import { roundedMs } from '../../core/kv/explanation.ts';
import { nodeOfWorker, WORKERS_MAX } from '../../core/member.ts';

interface Explained {
  readonly sinceMs: number;
  readonly ranges: RangeExplanation[];
}

export class ExplainedRequests {
  readonly #worker: number;
  /** By slot. */
  readonly #requests = new Map<number, Explained>();

  /** `worker`: this one, among all workers of the cluster. */
  constructor(worker: number) {
    this.#worker = worker;
  }

  /** The reply of `slot` is to be explained. */
  begin(slot: number): void {
    this.#requests.set(slot, { sinceMs: performance.now(), ranges: [] });
  }

  add(slot: number, explanation: RangeExplanation): void {
    this.#requests.get(slot)?.ranges.push(explanation);
  }

  /** What explains the reply of `slot`, which is made now; null: nobody asked. */
  take(slot: number): ServerExplanation | null {
    if (this.#requests.size === 0) return null;
    const request = this.#requests.get(slot);
    if (request === undefined) return null;
    this.#requests.delete(slot);
    return {
      nodeId: nodeOfWorker(this.#worker),
      worker: this.#worker % WORKERS_MAX,
      totalMs: roundedMs(performance.now() - request.sinceMs),
      ranges: request.ranges,
    };
  }
}
