/** Waiting for what a node or a cluster does by itself, by asking it again and again. */
import { setTimeout } from 'node:timers/promises';

const PAUSE_MS = 20;
/** Within the time that tests give themselves, so that what was waited for is said and not only that time is up. */
const LIMIT_MS = 90_000;
const SHOWN_MAX = 2000;

/** Asks until the answer is as wanted, and returns it. Rejects with the last answer when that takes too long. */
export async function answerOf<T>(
  wanted: string,
  ask: () => Promise<T> | T,
  isAsWanted: (answer: T) => boolean,
): Promise<T> {
  const latestMs = performance.now() + LIMIT_MS;
  for (;;) {
    const answer = await ask();
    if (isAsWanted(answer)) return answer;
    if (performance.now() > latestMs) {
      const shown = JSON.stringify(answer)?.slice(0, SHOWN_MAX);
      throw new Error(`waited ${LIMIT_MS} ms for ${wanted}; the last answer was ${shown}`);
    }
    await setTimeout(PAUSE_MS);
  }
}

/** Turns of the loop, until the condition holds. The test's own time limit ends a wait for what does not come. */
export async function turnsUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
