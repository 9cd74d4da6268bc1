/**
 * What goes wrong in one run. Each seed draws which faults there are and how often (swarm testing: a run with all of them
 * hides what a run with two of them shows), then they happen until the schedule is stopped and everything heals.
 */
import type { Prng } from '../../src/core/prng.ts';
import { CALM_DISK } from './core-disk.ts';
import type { Coverage } from './coverage.ts';
import type { DiskFaults } from './core-disk.ts';
import { CALM_NETWORK } from './network.ts';
import type { NetworkFaults } from './network.ts';
import type { Host, World } from './world.ts';
import type { SimulatedNode } from './node.ts';

export interface FaultProfile {
  readonly network: NetworkFaults;
  readonly disk: DiskFaults;
  /** One disk is so many times slower than the others. */
  readonly slowDiskFactor: number;
  /** Mean time between faults of a kind; Infinity: never. */
  readonly partitionEveryMs: number;
  readonly partitionMs: number;
  readonly crashEveryMs: number;
  readonly crashAllEveryMs: number;
  readonly downMs: number;
  readonly pauseEveryMs: number;
  readonly pauseMs: number;
  /** Clock rates are drawn anew, between 1 and 1 + clockDrift. */
  readonly clockEveryMs: number;
  readonly clockDrift: number;
  readonly membershipEveryMs: number;
  readonly transferEveryMs: number;
  /** A leader dies right after it was elected, or after it committed something. */
  readonly leaderDeathEveryMs: number;
}

/** Rates between any two clocks differ by at most this: RaftOptions.clockDriftMax. */
export const CLOCK_DRIFT_MAX = 0.05;

export function drawFaults(prng: Prng): FaultProfile {
  const one = <T>(...choices: readonly T[]): T => choices[prng.below(choices.length)] as T;
  // Most faults need an otherwise healthy group to do their harm.
  const sometimes = (...everyMs: readonly number[]): number => (prng.chance(0.4) ? one(...everyMs) : Infinity);
  const network = {
    lossChance: one(0, 0, 0.01, 0.1, 0.3),
    duplicateChance: one(0, 0.02, 0.2),
    meanDelayMs: one(0.5, 2, 10, 25),
    lateChance: one(0, 0, 0.005, 0.05),
    lateMs: one(200, 3000),
  };
  const disk = { syncMs: one(0.2, 2, 15), stallChance: one(0, 0, 0.01, 0.1), stallMs: one(100, 600) };
  return {
    network: prng.chance(0.4) ? CALM_NETWORK : network,
    disk: prng.chance(0.5) ? CALM_DISK : disk,
    slowDiskFactor: one(1, 1, 1, 20),
    partitionEveryMs: prng.chance(0.6) ? one(200, 400, 1500) : Infinity,
    partitionMs: one(50, 100, 500, 1500),
    crashEveryMs: sometimes(100, 300, 1000, 3000),
    crashAllEveryMs: sometimes(300, 3000),
    downMs: one(5, 20, 300, 1500),
    pauseEveryMs: sometimes(500, 2000),
    pauseMs: one(60, 250, 1000),
    clockEveryMs: sometimes(50, 500),
    clockDrift: CLOCK_DRIFT_MAX * 0.999,
    membershipEveryMs: sometimes(30, 60, 300, 1000),
    transferEveryMs: sometimes(100, 1000),
    leaderDeathEveryMs: sometimes(100, 200, 800),
  };
}

/** Nothing goes wrong; for runs that want one kind of fault. */
export const NO_FAULTS: FaultProfile = {
  network: CALM_NETWORK,
  disk: CALM_DISK,
  slowDiskFactor: 1,
  partitionEveryMs: Infinity,
  partitionMs: 0,
  crashEveryMs: Infinity,
  crashAllEveryMs: Infinity,
  downMs: 0,
  pauseEveryMs: Infinity,
  pauseMs: 0,
  clockEveryMs: Infinity,
  clockDrift: 0,
  membershipEveryMs: Infinity,
  transferEveryMs: Infinity,
  leaderDeathEveryMs: Infinity,
};

/** What the schedule needs to know of the cluster to do its worst. */
export interface Target {
  /** The nodes that believe they lead. */
  leaders(): readonly number[];
  changeMembers(): void;
  transfer(): void;
}

export class FaultSchedule<Packet, Node extends SimulatedNode<Packet>> {
  crashes = 0;
  partitions = 0;
  pauses = 0;
  readonly #world: World<Packet, Node>;
  readonly #prng: Prng;
  readonly #profile: FaultProfile;
  readonly #target: Target;
  readonly #coverage: Coverage | null;
  /** Everything has healed for good. */
  isStopped = false;
  #isCalm = false;
  #cut = 0;

  constructor(
    world: World<Packet, Node>,
    prng: Prng,
    profile: FaultProfile,
    target: Target,
    coverage: Coverage | null = null,
  ) {
    this.#coverage = coverage;
    this.#world = world;
    this.#prng = prng;
    this.#profile = profile;
    this.#target = target;
    world.network.faults = profile.network;
    this.stormEvery(profile.partitionEveryMs, () => this.#partition());
    this.stormEvery(profile.crashEveryMs, () => this.#crash(this.#anyHost()));
    this.stormEvery(profile.crashAllEveryMs, () => this.#crashAll());
    this.stormEvery(profile.pauseEveryMs, () => this.#pause(this.#prefersLeader()));
    this.every(profile.clockEveryMs, () => this.#drift(this.#anyHost()));
    this.stormEvery(profile.leaderDeathEveryMs, () => this.#crash(this.#prefersLeader()));
    this.every(profile.membershipEveryMs, () => target.changeMembers());
    this.every(profile.transferEveryMs, () => target.transfer());
  }

  /** The faults rest, and what they did to the network and the processes is over. */
  calm(): void {
    this.#isCalm = true;
    this.#mend();
    this.#coverage?.count('calms');
  }

  storm(): void {
    this.#isCalm = false;
    this.#world.network.faults = this.#profile.network;
  }

  /** Everything heals: all nodes are up, hear each other, and their clocks run alike. */
  heal(): void {
    this.isStopped = true;
    for (const { clock } of this.#world.hosts) clock.setRate(1);
    this.#mend();
  }

  #mend(): void {
    const { hosts, network } = this.#world;
    network.heal();
    network.faults = CALM_NETWORK;
    for (const host of hosts) {
      host.resume();
      host.start();
    }
  }

  /** Every now and then, on average after so long, until everything heals. */
  every(meanMs: number, action: () => void): void {
    if (meanMs === Infinity) return;
    this.#world.time.after(this.#prng.next() * 2 * meanMs, () => {
      if (this.isStopped) return;
      action();
      this.every(meanMs, action);
    });
  }

  /** The same, except in a calm. */
  stormEvery(meanMs: number, action: () => void): void {
    this.every(meanMs, () => {
      if (!this.#isCalm) action();
    });
  }

  #later(meanMs: number, action: () => void): void {
    this.#world.time.after(this.#prng.next() * 2 * meanMs, () => {
      if (!this.isStopped) action();
    });
  }

  #anyHost(): Host<Packet> {
    const { hosts } = this.#world;
    return hosts[this.#prng.below(hosts.length)] as Host<Packet>;
  }

  #prefersLeader(): Host<Packet> {
    const leaders = this.#target.leaders();
    if (leaders.length === 0 || this.#prng.chance(0.3)) return this.#anyHost();
    return this.#world.hosts[(leaders[this.#prng.below(leaders.length)] as number) - 1] as Host<Packet>;
  }

  #crashAll(): void {
    this.#coverage?.count('crashes of all nodes');
    for (const host of this.#world.hosts) this.#crash(host);
  }

  #crash(host: Host<Packet>): void {
    if (!host.isUp) return;
    host.crash();
    this.crashes++;
    this.#later(this.#profile.downMs, () => host.start());
  }

  #pause(host: Host<Packet>): void {
    if (!host.isUp || host.isPaused) return;
    host.pause();
    this.pauses++;
    this.#coverage?.count('pauses');
    this.#later(this.#profile.pauseMs, () => host.resume());
  }

  #drift(host: Host<Packet>): void {
    this.#coverage?.count('clock rates changed');
    host.clock.setRate(1 + this.#prng.next() * this.#profile.clockDrift);
  }

  #partition(): void {
    const { network, hosts } = this.#world;
    const prng = this.#prng;
    const numbers = hosts.map(({ number }) => number);
    this.partitions++;
    const kind = prng.below(4);
    if (kind === 0) {
      this.#coverage?.count('islands');
      network.separate(new Set(numbers.filter(() => prng.chance(0.4))), numbers);
    } else if (kind === 1) {
      this.#coverage?.count('lonely nodes');
      network.separate(new Set([this.#prefersLeader().number]), numbers);
    } else if (kind === 2) {
      // One way: it is heard and does not hear, or the other way round.
      const { number } = this.#prefersLeader();
      const isDeaf = prng.chance(0.5);
      this.#coverage?.count(isDeaf ? 'deaf nodes' : 'mute nodes');
      for (const other of numbers)
        if (isDeaf) network.cut(other, number);
        else network.cut(number, other);
    } else {
      this.#coverage?.count('random cuts');
      for (const a of numbers) for (const b of numbers) if (a !== b && prng.chance(0.25)) network.cut(a, b);
    }
    const cut = ++this.#cut;
    this.#later(this.#profile.partitionMs, () => {
      if (cut === this.#cut) network.heal();
    });
  }
}
