/**
 * Decisions of a configuration, joint or not: a joint one needs a majority of each half. Raft paper §6.
 */
import type { MemberId } from '../../brands.ts';
import type { ConfState } from '../types.ts';
import type { VoteResult } from './majority.ts';
import { majorityReached, majorityVote, VOTE_LOST, VOTE_PENDING, VOTE_WON } from './majority.ts';

/** The largest value that the configuration as a whole has reached. */
export function jointReached(conf: ConfState, reachedBy: (id: MemberId) => number): number {
  const incoming = majorityReached(conf.voters, reachedBy);
  if (conf.votersOutgoing.length === 0) return incoming;
  return Math.min(incoming, majorityReached(conf.votersOutgoing, reachedBy));
}

/** How an election stands: lost when either half is lost, won when both are won. */
export function jointVote(conf: ConfState, voteOf: (id: MemberId) => boolean | undefined): VoteResult {
  const incoming = majorityVote(conf.voters, voteOf);
  const outgoing = majorityVote(conf.votersOutgoing, voteOf);
  if (incoming === VOTE_LOST || outgoing === VOTE_LOST) return VOTE_LOST;
  return incoming === VOTE_WON && outgoing === VOTE_WON ? VOTE_WON : VOTE_PENDING;
}
