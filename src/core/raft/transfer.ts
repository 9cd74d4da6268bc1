/**
 * Handing leadership over (Raft thesis §3.10): bring the successor's log up to date, then tell it not to wait.
 */
import type { MemberId } from '../brands.ts';
import { isVoter } from './configuration.ts';
import type { Progress } from './progress.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './state.ts';
import { MSG_TIMEOUT_NOW } from './types.ts';

export function transferLeadership(r: RaftState, to: MemberId): boolean {
  const progress = r.progress.get(to);
  if (!r.isLeader || progress === undefined || !isVoter(r.conf, to) || !progress.isReachable) return false;
  if (r.transferee === to) return true;
  r.transferee = to;
  // The transfer is given up after an election timeout, counted from here.
  r.electionElapsedTicks = 0;
  progress.wantsAppend = true;
  r.pumpWanted = true;
  continueTransfer(r, progress);
  return true;
}

/** Called when the successor may have caught up. */
export function continueTransfer(r: RaftState, progress: Progress): void {
  if (r.transferee === progress.id && progress.match === r.log.lastIndex) timeoutNow(r, progress);
}

/**
 * The leader is about to step down for good: names the live voter that has most of the log. If others turn out to have
 * more, they refuse it, and their own timeouts decide.
 */
export function handOver(r: RaftState): void {
  let successor: Progress | undefined;
  for (const peer of r.peers) {
    const isCandidate = !peer.learner && peer.recentActive;
    if (isCandidate && (successor === undefined || peer.match > successor.match)) successor = peer;
  }
  if (successor !== undefined) timeoutNow(r, successor);
}

export function abortTransfer(r: RaftState): void {
  r.transferee = NOBODY;
}

function timeoutNow(r: RaftState, progress: Progress): void {
  // The message may arrive at any later time, and then voters disregard leases.
  r.leaseVoid = true;
  r.send(MSG_TIMEOUT_NOW, progress.id, {});
}
