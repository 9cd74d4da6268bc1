/**
 * Becoming follower, pre-candidate or candidate; becoming leader is in election.ts. Raft paper §5.1, §5.2.
 */
import { assert } from '../assert.ts';
import type { MemberId, Term } from '../brands.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './state.ts';
import { ROLE_CANDIDATE, ROLE_FOLLOWER, ROLE_PRE_CANDIDATE } from './types.ts';

/** What no role carries over into the next. */
export function leaveRole(r: RaftState): void {
  assert(!r.isResting, 'a member wakes before anything happens to it');
  r.drawElectionTimeout();
  r.heartbeatElapsedTicks = 0;
  r.idleTicks = 0;
  r.votes.clear();
  r.progress.clear();
  r.peers = [];
  r.reads.length = 0;
  r.snapshotRequests = [];
  r.transferee = NOBODY;
  r.leaseVoid = false;
  r.uncommittedBytes = 0;
  r.pumpWanted = false;
}

export function becomeFollower(r: RaftState, term: Term, leader: MemberId): void {
  // A follower's own election is put off by a leader's message or by the vote that it grants, not by a later term as such
  // (Raft paper, figure 2): else a candidate that cannot win could keep the others from trying.
  const { electionElapsedTicks, electionTimeoutTicks } = r;
  const wasFollower = r.role === ROLE_FOLLOWER;
  leaveRole(r);
  if (wasFollower) {
    r.electionElapsedTicks = electionElapsedTicks;
    r.electionTimeoutTicks = electionTimeoutTicks;
  }
  if (term > r.term) r.setTerm(term, NOBODY);
  r.role = ROLE_FOLLOWER;
  r.leader = leader;
}

/** Asks whether it could win, and changes neither term nor vote for it (Raft thesis §9.6). */
export function becomePreCandidate(r: RaftState): void {
  assert(!r.isLeader, 'a leader does not campaign');
  leaveRole(r);
  r.role = ROLE_PRE_CANDIDATE;
  r.leader = NOBODY;
  r.votes.set(r.id, true);
}

export function becomeCandidate(r: RaftState): void {
  assert(!r.isLeader, 'a leader does not campaign');
  leaveRole(r);
  r.setTerm((r.term + 1) as Term, r.id);
  r.role = ROLE_CANDIDATE;
  r.leader = NOBODY;
  r.votes.set(r.id, true);
}
