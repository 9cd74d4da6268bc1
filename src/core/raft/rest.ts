/**
 * Groups at rest. A group that has nothing to do sends nothing and is not ticked: the hosts of its members exchange beats
 * instead, one for all groups that they have in common, and lend the members what time has passed when it matters.
 *
 *     leader    awake ── rest(): an offer to all members ──▶ at rest ── anything to do, any doubt ──▶ awake
 *     follower  awake ── restUnder(offer) ─────────────────▶ at rest ── any message, any doubt ─────▶ awake
 *
 * Invariant: a beat that the host of a follower at rest acknowledges is an acknowledgement of a heartbeat by that follower. So its
 * host may count beats for it only from its answer to the offer until it wakes; and when it wakes by anything but a
 * message that its leader sent after the leader itself woke, nothing may be acknowledged to the leader's host for it any more
 * (stirredBy says which). docs/adr/0010-groups-at-rest.md has the proof.
 */
import { assert } from '../assert.ts';
import type { MemberId } from '../brands.ts';
import { isJoint } from './configuration.ts';
import { nextRound, stampOf } from './lease.ts';
import { PROGRESS_REPLICATE } from './progress.ts';
import { jointVote } from './quorum/joint.ts';
import { VOTE_WON } from './quorum/majority.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './state.ts';
import type { Message, RestOffer, Stirring } from './types.ts';
import {
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_SNAPSHOT,
  ROLE_FOLLOWER,
} from './types.ts';

/**
 * Whether this leader has nothing to do. `isAbsent`: nobody is there where that member lives, so it need not have the whole
 * log; the others must be enough for every decision.
 */
export function mayRest(r: RaftState, isAbsent: (member: MemberId) => boolean): boolean {
  const { log } = r;
  if (!r.isLeader || r.isResting || !r.limits.checkQuorum || !r.isVoter || isJoint(r.conf)) return false;
  if (r.leaseVoid || r.transferee !== NOBODY || r.reads.length > 0 || !r.hardStateDurable) return false;
  if (log.applied < log.lastIndex || log.persisted < log.lastIndex) return false;
  const absent = new Set<MemberId>();
  for (const peer of r.peers) {
    const { id, state, match, sentCommit, recentActive } = peer;
    if (isAbsent(id)) absent.add(id);
    else if (!recentActive || state !== PROGRESS_REPLICATE || match < log.lastIndex || sentCommit < log.lastIndex) {
      return false;
    }
  }
  return jointVote(r.conf, (id) => !absent.has(id)) === VOTE_WON;
}

/** The leader rests, from its offer on. */
export function rest(r: RaftState): RestOffer {
  assert(r.isLeader && !r.isResting, 'a leader that is awake rests');
  r.isResting = true;
  r.restStamp = nextRound(r);
  return { term: r.term, index: r.log.lastIndex, stamp: r.restStamp };
}

/** The follower rests under the leader that offered it, if it has what the leader has. An offer is a heartbeat, too. */
export function restUnder(r: RaftState, leader: MemberId, { term, index, stamp }: RestOffer): boolean {
  const { log } = r;
  if (r.role !== ROLE_FOLLOWER || r.term !== term || r.leader !== leader || !r.hasSay) return false;
  if (log.lastIndex !== index || log.applied !== index || log.persisted !== index || !r.hardStateDurable) return false;
  if (r.isResting && stamp < r.restStamp) return false;
  r.isResting = true;
  r.restStamp = stamp;
  r.electionElapsedTicks = 0;
  r.ticksSinceLeader = 0;
  return true;
}

/**
 * Time has passed at rest. `since(member)`, in ticks of this host: of a follower's leader, since the last beat of its host
 * came in; of a leader's follower, since the last beat was sent that its host has acknowledged. Infinity: none that counts.
 */
export function restedFor(r: RaftState, ticks: number, since: (member: MemberId) => number): void {
  assert(r.isResting, 'only a member at rest is lent time');
  r.ticks += ticks;
  if (!r.isLeader) {
    const sinceBeat = since(r.leader);
    r.ticksSinceLeader = Math.min(r.ticksSinceLeader + ticks, sinceBeat);
    r.electionElapsedTicks = Math.min(r.electionElapsedTicks + ticks, sinceBeat);
    return;
  }
  for (const peer of r.peers) {
    const sinceAcked = since(peer.id);
    if (sinceAcked === Infinity) continue;
    peer.ackedStamp = Math.max(peer.ackedStamp, stampOf(r.ticks - sinceAcked));
    peer.recentActive = sinceAcked < r.limits.electionTicks;
  }
}

/** Ticks, messages and the host's calls count again. */
export function wake(r: RaftState): void {
  if (!r.isResting) return;
  r.isResting = false;
  r.idleTicks = 0;
  if (!r.isLeader) return;
  // Whoever hears of this stamp knows that the rest is over.
  nextRound(r);
  r.electionElapsedTicks = 0;
  r.heartbeatElapsedTicks = r.limits.heartbeatTicks;
}

/** What this message does to this member, which is at rest. It is stepped in any case, after wake() unless 'none'. */
export function stirredBy(r: RaftState, { type, from, term, context, reject }: Message): Stirring {
  if (r.isLeader) {
    if (term > r.term) return 'breaks';
    const isAnswer = type === MSG_HEARTBEAT_RESPONSE || type === MSG_APPEND_RESPONSE;
    if (!isAnswer || reject || term !== r.term) return 'wakes';
    // What was under way when it went to rest; one that lacks something is another matter.
    return r.progress.get(from)?.match === r.log.lastIndex ? 'none' : 'wakes';
  }
  const isLeaders = type === MSG_APPEND || type === MSG_HEARTBEAT || type === MSG_SNAPSHOT;
  return isLeaders && from === r.leader && term === r.term && context > r.restStamp ? 'wakes' : 'breaks';
}
