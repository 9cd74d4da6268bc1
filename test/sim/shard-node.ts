/**
 * A node that runs what a worker of the product runs: a Shard with its host, replicas, checkpoints and snapshots, over the
 * real write-ahead log on a disk that loses what was not synced.
 *
 *     packets, commands ─▶ Shard ─▶ ring ─▶ WalWriter ─▶ FaultyDisk        the writer's turn comes when the simulated
 *                            ▲               │ durable                     disk has had its time
 *                            └───────────────┘
 */
import path from 'node:path';
import type { LogIndex, MemberId, NodeId, RangeId } from '../../src/core/brands.ts';
import { rangeContains } from '../../src/core/range.ts';
import { nodeOf } from '../../src/core/member.ts';
import type { Args } from '../../src/core/kv/args.ts';
import { argCopy, copyArgs } from '../../src/core/kv/args.ts';
import type { RequestId } from '../../src/core/kv/batch.ts';
import type { ReplySink, ReplyTarget } from '../../src/core/kv/reply.ts';
import { replyError } from '../../src/core/kv/reply.ts';
import type { CommandSpec } from '../../src/core/kv/spec.ts';
import { CONSISTENCY_LINEARIZABLE } from '../../src/core/kv/spec.ts';
import { requireCommand } from '../../src/core/kv/table.ts';
import type { Message } from '../../src/core/raft/types.ts';
import { MemoryArena } from '../../src/engine/memory/arena.ts';
import { openFrozen } from '../../src/engine/memory/frozen.ts';
import type { Engine, FrozenStore } from '../../src/engine/engine.ts';
import { DataDir } from '../../src/server/data-dir.ts';
import type { CheckpointInfo } from '../../src/storage/checkpoint/index.ts';
import { writeCheckpoint } from '../../src/storage/checkpoint/index.ts';
import { RangeLog } from '../../shards/log.ts';
import { recoverRanges } from '../../shards/recovery.ts';
import type { Replica } from '../../shards/replica.ts';
import { NOT_LEADER } from '../../shards/replies.ts';
import { Shard } from '../../shards/shard.ts';
import { FaultyDisk, SimulatedCrash } from '../support/faulty-disk.ts';
import { argsOf, ValueSink } from '../support/kv-machine.ts';
import type { Reply } from '../support/kv-machine.ts';
import { WalHarness } from '../support/wal-harness.ts';
import type { DiskFaults } from './core-disk.ts';
import { CALM_DISK } from './core-disk.ts';
import type { Invariants } from './invariants.ts';
import type { Answer, ClientRequest, NodeSurroundings, SimulatedNode } from './node.ts';
import { ObservedLog } from './shard-observer.ts';
import { TICK_MS } from './world.ts';

export type ShardPacket =
  | { readonly kind: 'raft'; readonly rangeId: RangeId; readonly message: Message }
  | {
      readonly kind: 'snapshot';
      readonly rangeId: RangeId;
      readonly message: Message;
      readonly contents: Buffer;
      readonly transfer: number;
    }
  | { readonly kind: 'taken'; readonly transfer: number; readonly isTaken: boolean };

export interface ShardNodeOptions {
  /** Small: a checkpoint is due after some commands. */
  readonly maxRecoverySeconds: number;
  readonly checkpointMs: number;
  readonly snapshotTimeoutMs: number;
}

const ROOT = '/node';
const VALUE_BYTES_MAX = 2 ** 16;
const KiB = 1024;
/** Where the wall clocks of all nodes stand at the beginning. */
const BEGINNING_MS = 1_700_000_000_000;

/** A client's connection with one command. */
class OneCommand implements ReplyTarget {
  readonly protocol = 4;
  readonly open = true;
  readonly writesInFlight = 0;
  readonly #sink = new ValueSink();
  readonly #answer: Answer;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  begin(): ReplySink {
    return this.#sink;
  }
  finish(): void {
    const [reply] = this.#sink.take() as [Reply];
    const text = String(reply);
    if (text.startsWith('-UNKNOWNRESULT')) this.#answer({ outcome: 'unknown' });
    else if (text.startsWith('-')) this.#answer({ outcome: 'failed' });
    else this.#answer({ outcome: 'ok', value: reply === null || text === '+OK' ? null : text });
  }
  raw(): void {
    throw new Error('replies of other threads do not come here');
  }
}

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
  readonly #disk: FaultyDisk;
  readonly #dir: DataDir;
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
  ) {
    this.#surroundings = surroundings;
    this.#invariantsOf = invariantsOf;
    this.#options = options;
    this.nodeId = surroundings.nodeNumber as NodeId;
    this.#disk = new FaultyDisk(1 + surroundings.prng.below(2 ** 30));
    this.#disk.mkdir(ROOT);
    this.#dir = new DataDir(this.#disk, ROOT);
    this.#dir.make();
    if (isFirst) {
      const settings = { replicationFactor: 3, nodeName: () => 'first', workerCount: 1, splitKeys: [] };
      this.#dir.bootstrap({ nodeId: this.nodeId, ...settings });
    }
  }

  get replicas(): ReadonlyMap<RangeId, Replica> {
    return this.shard?.host.replicas ?? new Map<RangeId, Replica>();
  }

  start(): void {
    const found = this.#dir.findRanges(this.nodeId);
    const wal = new WalHarness(this.#disk, { dir: this.#dir.walDir, isReplayed: false });
    const arena = new MemoryArena({ maxBytes: 2 ** 26, slabBytes: 128 * KiB, pageBytes: 4 * KiB });
    const appender = wal.appenders[0];
    if (appender === undefined) throw new Error('a log has a worker');
    const log = new ObservedLog(new RangeLog(appender), () => this.replicas, this.#invariantsOf);
    const createStore = (): ReturnType<MemoryArena['createStore']> => arena.createStore();
    this.#wal = wal;
    this.#log = log;
    this.#isSyncing = false;
    this.#checkpoint = null;
    this.#transfers = new Map();
    const shard = this.#createShard(log, createStore, found.tombstones);
    this.shard = shard;
    const recovered = recoverRanges({
      nodeId: this.nodeId,
      disk: this.#disk,
      walDir: this.#dir.walDir,
      scan: wal.recovery,
      checkpoints: found.checkpoints.map(({ file }) => file),
      staged: found.staged.map(({ file }) => file),
      folder: this.#dir.checkpoints,
      checkpointed: new Set([...found.checkpoints.map(({ rangeId }) => rangeId), ...found.tombstones.keys()]),
      members: found.members,
      mayHeal: true,
      nowMs: Math.floor(this.#surroundings.monotonicMs()),
      createStore,
      valueBytesMax: VALUE_BYTES_MAX,
    });
    for (const range of recovered.ranges) shard.adopt(range);
    shard.giveUp([...found.damaged, ...recovered.damaged]);
    wal.writer.control({ type: 'replayed' });
  }

  /** Half of the time in the middle of what the disk was about to do. */
  crash(): void {
    const { prng } = this.#surroundings;
    if (prng.chance(0.5)) this.#dieAtWork(1 + prng.below(12));
    if (prng.chance(0.7)) this.#disk.crash();
    else this.#disk.kill();
    this.shard = null;
    this.#wal = null;
    this.#log = null;
  }

  #dieAtWork(operations: number): void {
    this.#disk.faults = { crashAfter: operations };
    try {
      this.#writeCheckpoint();
      this.#wal?.turn();
    } catch (error) {
      if (!(error instanceof SimulatedCrash)) throw error;
    }
  }

  tick(): void {
    // The host reads the clock by itself.
  }

  receive(packet: ShardPacket): void {
    if (packet.kind === 'raft') {
      this.shard?.host.receive(packet.rangeId, packet.message);
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
    this.#route(asked, args, new OneCommand(answer), 0, null);
  }

  turn(): void {
    const { shard } = this;
    if (shard === null) return;
    shard.turn(BEGINNING_MS + Math.floor(this.#surroundings.monotonicMs()));
    this.#log?.stepped();
    this.#sync();
  }

  askForLeases(): void {
    this.shard?.host.payTicks();
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
        requestTimeoutMs: 1000,
        diskStallMs: 1000,
        tombstones,
      },
      {
        log,
        disk: this.#disk,
        folder: this.#dir.checkpoints,
        createStore,
        refuseWrites: () => null,
        hasMemory: () => true,
        resubmit: (spec, args, target, slot, requestId) => this.#route(spec, args, target, slot, requestId),
        awaitLeader: (_spec, _args, target, slot) => replyError(target, slot, NOT_LEADER),
        sendMessage: (rangeId, message) => send(nodeOf(message.to), { kind: 'raft', rangeId, message }),
        sendSnapshot: (...transfer) => this.#sendSnapshot(...transfer),
        rangesChanged: () => undefined,
        catalogChanged: () => undefined,
        writeCheckpoint: (frozen, info) => this.#beginCheckpoint(frozen, info),
        checkpointFailed: fail,
        snapshotFailed: fail,
        schedule: () => this.#surroundings.later(0, () => undefined),
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
    if (wal === null || this.#isSyncing || !wal.writer.isReady) return;
    const { prng } = this.#surroundings;
    const { syncMs, stallChance, stallMs } = this.faults;
    this.#isSyncing = true;
    this.#surroundings.later(prng.next() * (prng.chance(stallChance) ? stallMs : 2 * syncMs), () => {
      this.#isSyncing = false;
      wal.turn();
      for (const event of wal.events.splice(0)) {
        if (event.type === 'sealed') this.shard?.holdBack(event.laggards.map(({ rangeId }) => rangeId as RangeId));
      }
    });
  }

  #beginCheckpoint(frozen: FrozenStore, info: CheckpointInfo): Promise<void> {
    const file = this.#dir.checkpoints.checkpointFile(info.rangeId, info.appliedIndex);
    const checkpoint = { file, frozen, info };
    this.#checkpoint = checkpoint;
    return new Promise((resolve) => {
      this.#surroundings.later(this.#surroundings.prng.next() * 2 * this.#options.checkpointMs, () => {
        this.#writeCheckpoint();
        resolve();
      });
    });
  }

  #writeCheckpoint(): void {
    if (this.#checkpoint === null) return;
    const { file, frozen, info } = this.#checkpoint;
    writeCheckpoint(this.#disk, file, openFrozen(frozen), info);
    this.#dir.checkpoints.dropOlder(info.rangeId, info.appliedIndex);
    this.#checkpoint = null;
  }

  #sendSnapshot(rangeId: RangeId, message: Message, file: string, done: (isTaken: boolean) => void): void {
    if (!this.#disk.exists(file)) {
      done(false);
      return;
    }
    const transfer = this.#nextNumber++;
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
    const index = message.snapshot?.index ?? (0 as LogIndex);
    const file = this.#dir.checkpoints.incomingFile(rangeId, index, this.#nextNumber++);
    const output = this.#disk.openFile(file, 'w+');
    output.write(contents, 0, contents.length, 0);
    output.sync();
    output.close();
    this.#disk.syncDir(path.dirname(file));
    this.shard?.snapshotArrived(rangeId, message, file, (isTaken) => {
      this.#surroundings.send(nodeOf(message.from), { kind: 'taken', transfer, isTaken });
    });
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
