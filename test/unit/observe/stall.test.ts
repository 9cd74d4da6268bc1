import test from 'ava';
import { watchStalls } from '../../../src/observe/stall.ts';

/** The first value that `publish` is given after `wanted` holds. */
function published(takeEveryMs: number, wanted: (seconds: number) => boolean): Promise<number> {
  return new Promise((resolve) => {
    const keepAlive = setInterval(() => undefined, 1000);
    const watch = watchStalls((seconds) => {
      if (!wanted(seconds)) return;
      watch.stop();
      clearInterval(keepAlive);
      resolve(seconds);
    }, takeEveryMs);
  });
}

function blockMs(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test.serial('a blocked event loop is seen, and for how long', async (t) => {
  let takes = 0;
  const seen = published(50, () => {
    takes++;
    // The native timer needs one sample before the stall to measure it from.
    if (takes === 1) blockMs(300);
    return takes >= 3;
  });
  const seconds = await seen;
  t.true(seconds >= 0.25, `${seconds} s`);
  t.true(seconds < 5, `${seconds} s`);
});

test.serial('a stall is remembered for several takes, so that a scrape does not miss it', async (t) => {
  let takes = 0;
  const seconds = await published(50, () => {
    takes++;
    if (takes === 1) blockMs(300);
    return takes >= 10;
  });
  t.true(seconds >= 0.25);
});
