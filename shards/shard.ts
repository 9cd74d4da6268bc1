/**
 * Everything of one worker that concerns its ranges: recovery, the host, checkpoints, expiry, splits. The thread's main
 * connects it to sockets, rings and the main thread.
 */
import { assert } from '../src/core/assert.ts';
import type { Hlc, MemberId, NodeId, RangeId } from '../src/core/brands.ts';
import type { Args } from '../src/core/kv/args.ts';
import type { RequestId } from '../src/core/kv/batch.ts';
import type { ReplyTarget } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import { createStateMachine } from '../src/core/kv/state-machine.ts';
import { requireCommand } from '../src/core/kv/table.ts';
import { createPrng } from '../src/core/prng.ts';
import type { RangeDescriptor, RangeScope, Route } from '../src/core/range.ts';
import { rangeContains } from '../src/core/range.ts';
import { nodeOf } from '../src/core/member.ts';
import { Raft } from '../src/core/raft/raft.ts';
import type { ConfState, Entry, HardState } from '../src/core/raft/types.ts';
import type { Engine, FrozenStore } from '../src/engine/engine.ts';
import type { CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import { Checkpointer } from './checkpointer.ts';
import { FIRST_INDEX, FIRST_TERM } from './entry.ts';
import type { ExpiryCycle } from './expiry.ts';
import { createExpiryCycle } from './expiry.ts';
import { ShardHost } from './host.ts';
import { isSingle } from './membership.ts';
import type { RangeLog } from './log.ts';
import type { RecoveredRange } from './recovery.ts';
import { Replica } from './replica.ts';
import type { SplitCallback } from './replica.ts';

export interface ShardPorts {
  readonly log: RangeLog;
  readonly refuseWrites: () => string | null;
  readonly hasMemory: (bytes: number) => boolean;
  readonly resubmit: (
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope | null,
  ) => void;
  readonly awaitLeader: (
    spec: CommandSpec,
    args: Args,
    target: ReplyTarget,
    slot: number,
    requestId: RequestId | null,
    scope: RangeScope,
  ) => void;
  /** The worker's ranges, or their leaders, have changed; all of them are given. */
  readonly rangesChanged: (routes: readonly Route[]) => void;
  readonly writeCheckpoint: (frozen: FrozenStore, info: CheckpointInfo) => Promise<void>;
  readonly checkpointFailed: (rangeId: RangeId, error: unknown) => void;
  readonly schedule: () => void;
}

export interface ShardOptions {
  readonly nodeId: NodeId;
  readonly seed: number;
  readonly valueBytesMax: number;
  readonly maxRecoverySeconds: number;
  readonly tickMs: number;
  /** A follower waits one to two times so many ticks before it stands for election. */
  readonly electionTicks: number;
  readonly requestTimeoutMs: number;
}

export class Shard {
  readonly host: ShardHost;
  readonly #ports: ShardPorts;
  readonly #options: ShardOptions;
  readonly #checkpointer: Checkpointer;
  readonly #expiry: ExpiryCycle = createExpiryCycle(requireCommand('EXPIRED'));

  constructor(options: ShardOptions, ports: ShardPorts) {
    this.#options = options;
    this.#ports = ports;
    this.host = new ShardHost(options, {
      log: ports.log,
      send: (_, messages) => assert(messages.length === 0, 'shard: a group of one has nobody to write to'),
      refuseWrites: ports.refuseWrites,
      hasMemory: ports.hasMemory,
      resubmit: ports.resubmit,
      awaitLeader: ports.awaitLeader,
      createSibling: (left, descriptor, store) => this.#sibling(left, descriptor, store),
      splitApplied: (left, right) => this.#checkpointer.split(left.descriptor.rangeId, right.descriptor.rangeId),
      rangesChanged: () => ports.rangesChanged(this.routes),
      receiveUnknown: () => assert(false, 'shard: a group of one hears from nobody'),
      sendSnapshots: () => assert(false, 'shard: a group of one has no followers'),
      replicaRemoved: () => assert(false, 'shard: a group of one keeps its member'),
      monotonicMs: () => performance.now(),
    });
    this.#checkpointer = new Checkpointer({
      maxRecoverySeconds: options.maxRecoverySeconds,
      replicas: this.host.replicas,
      write: ports.writeCheckpoint,
      logCheckpoint: (rangeId, index, term) => ports.log.checkpointed(rangeId, index, term),
      schedule: ports.schedule,
      onError: ports.checkpointFailed,
    });
  }

  get routes(): Route[] {
    return [...this.host.replicas.values()].map(({ descriptor, raft }) => {
      return { range: descriptor, leader: raft.leader, term: raft.term };
    });
  }

  /** Keys present, expired ones that nobody has deleted yet included. */
  get keyCount(): number {
    let sum = 0;
    for (const { store } of this.host.replicas.values()) sum += store.keyCount;
    return sum;
  }

  /** Takes a range that was recovered, and asks for its leadership. */
  adopt(range: RecoveredRange): void {
    const { descriptor, store, machine, conf, appliedIndex, appliedTerm, hardState, tail } = range;
    const raft = this.#raft(
      ownMember(descriptor, this.#options.nodeId),
      conf,
      appliedIndex,
      appliedTerm,
      hardState,
      tail,
    );
    const replica = new Replica(this.host, { descriptor, raft, store, machine, appliedTerm, conf });
    replica.bytesSinceCheckpoint = range.replayedBytes;
    replica.commandsSinceCheckpoint = range.replayedCommands;
    // Nobody else could be elected, so there is nothing to wait for.
    if (isSingle(conf)) raft.campaign();
    this.host.add(replica);
  }

  /** All work of one turn of the loop. */
  turn(nowMs: number): void {
    this.host.turn(nowMs);
    this.#checkpointer.turn();
    this.#ports.log.publish();
  }

  /** Gives the memory of expired keys back; call it some times a second. */
  expireSome(): void {
    // The host's clock stands still while it has nothing to do.
    if (this.#expiry.round(this.host.replicas.values(), Date.now())) this.#ports.schedule();
  }

  /** These ranges hold back log segments. */
  holdBack(rangeIds: Iterable<RangeId>): void {
    this.#checkpointer.holdBack(rangeIds);
    this.#ports.schedule();
  }

  /** Takes a changed bound of how long a restart may take. */
  configure({ maxRecoverySeconds }: { readonly maxRecoverySeconds?: number }): void {
    if (maxRecoverySeconds === undefined) return;
    this.#checkpointer.maxRecoverySeconds = maxRecoverySeconds;
    this.#ports.schedule();
  }

  /** Cuts the range of this worker that holds `key` there; the right half is range `newRangeId`. */
  split(key: Buffer, newRangeId: RangeId, done: SplitCallback): void {
    const replica = [...this.host.replicas.values()].find(({ descriptor }) =>
      rangeContains(descriptor, key, 0, key.length),
    );
    if (replica === undefined) {
      done('RANGEMOVED the range of this key is no longer on this worker; try again');
    } else if (key.equals(replica.descriptor.startKey)) {
      done('ERR a range begins at this key already');
    } else {
      const rangeVersion = replica.descriptor.epoch.version;
      replica.split({ newRangeId, splitKey: Buffer.from(key), rangeVersion }, done);
      this.#ports.schedule();
    }
  }

  #sibling(left: Replica, descriptor: RangeDescriptor, store: Engine): Replica {
    const { valueBytesMax } = this.#options;
    const machine = createStateMachine({
      store,
      valueBytesMax,
      sessions: left.machine.encodeSessions(),
      latestVersion: left.machine.latestVersion as Hlc,
    });
    const hardState = { term: FIRST_TERM, vote: 0 as MemberId, commit: FIRST_INDEX };
    const { conf } = left;
    const raft = this.#raft(left.raft.id, conf, FIRST_INDEX, FIRST_TERM, hardState, []);
    // The others cut their ranges a little later; where the left half is led, the right one is ready first.
    if (left.isLeader) raft.campaign();
    return new Replica(this.host, { descriptor, raft, store, machine, appliedTerm: FIRST_TERM, conf });
  }

  #raft(
    id: MemberId,
    conf: ConfState,
    snapshotIndex: typeof FIRST_INDEX,
    snapshotTerm: typeof FIRST_TERM,
    hardState: HardState,
    entries: readonly Entry[],
  ): Raft {
    return new Raft({
      id,
      prng: createPrng(this.#options.seed + this.host.replicas.size),
      electionTicks: this.#options.electionTicks,
      log: { snapshotIndex, snapshotTerm, conf, entries, hardState, applied: snapshotIndex },
    });
  }
}

function ownMember({ rangeId, replicas }: RangeDescriptor, nodeId: NodeId): MemberId {
  const own = replicas.find(({ memberId }) => nodeOf(memberId) === nodeId);
  assert(own !== undefined, `shard: range ${rangeId} has a replica on this node`);
  return own.memberId;
}
