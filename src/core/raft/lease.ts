/**
 * Stamps, rounds and the leader's lease (Raft thesis §6.4.1).
 *
 * Everything that a leader sends carries a stamp, and every answer brings it back:
 *
 *     stamp = leader's tick when it was sent × 2^20 + round        (53 bits: 2^33 ticks, 2.7 years of 10 ms)
 *
 * Stamps never fall. A follower that answered a stamp recognised this leader, in this term, after the stamp was made.
 * So if a quorum has answered stamps ≥ s, then
 *   - reads that arrived before s was begun are linearizable at the commit index they saw (read-index.ts);
 *   - no other leader can have been elected before the promise of those followers ends, and that is the lease.
 *
 * The bound. A follower that processed a message refuses its vote until it has counted E = electionTicks ticks, the
 * first of which may come at once: at least E - 1 of its tick periods. A leader that counted k ticks since it sent it is
 * less than k + 1 of its own tick periods later. With clocks whose rates differ by at most the factor 1 + ρ, the lease
 * holds while (k + 1)(1 + ρ) ≤ E - 1. Both counts are right only if the host pays the ticks owed before it steps a
 * message or asks leaseValid() (see RaftGroup.tick): a process that was stopped pays first.
 *
 * A member that restarts keeps the promise of its former life for E ticks (RaftState.ticksSinceLeader).
 */
import { assert } from '../assert.ts';
import type { MemberId } from '../brands.ts';
import { jointReached } from './quorum/joint.ts';
import type { RaftState } from './state.ts';

const ROUNDS_PER_TICK = 2 ** 20;

/** The first stamp of a tick. */
export function stampOf(tick: number): number {
  return tick * ROUNDS_PER_TICK;
}

/** The stamp for a message that is sent now. */
export function stampNow(r: RaftState): number {
  const tickStamp = stampOf(r.ticks);
  if (r.stamp < tickStamp) r.stamp = tickStamp;
  return r.stamp;
}

/** Begins a round: a stamp that no message has carried yet. */
export function nextRound(r: RaftState): number {
  r.stamp = stampNow(r) + 1;
  // A round costs a Ready, and a leader that needs rounds is ticked: there is no time for a million between two ticks.
  assert(r.stamp < (r.ticks + 1) * ROUNDS_PER_TICK, 'rounds stay within their tick');
  return r.stamp;
}

/** The largest stamp that a quorum has answered; a leader answers itself. */
export function quorumStamp(r: RaftState): number {
  return jointReached(r.conf, (id: MemberId) => {
    if (id === r.id) return Infinity;
    return r.progress.get(id)?.ackedStamp ?? -1;
  });
}

/** Ticks since a stamp was sent for which the lease holds (k of the bound above). */
function leaseTicks(electionTicks: number, clockDriftMax: number): number {
  return Math.floor((electionTicks - 1) / (1 + clockDriftMax)) - 1;
}

/** Whether the state machine of this member may answer reads now, without asking anybody. */
export function leaseValid(r: RaftState): boolean {
  // Until its noop is applied, a leader's state may lack what earlier leaders acknowledged (Raft thesis §6.4).
  if (!r.isLeader || r.log.applied < r.termStart || r.leaseVoid) return false;
  if (r.isOnlyVoter) return true;
  if (!r.limits.checkQuorum) return false;
  const stamp = quorumStamp(r);
  if (stamp < 0) return false;
  const sentTick = Math.floor(stamp / ROUNDS_PER_TICK);
  return r.ticks - sentTick <= leaseTicks(r.limits.electionTicks, r.limits.clockDriftMax);
}
