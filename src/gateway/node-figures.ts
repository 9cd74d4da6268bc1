/** The figures of the whole node that INFO shows: sums over all workers, read from their metrics. */
import type { MetricsReader } from '../observe/counters.ts';
import { sumSlot } from '../observe/counters.ts';
import { slots } from '../observe/metrics.ts';

export interface NodeFigures {
  readonly connections: number;
  readonly connectionsTotal: number;
  readonly connectionsRefused: number;
  readonly commandsTotal: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly keys: number;
  /** Of `keys`, those that have an expiry. */
  readonly keysExpiring: number;
  readonly keysExpired: number;
  readonly keyspaceHits: number;
  readonly keyspaceMisses: number;
  readonly memoryUsedBytes: number;
  readonly ranges: number;
}

/** Those that only grow; CONFIG RESETSTAT sets them back. */
const counters = [
  'connectionsTotal',
  'connectionsRefused',
  'commandsTotal',
  'bytesIn',
  'bytesOut',
  'keysExpired',
  'keyspaceHits',
  'keyspaceMisses',
] as const satisfies readonly (keyof NodeFigures)[];

export function readFigures(readers: readonly MetricsReader[]): NodeFigures {
  const sum = (slot: number): number => sumSlot(readers, slot);
  return {
    connections: sum(slots.connectionsOpen),
    connectionsTotal: sum(slots.connectionsAccepted),
    connectionsRefused: sum(slots.connectionsClosedLimit),
    commandsTotal: sum(slots.commandsRead) + sum(slots.commandsWrite) + sum(slots.commandsOther),
    bytesIn: sum(slots.bytesIn),
    bytesOut: sum(slots.bytesOut),
    keys: sum(slots.keys),
    keysExpiring: sum(slots.keysExpiring),
    keysExpired: sum(slots.keysExpired),
    keyspaceHits: sum(slots.keyspaceHits),
    keyspaceMisses: sum(slots.keyspaceMisses),
    memoryUsedBytes: sum(slots.memoryUsedBytes),
    ranges: sum(slots.ranges),
  };
}

/** `figures` with counters counted from `baseline` on. */
export function figuresSince(baseline: NodeFigures | null, figures: NodeFigures): NodeFigures {
  if (baseline === null) return figures;
  const since: Record<keyof NodeFigures, number> = { ...figures };
  for (const name of counters) since[name] = figures[name] - baseline[name];
  return since;
}

/** Per second, over the last interval that was sampled. */
export interface Rates {
  readonly commands: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Rates of growth, from figures taken at regular times. */
export class RateMeter {
  #last: NodeFigures | null = null;
  #lastMs = 0;
  rates: Rates = { commands: 0, bytesIn: 0, bytesOut: 0 };

  /** `nowMs`: any clock that does not go back, in milliseconds. */
  sample(figures: NodeFigures, nowMs: number): void {
    const last = this.#last;
    const seconds = (nowMs - this.#lastMs) / 1000;
    if (last !== null && seconds > 0) {
      this.rates = {
        commands: (figures.commandsTotal - last.commandsTotal) / seconds,
        bytesIn: (figures.bytesIn - last.bytesIn) / seconds,
        bytesOut: (figures.bytesOut - last.bytesOut) / seconds,
      };
    }
    this.#last = figures;
    this.#lastMs = nowMs;
  }
}
