/**
 * Linearizable reads without a log entry (Raft thesis §6.4): note the commit index, prove that leadership held after
 * that by one round of heartbeats, answer once the state machine has applied it. Reads that arrive while no round has
 * begun for them share the next one.
 */
import { nextRound, quorumStamp } from './lease.ts';
import { sendHeartbeats } from './replication.ts';
import type { RaftState, WaitingRead } from './state.ts';
import { REFUSED_NOT_LEADER, REFUSED_TERM_NOT_COMMITTED } from './types.ts';

const ROUND_NOT_BEGUN = -1;

export function readIndex(r: RaftState, context: number): number {
  if (!r.isLeader) return REFUSED_NOT_LEADER;
  if (r.log.committed < r.termStart) return REFUSED_TERM_NOT_COMMITTED;
  r.idleTicks = 0;
  if (r.isOnlyVoter) r.readStates.push({ context, index: r.log.committed });
  else r.reads.push({ context, index: r.log.committed, stamp: ROUND_NOT_BEGUN });
  return 0;
}

/** One round for all reads that wait for one. Called when a Ready is made. */
export function beginReadRound(r: RaftState): void {
  const last = r.reads.at(-1);
  if (last === undefined || last.stamp !== ROUND_NOT_BEGUN) return;
  const stamp = nextRound(r);
  for (let i = r.reads.length - 1; i >= 0 && (r.reads[i] as WaitingRead).stamp === ROUND_NOT_BEGUN; i--) {
    (r.reads[i] as WaitingRead).stamp = stamp;
  }
  sendHeartbeats(r);
}

/** A round has not begun for the latest read. */
export function readRoundWanted(r: RaftState): boolean {
  return r.reads.at(-1)?.stamp === ROUND_NOT_BEGUN;
}

/** Lets go all reads whose round a quorum has answered. */
export function releaseReads(r: RaftState): void {
  if (r.reads.length === 0) return;
  const proven = quorumStamp(r);
  let released = 0;
  for (const read of r.reads) {
    if (read.stamp === ROUND_NOT_BEGUN || read.stamp > proven) break;
    r.readStates.push({ context: read.context, index: read.index });
    released++;
  }
  r.reads.splice(0, released);
}
