/** Campaigns, votes, and becoming leader. Raft paper §5.2, §5.4.1; pre-vote: thesis §9.6; forced: thesis §3.10. */
import type { MemberId, Term } from '../brands.ts';
import { VOTE_LOST, VOTE_WON } from './quorum/majority.ts';
import { appendEntry, trackMembers } from './replication.ts';
import { becomeCandidate, becomeFollower, becomePreCandidate, leaveRole } from './roles.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './state.ts';
import type { Message } from './types.ts';
import {
  ENTRY_NOOP,
  MSG_PRE_VOTE,
  MSG_PRE_VOTE_RESPONSE,
  MSG_VOTE,
  MSG_VOTE_RESPONSE,
  ROLE_CANDIDATE,
  ROLE_LEADER,
  ROLE_PRE_CANDIDATE,
} from './types.ts';

const FORCED = 1;
const NO_DATA = new Uint8Array(0);

/** Asks to be elected. `forced`: a leader hands over, so voters need not wait for its lease. Whether it began. */
export function campaign(r: RaftState, forced: boolean): boolean {
  if (r.isLeader || !r.mayCampaign) return false;
  r.campaigns++;
  const isPreVote = r.limits.preVote && !forced;
  if (isPreVote) becomePreCandidate(r);
  else becomeCandidate(r);
  if (electionDecided(r)) return true;
  const fields = {
    term: (isPreVote ? r.term + 1 : r.term) as Term,
    index: r.log.lastIndex,
    logTerm: r.log.lastTerm,
    context: forced ? FORCED : 0,
  };
  const voters = new Set<MemberId>([...r.conf.voters, ...r.conf.votersOutgoing]);
  voters.delete(r.id);
  // A candidate's requests rest on its own vote: send() holds them back until that is durable.
  for (const id of voters) r.send(isPreVote ? MSG_PRE_VOTE : MSG_VOTE, id, fields);
  return true;
}

/** Goes on when the answers decide the election. */
function electionDecided(r: RaftState): boolean {
  const result = r.tally();
  if (result === VOTE_LOST) {
    becomeFollower(r, r.term, NOBODY);
    return true;
  }
  if (result !== VOTE_WON) return false;
  if (r.role === ROLE_PRE_CANDIDATE) {
    becomeCandidate(r);
    if (!electionDecided(r)) requestVotes(r);
  } else {
    becomeLeader(r);
  }
  return true;
}

function requestVotes(r: RaftState): void {
  const fields = { index: r.log.lastIndex, logTerm: r.log.lastTerm };
  const voters = new Set<MemberId>([...r.conf.voters, ...r.conf.votersOutgoing]);
  voters.delete(r.id);
  for (const id of voters) r.send(MSG_VOTE, id, fields);
}

function becomeLeader(r: RaftState): void {
  leaveRole(r);
  r.role = ROLE_LEADER;
  r.leader = r.id;
  r.ledTerm = r.term;
  trackMembers(r);
  // Committing an entry of its own term tells it what is committed (Raft paper §8).
  r.termStart = appendEntry(r, ENTRY_NOOP, NO_DATA);
}

/**
 * Whether a request for a vote may be looked at: not while a leader is heard from, unless it hands over. The promise
 * outlives the leader's term here: a member that learned of a later term meanwhile still must not elect anybody in it.
 */
export function mayDisturb(r: RaftState, message: Message): boolean {
  return message.context === FORCED || !r.inLeaseOfLeader();
}

/** A request for a vote, of this term (a pre-vote: of the next), that may be looked at. */
export function handleVoteRequest(r: RaftState, message: Message): void {
  const { from, type } = message;
  const isPreVote = type === MSG_PRE_VOTE;
  const isFree = r.vote === from || (r.vote === NOBODY && r.leader === NOBODY) || (isPreVote && message.term > r.term);
  const isGranted = isFree && r.mayVote && r.log.isUpToDate(message.index, message.logTerm);
  const response = isPreVote ? MSG_PRE_VOTE_RESPONSE : MSG_VOTE_RESPONSE;
  if (!isGranted) {
    r.send(response, from, { reject: true });
    return;
  }
  if (isPreVote) {
    r.send(response, from, { term: message.term });
    return;
  }
  r.electionElapsedTicks = 0;
  r.setTerm(r.term, from);
  r.send(response, from, {}, true);
}

export function handleVoteResponse(r: RaftState, { from, type, term, reject }: Message): void {
  // A pre-vote is granted in the name of the term that the pre-candidate would enter.
  const isExpected =
    type === MSG_PRE_VOTE_RESPONSE
      ? r.role === ROLE_PRE_CANDIDATE && (reject || term === r.term + 1)
      : r.role === ROLE_CANDIDATE;
  if (!isExpected || r.votes.has(from)) return;
  r.votes.set(from, !reject);
  electionDecided(r);
}
