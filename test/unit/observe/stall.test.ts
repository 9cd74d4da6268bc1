import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { watchStalls } from '../../../src/observe/stall.ts';

function blockMs(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test.serial('a blocked event loop is seen, and for how long', async (t) => {
  const published: number[] = [];
  const watch = watchStalls((longest) => published.push(longest));
  blockMs(300);
  await delay(30);
  watch.stop();
  const longest = Math.max(...published);
  t.true(longest >= 0.25 && longest < 5, `${longest} s`);
});

test.serial('a stall is remembered while shorter ones follow, so that a scrape does not miss it', async (t) => {
  const published: number[] = [];
  const watch = watchStalls((longest) => published.push(longest));
  for (const ms of [300, 50, 50]) {
    blockMs(ms);
    // Lets the event loop turn, so that each stall is one of its own.
    await delay(30);
  }
  watch.stop();
  t.true((published.at(-1) as number) >= 0.25);
  t.deepEqual(
    published,
    published.toSorted((a, b) => a - b),
  );
});
