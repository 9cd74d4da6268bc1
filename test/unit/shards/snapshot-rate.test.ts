/** How fast a worker sends and loads snapshots. */
import test from 'ava';
import { createSnapshotRate } from '../../../shards/snapshot-rate.ts';

test('snapshots go slowly while the machine has work for half of its cores, and quickly again when it has not', (t) => {
  let average = 0.3;
  const rate = createSnapshotRate(
    { snapshotRateBytes: 1000, snapshotBusyRateBytes: 100 },
    { cores: 4, average: () => average },
  );
  t.is(rate(), 1000);
  average = 2;
  t.is(rate(), 100);
  average = 1.9;
  t.is(rate(), 1000);
});

test('a busy machine sends no faster than one that is idle', (t) => {
  const rates = { snapshotRateBytes: 1000, snapshotBusyRateBytes: 5000 };
  const rate = createSnapshotRate(rates, { cores: 1, average: () => 10 });
  t.is(rate(), 1000);
});

test('where the system does not say how much it has to do, it counts as idle', (t) => {
  const rates = { snapshotRateBytes: 1000, snapshotBusyRateBytes: 100 };
  t.is(createSnapshotRate(rates, { cores: 1, average: () => 0 })(), 1000);
});
