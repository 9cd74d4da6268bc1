import test from 'ava';
import { UNKNOWN_VALUES } from '../../../src/core/kv/spec.ts';
import { DueReplies } from '../../../src/net/due-replies.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

/** How many commands that ask for `values` are taken before it is too much. */
function takenBefore(due: DueReplies, values: number, commandBytes = 30): number {
  for (let taken = 1; taken <= 100_000; taken++) {
    due.took(values, commandBytes);
    if (due.exceeds(1, taken)) return taken;
  }
  return Infinity;
}

test('as many values are asked for as fit into the window, were each as long as the longest', (t) => {
  const of = (bytes: number) => new DueReplies(16 * MiB, () => bytes);
  t.is(takenBefore(of(100 * KiB), 1), 11);
  t.is(takenBefore(of(100 * KiB), 5), 3);
  t.is(takenBefore(of(64 * MiB), 1), 2, 'one that waits for nobody may be answered at once');
  t.true(takenBefore(of(100), 1) > 5000);
  t.is(takenBefore(of(64 * MiB), 0), Infinity, 'a command whose reply has no value is let through');
  t.is(takenBefore(of(100), UNKNOWN_VALUES), 2);
});

test('small replies before do not make large ones expected small', (t) => {
  const due = new DueReplies(16 * MiB, () => 100 * KiB);
  for (let i = 0; i < 1000; i++) {
    due.took(1, 30);
    due.learn(5);
    due.allAnswered();
  }
  t.is(takenBefore(due, 1), 11);
});

test('what the connection itself is about to store counts as the longest', (t) => {
  const due = new DueReplies(16 * MiB, () => 100);
  due.took(0, 300 * KiB);
  t.is(takenBefore(due, 1), 4);
  due.allAnswered();
  t.true(takenBefore(due, 1) > 5000, 'and no longer when it is stored');
});

test('the window doubles when the client has read everything, up to its share of what may be unread', (t) => {
  const due = new DueReplies(4 * MiB, () => 100 * KiB);
  const taken = Array.from({ length: 5 }, () => {
    const count = takenBefore(due, 1);
    due.allAnswered();
    due.allRead();
    return count;
  });
  t.deepEqual(taken, [11, 21, 41, 41, 41]);
});

test('values of other nodes, whose length is not known here, are taken to be as long as the replies so far', (t) => {
  const due = new DueReplies(16 * MiB, () => 100);
  due.learn(300 * KiB);
  t.is(takenBefore(due, 1), 4);
  due.allAnswered();
  for (let i = 0; i < 100; i++) due.learn(100);
  t.true(takenBefore(due, 1) > 1000);
});
