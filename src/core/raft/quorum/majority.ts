/**
 * A majority of one list of voters: what it has acknowledged, and how it voted.
 * Source: etcd/raft quorum/majority.go; Raft paper §5.3 (commit), §5.2 (votes).
 */
import type { MemberId } from '../../brands.ts';

export const VOTE_PENDING = 0;
export const VOTE_WON = 1;
export const VOTE_LOST = 2;
export type VoteResult = typeof VOTE_PENDING | typeof VOTE_WON | typeof VOTE_LOST;

/** Reused between calls: nothing here is re-entrant. */
const sorted: number[] = [];

/**
 * The largest value that a majority of `voters` has reached. No voters: Infinity, so that an empty half of a joint
 * configuration never holds the other back.
 */
export function majorityReached(voters: readonly MemberId[], reachedBy: (id: MemberId) => number): number {
  const count = voters.length;
  if (count === 0) return Infinity;
  if (count === 1) return reachedBy(voters[0] as MemberId);
  for (let i = 0; i < count; i++) {
    const value = reachedBy(voters[i] as MemberId);
    let slot = i;
    for (; slot > 0 && (sorted[slot - 1] as number) > value; slot--) sorted[slot] = sorted[slot - 1] as number;
    sorted[slot] = value;
  }
  return sorted[count - ((count >> 1) + 1)] as number;
}

/** How an election among `voters` stands. `voteOf`: undefined = no answer yet. No voters: won (see above). */
export function majorityVote(voters: readonly MemberId[], voteOf: (id: MemberId) => boolean | undefined): VoteResult {
  const needed = voters.length === 0 ? 0 : (voters.length >> 1) + 1;
  let granted = 0;
  let refused = 0;
  for (const id of voters) {
    const vote = voteOf(id);
    if (vote === true) granted++;
    else if (vote === false) refused++;
  }
  if (granted >= needed) return VOTE_WON;
  return voters.length - refused < needed ? VOTE_LOST : VOTE_PENDING;
}
