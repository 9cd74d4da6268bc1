/**
 * What goes wrong with whole clusters besides the faults of faults.ts: disks that fail or are full, wall clocks that are set;
 * and when it does. Storms of faults alternate with calms that last until clients have done some work: a cluster that is
 * never well again shows nothing but that.
 *
 *     calm ── until members are spread ─▶ storm ── stormMs ─▶ calm ── until calmOperations are done ─▶ storm …
 */
import type { Prng } from '../../src/core/prng.ts';
import type { Coverage } from './coverage.ts';
import type { FaultProfile, FaultSchedule } from './faults.ts';
import type { ShardNode } from './shard-node.ts';
import type { ShardPacket } from './shard-packet.ts';
import type { World } from './world.ts';

export interface ClusterFaults {
  /** Mean length of a storm; Infinity: one without end. */
  readonly stormMs: number;
  readonly calmOperations: number;
  /** However little was done. */
  readonly calmMsMax: number;
  /** Mean times between faults of a kind; Infinity: never. */
  readonly syncFailureEveryMs: number;
  readonly diskFullEveryMs: number;
  readonly diskFullMs: number;
  readonly wallClockEveryMs: number;
  /** The placement tells nodes of members that are none any more. */
  readonly sweepEveryMs: number;
  readonly splitEveryMs: number;
}

/** Wall clocks are set up to so far from the truth, either way. */
const WALL_CLOCK_ERROR_MS = 3_600_000;
/** Nobody's process stays down for longer when it ended by itself. */
const RESTART_MS = 100;
const LOOK_MS = 5;
/** The store may take so long to spread before the first storm. */
const FIRST_CALM_MS_MAX = 1500;

export function drawClusterFaults(prng: Prng): ClusterFaults {
  const one = <T>(...choices: readonly T[]): T => choices[prng.below(choices.length)] as T;
  const sometimes = (...everyMs: readonly number[]): number => (prng.chance(0.5) ? one(...everyMs) : Infinity);
  return {
    stormMs: one(50, 150, 150, 400, 400, 1000, Infinity),
    calmOperations: one(20, 60, 150),
    calmMsMax: one(500, 1500),
    syncFailureEveryMs: sometimes(150, 600),
    diskFullEveryMs: sometimes(300, 1000),
    diskFullMs: one(50, 300, 1500),
    wallClockEveryMs: sometimes(50, 500),
    sweepEveryMs: one(200, 200, 1000, Infinity),
    splitEveryMs: one(300, 600, 1500),
  };
}

export interface ClusterFaultPorts {
  readonly world: World<ShardPacket, ShardNode>;
  readonly schedule: FaultSchedule<ShardPacket, ShardNode>;
  readonly prng: Prng;
  readonly coverage: Coverage;
  /** What clients have done so far. */
  operations(): number;
  /** Whether the store is on as many nodes as it should be. */
  isSpread(): boolean;
  split(): void;
  sweep(): void;
}

/** Sets it all going. */
export function scheduleClusterFaults(faults: ClusterFaults, ports: ClusterFaultPorts): void {
  const { world, schedule, prng, coverage } = ports;
  const { time } = world;
  const anyNode = (): ShardNode => world.nodes[prng.below(world.nodes.length)] as ShardNode;
  schedule.stormEvery(faults.syncFailureEveryMs, () => anyNode().storage.failSync());
  schedule.stormEvery(faults.diskFullEveryMs, () => {
    const { storage } = anyNode();
    storage.fill();
    time.after(prng.next() * 2 * faults.diskFullMs, () => storage.drain());
  });
  schedule.every(faults.wallClockEveryMs, () => {
    coverage.count('wall clocks set');
    anyNode().setWallClock((prng.next() * 2 - 1) * WALL_CLOCK_ERROR_MS);
  });
  schedule.every(faults.sweepEveryMs, () => ports.sweep());
  schedule.every(faults.splitEveryMs, () => ports.split());
  alternate(faults, ports);
}

function alternate({ stormMs, calmOperations, calmMsMax }: ClusterFaults, ports: ClusterFaultPorts): void {
  const { world, schedule, prng } = ports;
  const { time } = world;
  const calmUntil = (isOver: () => boolean, msMax: number): void => {
    const untilMs = time.nowMs + msMax;
    schedule.calm();
    for (const { storage } of world.nodes) storage.heal();
    const look = (): void => {
      if (schedule.isStopped) return;
      if (isOver() || time.nowMs >= untilMs) storm();
      else time.after(LOOK_MS, look);
    };
    look();
  };
  const storm = (): void => {
    schedule.storm();
    if (stormMs === Infinity) return;
    time.after(prng.next() * 2 * stormMs, () => {
      if (schedule.isStopped) return;
      const wanted = ports.operations() + calmOperations;
      calmUntil(() => ports.operations() >= wanted, calmMsMax);
    });
  };
  // Now and then the store has to spread while everything goes wrong.
  if (prng.chance(0.2)) storm();
  else calmUntil(() => ports.isSpread(), FIRST_CALM_MS_MAX);
}

/** A process that ended by itself is started again. */
export function restartAfterExit({ world, prng }: Pick<ClusterFaultPorts, 'world' | 'prng'>, nodeNumber: number): void {
  world.time.after(prng.next() * RESTART_MS, () => world.hosts[nodeNumber - 1]?.start());
}

/** Faults of one kind after another leave no time to do anything; crashed nodes come back before the next ones go. */
export function bounded(profile: FaultProfile): FaultProfile {
  const oftenest = Math.min(profile.crashEveryMs, profile.leaderDeathEveryMs, profile.crashAllEveryMs);
  return { ...profile, downMs: Math.min(profile.downMs, Math.max(5, oftenest)) };
}
