import test from 'ava';
import { createSyncTimes, SyncTimes } from '../../../../src/storage/wal/sync-times.ts';

test('the sync that made a position durable is found, not a later one', (t) => {
  const shared = createSyncTimes();
  const writer = new SyncTimes(shared);
  const worker = new SyncTimes(shared);
  t.false(worker.find(1), 'nothing was synced');
  writer.record(100, 10, 12);
  writer.record(250, 20, 23);
  writer.record(300, 30, 34);
  t.true(worker.find(101));
  t.deepEqual([worker.startedMs, worker.endedMs].map(Math.round), [20, 23]);
  t.true(worker.find(100));
  t.deepEqual([worker.startedMs, worker.endedMs].map(Math.round), [10, 12]);
  t.true(worker.find(300));
  t.is(Math.round(worker.endedMs), 34);
  t.false(worker.find(301), 'that is not durable yet');
});

test('a sync that lies too far back is not taken for another one', (t) => {
  const times = new SyncTimes(createSyncTimes());
  for (let sync = 1; sync <= 40; sync++) times.record(sync * 10, sync, sync + 0.5);
  t.true(times.find(390));
  t.is(Math.round(times.startedMs), 39);
  t.false(times.find(50));
});
