/**
 * Several nodes' shards in one thread: the real host, replicas, checkpoints and snapshots, over messages that a test can
 * drop, a log that is durable when the test says so, and a clock that moves when it is told to.
 */
import path from 'node:path';
import type { Hlc, LogIndex, MemberId, NodeId, RangeId, Term } from '../../src/core/brands.ts';
import type { Beat } from '../../src/core/beat.ts';
import { encodeCatalog } from '../../src/codec/catalog.ts';
import { EMPTY_CATALOG } from '../../src/core/catalog/catalog.ts';
import type { RangeExplanation } from '../../src/core/kv/explanation.ts';
import type { ReplySink, ReplyTarget } from '../../src/core/kv/reply.ts';
import { createStateMachine } from '../../src/core/kv/state-machine.ts';
import type { CommandSpec } from '../../src/core/kv/spec.ts';
import { requireCommand, withExplanation } from '../../src/core/kv/table.ts';
import { memberId, nodeOf, nodeOfWorker, workerId, workerIdOf } from '../../src/core/member.ts';
import { confOf } from '../../src/core/raft/configuration.ts';
import type { ConfChangeStep, Message, Ready } from '../../src/core/raft/types.ts';
import type { RangeDescriptor } from '../../src/core/range.ts';
import { MemoryArena } from '../../src/engine/memory/arena.ts';
import { openFrozen } from '../../src/engine/memory/frozen.ts';
import { MetricsWriter } from '../../src/observe/counters.ts';
import { CheckpointFolder, writeCheckpoint } from '../../src/storage/checkpoint/index.ts';
import { FIRST_INDEX, FIRST_TERM } from '../../shards/entry.ts';
import type { ShardLog } from '../../shards/log.ts';
import { RangeCatalog } from '../../shards/range-catalog.ts';
import type { Replica } from '../../shards/replica.ts';
import { Shard } from '../../shards/shard.ts';
import type { SyncTime } from '../../shards/write-times.ts';
import { FaultyDisk } from './faulty-disk.ts';
import { argsOf, ValueSink } from './kv-machine.ts';
import type { Bytes, Reply } from './kv-machine.ts';

export const TICK_MS = 50;
const VALUE_BYTES_MAX = 2 ** 20;
const RANGE = 1 as RangeId;

/** Counts what was appended; durable up to where release() was called last, or at once. */
class FakeLog implements ShardLog {
  /** What was put into it, in order. */
  readonly records: ('ready' | 'checkpoint' | 'gone')[] = [];
  position = 0;
  isStuck = false;
  /** There is no room for what replicas write. */
  isFull = false;
  /** Ranges that the log was told to be gone. */
  readonly toldGone = new Set<RangeId>();
  /** When the last sync began and ended, as far as anybody can tell. */
  sync: SyncTime | null = null;
  #durable = 0;

  append(rangeId: RangeId, { snapshot, entries }: Ready): boolean {
    if (this.isFull) return false;
    if (snapshot !== null) this.toldGone.delete(rangeId);
    if (entries.length > 0 && this.toldGone.has(rangeId)) {
      throw new Error(`the log of range ${rangeId} goes on behind its end`);
    }
    this.records.push('ready');
    this.position++;
    return true;
  }
  checkpointed(): boolean {
    this.records.push('checkpoint');
    this.position++;
    return true;
  }
  gone(rangeId: RangeId): boolean {
    this.toldGone.add(rangeId);
    this.records.push('gone');
    this.position++;
    return true;
  }
  publish(): void {
    if (!this.isStuck) this.#durable = this.position;
  }
  durable(): number {
    return this.#durable;
  }
  /** What this log does not keep, a snapshot brings. */
  read(): Promise<null> {
    return Promise.resolve(null);
  }
  syncOf(): SyncTime | null {
    return this.sync;
  }
}

/** A client's connection with one command. */
class OneReply implements ReplyTarget {
  readonly protocol = 4;
  readonly open = true;
  readonly writesInFlight = 0;
  readonly #sink = new ValueSink();
  /** undefined until it is there. */
  value: Reply | undefined;
  explanation: RangeExplanation | undefined;

  begin(): ReplySink {
    return this.#sink;
  }
  explain(_slot: number, explanation: RangeExplanation): void {
    this.explanation = explanation;
  }
  finish(): void {
    [this.value] = this.#sink.take();
  }
  raw(): void {
    throw new Error('replies of other threads do not come here');
  }
}

export class ShardNode {
  readonly nodeId: NodeId;
  readonly shard: Shard;
  readonly log = new FakeLog();
  readonly disk: FaultyDisk;
  readonly folder: CheckpointFolder;
  /** Commands that found no leader here. */
  awaiting = 0;
  /** Of checkpoints that were found while the node ran. */
  readonly damages: string[] = [];
  /** Snapshots that came in and could not be read. */
  snapshotsRefused = 0;
  /** Ranges, in the order in which their checkpoints were written. */
  readonly written: RangeId[] = [];
  /** Checkpoints wait for this before they are written; null: for nothing. */
  mayCheckpoint: Promise<void> | null = null;

  /** `beside`: another worker of the same node. */
  constructor(nodeId: NodeId, cluster: ShardCluster, electionTicks: number, beside: ShardNode | null = null) {
    this.nodeId = nodeId;
    this.disk = beside?.disk ?? new FaultyDisk(nodeId);
    this.folder = new CheckpointFolder(this.disk, '/checkpoints');
    this.folder.make();
    const arena = new MemoryArena({ maxBytes: 2 ** 30 });
    const count = (): void => void this.awaiting++;
    this.shard = new Shard(
      {
        nodeId,
        seed: nodeId,
        valueBytesMax: VALUE_BYTES_MAX,
        maxRecoverySeconds: 10,
        tickMs: TICK_MS,
        electionTicks,
        restAfterTicks: 10,
        requestTimeoutMs: 5000,
        diskStallMs: 1000,
        tombstones: new Map(),
        owns: (member) => cluster.homeOf(member) === this,
      },
      {
        log: this.log,
        disk: this.disk,
        folder: this.folder,
        createStore: () => arena.createStore(),
        refuseWrites: () => null,
        hasMemory: () => true,
        resubmit: count,
        awaitLeader: count,
        sendMessage: (rangeId, message) => cluster.send(rangeId, message),
        sendBeat: (worker, beat) => cluster.sendBeat(this, worker, beat),
        workerOf: workerIdOf,
        sendSnapshot: (rangeId, message, file, done) => cluster.sendSnapshot(this, rangeId, message, file, done),
        rangesChanged: () => undefined,
        catalogChanged: () => undefined,
        writeCheckpoint: async (frozen, info) => {
          if (this.mayCheckpoint !== null) await this.mayCheckpoint;
          this.written.push(info.rangeId);
          const file = this.folder.checkpointFile(info.rangeId, info.appliedIndex);
          writeCheckpoint(this.disk, file, openFrozen(frozen), info);
          this.folder.dropOlder(info.rangeId, info.appliedIndex);
        },
        checkpointDamaged: (_rangeId, file, what) => {
          this.damages.push(what);
          this.folder.keepAside(file, cluster.nowMs);
        },
        checkpointFailed: (_rangeId, error) => cluster.fail(error),
        snapshotFailed: () => void this.snapshotsRefused++,
        dropEarlier: (rangeId, member) => cluster.drop(rangeId, member),
        schedule: () => undefined,
        scheduleIn: () => undefined,
        metrics: new MetricsWriter(),
        monotonicMs: () => cluster.nowMs,
      },
    );
    this.#makeStore = () => arena.createStore();
  }

  readonly #makeStore: () => ReturnType<MemoryArena['createStore']>;

  get replica(): Replica | undefined {
    return this.shard.host.replicas.get(RANGE);
  }

  /** Begins with range 1, of these members, and no keys. `isLogBehind`: as RecoveredRange says. */
  adopt(descriptor: RangeDescriptor, member: MemberId, isLogBehind = false): void {
    const store = this.#makeStore();
    this.folder.stored(RANGE, member);
    this.shard.adopt({
      memberId: member,
      descriptor,
      store,
      machine: createStateMachine({ store, valueBytesMax: VALUE_BYTES_MAX, latestVersion: 0 as Hlc }),
      catalog: new RangeCatalog(encodeCatalog(EMPTY_CATALOG)),
      cutFrom: null,
      isCheckpointAlone: false,
      isLogBehind,
      conf: confOf(descriptor.replicas.map(({ memberId: id }) => id)),
      appliedIndex: FIRST_INDEX,
      appliedTerm: FIRST_TERM,
      hardState: { term: FIRST_TERM, vote: 0 as MemberId, commit: FIRST_INDEX as LogIndex },
      tail: [],
      replayedBytes: 0,
      replayedCommands: 0,
    });
  }

  /** Starts a command on this node's replica. */
  start(name: string, ...values: Bytes[]): OneReply {
    return this.#start(requireCommand(name), values);
  }

  /** The same, with the reply explained. */
  explain(spec: CommandSpec, ...values: Bytes[]): OneReply {
    return this.#start(withExplanation(spec), values);
  }

  #start(spec: CommandSpec, values: readonly Bytes[]): OneReply {
    const reply = new OneReply();
    const { replica } = this;
    if (replica === undefined) throw new Error('no replica here');
    replica.submit(spec, argsOf(values), reply, 0, null, 0);
    return reply;
  }
}

export class ShardCluster {
  nowMs = 1000;
  readonly nodes: ShardNode[] = [];
  readonly #workers = new Map<number, ShardNode>();
  readonly #electionTicks: number;
  /** Nodes that neither run nor hear. */
  readonly stopped = new Set<NodeId>();
  /** Whether a message gets through. */
  passes: (from: NodeId, to: NodeId, message: Message, rangeId: RangeId) => boolean = () => true;
  /** The same of beats. */
  passesBeat: (from: NodeId, to: NodeId, beat: Beat) => boolean = () => true;
  #mail: { readonly rangeId: RangeId; readonly message: Message }[] = [];
  #beats: { readonly from: NodeId; readonly to: NodeId; readonly beat: Beat }[] = [];
  snapshotsSent = 0;

  /** `members`: how many of the nodes have range 1 from the start; node ids count from 1. */
  constructor(nodes: number, members: number, electionTicks = 10) {
    this.#electionTicks = electionTicks;
    for (let i = 1; i <= nodes; i++) this.nodes.push(new ShardNode(i as NodeId, this, electionTicks));
    const ids = this.nodes.slice(0, members).map(({ nodeId }) => memberId(nodeId, 0, 1));
    const descriptor: RangeDescriptor = {
      rangeId: RANGE,
      startKey: Buffer.alloc(0),
      endKey: null,
      epoch: { confVersion: 1, version: 1 },
      replicas: ids.map((id) => ({ memberId: id, role: 'voter' })),
    };
    ids.forEach((id, i) => this.node(i + 1).adopt(descriptor, id));
  }

  node(nodeId: number): ShardNode {
    return this.nodes[nodeId - 1] as ShardNode;
  }

  /** A second worker of a node: where members with that worker's index live. */
  addWorker(nodeId: number, workerIndex: number): ShardNode {
    const worker = new ShardNode(nodeId as NodeId, this, this.#electionTicks, this.node(nodeId));
    this.nodes.push(worker);
    this.#workers.set(workerId(nodeId as NodeId, workerIndex), worker);
    return worker;
  }

  /** The member’s node is told that it is out of its group. */
  drop(rangeId: RangeId, member: MemberId): void {
    for (const { nodeId, shard } of this.nodes) if (nodeId === nodeOf(member)) shard.drop(rangeId, member);
  }

  /** The worker that a member lives on. */
  homeOf(member: MemberId): ShardNode {
    return this.#workers.get(workerIdOf(member)) ?? this.node(nodeOf(member));
  }

  send(rangeId: RangeId, message: Message): void {
    this.#mail.push({ rangeId, message });
  }

  sendBeat({ nodeId }: ShardNode, worker: number, beat: Beat): void {
    this.#beats.push({ from: nodeId, to: nodeOfWorker(worker), beat });
  }

  sendSnapshot(
    from: ShardNode,
    rangeId: RangeId,
    message: Message,
    file: string,
    done: (isTaken: boolean) => void,
  ): void {
    const to = this.homeOf(message.to);
    if (this.stopped.has(to.nodeId)) {
      done(false);
      return;
    }
    this.snapshotsSent++;
    const incoming = to.folder.incomingFile(rangeId, message.snapshot?.index ?? 0, this.snapshotsSent);
    copy(from.disk, file, to.disk, incoming);
    to.shard.snapshotArrived(rangeId, message, incoming, done);
  }

  fail(error: unknown): void {
    throw error;
  }

  /** Runs turns and delivers messages until nothing moves; lets promises settle in between. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3;) {
      for (const node of this.nodes) if (!this.stopped.has(node.nodeId)) node.shard.turn(this.nowMs);
      const mail = this.#mail;
      this.#mail = [];
      for (const { rangeId, message } of mail) {
        const [from, to] = [nodeOf(message.from), nodeOf(message.to)];
        const isCut = this.stopped.has(from) || this.stopped.has(to) || !this.passes(from, to, message, rangeId);
        if (!isCut) this.homeOf(message.to).shard.host.receive(rangeId, message);
      }
      this.#deliverBeats();
      await Promise.resolve();
      idle = mail.length === 0 ? idle + 1 : 0;
    }
  }

  #deliverBeats(): void {
    for (const { from, to, beat } of this.#beats.splice(0)) {
      const isCut = this.stopped.has(from) || this.stopped.has(to) || !this.passesBeat(from, to, beat);
      if (!isCut) this.node(to).shard.host.receiveBeat(workerId(from, 0), beat);
    }
  }

  /** Lets time pass, a tick at a time. */
  async pass(ms: number): Promise<void> {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs;) {
      this.nowMs += TICK_MS;
      await this.settle();
    }
  }

  /** Lets time pass until `what` holds. Throws after a simulated minute. */
  async until(what: () => boolean): Promise<void> {
    for (let waited = 0; !what(); waited += TICK_MS) {
      if (waited > 60_000) throw new Error(`it did not come to pass within a minute: ${what.toString()}`);
      await this.pass(TICK_MS);
    }
  }

  /** The one that leads range 1, of those that run; waits for it to be settled. */
  async leader(): Promise<ShardNode> {
    const leads = ({ nodeId, replica }: ShardNode): boolean =>
      !this.stopped.has(nodeId) && replica?.isLeader === true && replica.appliedTerm === replica.raft.term;
    await this.until(() => this.nodes.some(leads));
    const leaders = this.nodes.filter(leads);
    leaders.sort((a, b) => (b.replica?.raft.term as Term) - (a.replica?.raft.term as Term));
    return leaders[0] as ShardNode;
  }

  /** Runs a command on the leader. */
  async run(name: string, ...values: Bytes[]): Promise<Reply> {
    const leader = await this.leader();
    const reply = leader.start(name, ...values);
    await this.until(() => reply.value !== undefined);
    return reply.value as Reply;
  }

  /** Changes the members of range 1 by way of its leader. */
  async change(...changes: ConfChangeStep[]): Promise<string | null> {
    const { replica, shard } = await this.leader();
    const { confVersion } = (replica as Replica).descriptor.epoch;
    let answer: string | null | undefined;
    shard.admin.changeMembers({ rangeId: RANGE, confVersion, changes, isJoint: false }, (error) => (answer = error));
    await this.until(() => answer !== undefined);
    return answer as string | null;
  }
}

function copy(from: FaultyDisk, file: string, to: FaultyDisk, name: string): void {
  const source = from.openFile(file, 'r');
  const target = to.openFile(name, 'w+');
  const bytes = Buffer.alloc(source.size());
  source.read(bytes, 0, bytes.length, 0);
  target.write(bytes, 0, bytes.length, 0);
  target.sync();
  source.close();
  target.close();
  to.syncDir(path.dirname(name));
}
