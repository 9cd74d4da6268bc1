import test from 'ava';
import type { Hlc, LogIndex, MemberId, NodeId, RangeId } from '../../../src/core/brands.ts';
import { HLC_LOGICAL_RANGE } from '../../../src/core/hlc.ts';
import { createValueRef } from '../../../src/core/kv/store.ts';
import { requireCommand } from '../../../src/core/kv/table.ts';
import { memberId } from '../../../src/core/member.ts';
import { confOf, encodeConfEntry } from '../../../src/core/raft/configuration.ts';
import { MemoryArena } from '../../../src/engine/memory/arena.ts';
import { DataDir } from '../../../src/server/data-dir.ts';
import { FOOTER_BYTES } from '../../../src/storage/checkpoint/format.ts';
import { readCheckpointInfo, writeCheckpoint } from '../../../src/storage/checkpoint/index.ts';
import { TYPE_CONFIG, TYPE_NOOP } from '../../../src/storage/wal/format.ts';
import { decodeRangeMeta, encodeRangeMeta, encodeSplit } from '../../../shards/entry.ts';
import type { Recovered, RecoveredRange } from '../../../shards/recovery.ts';
import { recoverRanges } from '../../../shards/recovery.ts';
import { FaultyDisk } from '../../support/faulty-disk.ts';
import { argsOf, encodeBatch, KvMachine } from '../../support/kv-machine.ts';
import { ShardCluster } from '../../support/shard-cluster.ts';
import { WalHarness } from '../../support/wal-harness.ts';

const NODE = 1 as NodeId;
const MINE = memberId(NODE, 0, 1);
const THREE = confOf([1, 2, 3].map((nodeId) => memberId(nodeId as NodeId, 0, 1)));
const FIRST_VERSION = 1_700_000_000_000 * HLC_LOGICAL_RANGE;
const VALUE_BYTES_MAX = 2 ** 16;

/** A store with one range whose log is written by hand. */
class LogByHand {
  readonly disk = new FaultyDisk(1);
  readonly #dir: DataDir;
  #wal: WalHarness;
  #index = 2;
  #version = FIRST_VERSION;

  constructor() {
    this.disk.mkdir('/node');
    this.#dir = new DataDir(this.disk, '/node');
    this.#dir.make();
    const settings = { replicationFactor: 3, nodeName: () => 'first', workerCount: 1, splitKeys: [] };
    this.#dir.bootstrap({ nodeId: NODE, ...settings });
    this.#wal = new WalHarness(this.disk, { dir: this.#dir.walDir });
  }

  /** A batch of SETs, each written `key=value`, or of other commands, each an array. */
  batch(commands: readonly (string | readonly string[])[], { rangeVersion = 1, rangeId = 1, index = 0 } = {}): this {
    const items = commands.map((command) => {
      const [name = '', ...values] = typeof command === 'string' ? ['SET', ...command.split('=')] : command;
      return { spec: requireCommand(name), args: argsOf(values) };
    });
    const data = encodeBatch(this.#version, items, rangeVersion);
    this.#version += items.length;
    this.#wal.append(rangeId, index === 0 ? this.#index++ : index, data);
    return this;
  }

  entry(data: Buffer, type?: number): this {
    this.#wal.append(1, this.#index++, data, type === undefined ? {} : { type });
    return this;
  }

  /** Of range 2, which is not there or has just been made, if no other is named. */
  vote(term: number, vote: MemberId, rangeId = 2): this {
    this.#wal.hardState(rangeId, term, vote, 0);
    return this;
  }

  /** A snapshot took the place of what the range's member had. */
  cut(rangeId: number, index: number): this {
    this.#wal.cut(rangeId, index, 1);
    return this;
  }

  /** A checkpoint of range 1, without a key; the log says nothing of it. */
  storeCheckpoint(index: number): this {
    const folder = this.#dir.checkpoints;
    const [{ file } = { file: '' }] = folder.newest();
    const info = { ...readCheckpointInfo(this.disk, file), appliedIndex: index as LogIndex };
    const empty = new MemoryArena({ maxBytes: 2 ** 24 }).createStore();
    writeCheckpoint(this.disk, folder.checkpointFile(1, index), empty.cursor(), info);
    return this;
  }

  /** The same in the log. */
  logCheckpoint(index: number): this {
    this.#wal.checkpoint(1, index);
    return this;
  }

  /** A member of range 1 is gone for good, and the present one has nothing yet but a snapshot that waits for its cut. */
  stageBehind(gone: MemberId): this {
    const folder = this.#dir.checkpoints;
    const [{ file } = { file: '' }] = folder.newest();
    this.disk.rename(file, '/node/snapshot');
    folder.bury(1, MINE);
    folder.bury(1, gone);
    folder.forget(1, MINE);
    folder.born(1, MINE);
    this.disk.rename('/node/snapshot', file.replace('.ckpt', '.staged'));
    return this;
  }

  /** A snapshot of range 1 at this index came in; the log has yet to say that it counts. */
  stage(index: number): this {
    const folder = this.#dir.checkpoints;
    const [{ file } = { file: '' }] = folder.newest();
    const info = { ...readCheckpointInfo(this.disk, file), appliedIndex: index as LogIndex };
    const empty = new MemoryArena({ maxBytes: 2 ** 24 }).createStore();
    writeCheckpoint(this.disk, '/node/snapshot', empty.cursor(), info);
    folder.stage(1, index, '/node/snapshot');
    return this;
  }

  /** The checkpoint of range 1 is of a time when the first three nodes voted, and a bit of it has flipped. */
  damagedCheckpoint(): this {
    const [{ file } = { file: '' }] = this.#dir.checkpoints.newest();
    const info = readCheckpointInfo(this.disk, file);
    const meta = decodeRangeMeta(info.meta);
    const replicas = THREE.voters.map((id) => ({ memberId: id, role: 'voter' }) as const);
    const store = new MemoryArena({ maxBytes: 2 ** 24 }).createStore();
    new KvMachine({ store }).run('SET', 'a', '1');
    writeCheckpoint(this.disk, file, store.cursor(), {
      ...info,
      meta: encodeRangeMeta({ ...meta, conf: THREE, descriptor: { ...meta.descriptor, replicas } }),
    });
    const opened = this.disk.openFile(file, 'r');
    this.disk.flipBit(file, opened.size() - FOOTER_BYTES - 1, 0);
    opened.close();
    return this;
  }

  recover(): readonly RecoveredRange[] {
    return this.recoverAll().ranges;
  }

  /** `ofRight`: this node's member of range 2, which may have spoken. */
  recoverAll(ofRight: MemberId | null = null, mayHeal = false): Recovered {
    this.#wal.flush();
    this.#wal = new WalHarness(this.disk, { dir: this.#dir.walDir });
    const { checkpoints, staged, tombstones, members } = this.#dir.findRanges(NODE);
    const arena = new MemoryArena({ maxBytes: 2 ** 28 });
    return recoverRanges({
      nodeId: NODE,
      disk: this.disk,
      walDir: this.#dir.walDir,
      scan: this.#wal.recovery,
      checkpoints: checkpoints.map(({ file }) => file),
      staged: staged.map(({ file }) => file),
      folder: this.#dir.checkpoints,
      checkpointed: new Set([...checkpoints.map(({ rangeId }) => rangeId), ...tombstones.keys()]),
      createStore: () => arena.createStore(),
      valueBytesMax: VALUE_BYTES_MAX,
      members: ofRight === null ? members : [...members, { rangeId: 2 as RangeId, memberId: ofRight }],
      mayHeal,
      nowMs: 0,
    });
  }
}

function contents({ store }: RecoveredRange): string[] {
  const cursor = store.cursor();
  const found: string[] = [];
  for (let more = cursor.first(); more; more = cursor.next()) {
    const { buffer, start, end } = cursor.value;
    found.push(`${cursor.keyBuffer.toString('latin1', 0, cursor.keyEnd)}=${buffer.toString('latin1', start, end)}`);
  }
  return found;
}

function versionOf({ store }: RecoveredRange, key: string): Hlc {
  const value = createValueRef();
  store.get(Buffer.from(key), 0, key.length, value);
  return value.version;
}

test('the last put of each key is what a replay leaves, with the version that it had', (t) => {
  const log = new LogByHand().batch(['a=1', 'b=1', 'a=2']).entry(Buffer.alloc(0), TYPE_NOOP);
  log.batch(['c=1', ['APPEND', 'c', '2'], 'b=3']).batch(['a=4', ['DEL', 'c'], 'c=5']);
  const [range] = log.recover() as [RecoveredRange];
  t.deepEqual(contents(range), ['a=4', 'b=3', 'c=5']);
  t.deepEqual(
    ['a', 'b', 'c'].map((key) => versionOf(range, key) - FIRST_VERSION),
    [6, 5, 8],
  );
  t.is(range.appliedIndex, 5 as LogIndex);
  t.is(range.replayedCommands, 9);
});

test('a batch that a split has made stale does not take the place of puts before it', (t) => {
  const split = encodeSplit({ newRangeId: 2 as RangeId, splitKey: Buffer.from('m'), rangeVersion: 1 });
  const log = new LogByHand().batch(['a=1', 'x=1']).entry(split).batch(['a=stale', 'x=stale']);
  log.batch(['a=2', 'b=2'], { rangeVersion: 2 }).batch(['y=2'], { rangeVersion: 2, rangeId: 2, index: 2 });
  log.batch(['b=stale'], { rangeVersion: 1 });
  const [left, right] = log.recover() as [RecoveredRange, RecoveredRange];
  t.deepEqual(contents(left), ['a=2', 'b=2']);
  t.deepEqual(contents(right), ['x=1', 'y=2']);
});

test('entries that a group has not committed take the place of nothing', (t) => {
  const log = new LogByHand().batch(['a=1', 'b=1']).entry(Buffer.from(encodeConfEntry(THREE)), TYPE_CONFIG);
  log.batch(['a=2']);
  const [range] = log.recover() as [RecoveredRange];
  t.deepEqual(contents(range), ['a=1', 'b=1']);
  t.deepEqual(
    range.tail.map(({ index }) => index),
    [3, 4] as LogIndex[],
  );
});

test('a member that its group has shrunk to does not bring back what a leader had it overwrite', (t) => {
  const log = new LogByHand().batch(['a=lost', 'b=lost'], { index: 2 }).batch(['a=lost too'], { index: 3 });
  log.batch(['a=1'], { index: 2 }).batch(['c=1'], { index: 3 }).batch(['c=2'], { index: 4 });
  const [range] = log.recover() as [RecoveredRange];
  t.deepEqual(contents(range), ['a=1', 'c=2']);
  t.is(range.appliedIndex, 4 as LogIndex);
});

const CANDIDATE = memberId(2 as NodeId, 0, 1);
const SPLIT = encodeSplit({ newRangeId: 2 as RangeId, splitKey: Buffer.from('m'), rangeVersion: 1 });

test('what a member voted for while it had no state binds it after the split that gives it one', (t) => {
  const [, right] = new LogByHand().batch(['a=1', 'x=1']).vote(5, CANDIDATE).entry(SPLIT).recover();
  t.deepEqual(contents(right as RecoveredRange), ['x=1']);
  t.like(right?.hardState, { term: 5, vote: CANDIDATE, commit: 1 });
});

test('a member that voted and has no state still waits for it after a restart, and knows its vote', (t) => {
  const voted = new LogByHand().vote(4, MINE).vote(5, CANDIDATE).recoverAll(MINE);
  t.is(voted.ranges.length, 1);
  t.like(voted.waiting, [{ rangeId: 2, memberId: MINE, hardState: { term: 5, vote: CANDIDATE } }]);
  // It was named, and the crash came before its vote was durable: it was given to nobody.
  const [named] = new LogByHand().recoverAll(MINE).waiting;
  t.like(named, { memberId: MINE, hardState: { term: 0, vote: 0 } });
});

test('a member that had entries and has no state has lost something', (t) => {
  const log = new LogByHand().vote(5, CANDIDATE).batch(['x=1'], { rangeId: 2, index: 2 });
  t.throws(() => log.recoverAll(MINE), { code: 'KV_CORRUPT', message: /Range 2 cannot be recovered/ });
});

test('the cut of a member that is gone says nothing of the one after it, whose snapshot waits for its own', (t) => {
  const gone = (MINE - 1) as MemberId;
  const log = new LogByHand().cut(1, 161).batch(['x=1'], { index: 162 }).stageBehind(gone);
  const { ranges, damaged, waiting } = log.recoverAll();
  t.deepEqual([ranges, damaged, waiting], [[], [], []]);
});

test('of two snapshots that came one right after the other the one counts whose cut the log has (FAILURES 18)', (t) => {
  const [first] = new LogByHand().stage(40).stage(50).cut(1, 40).recover();
  t.is(first?.appliedIndex, 40 as LogIndex);
  const [second] = new LogByHand().stage(40).stage(50).cut(1, 40).cut(1, 50).recover();
  t.is(second?.appliedIndex, 50 as LogIndex);
});

test('a member whose log goes on behind a snapshot that is not there has lost something', (t) => {
  const log = new LogByHand().cut(2, 161);
  t.throws(() => log.recoverAll(MINE), { code: 'KV_CORRUPT', message: /snapshot at index 161/ });
});

test('a log that was cut off before a checkpoint goes on behind it, and is whole at the next start', (t) => {
  const log = new LogByHand().batch(['a=1']).batch(['a=2']).storeCheckpoint(9);
  const [range] = log.recover() as [RecoveredRange];
  t.is(range.appliedIndex, 9 as LogIndex);
  t.true(range.isLogBehind);
  // What the shard then writes before anything else of the range.
  const [later] = log.logCheckpoint(9).batch(['b=1'], { index: 10 }).recover() as [RecoveredRange];
  t.false(later.isLogBehind);
  t.is(later.appliedIndex, 10 as LogIndex);
  t.deepEqual(contents(later), ['b=1']);
});

test('so does one that was cut off right behind an earlier checkpoint, or a snapshot', (t) => {
  for (const log of [new LogByHand().batch(['a=1']).logCheckpoint(5), new LogByHand().cut(1, 5).stage(5)]) {
    log.recover();
    const [range] = log.storeCheckpoint(9).recover() as [RecoveredRange];
    t.true(range.isLogBehind);
    const [later] = log.logCheckpoint(9).batch(['b=1'], { index: 10 }).recover() as [RecoveredRange];
    t.is(later.appliedIndex, 10 as LogIndex);
  }
});

test('a shard whose log ends before a checkpoint says so there before it appends', async (t) => {
  const cluster = new ShardCluster(1, 0);
  const node = cluster.node(1);
  const replicas = [{ memberId: MINE, role: 'voter' as const }];
  const epoch = { confVersion: 1, version: 1 };
  node.adopt({ rangeId: 1 as RangeId, startKey: Buffer.alloc(0), endKey: null, epoch, replicas }, MINE, true);
  await cluster.run('SET', 'a', 'a');
  t.deepEqual(node.log.records.slice(0, 2), ['checkpoint', 'ready']);
});

test('a member with a damaged checkpoint is given up where others vote, as far as the log knows, and there only (FAILURES 15)', (t) => {
  const [lost] = new LogByHand().damagedCheckpoint().recoverAll(null, true).damaged;
  t.like(lost, { rangeId: 1, memberId: MINE });
  const shrunk = new LogByHand().damagedCheckpoint().entry(Buffer.from(encodeConfEntry(confOf([MINE]))), TYPE_CONFIG);
  t.throws(() => shrunk.recoverAll(null, true), { code: 'KV_CORRUPT' });
});

test('a checkpoint that a snapshot takes the place of may be damaged (FAILURES 15)', (t) => {
  const { ranges, damaged } = new LogByHand().stage(40).damagedCheckpoint().cut(1, 40).recoverAll(null, true);
  t.deepEqual(damaged, []);
  t.is(ranges[0]?.appliedIndex, 40 as LogIndex);
});

test('a vote before a snapshot binds the member also when the start that installed it was cut off by a crash', (t) => {
  // The hard state that follows the cut was torn off with the end of its batch.
  const log = new LogByHand().batch(['a=1']).vote(5, CANDIDATE, 1).cut(1, 9).stage(9);
  for (const start of ['the first', 'the next']) {
    const [range] = log.recover() as [RecoveredRange];
    t.is(range.appliedIndex, 9 as LogIndex);
    t.like(range.hardState, { term: 5, vote: CANDIDATE, commit: 9 }, start);
  }
});
