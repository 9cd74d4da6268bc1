/**
 * The longest stall of a thread's event loop: how long it did not come around because something ran for too long.
 * A native timer (perf_hooks) looks every few milliseconds, so watching costs no JavaScript; once a second its maximum is taken.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

const SAMPLE_EVERY_MS = 10;
const TAKE_EVERY_MS = 1000;
/** Longer than the usual distance between two scrapes, so that no stall falls between them. */
const REMEMBER_TAKES = 30;

export interface StallWatch {
  stop(): void;
}

/** Calls `publish` about once a second with the longest stall of this thread in the last half minute, in seconds. */
export function watchStalls(publish: (seconds: number) => void, takeEveryMs: number = TAKE_EVERY_MS): StallWatch {
  const delays = monitorEventLoopDelay({ resolution: SAMPLE_EVERY_MS });
  delays.enable();
  const recentMs: number[] = [];
  const timer = setInterval(() => {
    // What is measured is the distance of two samples, which is the sampling distance when nothing stalls.
    recentMs.push(Math.max(0, delays.max / 1e6 - SAMPLE_EVERY_MS));
    delays.reset();
    if (recentMs.length > REMEMBER_TAKES) recentMs.shift();
    publish(Math.max(...recentMs) / 1000);
  }, takeEveryMs);
  timer.unref();
  return {
    stop() {
      clearInterval(timer);
      delays.disable();
    },
  };
}
