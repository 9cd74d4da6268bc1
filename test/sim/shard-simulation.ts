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
import { isJoint } from '../../src/core/raft/configuration.ts';
import type { ConfChangeStep } from '../../src/core/raft/types.ts';
import { FIRST_INDEX } from '../../shards/entry.ts';
import type { Replica } from '../../shards/replica.ts';
import { checkLinearizable } from '../support/linearizability.ts';
import { Clients } from './clients.ts';
import { CALM_DISK } from './core-disk.ts';
import type { FaultProfile } from './faults.ts';
import { drawFaults, FaultSchedule } from './faults.ts';
import { Invariants } from './invariants.ts';
import type { ShardPacket } from './shard-node.ts';
import { ShardNode } from './shard-node.ts';
import { World } from './world.ts';

export interface ShardSimulationOptions {
  readonly seed: number;
  /** Simulated time with faults. Default 5000. */
  readonly faultyMs?: number;
  /** Instead of what the seed draws. */
  readonly faults?: Partial<FaultProfile>;
}

export interface ShardSimulationResult {
  readonly ranges: number;
  readonly committed: number;
  readonly crashes: number;
  readonly changes: number;
  readonly reads: number;
  readonly writes: number;
  readonly healedMs: number;
}

const NODES = 4;
const KEYS = 8;
const CLIENTS = 5;
const RANGES_MAX = 4;
const VOTERS_WANTED = 3;
const HEALED_MS_MAX = 60_000;

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
  #nextRangeId = 2;
  #changes = 0;

  constructor(options: ShardSimulationOptions) {
    this.#options = options;
    const prng = createPrng(options.seed);
    this.#prng = prng;
    const profile = { ...drawFaults(prng), ...options.faults };
    const one = <T>(...choices: readonly T[]): T => choices[prng.below(choices.length)] as T;
    const nodeOptions = {
      maxRecoverySeconds: one(0.0001, 0.001, 10),
      checkpointMs: one(1, 30, 200),
      snapshotTimeoutMs: one(100, 1000),
    };
    const invariantsOf = (rangeId: RangeId): Invariants => this.#invariantsOf(rangeId);
    this.#world = new World(prng.fork(), NODES, (surroundings) => {
      const node = new ShardNode(surroundings, invariantsOf, nodeOptions, surroundings.nodeNumber === 1);
      const { syncMs } = profile.disk;
      const slowness = surroundings.nodeNumber === 2 ? profile.slowDiskFactor : 1;
      node.faults = { ...profile.disk, syncMs: syncMs * slowness };
      return node;
    });
    // A cluster that never spreads has nothing to lose.
    const membershipEveryMs = Math.min(profile.membershipEveryMs, 300);
    this.#schedule = new FaultSchedule(
      this.#world,
      prng.fork(),
      { ...profile, membershipEveryMs },
      {
        leaders: () => this.#leaders().map(({ node }) => node.nodeId),
        changeMembers: () => this.#administrate(),
        transfer: () => this.#transfer(),
      },
    );
    const { time, hosts } = this.#world;
    const clientOptions = {
      keys: KEYS,
      writeChance: one(0.2, 0.5, 0.8),
      leaseChance: one(0, 0.5, 1),
      thinkMs: one(5, 40),
      timeoutMs: one(300, 2000),
      nodes: NODES,
      leaders: () => this.#leaders().map(({ node }) => node.nodeId),
    };
    this.#clients = new Clients(
      time,
      prng.fork(),
      clientOptions,
      (to, request, answer) => {
        const host = hosts[to - 1];
        host?.run(() => host.node.submit(request, answer));
      },
      CLIENTS,
    );
    for (const host of hosts) host.start();
  }

  /** Rejects with AssertionFailed when a rule is broken. */
  async run(): Promise<ShardSimulationResult> {
    const { time, nodes } = this.#world;
    const faultyMs = this.#options.faultyMs ?? 5000;
    while (time.nowMs < faultyMs) await this.#step();
    this.#schedule.heal();
    for (const node of nodes) node.faults = CALM_DISK;
    await this.#heal(faultyMs + HEALED_MS_MAX);
    const verdict = checkLinearizable(this.#clients.history);
    assert(verdict.ok, verdict.ok ? '' : `the clients' history is not linearizable: ${verdict.explanation}`);
    let committed = 0;
    for (const { committedIndex } of this.#invariants.values()) committed += committedIndex - FIRST_INDEX;
    return {
      ranges: this.#invariants.size,
      committed,
      crashes: this.#schedule.crashes,
      changes: this.#changes,
      reads: this.#clients.readsDone,
      writes: this.#clients.writesDone,
      healedMs: time.nowMs - faultyMs,
    };
  }

  /** The next event, and then the promises that it has kept. */
  async #step(): Promise<void> {
    this.#world.time.step();
    await new Promise(setImmediate);
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

  /** A membership change or a split of some range, as some leader sees it. */
  #administrate(): void {
    const leaders = this.#leaders();
    const leader = leaders[this.#prng.below(leaders.length)];
    if (leader === undefined) return;
    if (this.#prng.chance(0.1) && this.#nextRangeId <= RANGES_MAX) this.#split(leader);
    else this.#changeMembers(leader);
  }

  #split({ node, replica }: Leader): void {
    const key = Buffer.from(`k${1 + this.#prng.below(KEYS - 1)}`);
    if (node.replicaOf(key) !== replica || key.equals(replica.descriptor.startKey)) return;
    const rangeId = this.#nextRangeId++ as RangeId;
    this.#on(node, () => node.shard?.split(key, rangeId, () => undefined));
  }

  /** Towards three voters; when there are so many, anything. */
  #changeMembers({ node, rangeId, replica }: Leader): void {
    const { conf, descriptor } = replica;
    const { confVersion } = descriptor.epoch;
    if (isJoint(conf)) return;
    const prng = this.#prng;
    const one = <T>(choices: readonly T[]): T | undefined => choices[prng.below(choices.length)];
    const taken = new Set(descriptor.replicas.map((member) => nodeOf(member.memberId)));
    const free: MemberId[] = [];
    for (let id = 1; id <= NODES; id++) {
      if (!taken.has(id as NodeId)) free.push(memberId(id as NodeId, 0, confVersion + 1));
    }
    const changes: ConfChangeStep[] = [];
    const add = (type: ConfChangeStep['type'], id: MemberId | undefined): void => {
      if (id !== undefined && !changes.some((step) => step.id === id)) changes.push({ type, id });
    };
    const isSmall = conf.voters.length < VOTERS_WANTED;
    if (isSmall || prng.chance(0.3)) add('addVoter', one(conf.learners));
    if (changes.length === 0 || prng.chance(0.2)) add('addLearner', one(free));
    if (!isSmall && prng.chance(0.5)) add(prng.chance(0.7) ? 'remove' : 'addLearner', one(conf.voters));
    if (prng.chance(0.1)) add('remove', one(conf.learners));
    if (changes.length === 0) return;
    this.#on(node, () => {
      const change = { rangeId, confVersion, changes, isJoint: prng.chance(0.3) };
      node.shard?.admin.changeMembers(change, (error) => {
        if (error === null) this.#changes++;
      });
    });
  }

  #transfer(): void {
    for (const { node, rangeId, replica } of this.#leaders()) {
      const { voters } = replica.conf;
      const to = voters[this.#prng.below(voters.length)];
      if (to !== undefined) this.#on(node, () => node.shard?.admin.transferLeader(rangeId, to, () => undefined));
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
    for (const { rangeId, replica } of this.#newestLeaders()) {
      const { replicas, epoch } = replica.descriptor;
      for (const node of this.#world.nodes) {
        const other = node.replicas.get(rangeId);
        const id = other?.raft.id;
        if (id === undefined || replicas.some((member) => member.memberId === id)) continue;
        if (incarnationOf(id) <= epoch.confVersion) this.#on(node, () => node.shard?.drop(rangeId, id));
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
      [...node.replicas].map(([rangeId, replica]) => {
        const { startKey, endKey, epoch } = replica.descriptor;
        return `node ${node.nodeId} range ${rangeId} [${startKey}, ${endKey}) ${JSON.stringify(epoch)} ${JSON.stringify(replica.raft.status())}`;
      }),
    );
    return `the healed cluster does not finish:\n${states.join('\n')}`;
  }
}

/** All keys and values of a replica, as text. */
function valuesOf({ store }: Replica): string {
  const cursor = store.cursor();
  const pairs: string[] = [];
  for (let isThere = cursor.first(); isThere; isThere = cursor.next()) {
    const { keyBuffer, keyStart, keyEnd, value } = cursor;
    const key = keyBuffer.toString('latin1', keyStart, keyEnd);
    pairs.push(`${key}=${value.buffer.toString('latin1', value.start, value.end)}@${value.version}`);
  }
  return pairs.join(' ');
}
