/**
 * How fast snapshots are sent and loaded: users' commands come first where the machine has work for half of its cores, and a
 * range that gets another replica is in no hurry. Else they may go on quickly, and are done sooner.
 */
import { availableParallelism, loadavg } from 'node:os';

export interface SnapshotRates {
  /** Bytes a second, at most. */
  readonly snapshotRateBytes: number;
  /** The same while the machine is busy. */
  readonly snapshotBusyRateBytes: number;
}

export interface MachineLoad {
  readonly cores: number;
  /** Threads that ran, were ready to, or waited for a disk, as an average over the last minute; 0 where the system does not say. */
  readonly average: () => number;
}

const thisMachine: MachineLoad = {
  cores: availableParallelism(),
  average: () => loadavg()[0] as number,
};

/** Bytes a second that a worker may send of snapshots now, and may load, uncompressed. */
export function createSnapshotRate(
  { snapshotRateBytes, snapshotBusyRateBytes }: SnapshotRates,
  { cores, average }: MachineLoad = thisMachine,
): () => number {
  const busyRateBytes = Math.min(snapshotRateBytes, snapshotBusyRateBytes);
  return () => (average() * 2 >= cores ? busyRateBytes : snapshotRateBytes);
}
