import test from 'ava';
import { BackgroundWork } from '../../../shards/background-work.ts';

/** Work of 2 ms a turn, in steps of 1 ms; how many have been taken. */
function setUp() {
  const clock = { nowMs: 100, steps: 0 };
  const work = new BackgroundWork({ turnMs: 2, monotonicMs: () => clock.nowMs });
  const step = (): boolean => {
    clock.nowMs++;
    clock.steps++;
    return true;
  };
  return { clock, work, step };
}

test('a turn ends when its time is over, and the next one waits for seven times as long', (t) => {
  const { clock, work, step } = setUp();
  t.is(work.turn(step), 14);
  t.is(clock.steps, 2);
  clock.nowMs += 4;
  t.is(work.turn(step), 10, 'what is left of the pause');
  t.is(clock.steps, 2);
  clock.nowMs += 10;
  t.is(work.turn(step), 14);
  t.is(clock.steps, 4);
});

test('a longer pause can be asked for, a shorter one not', (t) => {
  const { clock, work, step } = setUp();
  t.is(
    work.turn(step, (spentMs) => spentMs * 50),
    100,
  );
  clock.nowMs += 100;
  t.is(
    work.turn(step, () => 1),
    14,
  );
});

test('where there is nothing to do no pause begins', (t) => {
  const { clock, work, step } = setUp();
  t.is(
    work.turn(() => false),
    null,
  );
  t.is(work.turn(step), 14);
  t.is(clock.steps, 2);
});
