/** What a host counts of its groups: phases of writes, elections, leaders. Once per batch or change, never per command. */
import type { MemberId, RangeId, Term } from '../src/core/brands.ts';
import type { RaftGroup } from '../src/core/raft/types.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';
import type { PendingBatch } from './pending-batch.ts';
import type { ReplicaHost } from './replica-host.ts';
import type { Replica } from './replica.ts';
import { createPhases } from './write-times.ts';

const MICROSECONDS = 1000;
const phases = createPhases();

/** A batch that was proposed here is applied. `isShared`: others vote, too. */
export function countApplied(
  host: Pick<ReplicaHost, 'metrics' | 'monotonicMs'>,
  { times, count }: PendingBatch,
  isShared: boolean,
): void {
  const { histograms } = host.metrics;
  times.phases(times.beganMs, host.monotonicMs(), isShared, phases);
  histograms.writeQueue.record(phases.queueMs * MICROSECONDS, count);
  if (phases.fsyncMs >= 0) {
    histograms.writeWalWait.record(phases.walWaitMs * MICROSECONDS, count);
    histograms.writeFsync.record(phases.fsyncMs * MICROSECONDS, count);
    histograms.writeNotice.record(phases.noticeMs * MICROSECONDS, count);
  }
  if (phases.replicationMs >= 0) histograms.writeReplication.record(phases.replicationMs * MICROSECONDS, count);
  histograms.writeApply.record(phases.applyMs * MICROSECONDS, count);
}

/** What was last seen of a group's leadership. */
export interface Leadership {
  readonly leader: MemberId;
  readonly term: Term;
  /** The last one there was; 0 = none so far. */
  readonly lastLeader: MemberId;
  readonly campaigns: number;
}

/** Looks at a group's leadership, and counts what has changed since `last`. Returns `last` when nothing has. */
export function noteLeadership(metrics: MetricsWriter, raft: RaftGroup, last: Leadership | undefined): Leadership {
  const { leader, term, campaigns } = raft;
  if (last !== undefined && last.leader === leader && last.term === term && last.campaigns === campaigns) return last;
  const lastLeader = last?.lastLeader ?? (0 as MemberId);
  metrics.add(slots.electionsStarted, campaigns - (last?.campaigns ?? 0));
  if (leader === raft.id && (last?.leader !== leader || last.term !== term)) metrics.add(slots.electionsWon, 1);
  if (leader !== 0 && leader !== lastLeader) metrics.add(slots.leaderChanges, 1);
  return { leader, term, lastLeader: leader === 0 ? lastLeader : leader, campaigns };
}

interface LeadingHost extends ReplicaHost {
  readonly replicas: ReadonlyMap<RangeId, Replica>;
  readonly resting: { readonly count: number };
}

/** Some times a second. */
export function publishLeadership(host: LeadingHost): void {
  const { metrics } = host;
  let led = 0;
  let leases = 0;
  let leaderless = 0;
  for (const replica of host.replicas.values()) {
    const { raft, isLeader } = replica;
    if (raft.leader === 0) leaderless++;
    if (!isLeader) continue;
    led++;
    // A group at rest is told of time only when it is asked something.
    host.settle(replica);
    if (raft.leaseValid()) leases++;
  }
  metrics.set(slots.rangesLed, led);
  metrics.set(slots.leases, leases);
  metrics.set(slots.leaderless, leaderless);
  metrics.set(slots.resting, host.resting.count);
}
