/** Collects what goes out to the host. The rules of a Ready are in types.ts. */
import { NO_ENTRIES } from './log.ts';
import { beginReadRound, readRoundWanted, releaseReads } from './read-index.ts';
import { pump } from './replication.ts';
import type { RaftState } from './state.ts';
import type { LogIndex, MemberId } from '../brands.ts';
import type { Message, Ready, ReadState, SoftState } from './types.ts';

const NO_MESSAGES: readonly Message[] = [];
const NO_READS: readonly ReadState[] = [];
const NO_IDS: readonly MemberId[] = [];

export function hasReady(r: RaftState): boolean {
  const { log } = r;
  return (
    log.submitted < log.lastIndex ||
    (log.applying < log.committed && r.snapshotReady <= r.persistedNumber) ||
    r.hardStateReady === Infinity ||
    r.messages.length > 0 ||
    r.messagesAfterPersist.length > 0 ||
    r.readStates.length > 0 ||
    r.snapshot !== null ||
    r.snapshotRequests.length > 0 ||
    (r.pumpWanted && r.peers.length > 0) ||
    readRoundWanted(r) ||
    softStateChanged(r)
  );
}

function softStateChanged({ sentSoftState, leader, role, term }: RaftState): boolean {
  return sentSoftState.leader !== leader || sentSoftState.role !== role || sentSoftState.term !== term;
}

export function makeReady(r: RaftState): Ready {
  const { log } = r;
  beginReadRound(r);
  // A group that shrank to one voter while reads waited has nobody left whose answer would release them.
  if (r.isOnlyVoter) releaseReads(r);
  if (r.pumpWanted) pump(r);
  const number = ++r.readyNumber;
  const isHardStateNew = r.hardStateReady === Infinity;
  if (isHardStateNew) r.hardStateReady = number;
  const { storedLast } = log;
  // What is stored before this Ready. Beyond it the stored log may still hold what this Ready overwrites.
  const commit = Math.min(log.committed, log.persisted) as LogIndex;
  const entries = log.takeUnsubmitted(number);
  const { snapshot } = r;
  let softState: SoftState | null = null;
  if (softStateChanged(r)) {
    softState = { leader: r.leader, role: r.role, term: r.term };
    r.sentSoftState = softState;
  }
  const ready: Ready = {
    number,
    hardState: isHardStateNew ? { term: r.term, vote: r.vote, commit } : null,
    entries,
    truncated: entries[0] !== undefined && entries[0].index <= storedLast,
    messages: r.messages.length > 0 ? r.messages : NO_MESSAGES,
    messagesAfterPersist: r.messagesAfterPersist.length > 0 ? r.messagesAfterPersist : NO_MESSAGES,
    committed: r.snapshotReady <= r.persistedNumber ? log.takeCommitted() : NO_ENTRIES,
    commit,
    readStates: r.readStates.length > 0 ? r.readStates : NO_READS,
    snapshot,
    snapshotRequests: r.snapshotRequests.length > 0 ? r.snapshotRequests : NO_IDS,
    softState,
    mustSync: isHardStateNew || entries.length > 0 || snapshot !== null,
  };
  if (r.messages.length > 0) r.messages = [];
  if (r.messagesAfterPersist.length > 0) r.messagesAfterPersist = [];
  if (r.readStates.length > 0) r.readStates = [];
  if (r.snapshotRequests.length > 0) r.snapshotRequests = [];
  r.snapshot = null;
  return ready;
}
