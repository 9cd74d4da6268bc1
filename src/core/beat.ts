/**
 * What two workers of different nodes tell each other about all groups that rest on both of them (src/core/raft/rest.ts,
 * docs/adr/0010-groups-at-rest.md): every tick of the leaders' side a beat, and to each beat an answer.
 */
import type { MemberId, RangeId } from './brands.ts';
import type { RestOffer } from './raft/types.ts';

/** In a beat: a leader's offer to a follower. In an answer: the follower has taken it. */
export interface RestTaken extends RestOffer {
  readonly rangeId: RangeId;
  readonly from: MemberId;
  readonly to: MemberId;
}

export interface Beat {
  readonly isAnswer: boolean;
  /** Names what the sender and the receiver have agreed on since one of them broke it; never used again. */
  readonly session: number;
  /** The receiver's, as the sender knows it; 0: not at all. */
  readonly peerSession: number;
  /** The tick at which the beat was sent; an answer brings it back. */
  readonly tick: number;
  readonly rests: readonly RestTaken[];
}
