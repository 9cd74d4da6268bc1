/**
 * The longest stall of a thread's event loop: how long it did not come around because something ran for too long.
 * A timer that is due every 20 ms notes how late it was. (perf_hooks.monitorEventLoopDelay would do this natively, but
 * measures nothing between a reset and its next sample, and without resets its maximum is for ever.)
 */

const SAMPLE_EVERY_MS = 20;
const SAMPLES_PER_WINDOW = 50;
/** About half a minute: longer than the usual distance between two scrapes, so that no stall falls between them. */
const WINDOWS = 30;

export interface StallWatch {
  stop(): void;
}

/**
 * Watches the calling thread. Calls `publish` with the longest stall of the last half minute, in seconds, whenever it
 * changes. Does not keep the process alive.
 */
export function watchStalls(publish: (seconds: number) => void): StallWatch {
  /** The longest stall of each window, the running one last. */
  const windowsMs = [0];
  let samples = 0;
  let publishedMs = 0;
  let lastMs = performance.now();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const stallMs = Math.max(0, nowMs - lastMs - SAMPLE_EVERY_MS);
    lastMs = nowMs;
    if (++samples % SAMPLES_PER_WINDOW === 0) {
      windowsMs.push(0);
      if (windowsMs.length > WINDOWS) windowsMs.shift();
    }
    windowsMs[windowsMs.length - 1] = Math.max(stallMs, windowsMs.at(-1) as number);
    const longestMs = Math.max(...windowsMs);
    if (longestMs === publishedMs) return;
    publishedMs = longestMs;
    publish(longestMs / 1000);
  }, SAMPLE_EVERY_MS);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
