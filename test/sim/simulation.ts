/**
 * One simulated run of a Raft group: members on nodes of their own, clients, and faults drawn from a seed. After every step
 * the rules of invariants.ts are checked; at the end everything heals, and then everything must finish: a leader, all
 * members with the same log and values, clients that are served. The clients' history must be linearizable.
 *
 * A run is its seed: the same seed does the same, step by step.
 */
import { assert } from '../../src/core/assert.ts';
import type { LogIndex, MemberId, NodeId } from '../../src/core/brands.ts';
import { memberId, nodeOf } from '../../src/core/member.ts';
import type { Prng } from '../../src/core/prng.ts';
import { createPrng } from '../../src/core/prng.ts';
import { isJoint, membersOf } from '../../src/core/raft/configuration.ts';
import { ROLE_LEADER } from '../../src/core/raft/types.ts';
import { checkLinearizable } from '../support/linearizability.ts';
import { Clients } from './clients.ts';
import { CALM_DISK, CoreDisk } from './core-disk.ts';
import type { CoreNodeOptions, CorePacket } from './core-node.ts';
import { CoreNode } from './core-node.ts';
import type { FaultProfile } from './faults.ts';
import { CLOCK_DRIFT_MAX, drawFaults, FaultSchedule } from './faults.ts';
import { Invariants } from './invariants.ts';
import { changeMembers, removeTheDead } from './membership.ts';
import type { StateTrace } from './state-trace.ts';
import { World } from './world.ts';

export interface SimulationOptions {
  readonly seed: number;
  /** Voters at first. */
  readonly members: number;
  /** Simulated time with faults. Default 5000. */
  readonly faultyMs?: number;
  /** Instead of what the seed draws. */
  readonly faults?: Partial<FaultProfile>;
  /** Limits of the core, instead of what the seed draws. */
  readonly raft?: CoreNodeOptions['raft'];
  /** Is told of every step. */
  readonly trace?: StateTrace;
}

export interface SimulationResult {
  readonly leadersElected: number;
  readonly committed: number;
  readonly crashes: number;
  readonly partitions: number;
  readonly pauses: number;
  readonly changes: number;
  readonly snapshots: number;
  readonly packets: number;
  readonly reads: number;
  readonly writes: number;
  /** From the end of the faults until everything was finished. */
  readonly healedMs: number;
}

const SPARE_NODES = 2;
const CLIENTS = 4;
/** FAILURES 8: an election race may not go on for ever. 60 s are hundreds of election timeouts. */
const HEALED_MS_MAX = 60_000;

export class Simulation {
  readonly #options: SimulationOptions;
  readonly #prng: Prng;
  readonly #world: World<CorePacket, CoreNode>;
  readonly #invariants = new Invariants(0 as LogIndex, () => this.#askForLeases());
  readonly #schedule: FaultSchedule<CorePacket, CoreNode>;
  readonly #clients: Clients;
  #changes = 0;

  constructor(options: SimulationOptions) {
    const { seed, members } = options;
    this.#options = options;
    const prng = createPrng(seed);
    this.#prng = prng;
    const profile = { ...drawFaults(prng), ...options.faults };
    const one = <T>(...choices: readonly T[]): T => choices[prng.below(choices.length)] as T;
    const nodes = members + (members === 1 ? 0 : SPARE_NODES);
    const nodeOptions = {
      raft: {
        heartbeatTicks: one(1, 2, 3),
        preVote: !prng.chance(0.2),
        maxInflightMessages: one(1, 4, 256),
        maxBytesPerAppend: one(1, 100, 2 ** 20),
        maxRetainedBytes: one(0, 500, 2 ** 20),
        clockDriftMax: CLOCK_DRIFT_MAX,
        ...options.raft,
      },
      checkpointEntries: one(3, 30, 1000),
      keptEntries: one(0, 5, 100),
      snapshotTimeoutMs: one(100, 1000),
      trace: options.trace ?? null,
    };
    const ids = Array.from({ length: members }, (_, i) => memberId((i + 1) as NodeId, 0, 1));
    this.#world = new World(prng.fork(), nodes, (surroundings, time) => {
      const id = ids[surroundings.nodeNumber - 1] ?? (0 as MemberId);
      const disk = new CoreDisk(time, prng.fork(), id === 0 ? [] : ids);
      const isSlow = surroundings.nodeNumber === 1;
      disk.faults = isSlow ? { ...profile.disk, syncMs: profile.disk.syncMs * profile.slowDiskFactor } : profile.disk;
      return new CoreNode(surroundings, this.#invariants, nodeOptions, disk, id);
    });
    this.#schedule = new FaultSchedule(this.#world, prng.fork(), profile, {
      leaders: () => this.#leaders().map(({ number }) => number),
      changeMembers: () => this.#changeMembers(),
      transfer: () => this.#transfer(),
    });
    const clientOptions = {
      keys: one(1, 3),
      writeChance: one(0.2, 0.5, 0.8),
      leaseChance: one(0, 0.5, 1),
      thinkMs: one(5, 40),
      timeoutMs: one(150, 1000),
      nodes,
      leaders: () => this.#leaders().map(({ number }) => number),
    };
    const { hosts } = this.#world;
    this.#clients = new Clients(
      this.#world.time,
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

  /** Throws AssertionFailed when a rule is broken. */
  run(): SimulationResult {
    const { time } = this.#world;
    const faultyMs = this.#options.faultyMs ?? 5000;
    while (time.nowMs < faultyMs) time.step();
    this.#schedule.heal();
    for (const { disk } of this.#world.nodes) disk.faults = CALM_DISK;
    this.#heal(faultyMs + HEALED_MS_MAX);
    const healedMs = time.nowMs - faultyMs;
    const verdict = checkLinearizable(this.#clients.history);
    assert(verdict.ok, verdict.ok ? '' : `the clients' history is not linearizable: ${verdict.explanation}`);
    return {
      leadersElected: this.#invariants.leaderOfTerm.size,
      committed: this.#invariants.committedIndex,
      crashes: this.#schedule.crashes,
      partitions: this.#schedule.partitions,
      pauses: this.#schedule.pauses,
      changes: this.#changes,
      snapshots: this.#invariants.snapshots,
      packets: this.#world.network.packets,
      reads: this.#clients.readsDone,
      writes: this.#clients.writesDone,
      healedMs,
    };
  }

  #leaders(): { readonly number: number; readonly node: CoreNode }[] {
    const { hosts, nodes } = this.#world;
    return hosts.flatMap(({ number, isUp }) => {
      const node = nodes[number - 1] as CoreNode;
      return isUp && node.raft?.role === ROLE_LEADER ? [{ number, node }] : [];
    });
  }

  /** Whoever led until now: would it answer by its lease at this moment? */
  #askForLeases(): void {
    this.#world.time.after(0, () => {
      for (const { number, node } of this.#leaders()) {
        this.#world.hosts[number - 1]?.run(() => {
          if (node.raft !== null) this.#invariants.readByLease(node.raft);
        });
      }
    });
  }

  #changeMembers(): void {
    const { hosts, nodes } = this.#world;
    if (this.#options.members === 1) return;
    for (const { number, node } of this.#leaders()) {
      hosts[number - 1]?.run(() => {
        if (changeMembers(node, nodes.length, this.#prng)) this.#changes++;
      });
    }
  }

  #transfer(): void {
    for (const { number, node } of this.#leaders()) {
      const { voters } = node.appliedConf;
      const to = voters[this.#prng.below(voters.length)];
      if (to !== undefined) this.#world.hosts[number - 1]?.run(() => node.raft?.transferLeadership(to));
    }
  }

  /** Runs on without faults until nothing is left to do; then lets the clients finish. */
  #heal(untilMs: number): void {
    const { time } = this.#world;
    const writesBefore = this.#clients.writesDone;
    let nextLookMs = time.nowMs;
    while (time.nowMs < untilMs) {
      time.step();
      if (time.nowMs < nextLookMs) continue;
      nextLookMs = time.nowMs + 50;
      const leader = this.#settle();
      if (leader === null || this.#clients.writesDone < writesBefore + CLIENTS) continue;
      this.#clients.stop();
      if (this.#isFinished(leader)) return;
    }
    assert(false, this.#describe());
  }

  /** The one leader of the newest term, which finishes the last change of members and sweeps up the dead. */
  #settle(): CoreNode | null {
    const { hosts, nodes } = this.#world;
    const leaders = this.#leaders();
    const newest = Math.max(...leaders.map(({ node }) => node.raft?.term ?? 0));
    const found = leaders.find(({ node }) => node.raft?.term === newest);
    if (found === undefined) return null;
    const { number, node } = found;
    if (isJoint(node.appliedConf)) hosts[number - 1]?.run(() => node.raft?.proposeConfChange({ changes: [] }));
    else removeTheDead(node, nodes);
    return node;
  }

  #isFinished(leader: CoreNode): boolean {
    const { nodes } = this.#world;
    const conf = leader.appliedConf;
    const { committedIndex } = this.#invariants;
    if (isJoint(conf)) return false;
    return [...membersOf(conf)].every((id) => {
      const { raft, values } = nodes[nodeOf(id) - 1] as CoreNode;
      if (raft?.id !== id || raft.appliedIndex !== committedIndex) return false;
      const isSame = values.size === leader.values.size && [...values].every(([k, v]) => leader.values.get(k) === v);
      assert(isSame, 'members that have applied the same log have different values');
      return true;
    });
  }

  #describe(): string {
    const states = this.#world.nodes.map(({ raft }) => (raft === null ? 'none' : JSON.stringify(raft.status())));
    return `the healed cluster does not finish: ${states.join('\n')}`;
  }
}
