/**
 * A node that runs what a worker of the product runs: a Shard with its host, replicas, checkpoints and snapshots, over the
 * real write-ahead log on a disk that loses what was not synced.
 *
 *     packets, commands ─▶ Shard ─▶ ring ─▶ WalWriter ─▶ FaultyDisk        the writer's turn comes when the simulated
 *                            ▲               │ durable                     disk has had its time
 *                            └───────────────┘
 */
import path from 'node:path';
import { assert } from '../../src/core/assert.ts';
import type { LogIndex, MemberId, NodeId, RangeId } from '../../src/core/brands.ts';
import { rangeContains } from '../../src/core/range.ts';
import { nodeOf, nodeOfWorker, workerId, workerIdOf } from '../../src/core/member.ts';
import type { Args } from '../../src/core/kv/args.ts';
import { argCopy, copyArgs } from '../../src/core/kv/args.ts';
import type { RequestId } from '../../src/core/kv/batch.ts';
import type { ReplyTarget } from '../../src/core/kv/reply.ts';
import { replyError } from '../../src/core/kv/reply.ts';
import type { CommandSpec } from '../../src/core/kv/spec.ts';
import { CONSISTENCY_LINEARIZABLE } from '../../src/core/kv/spec.ts';
import { requireCommand } from '../../src/core/kv/table.ts';
import type { Message } from '../../src/core/raft/types.ts';
import { MemoryArena } from '../../src/engine/memory/arena.ts';
import { openFrozen } from '../../src/engine/memory/frozen.ts';
import type { Engine, FrozenStore } from '../../src/engine/engine.ts';
import { MetricsWriter } from '../../src/observe/counters.ts';
import { DataDir } from '../../src/server/data-dir.ts';
import { findWholeRanges } from '../../src/server/healing.ts';
import type { CheckpointInfo } from '../../src/storage/checkpoint/index.ts';
import { alignToBlock, RECORD_HEADER_BYTES } from '../../src/storage/wal/format.ts';
import { segmentName } from '../../src/storage/wal/segment.ts';
import { writeCheckpoint } from '../../src/storage/checkpoint/index.ts';
import { RangeLog, refusalOf } from '../../shards/log.ts';
import { findSuperseded, joinShares } from '../../shards/find-superseded.ts';
import type { Superseded } from '../../shards/find-superseded.ts';
import { recoverRanges } from '../../shards/recovery.ts';
import type { Replica } from '../../shards/replica.ts';
import { NOT_LEADER } from '../../shards/replies.ts';
import { Shard } from '../../shards/shard.ts';
import type { FaultyDisk } from '../support/faulty-disk.ts';
import { argsOf } from '../support/kv-machine.ts';
import { WalHarness } from '../support/wal-harness.ts';
import { WAL_FULL, WAL_POISONED, WAL_RUNNING } from '../../src/storage/wal/status.ts';
import { RottingFiles } from './bit-rot.ts';
import type { DiskFaults } from './core-disk.ts';
import { CALM_DISK } from './core-disk.ts';
import type { Coverage } from './coverage.ts';
import type { Invariants } from './invariants.ts';
import { isDiskError, NodeDisk } from './node-disk.ts';
import type { Answer, ClientRequest, NodeSurroundings, SimulatedNode } from './node.ts';
import { OneCommand } from './one-command.ts';
import { ObservedLog } from './shard-observer.ts';
import type { ShardPacket } from './shard-packet.ts';
import { TICK_MS } from './world.ts';

export interface ShardNodeOptions {
  /** Small: a checkpoint is due after some commands. */
  readonly maxRecoverySeconds: number;
  readonly checkpointMs: number;
  readonly snapshotTimeoutMs: number;
  /** Of the log; small ones are used again soon. */
  readonly segmentBytes: number;
  readonly restAfterTicks: number;
  /** Bits flip on its disk; if not, whatever is found damaged is a bug. */
  readonly mayRot: boolean;
}

const ROOT = '/node';
const VALUE_BYTES_MAX = 2 ** 16;
const KiB = 1024;
const RING_BYTES = 32 * KiB;
/** A log that cannot be written ends the process so soon; its threads do not know it at once. */
const NEWS_MS = 10;
/** Where the wall clocks of all nodes stand at the beginning. */
const BEGINNING_MS = 1_700_000_000_000;

interface CheckpointUnderWay {
  readonly file: string;
  readonly frozen: FrozenStore;
  readonly info: CheckpointInfo;
}

export class ShardNode implements SimulatedNode<ShardPacket> {
  readonly nodeId: NodeId;
  faults: DiskFaults = CALM_DISK;
  shard: Shard | null = null;
  readonly #surroundings: NodeSurroundings<ShardPacket>;
  readonly #invariantsOf: (rangeId: RangeId) => Invariants;
  readonly #options: ShardNodeOptions;
  readonly #coverage: Coverage;
  readonly storage: NodeDisk;
  readonly #disk: FaultyDisk;
  readonly #dir: DataDir;
  readonly files: RottingFiles;
  /** By so much the wall clock is ahead of the monotonic one. */
  #wallAheadMs = BEGINNING_MS;
  #wal: WalHarness | null = null;
  #log: ObservedLog | null = null;
  #isSyncing = false;
  #checkpoint: CheckpointUnderWay | null = null;
  #transfers = new Map<number, (isTaken: boolean) => void>();
  #nextNumber = 1;

  /** `isFirst`: the node that the store is made on; the others join. */
  constructor(
    surroundings: NodeSurroundings<ShardPacket>,
    invariantsOf: (rangeId: RangeId) => Invariants,
    options: ShardNodeOptions,
    isFirst: boolean,
    coverage: Coverage,
  ) {
    this.#coverage = coverage;
    this.#surroundings = surroundings;
    this.#invariantsOf = invariantsOf;
    this.#options = options;
    this.nodeId = surroundings.nodeNumber as NodeId;
    this.storage = new NodeDisk(surroundings.prng.fork(), coverage);
    this.#disk = this.storage.disk;
    this.#disk.mkdir(ROOT);
    this.#dir = new DataDir(this.#disk, ROOT);
    this.files = new RottingFiles(this.nodeId, this.#disk, this.#dir);
    this.#dir.make();
    if (isFirst) {
      const settings = { replicationFactor: 3, nodeName: () => 'first', workerCount: 1, splitKeys: [] };
      this.#dir.bootstrap({ nodeId: this.nodeId, ...settings });
    }
  }

  /** Somebody sets it so far from the truth. */
  setWallClock(errorMs: number): void {
    this.#wallAheadMs = BEGINNING_MS + errorMs;
  }

  get #wallMs(): number {
    return Math.floor(this.#wallAheadMs + this.#surroundings.monotonicMs());
  }

  get replicas(): ReadonlyMap<RangeId, Replica> {
    return this.shard?.host.replicas ?? new Map<RangeId, Replica>();
  }

  start(): void {
    this.files.start(() => this.#start());
  }

  #start(): void {
    const { segmentBytes, mayRot } = this.#options;
    const options = { dir: this.#dir.walDir, isReplayed: false, ringBytes: RING_BYTES, wal: { segmentBytes } };
    const wal = this.files.openLog(() => new WalHarness(this.#disk, options));
    const found = findWholeRanges(this.files.healing);
    this.#noteStaleRecords(wal);
    const arena = new MemoryArena({ maxBytes: 2 ** 26, slabBytes: 128 * KiB, pageBytes: 4 * KiB });
    const rangeLog = new RangeLog(wal.appenderOf(0), wal.readsLater(this.#surroundings));
    const log = new ObservedLog(rangeLog, () => this.replicas, this.#invariantsOf, this.#coverage);
    const createStore = (): ReturnType<MemoryArena['createStore']> => arena.createStore();
    this.#wal = wal;
    this.#log = log;
    this.#isSyncing = false;
    this.#checkpoint = null;
    this.#transfers = new Map();
    const shard = this.#createShard(log, createStore, found.tombstones);
    this.shard = shard;
    const toRecover = {
      nodeId: this.nodeId,
      walDir: this.#dir.walDir,
      scan: wal.recovery,
      checkpoints: found.checkpoints.map(({ file }) => file),
      valueBytesMax: VALUE_BYTES_MAX,
    };
    const halfOf = (index: number): Superseded => findSuperseded(this.#disk, toRecover, { index, of: 2 });
    const recovered = recoverRanges({
      ...toRecover,
      disk: this.#disk,
      // As in a worker that is helped.
      superseded: joinShares(halfOf(0), halfOf(1)),
      staged: found.staged.map(({ file }) => file),
      folder: this.#dir.checkpoints,
      checkpointed: new Set([...found.checkpoints.map(({ rangeId }) => rangeId), ...found.tombstones.keys()]),
      members: found.members,
      mayHeal: mayRot,
      nowMs: this.#wallMs,
      createStore,
    });
    for (const range of recovered.ranges) shard.adopt(range);
    shard.awaitStates(recovered.waiting);
    assert(mayRot || found.damaged.length === 0, `found damaged: ${JSON.stringify(found.damaged)}`);
    shard.giveUp([...found.damaged, ...recovered.damaged]);
    wal.writer.control({ type: 'replayed' });
  }

  /** Mostly in the middle of what the disk was about to do. */
  crash(): void {
    const { prng } = this.#surroundings;
    if (prng.chance(0.8)) {
      this.storage.dieAt(prng.chance(0.7) ? prng.below(3) : prng.below(12), () => {
        this.#writeCheckpoint();
        this.#wal?.turn();
      });
    }
    if (prng.chance(0.7)) this.storage.crash();
    else this.storage.kill();
    this.#forget();
  }

  /** As a worker's loop and the main thread do: a disk that fails where nothing expects it to ends the node. */
  exits(error: unknown): boolean {
    if (!isDiskError(error)) return false;
    this.#coverage.count(
      this.shard === null ? 'starts that failed for their disk' : 'processes that stopped for their disk',
    );
    this.#note(error);
    this.storage.kill();
    this.#forget();
    return true;
  }

  #forget(): void {
    if (this.shard !== null) this.files.stopped(this.shard);
    this.shard = null;
    this.#wal = null;
    this.#log = null;
  }

  #note(error: unknown): void {
    if ((error as NodeJS.ErrnoException).code === 'EIO') this.#coverage.count('fsyncs failed');
  }

  tick(): void {
    // The host reads the clock by itself.
  }

  receive(packet: ShardPacket): void {
    if (packet.kind === 'raft') {
      this.shard?.host.receive(packet.rangeId, packet.message);
    } else if (packet.kind === 'beat') {
      this.shard?.host.receiveBeat(packet.from, packet.beat);
    } else if (packet.kind === 'snapshot') {
      this.#surroundings.later(this.#surroundings.prng.next() * 20, () => this.#takeSnapshot(packet));
    } else {
      this.#endTransfer(packet.transfer, packet.isTaken);
    }
  }

  submit({ kind, key, value, consistency }: ClientRequest, answer: Answer): void {
    const spec = requireCommand(kind === 'write' ? 'SET' : 'GET');
    const asked = consistency === 'linearizable' ? { ...spec, consistency: CONSISTENCY_LINEARIZABLE } : spec;
    const args = argsOf(kind === 'write' ? [key, value] : [key]);
    this.#route(asked, args, new OneCommand(answer, this.#coverage), 0, null);
  }

  turn(): void {
    const { shard } = this;
    if (shard === null) return;
    shard.turn(this.#wallMs);
    this.#log?.stepped();
    this.#sync();
  }

  askForLeases(): void {
    for (const replica of this.replicas.values()) this.shard?.host.settle(replica);
    this.#log?.askForLeases();
  }

  /** The replica of the range that `key` belongs to, as far as this node knows. */
  replicaOf(key: Buffer): Replica | undefined {
    return [...this.replicas.values()].find(({ descriptor }) => rangeContains(descriptor, key, 0, key.length));
  }

  #createShard(log: ObservedLog, createStore: () => Engine, tombstones: ReadonlyMap<RangeId, MemberId>): Shard {
    const { prng, monotonicMs, send } = this.#surroundings;
    return new Shard(
      {
        nodeId: this.nodeId,
        seed: prng.below(2 ** 30),
        valueBytesMax: VALUE_BYTES_MAX,
        maxRecoverySeconds: this.#options.maxRecoverySeconds,
        tickMs: TICK_MS,
        electionTicks: 10,
        restAfterTicks: this.#options.restAfterTicks,
        requestTimeoutMs: 1000,
        diskStallMs: 1000,
        tombstones,
        owns: () => true,
      },
      {
        log,
        disk: this.#disk,
        folder: this.#dir.checkpoints,
        createStore,
        refuseWrites: () => refusalOf(this.#wal?.status.status ?? WAL_RUNNING),
        hasMemory: () => true,
        resubmit: (spec, args, target, slot, requestId) => this.#route(spec, args, target, slot, requestId),
        awaitLeader: (_spec, _args, target, slot) => replyError(target, slot, NOT_LEADER),
        sendMessage: (rangeId, message) => send(nodeOf(message.to), { kind: 'raft', rangeId, message }),
        sendBeat: (worker, beat) => {
          send(nodeOfWorker(worker), { kind: 'beat', beat, from: workerId(this.nodeId, 0) });
        },
        workerOf: workerIdOf,
        sendSnapshot: (...transfer) => this.#sendSnapshot(...transfer),
        dropEarlier: (rangeId, member) => this.shard?.drop(rangeId, member),
        rangesChanged: () => undefined,
        catalogChanged: () => undefined,
        writeCheckpoint: (frozen, info) => this.#beginCheckpoint(frozen, info),
        checkpointDamaged: fail,
        checkpointFailed: (rangeId, error) => this.#checkpointFailed(rangeId, error),
        snapshotFailed: fail,
        schedule: () => this.#surroundings.later(0, () => undefined),
        scheduleIn: (delayMs) => this.#surroundings.later(delayMs, () => undefined),
        metrics: new MetricsWriter(),
        monotonicMs,
      },
    );
  }

  /** To the replica that has the key, leader or not; the one that it finds there says what is to be done. */
  #route(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number, requestId: RequestId | null): void {
    const replica = this.replicaOf(argCopy(args, 0));
    if (replica?.isLeader === true) replica.submit(spec, copyArgs(args), target, slot, requestId, 0);
    else replyError(target, slot, NOT_LEADER);
  }

  /** The writer's thread: it writes and syncs what is in the ring, after the time that the disk takes. */
  #sync(): void {
    const wal = this.#wal;
    if (wal === null || this.#isSyncing) return;
    const isWaitingForRoom = wal.status.status === WAL_FULL;
    if (!wal.writer.isReady && !isWaitingForRoom) return;
    const { prng } = this.#surroundings;
    const { syncMs, stallChance, stallMs } = this.faults;
    const isStalled = prng.chance(stallChance);
    if (isStalled) this.#coverage.count('disk stalls');
    this.#isSyncing = true;
    this.#surroundings.later(prng.next() * (isStalled ? stallMs : 2 * syncMs), () => {
      this.#isSyncing = false;
      this.#writeLog(wal);
    });
  }

  #writeLog(wal: WalHarness): void {
    try {
      wal.turn();
    } catch (error) {
      if (!isDiskError(error) || wal.status.status === WAL_POISONED) throw error;
      wal.writer.poison();
      this.#surroundings.later(this.#surroundings.prng.next() * NEWS_MS, () => {
        throw error;
      });
    }
    for (const event of wal.events.splice(0)) {
      if (event.type === 'recycle') this.#coverage.count('log segments recycled');
      if (event.type !== 'sealed') continue;
      this.#coverage.count('log segments sealed');
      this.shard?.holdBack(event.laggards.map(({ rangeId }) => rangeId as RangeId));
    }
  }

  /** The log ended in a segment that was another one before, whose records lie right behind its own. */
  #noteStaleRecords({ recovery }: WalHarness): void {
    const last = recovery.segments.at(-1);
    if (last === undefined || last.dataEnd >= last.segmentBytes) return;
    const file = path.join(this.#dir.walDir, segmentName(last.segmentId));
    const behind = this.#disk.bytes(file, alignToBlock(last.dataEnd), RECORD_HEADER_BYTES);
    if (behind.some((byte) => byte !== 0)) this.#coverage.count('recoveries over stale records');
  }

  #beginCheckpoint(frozen: FrozenStore, info: CheckpointInfo): Promise<void> {
    const file = this.#dir.checkpoints.checkpointFile(info.rangeId, info.appliedIndex);
    const checkpoint = { file, frozen, info };
    this.#checkpoint = checkpoint;
    return new Promise((resolve, reject) => {
      this.#surroundings.later(this.#surroundings.prng.next() * 2 * this.#options.checkpointMs, () => {
        try {
          this.#writeCheckpoint();
          resolve();
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }

  #writeCheckpoint(): void {
    if (this.#checkpoint === null) return;
    const { file, frozen, info } = this.#checkpoint;
    this.#checkpoint = null;
    writeCheckpoint(this.#disk, file, openFrozen(frozen), info);
    this.#dir.checkpoints.dropOlder(info.rangeId, info.appliedIndex);
    this.#coverage.count('checkpoints');
  }

  #checkpointFailed(_rangeId: RangeId, error: unknown): void {
    if (!isDiskError(error)) throw error;
    this.#note(error);
    this.#coverage.count('checkpoints failed');
  }

  #sendSnapshot(rangeId: RangeId, message: Message, file: string, done: (isTaken: boolean) => void): void {
    if (!this.#disk.exists(file)) {
      done(false);
      return;
    }
    const transfer = this.#nextNumber++;
    this.#coverage.count('snapshots sent');
    this.#transfers.set(transfer, done);
    this.#surroundings.later(this.#options.snapshotTimeoutMs, () => this.#endTransfer(transfer, false));
    const contents = this.#disk.bytes(file, 0, fileBytes(this.#disk, file));
    this.#surroundings.send(nodeOf(message.to), { kind: 'snapshot', rangeId, message, contents, transfer });
  }

  #endTransfer(transfer: number, isTaken: boolean): void {
    const done = this.#transfers.get(transfer);
    this.#transfers.delete(transfer);
    done?.(isTaken);
  }

  /** The transport has it whole: the file is made durable, then the shard is told. */
  #takeSnapshot({ rangeId, message, contents, transfer }: Extract<ShardPacket, { kind: 'snapshot' }>): void {
    const answer = (isTaken: boolean): void => {
      this.#coverage.count(isTaken ? 'snapshots installed' : 'snapshots not taken');
      this.#surroundings.send(nodeOf(message.from), { kind: 'taken', transfer, isTaken });
    };
    const index = message.snapshot?.index ?? (0 as LogIndex);
    const file = this.#dir.checkpoints.incomingFile(rangeId, index, this.#nextNumber++);
    try {
      const output = this.#disk.openFile(file, 'w+');
      output.write(contents, 0, contents.length, 0);
      output.sync();
      output.close();
      this.#disk.syncDir(path.dirname(file));
    } catch (error) {
      if (!isDiskError(error)) throw error;
      this.#note(error);
      this.#disk.unlink(file);
      answer(false);
      return;
    }
    this.shard?.snapshotArrived(rangeId, message, file, answer);
  }
}

function fail(_rangeId: RangeId, error: unknown): never {
  throw error;
}

function fileBytes(disk: FaultyDisk, file: string): number {
  const opened = disk.openFile(file, 'r');
  const bytes = opened.size();
  opened.close();
  return bytes;
}
