/** Work that others did on the machine meanwhile is told from that of the measurement. */
import test from 'ava';
import { foreignShare, readTicks } from '../../bench/harness/foreign-work.ts';

const self = (own: readonly [number, number, number, number]): string =>
  `4711 (a (strange) name) S 1 4711 1 0 -1 4194560 5 6 7 8 ${own.join(' ')} 20 0 11 0 123 456 789`;
const machine = (ticks: readonly number[]): string => `cpu  ${ticks.join(' ')} 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n`;

test('the times of the machine, of a process and of its children are read from the fields that proc(5) names', (t) => {
  const ticks = readTicks(machine([100, 20, 30, 1000, 50, 1, 2, 3]), self([7, 11, 13, 17]));
  t.deepEqual(ticks, { all: 1206, busy: 156, own: 48 });
});

test('foreign work is what was busy and not ours, as a share of all CPUs', (t) => {
  const from = { all: 1000, busy: 400, own: 100 };
  t.is(foreignShare(from, { all: 2000, busy: 1200, own: 400 }), 0.5);
  t.is(foreignShare(from, { all: 2000, busy: 700, own: 400 }), 0);
  // Ticks are counted when they end, so that ours may seem to be more than there were.
  t.is(foreignShare(from, { all: 2000, busy: 700, own: 410 }), 0);
  t.is(foreignShare(from, from), 0);
});
