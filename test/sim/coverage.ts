/** How often each event happened in a run, so that nobody believes in faults that never happen. docs/simulator.md */

/** What a run of whole clusters can count; a report has a line for each of them, those that never happened included. */
export const EVENTS = [
  'writes',
  'writes of long values',
  'reads by lease',
  'reads by a round',
  'results unknown',
  'requests refused',
  'leaders elected',
  'leaders transferred',
  'leaders put to rest',
  'learners added',
  'voters added',
  'members removed',
  'joint changes',
  'replicas dropped',
  'splits',
  'votes without a state',
  'processes killed',
  'machines crashed',
  'crashes of all nodes',
  'crashes in the middle of disk work',
  'disk blocks lost',
  'disk blocks torn',
  'fsyncs failed',
  'disks filled',
  'bits flipped',
  'replicas given up',
  'writes refused for want of room',
  'processes that stopped for their disk',
  'starts that failed for their disk',
  'disk stalls',
  'log rings full',
  'log segments sealed',
  'log segments recycled',
  'recoveries over stale records',
  'logs cut by a snapshot',
  'log read back',
  'checkpoints',
  'checkpoints failed',
  'snapshots sent',
  'snapshots installed',
  'snapshots not taken',
  'islands',
  'lonely nodes',
  'deaf nodes',
  'mute nodes',
  'random cuts',
  'packets lost',
  'packets repeated',
  'packets late',
  'pauses',
  'clock rates changed',
  'wall clocks set',
  'calms',
] as const;

export type SimulatedEvent = (typeof EVENTS)[number];

export class Coverage {
  readonly counts = new Map<SimulatedEvent, number>();

  count(event: SimulatedEvent, times = 1): void {
    if (times > 0) this.counts.set(event, (this.counts.get(event) ?? 0) + times);
  }

  of(event: SimulatedEvent): number {
    return this.counts.get(event) ?? 0;
  }
}

/** Sums of many runs. */
export class CoverageReport {
  readonly #sums = new Map<SimulatedEvent, { times: number; seeds: number; most: number }>();
  #seeds = 0;

  add({ counts }: Coverage): void {
    this.#seeds++;
    for (const [event, times] of counts) {
      const sum = this.#sums.get(event) ?? { times: 0, seeds: 0, most: 0 };
      this.#sums.set(event, { times: sum.times + times, seeds: sum.seeds + 1, most: Math.max(sum.most, times) });
    }
  }

  /** How often it happened in all of them. */
  times(event: SimulatedEvent): number {
    return this.#sums.get(event)?.times ?? 0;
  }

  /** One line for each event: how often, in how many of the seeds, and at most in one of them. */
  toString(): string {
    const lines = EVENTS.map((event) => {
      const { times, seeds, most } = this.#sums.get(event) ?? { times: 0, seeds: 0, most: 0 };
      const share = this.#seeds === 0 ? 0 : (100 * seeds) / this.#seeds;
      return `${event.padEnd(38)} ${String(times).padStart(10)} ${`${share.toFixed(0)} %`.padStart(6)} ${String(most).padStart(8)}`;
    });
    const head = `${`${this.#seeds} seeds`.padEnd(38)} ${'times'.padStart(10)} ${'seeds'.padStart(6)} ${'most'.padStart(8)}`;
    return [head, ...lines, ''].join('\n');
  }
}
