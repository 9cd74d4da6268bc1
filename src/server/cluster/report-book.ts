/**
 * What the workers of this node report of their ranges, put together, with a number that grows when there is something new.
 * Mere progress (applied and matched indexes, bytes) is passed on only now and then.
 */
import type { MemberId, RangeId } from '../../core/brands.ts';
import type { DamagedReplica, RangeReport } from '../../core/placement/report.ts';
import { asBuffer } from '../../../shards/messages.ts';

const PROGRESS_EVERY_MS = 5000;

export class ReportBook {
  readonly #byWorker = new Map<number, readonly RangeReport[]>();
  readonly #damagedByWorker = new Map<number, readonly DamagedReplica[]>();
  readonly #waiting = new Set<() => void>();
  readonly #nowMs: () => number;
  #number = 1;
  #text = '';
  #passedOnMs = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get number(): number {
    return this.#number;
  }

  get reports(): readonly RangeReport[] {
    return [...this.#byWorker.values()].flat();
  }

  get damaged(): readonly DamagedReplica[] {
    return [...this.#damagedByWorker.values()].flat();
  }

  /** Takes all of one worker's replicas. Says whether there is something new. */
  set(workerIndex: number, reports: readonly RangeReport[], damaged: readonly DamagedReplica[]): boolean {
    this.#byWorker.set(workerIndex, reports);
    this.#damagedByWorker.set(workerIndex, damaged);
    const lost = this.damaged.map(({ rangeId, memberId }) => `damaged ${rangeId} ${memberId}`);
    const text = [...this.reports.map(essence), ...lost].join('\n');
    const nowMs = this.#nowMs();
    if (text === this.#text && nowMs - this.#passedOnMs < PROGRESS_EVERY_MS) return false;
    this.#text = text;
    this.#passedOnMs = nowMs;
    this.#number++;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
    return true;
  }

  /** Resolves when the number is another than `seen`, at the latest after `timeoutMs`. */
  changedSince(seen: number, timeoutMs: number): Promise<void> {
    if (seen !== this.#number) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(wake);
        resolve();
      }, timeoutMs);
      this.#waiting.add(wake);
    });
  }

  /** This node's replica of the range, and the worker that has it. */
  find(rangeId: RangeId): { readonly workerIndex: number; readonly report: RangeReport } | null {
    for (const [workerIndex, reports] of this.#byWorker) {
      const report = reports.find(({ descriptor }) => descriptor.rangeId === rangeId);
      if (report !== undefined) return { workerIndex, report };
    }
    return null;
  }

  /** The worker that has this member, whole or damaged. */
  workerOf(rangeId: RangeId, memberId: MemberId): number | null {
    const own = this.find(rangeId);
    if (own?.report.memberId === memberId) return own.workerIndex;
    for (const [workerIndex, damaged] of this.#damagedByWorker) {
      if (damaged.some((replica) => replica.rangeId === rangeId && replica.memberId === memberId)) return workerIndex;
    }
    return null;
  }
}

function essence({ descriptor, memberId, leader, term, isChanging, members }: RangeReport): string {
  const { rangeId, epoch } = descriptor;
  const followers = members.map((member) => {
    return `${member.memberId}${member.isActive ? 'a' : ''}${member.isCaughtUp ? 'c' : ''}`;
  });
  return [rangeId, epoch.version, epoch.confVersion, memberId, leader, term, isChanging, ...followers].join(' ');
}

/** Bytes that crossed a thread come as plain arrays: makes Buffers of them again. */
export function reviveReports(reports: readonly RangeReport[]): RangeReport[] {
  return reports.map((report) => {
    const { startKey, endKey } = report.descriptor;
    const descriptor = {
      ...report.descriptor,
      startKey: asBuffer(startKey),
      endKey: endKey === null ? null : asBuffer(endKey),
    };
    return { ...report, descriptor };
  });
}
