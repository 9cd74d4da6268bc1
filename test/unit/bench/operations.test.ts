/** Mixes of operations, by name and by shares. */
import test from 'ava';
import { createKindPicker, parseWorkload } from '../../../src/bench/operations.ts';

test('YCSB’s core workloads have the shares and the distributions of its paper', (t) => {
  const shares = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => parseWorkload(`ycsb-${letter}`));
  t.deepEqual(
    shares.map(({ mix: [read, update, insert, scan, modify] }) => [read, update, insert, scan, modify]),
    [
      [0.5, 0.5, 0, 0, 0],
      [0.95, 0.05, 0, 0, 0],
      [1, 0, 0, 0, 0],
      [0.95, 0, 0.05, 0, 0],
      [0, 0, 0.05, 0.95, 0],
      [0.5, 0, 0, 0, 0.5],
    ],
  );
  t.deepEqual(
    shares.map(({ distribution }) => distribution),
    ['zipfian', 'zipfian', 'zipfian', 'latest', 'zipfian', 'zipfian'],
  );
});

test('a mix is written with shares, which need not add up to anything', (t) => {
  t.deepEqual(parseWorkload('set').mix, [0, 1, 0, 0, 0]);
  t.deepEqual(parseWorkload('get:3,set:1').mix, [0.75, 0.25, 0, 0, 0]);
  t.deepEqual(parseWorkload('scan,insert').mix, [0, 0, 0.5, 0.5, 0]);
});

test('what is no mix is refused', (t) => {
  for (const text of ['', 'sets', 'get:x', 'get:-1', 'get:0', 'get;set', 'ycsb-g']) {
    t.throws(() => parseWorkload(text), { code: 'KV_INVALID' }, text);
  }
});

test('kinds come with their shares', (t) => {
  const pick = createKindPicker(parseWorkload('get:90,insert:9,scan:1').mix);
  const times = [0, 0, 0, 0, 0];
  for (let i = 0; i < 1000; i++) {
    const kind = pick((i + 0.5) / 1000);
    times[kind] = (times[kind] as number) + 1;
  }
  t.deepEqual(times, [900, 0, 90, 10, 0]);
});
