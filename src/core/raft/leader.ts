/** What a leader does with the others' answers, and with the passing of time. Raft paper §5.3; check-quorum: thesis §6.2. */
import type { MemberId } from '../brands.ts';
import { advanceCommit } from './commit.ts';
import { nextRound } from './lease.ts';
import type { Progress } from './progress.ts';
import { PROGRESS_PROBE, PROGRESS_REPLICATE, PROGRESS_SNAPSHOT } from './progress.ts';
import { jointVote } from './quorum/joint.ts';
import { VOTE_WON } from './quorum/majority.ts';
import { releaseReads } from './read-index.ts';
import { becomeFollower } from './roles.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './state.ts';
import { abortTransfer, continueTransfer } from './transfer.ts';
import type { Message } from './types.ts';
import { MSG_APPEND_RESPONSE } from './types.ts';

export function handleAnswer(r: RaftState, message: Message): void {
  const progress = r.progress.get(message.from);
  // An answer to a message from before it was removed and added again speaks for a former life.
  if (progress === undefined || message.context < progress.sinceStamp) return;
  progress.recentActive = true;
  progress.isReachable = true;
  // A heartbeat is refused by a member that has no say: it is there, but promises nothing.
  if (!message.reject && message.context > progress.ackedStamp) progress.ackedStamp = message.context;
  if (message.type === MSG_APPEND_RESPONSE) handleAppendResponse(r, progress, message);
  else handleHeartbeatResponse(r, progress);
  if (r.isLeader) releaseReads(r);
}

function handleAppendResponse(r: RaftState, progress: Progress, message: Message): void {
  const { index, reject, hint, logTerm, context } = message;
  if (reject) {
    // A stream has many appends under way. Where they overtake each other, the refusals of an earlier stream must not
    // begin yet another one, or each would call forth a whole window of appends.
    if (context < progress.streamStamp) return;
    const meet = logTerm > 0 ? r.log.lastIndexWithTermAtMost(hint, logTerm) : hint;
    if (!progress.rejected(index, meet)) return;
    progress.streamStamp = nextRound(r);
    r.pumpWanted = true;
    return;
  }
  const isNews = progress.matched(index);
  if (progress.state === PROGRESS_REPLICATE) {
    progress.inflights.freeTo(index);
  } else if (progress.state === PROGRESS_PROBE) {
    if (isNews || index === progress.match) beginStream(r, progress);
  } else if (progress.pendingSnapshot > 0 && progress.match >= progress.pendingSnapshot) {
    beginStream(r, progress);
  }
  if (isNews) advanceCommit(r);
  // Committing may have ended this leadership (its removal).
  if (!r.isLeader) return;
  // Only what there is to send goes: an answer that called for an append, whatever it answers, would never end.
  r.pumpWanted = true;
  continueTransfer(r, progress);
}

function beginStream(r: RaftState, progress: Progress): void {
  progress.becomeReplicate();
  progress.streamStamp = nextRound(r);
}

function handleHeartbeatResponse(r: RaftState, progress: Progress): void {
  if (progress.state === PROGRESS_SNAPSHOT || r.ticks < progress.readBackUntil) return;
  // Appends under way may have been lost: one more goes, if only an empty one; its rejection says where to begin again.
  progress.probeSent = false;
  if (progress.state === PROGRESS_PROBE || progress.match < r.log.lastIndex) progress.wantsAppend = true;
  r.pumpWanted = true;
}

/** A tick passes. Whether heartbeats are due. */
export function tickLeader(r: RaftState): boolean {
  r.electionElapsedTicks++;
  r.heartbeatElapsedTicks++;
  r.idleTicks++;
  if (r.electionElapsedTicks >= r.limits.electionTicks) {
    r.electionElapsedTicks = 0;
    if (r.limits.checkQuorum && !quorumIsActive(r)) {
      becomeFollower(r, r.term, NOBODY);
      return false;
    }
    abortTransfer(r);
  }
  if (r.heartbeatElapsedTicks < r.limits.heartbeatTicks) return false;
  r.heartbeatElapsedTicks = 0;
  return true;
}

/** Whether a quorum was heard from since the last time this was asked. */
function quorumIsActive(r: RaftState): boolean {
  const heard = (id: MemberId): boolean => id === r.id || r.progress.get(id)?.recentActive === true;
  const isActive = jointVote(r.conf, heard) === VOTE_WON;
  for (const peer of r.peers) {
    peer.activeBefore = peer.recentActive;
    peer.recentActive = false;
  }
  return isActive;
}
