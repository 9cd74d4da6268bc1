/**
 * What to do with a command whose range had other boundaries than its asker believed: nothing of it has been done, so it
 * is sent again as soon as the asker knows better.
 *
 *     RANGEMOVED ─┬─ the routes have changed since it was sent ─▶ again, at once
 *                 └─ not yet ─▶ kept until they change, or for too long: then the client is told
 */

/** Sends of one command; a client whose command meets more splits than this is told to try again itself. */
const ATTEMPTS_MAX = 64;

interface Kept {
  readonly again: () => void;
  readonly giveUp: () => void;
  readonly sinceMs: number;
}

export interface MovedCommandsOptions {
  /** Changes with every change of the routes. */
  readonly generation: () => number;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
  /** How long a command may be kept. */
  readonly waitMs: number;
}

export class MovedCommands {
  readonly #options: MovedCommandsOptions;
  #kept: Kept[] = [];

  constructor(options: MovedCommandsOptions) {
    this.#options = options;
  }

  /**
   * Calls `again` when there is hope, once, or `giveUp`. `generation` is of the routes by which the command was sent;
   * `attempt` counts its sends so far.
   */
  retry(generation: number, attempt: number, again: () => void, giveUp: () => void): void {
    const { monotonicMs } = this.#options;
    if (attempt >= ATTEMPTS_MAX) giveUp();
    else if (this.#options.generation() !== generation) again();
    else this.#kept.push({ again, giveUp, sinceMs: monotonicMs() });
  }

  routesChanged(): void {
    if (this.#kept.length === 0) return;
    const kept = this.#kept;
    this.#kept = [];
    for (const { again } of kept) again();
  }

  /** Gives up what was kept for too long; call it some times a second. */
  expire(): void {
    const latestMs = this.#options.monotonicMs() - this.#options.waitMs;
    if (this.#kept[0] === undefined || this.#kept[0].sinceMs > latestMs) return;
    const expired = this.#kept.filter(({ sinceMs }) => sinceMs <= latestMs);
    this.#kept = this.#kept.filter(({ sinceMs }) => sinceMs > latestMs);
    for (const { giveUp } of expired) giveUp();
  }
}
