/**
 * One simulated run of a whole cluster's data plane: every node runs a shard worker's ranges over its own log, checkpoints and
 * disk. The store begins on node 1 and spreads from there; ranges are split while clients use them. What goes wrong and what
 * must hold is the same as for bare groups (simulation.ts), for each range by itself.
 */
import { assert } from '../../src/core/assert.ts';
import type { LogIndex, MemberId, NodeId, RangeId } from '../../src/core/brands.ts';
import { incarnationOf, memberId, nodeOf } from '../../src/core/member.ts';
import type { Prng } from '../../src/core/prng.ts';
import { createPrng } from '../../src/core/prng.ts';
import { rangeContains } from '../../src/core/range.ts';
import { isJoint } from '../../src/core/raft/configuration.ts';
import type { ConfChangeStep } from '../../src/core/raft/types.ts';
import { SEGMENT_BYTES_MIN } from '../../src/storage/wal/format.ts';
import { FIRST_INDEX } from '../../shards/entry.ts';
import type { Replica } from '../../shards/replica.ts';
import { checkLinearizable } from '../support/linearizability.ts';
import { givenUp, rotSome } from './bit-rot.ts';
import type { ClientOptions, Submit } from './clients.ts';
import { Clients } from './clients.ts';
import type { ClusterFaults } from './cluster-faults.ts';
import { bounded, drawClusterFaults, restartAfterExit, scheduleClusterFaults } from './cluster-faults.ts';
import { CALM_DISK } from './core-disk.ts';
import { Coverage } from './coverage.ts';
import type { FaultProfile } from './faults.ts';
import { drawFaults, FaultSchedule } from './faults.ts';
import { Invariants } from './invariants.ts';
import { describeReplica, valuesOf } from './replica-text.ts';
import type { ShardPacket } from './shard-packet.ts';
import { ShardNode } from './shard-node.ts';
import { World } from './world.ts';

export interface ShardSimulationOptions {
  readonly seed: number;
  /** Simulated time with faults. Default 5000. */
  readonly faultyMs?: number;
  /** Instead of what the seed draws. */
  readonly faults?: Partial<FaultProfile & ClusterFaults>;
  /** Mean time between bits that flip on a disk; Infinity: never. Instead of what the seed draws. */
  readonly rotEveryMs?: number;
  /** One value of so many is longer than a record of the log may be; Infinity: none. Instead of what the seed draws. */
  readonly longEvery?: number;
  /** As many as a group is to have at least, instead of what the seed draws. */
  readonly voters?: number;
}

export interface ShardSimulationResult {
  readonly nodes: number;
  readonly ranges: number;
  readonly committed: number;
  readonly reads: number;
  readonly writes: number;
  /** From the end of the faults until everything was finished. */
  readonly healedMs: number;
  /** Events of the simulation, one after another. */
  readonly steps: number;
  readonly coverage: Coverage;
}

const KEYS = 12;
const CLIENTS = 8;
const RANGES_MAX = 5;
const HEALED_MS_MAX = 60_000;
/** Chances of their own, so that seeds without damage, or without long values, go on as they were. */
const ROT_SEED = 2 ** 31;
const LONG_SEED = 2 ** 32;
const SEGMENT_BYTES = [64 * 1024, 256 * 1024, SEGMENT_BYTES_MIN] as const;

/** A replica that leads, and where. */
interface Leader {
  readonly node: ShardNode;
  readonly rangeId: RangeId;
  readonly replica: Replica;
}

export class ShardSimulation {
  readonly #options: ShardSimulationOptions;
  readonly #prng: Prng;
  readonly #world: World<ShardPacket, ShardNode>;
  readonly #invariants = new Map<RangeId, Invariants>();
  readonly #schedule: FaultSchedule<ShardPacket, ShardNode>;
  readonly #clients: Clients;
  readonly #coverage = new Coverage();
  readonly #nodes: number;
  readonly #votersWanted: number;
  #nextRangeId = 2;
  #steps = 0;
  /** Leaders at rest. */
  #resting = new Set<Replica>();

  constructor(options: ShardSimulationOptions) {
    this.#options = options;
    const prng = createPrng(options.seed);
    this.#prng = prng;
    const one = <T>(...choices: readonly T[]): T => choices[prng.below(choices.length)] as T;
    this.#nodes = one(3, 4, 4, 5);
    const votersDrawn = this.#nodes === 5 ? one(3, 5) : 3;
    this.#votersWanted = options.voters ?? votersDrawn;
    const profile = { ...bounded(drawFaults(prng)), ...drawClusterFaults(prng), ...options.faults };
    const rotPrng = createPrng(options.seed + ROT_SEED);
    const rotDrawnMs = [Infinity, Infinity, 100, 300][rotPrng.below(4)] as number;
    const rotEveryMs = options.rotEveryMs ?? rotDrawnMs;
    const longDrawn = [Infinity, Infinity, 30, 6][createPrng(options.seed + LONG_SEED).below(4)] as number;
    const nodeOptions = {
      mayRot: rotEveryMs !== Infinity,
      maxRecoverySeconds: one(0.0001, 0.001, 10),
      checkpointMs: one(1, 30, 200),
      snapshotTimeoutMs: one(100, 1000),
      segmentBytes: one(...SEGMENT_BYTES),
      restAfterTicks: one(1, 3, 20),
    };
    const invariantsOf = (rangeId: RangeId): Invariants => this.#invariantsOf(rangeId);
    this.#world = new World(prng.fork(), this.#nodes, (surroundings) => {
      const isFirst = surroundings.nodeNumber === 1;
      const node = new ShardNode(surroundings, invariantsOf, nodeOptions, isFirst, this.#coverage);
      const { syncMs } = profile.disk;
      const slowness = surroundings.nodeNumber === 2 ? profile.slowDiskFactor : 1;
      node.faults = { ...profile.disk, syncMs: syncMs * slowness };
      return node;
    });
    // A cluster that never spreads has nothing to lose.
    const membershipEveryMs = Math.min(profile.membershipEveryMs, 100);
    this.#schedule = new FaultSchedule(
      this.#world,
      prng.fork(),
      { ...profile, membershipEveryMs },
      {
        leaders: () => this.#leaders().map(({ node }) => node.nodeId),
        changeMembers: () => this.#onSomeLeader((leader) => this.#changeMembers(leader)),
        transfer: () => this.#transfer(),
      },
      this.#coverage,
    );
    this.#clients = this.#createClients({
      keys: KEYS,
      writeChance: one(0.2, 0.5, 0.8),
      leaseChance: one(0, 0.5, 1),
      thinkMs: one(1, 5, 15, 150),
      timeoutMs: one(150, 600),
      nodes: this.#nodes,
      leaders: (key) => this.#leadersOf(key),
      toldChance: 0.8,
      longEvery: options.longEvery ?? longDrawn,
    });
    const faultPrng = prng.fork();
    scheduleClusterFaults(profile, {
      world: this.#world,
      schedule: this.#schedule,
      prng: faultPrng,
      coverage: this.#coverage,
      operations: () => this.#clients.readsDone + this.#clients.writesDone,
      isSpread: () => this.#isSpread(),
      split: () => this.#onSomeLeader((leader) => this.#split(leader)),
      sweep: () => this.#sweep(),
    });
    const rot = { world: this.#world, prng: rotPrng, coverage: this.#coverage };
    this.#schedule.every(rotEveryMs, () => rotSome(rot));
    for (const host of this.#world.hosts) {
      host.onDown = (isExit) => {
        this.#clients.disconnect(host.number);
        if (isExit) restartAfterExit({ world: this.#world, prng: faultPrng }, host.number);
      };
      host.start();
    }
  }

  #createClients(options: ClientOptions): Clients {
    const { time, hosts } = this.#world;
    const submit: Submit = (to, request, answer) => {
      const host = hosts[to - 1];
      if (host?.isUp === true) host.run(() => host.node.submit(request, answer));
      else answer({ outcome: 'failed' });
    };
    return new Clients(time, this.#prng.fork(), options, submit, CLIENTS);
  }

  /** Rejects with AssertionFailed when a rule is broken. */
  async run(): Promise<ShardSimulationResult> {
    const { time, nodes } = this.#world;
    const faultyMs = this.#options.faultyMs ?? 5000;
    while (time.nowMs < faultyMs) await this.#step();
    this.#schedule.heal();
    for (const node of nodes) {
      node.faults = CALM_DISK;
      node.storage.heal();
    }
    await this.#heal(faultyMs + HEALED_MS_MAX);
    const verdict = checkLinearizable(this.#clients.history);
    assert(verdict.ok, verdict.ok ? '' : `the clients' history is not linearizable: ${verdict.explanation}`);
    let committed = 0;
    for (const { committedIndex, leaderOfTerm } of this.#invariants.values()) {
      committed += committedIndex - FIRST_INDEX;
      this.#coverage.count('leaders elected', leaderOfTerm.size);
    }
    return {
      nodes: this.#nodes,
      ranges: this.#invariants.size,
      committed,
      reads: this.#clients.readsDone,
      writes: this.#clients.writesDone,
      healedMs: time.nowMs - faultyMs,
      steps: this.#steps,
      coverage: this.#covered(),
    };
  }

  #covered(): Coverage {
    const { readsDone, leaseReadsDone, writesDone, longWritesDone, unknown, failed } = this.#clients;
    const { lost, repeated, late } = this.#world.network;
    const coverage = this.#coverage;
    coverage.count('writes', writesDone);
    coverage.count('writes of long values', longWritesDone);
    coverage.count('reads by lease', leaseReadsDone);
    coverage.count('reads by a round', readsDone - leaseReadsDone);
    coverage.count('results unknown', unknown);
    coverage.count('requests refused', failed);
    coverage.count('packets lost', lost);
    coverage.count('packets repeated', repeated);
    coverage.count('packets late', late);
    return coverage;
  }

  /** The next event, and then the promises that it has kept. */
  async #step(): Promise<void> {
    this.#steps++;
    this.#world.time.step();
    await new Promise(setImmediate);
    const resting = new Set(this.#leaders().flatMap(({ replica }) => (replica.raft.isResting ? [replica] : [])));
    for (const replica of resting) if (!this.#resting.has(replica)) this.#coverage.count('leaders put to rest');
    this.#resting = resting;
  }

  #invariantsOf(rangeId: RangeId): Invariants {
    let invariants = this.#invariants.get(rangeId);
    if (invariants === undefined) {
      invariants = new Invariants(FIRST_INDEX, () => this.#askForLeases());
      this.#invariants.set(rangeId, invariants);
    }
    return invariants;
  }

  #askForLeases(): void {
    const { time, hosts } = this.#world;
    time.after(0, () => {
      for (const host of hosts) host.run(() => this.#world.nodes[host.number - 1]?.askForLeases());
    });
  }

  #leaders(): Leader[] {
    return this.#world.nodes.flatMap((node) =>
      [...node.replicas].flatMap(([rangeId, replica]) => (replica.isLeader ? [{ node, rangeId, replica }] : [])),
    );
  }

  #on({ nodeId }: ShardNode, action: () => void): void {
    this.#world.hosts[nodeId - 1]?.run(action);
  }

  #leadersOf(key: string): NodeId[] {
    const bytes = Buffer.from(key);
    return this.#leaders()
      .filter(({ replica: { descriptor } }) => rangeContains(descriptor, bytes, 0, bytes.length))
      .map(({ node }) => node.nodeId);
  }

  #isSpread(): boolean {
    const leaders = this.#newestLeaders();
    return leaders.length > 0 && leaders.every(({ replica }) => replica.conf.voters.length >= this.#votersWanted);
  }

  #onSomeLeader(action: (leader: Leader) => void): void {
    const leaders = this.#leaders();
    const leader = leaders[this.#prng.below(leaders.length)];
    if (leader !== undefined) action(leader);
  }

  #split({ node, replica }: Leader): void {
    if (this.#nextRangeId > RANGES_MAX) return;
    const key = Buffer.from(`k${1 + this.#prng.below(KEYS - 1)}`);
    if (node.replicaOf(key) !== replica || key.equals(replica.descriptor.startKey)) return;
    const rangeId = this.#nextRangeId++ as RangeId;
    this.#on(node, () => {
      node.shard?.split(key, rangeId, (error) => {
        if (error === null) this.#coverage.count('splits');
      });
    });
  }

  /** Out with who is damaged; towards as many voters as are wanted; when there are so many, anything. */
  #changeMembers(leader: Leader): void {
    const { conf, descriptor } = leader.replica;
    const { confVersion } = descriptor.epoch;
    if (isJoint(conf)) return;
    const lost = this.#lostOf(leader).find((id) => descriptor.replicas.some((member) => member.memberId === id));
    if (lost !== undefined) {
      this.#propose(leader, [{ type: 'remove', id: lost }], false);
      return;
    }
    const prng = this.#prng;
    const one = <T>(choices: readonly T[]): T | undefined => choices[prng.below(choices.length)];
    const taken = new Set(descriptor.replicas.map((member) => nodeOf(member.memberId)));
    const free: MemberId[] = [];
    for (let id = 1; id <= this.#nodes; id++) {
      if (!taken.has(id as NodeId)) free.push(memberId(id as NodeId, 0, confVersion + 1));
    }
    const changes: ConfChangeStep[] = [];
    const add = (type: ConfChangeStep['type'], id: MemberId | undefined): void => {
      if (id !== undefined && !changes.some((step) => step.id === id)) changes.push({ type, id });
    };
    const isSmall = conf.voters.length < this.#votersWanted;
    if (isSmall || prng.chance(0.3)) add('addVoter', one(conf.learners));
    if (changes.length === 0 || prng.chance(0.2)) add('addLearner', one(free));
    if (!isSmall && prng.chance(0.5)) add(prng.chance(0.7) ? 'remove' : 'addLearner', one(conf.voters));
    if (prng.chance(0.1)) add('remove', one(conf.learners));
    if (changes.length > 0) this.#propose(leader, changes, prng.chance(0.3));
  }

  #lostOf({ rangeId }: Leader): MemberId[] {
    return givenUp(this.#world.nodes).flatMap((lost) => (lost.rangeId === rangeId ? [lost.memberId] : []));
  }

  #propose(leader: Leader, changes: readonly ConfChangeStep[], isJointChange: boolean): void {
    const { node, rangeId, replica } = leader;
    const { confVersion } = replica.descriptor.epoch;
    const change = { rangeId, confVersion, changes, isJoint: isJointChange };
    const lost = this.#lostOf(leader).join();
    this.#on(node, () => {
      // A placement that has not heard of the damage could take the majority away that is left.
      if (this.#lostOf(leader).join() !== lost || this.#world.nodes.some(({ files }) => files.isInDoubt)) return;
      node.shard?.admin.changeMembers(change, (error) => {
        if (error === null) this.#noteChange(changes, change.isJoint || changes.length > 1);
      });
    });
  }

  #noteChange(changes: readonly ConfChangeStep[], isJoint: boolean): void {
    const events = { addLearner: 'learners added', addVoter: 'voters added', remove: 'members removed' } as const;
    for (const { type } of changes) this.#coverage.count(events[type]);
    if (isJoint) this.#coverage.count('joint changes');
  }

  #transfer(): void {
    for (const { node, rangeId, replica } of this.#leaders()) {
      const { voters } = replica.conf;
      const to = voters[this.#prng.below(voters.length)];
      if (to === undefined || to === replica.raft.id) continue;
      this.#on(node, () => {
        node.shard?.admin.transferLeader(rangeId, to, (error) => {
          if (error === null) this.#coverage.count('leaders transferred');
        });
      });
    }
  }

  async #heal(untilMs: number): Promise<void> {
    const { time } = this.#world;
    const writesBefore = this.#clients.writesDone;
    let nextLookMs = time.nowMs;
    while (time.nowMs < untilMs) {
      await this.#step();
      if (time.nowMs < nextLookMs) continue;
      nextLookMs = time.nowMs + 50;
      this.#sweep();
      if (this.#clients.writesDone < writesBefore + CLIENTS * 4) continue;
      this.#clients.stop();
      if (this.#isFinished()) return;
    }
    assert(false, this.#describe());
  }

  /** The placement tells nodes of members that are none any more. */
  #sweep(): void {
    for (const leader of this.#newestLeaders()) {
      const { rangeId, replica } = leader;
      const { replicas, epoch } = replica.descriptor;
      for (const id of this.#lostOf(leader)) {
        const owner = this.#world.nodes[nodeOf(id) - 1] as ShardNode;
        const isMember = replicas.some((member) => member.memberId === id);
        if (isMember) this.#propose(leader, [{ type: 'remove', id }], false);
        else if (incarnationOf(id) <= epoch.confVersion) this.#on(owner, () => owner.shard?.drop(rangeId, id));
      }
      for (const node of this.#world.nodes) {
        const other = node.replicas.get(rangeId);
        const id = other?.raft.id;
        if (id === undefined || replicas.some((member) => member.memberId === id)) continue;
        if (incarnationOf(id) > epoch.confVersion) continue;
        this.#coverage.count('replicas dropped');
        this.#on(node, () => node.shard?.drop(rangeId, id));
      }
    }
  }

  #newestLeaders(): Leader[] {
    const newest = new Map<RangeId, Leader>();
    for (const leader of this.#leaders()) {
      const known = newest.get(leader.rangeId);
      if (known === undefined || known.replica.raft.term < leader.replica.raft.term) {
        newest.set(leader.rangeId, leader);
      }
    }
    return [...newest.values()];
  }

  #isFinished(): boolean {
    const leaders = this.#newestLeaders();
    // Between them they have all keys.
    const ranges = leaders
      .map(({ replica }) => replica.descriptor)
      .sort((a, b) => Buffer.compare(a.startKey, b.startKey));
    if (ranges[0]?.startKey.length !== 0 || ranges.at(-1)?.endKey !== null) return false;
    if (ranges.some(({ endKey }, i) => i + 1 < ranges.length && !endKey?.equals(ranges[i + 1]?.startKey as Buffer)))
      return false;
    return leaders.every((leader) => this.#isSettled(leader));
  }

  #isSettled({ rangeId, replica }: Leader): boolean {
    if (isJoint(replica.conf)) return false;
    const committed: LogIndex = this.#invariantsOf(rangeId).committedIndex;
    const here = this.#world.nodes.filter((node) => node.replicas.has(rangeId));
    if (here.length !== replica.descriptor.replicas.length) return false;
    const states = here.map((node) => node.replicas.get(rangeId) as Replica);
    if (states.some(({ raft }) => raft.appliedIndex !== committed)) return false;
    const values = states.map(valuesOf);
    assert(new Set(values).size === 1, `replicas of range ${rangeId} differ (FAILURES 11): ${values.join(' | ')}`);
    return true;
  }

  #describe(): string {
    const states = this.#world.nodes.flatMap((node) =>
      [...node.replicas.values()].map((replica) => describeReplica(node.nodeId, replica)),
    );
    return `the healed cluster does not finish:\n${states.sort().join('\n')}`;
  }
}
