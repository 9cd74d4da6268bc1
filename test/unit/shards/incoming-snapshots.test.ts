/** How a snapshot that came from another node is loaded beside everything else that a worker does. */
import test from 'ava';
import type { Hlc, LogIndex, RangeId, Term } from '../../../src/core/brands.ts';
import { createStateMachine } from '../../../src/core/kv/state-machine.ts';
import { confOf } from '../../../src/core/raft/configuration.ts';
import type { Message } from '../../../src/core/raft/types.ts';
import { MSG_SNAPSHOT } from '../../../src/core/raft/types.ts';
import { MemoryArena } from '../../../src/engine/memory/arena.ts';
import { openFrozen } from '../../../src/engine/memory/frozen.ts';
import { writeCheckpoint } from '../../../src/storage/checkpoint/index.ts';
import { encodeRangeMeta } from '../../../shards/entry.ts';
import type { LoadedSnapshot } from '../../../shards/incoming-snapshots.ts';
import { IncomingSnapshots } from '../../../shards/incoming-snapshots.ts';
import { FaultyDisk } from '../../support/faulty-disk.ts';
import { member, message } from '../../support/raft-member.ts';

const RANGE = 3 as RangeId;
const KEYS = 60_000;
const VALUE_BYTES_MAX = 2 ** 20;

/** A disk with the checkpoint of a range at index 7, and its name. */
function diskWithCheckpoint(): { readonly disk: FaultyDisk; readonly file: string } {
  const disk = new FaultyDisk();
  disk.mkdir('/data');
  const store = new MemoryArena({ maxBytes: 2 ** 30 }).createStore();
  for (let i = 0; i < KEYS; i++) {
    const key = Buffer.from(`key:${String(i).padStart(8, '0')}`);
    const value = Buffer.alloc(100, `${i}`);
    store.put(key, 0, key.length, value, 0, value.length, (i + 1) as Hlc, 0, 0);
  }
  const machine = createStateMachine({ store, valueBytesMax: VALUE_BYTES_MAX, latestVersion: KEYS as Hlc });
  const meta = encodeRangeMeta({
    descriptor: {
      rangeId: RANGE,
      startKey: Buffer.alloc(0),
      endKey: null,
      epoch: { confVersion: 1, version: 1 },
      replicas: [{ memberId: member(1), role: 'voter' }],
    },
    conf: confOf([member(1)]),
    sessions: machine.encodeSessions(),
  });
  const info = {
    rangeId: RANGE,
    appliedIndex: 7 as LogIndex,
    appliedTerm: 2 as Term,
    latestVersion: KEYS as Hlc,
    meta,
  };
  const file = '/data/incoming';
  writeCheckpoint(disk, file, openFrozen(store.freeze()), info);
  return { disk, file };
}

const CHECKPOINT_BYTES = KEYS * (16 + 12 + 100);

function snapshotMessage(): Message {
  const snapshot = { index: 7 as LogIndex, term: 2 as Term, conf: confOf([member(1)]) };
  return { ...message(MSG_SNAPSHOT, 1, { term: 2 }), snapshot };
}

test('a snapshot is loaded in pieces, and most of the time is left to everything else', (t) => {
  const { disk, file } = diskWithCheckpoint();
  const arena = new MemoryArena({ maxBytes: 2 ** 30 });
  let nowMs = 1000;
  const loaded: LoadedSnapshot[] = [];
  const incoming = new IncomingSnapshots({
    disk,
    createStore: () => arena.createStore(),
    valueBytesMax: VALUE_BYTES_MAX,
    bytesPerSecond: () => 0,
    // Everything between two looks at the clock takes a while.
    monotonicMs: () => (nowMs += 0.5),
    loaded: (snapshot) => loaded.push(snapshot),
    failed: (_rangeId, error) => t.fail(String(error)),
  });
  t.is(incoming.turn(), null, 'nothing came yet');
  incoming.arrived(RANGE, snapshotMessage(), file, () => undefined);
  const startMs = nowMs;
  let busyMs = 0;
  let turns = 0;
  while (loaded.length === 0) {
    const before = nowMs;
    const waitMs = incoming.turn();
    busyMs += nowMs - before;
    turns++;
    if (waitMs === null) continue;
    t.true(nowMs - before < 5, 'a turn is short');
    const early = incoming.turn() as number;
    t.true(early > 0 && early < waitMs, 'whoever comes too early is told to come back');
    nowMs += waitMs;
  }
  t.true(turns > 3, `${turns} turns`);
  t.true(busyMs <= (nowMs - startMs) / 6, `${busyMs} of ${nowMs - startMs} ms`);
  t.is(loaded[0]?.store.keyCount, KEYS);
  t.is(incoming.turn(), null);
});

test('a snapshot is loaded at the rate that it may have now, and one that has to be sent again as fast as it goes', (t) => {
  const { disk, file } = diskWithCheckpoint();
  const arena = new MemoryArena({ maxBytes: 2 ** 30 });
  let nowMs = 1000;
  let bytesPerSecond = 2 ** 20;
  let loadedCount = 0;
  const incoming = new IncomingSnapshots({
    disk,
    createStore: () => arena.createStore(),
    valueBytesMax: VALUE_BYTES_MAX,
    bytesPerSecond: () => bytesPerSecond,
    monotonicMs: () => (nowMs += 0.5),
    loaded: () => loadedCount++,
    failed: (_rangeId, error) => t.fail(String(error)),
  });
  /** Seconds until another one is loaded. */
  const load = (): number => {
    const startMs = nowMs;
    const before = loadedCount;
    incoming.arrived(RANGE, snapshotMessage(), file, () => undefined);
    while (loadedCount === before) nowMs += incoming.turn() ?? 0;
    return (nowMs - startMs) / 1000;
  };
  const turnBytes = 4 * 2 ** 18;
  const seconds = load();
  t.true(seconds >= (CHECKPOINT_BYTES - turnBytes) / bytesPerSecond, `${seconds} s`);
  t.true(seconds <= (CHECKPOINT_BYTES + turnBytes) / bytesPerSecond, `${seconds} s`);
  t.true(load() < seconds / 4, 'the log went on while the first one was loaded');
  nowMs += 3_600_000;
  t.true(load() > seconds / 2, 'that was long ago');
  nowMs += 3_600_000;
  bytesPerSecond = 2 ** 30;
  t.true(load() < seconds / 4);
});
