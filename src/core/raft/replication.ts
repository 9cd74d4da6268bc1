/**
 * The leader's side of replication: entries into its own log, appends and heartbeats to the others.
 *
 * Nothing is sent while input is stepped; pump() sends once per Ready, so that all proposals of a turn travel in one
 * append per member. Raft paper §5.3; etcd/raft maybeSendAppend.
 */
import { assert } from '../assert.ts';
import type { LogIndex } from '../brands.ts';
import { membersOf } from './configuration.ts';
import { stampNow, nextRound } from './lease.ts';
import { NO_ENTRIES, TERM_UNKNOWN } from './log.ts';
import { Inflights, Progress } from './progress.ts';
import type { RaftState } from './state.ts';
import type { Entry, EntryType, SnapshotMeta } from './types.ts';
import { MSG_APPEND, MSG_HEARTBEAT, MSG_SNAPSHOT } from './types.ts';

/** So long what was read back may be on its way. Not by the election timeout, which may be a minute: it may be lost, too. */
const READ_BACK_TICKS = 10;

/** Appends to the leader's log. Its own acknowledgement comes from persisted(), never from here. */
export function appendEntry(r: RaftState, type: EntryType, data: Uint8Array): LogIndex {
  const index = (r.log.lastIndex + 1) as LogIndex;
  const entry = { index, term: r.term, type, data };
  r.log.push(entry);
  r.uncommittedBytes += data.length;
  r.idleTicks = 0;
  r.pumpWanted = true;
  if (r.confs.appended(entry)) {
    r.conf = r.confs.latest.conf;
    trackMembers(r);
  }
  return index;
}

/** Makes the leader's progress match the configuration in force. */
export function trackMembers(r: RaftState): void {
  const members = membersOf(r.conf);
  members.delete(r.id);
  for (const id of r.progress.keys()) if (!members.has(id)) r.progress.delete(id);
  for (const id of members) {
    const learner = !r.conf.voters.includes(id) && !r.conf.votersOutgoing.includes(id);
    const known = r.progress.get(id);
    if (known !== undefined) {
      known.learner = learner;
      continue;
    }
    const inflights = new Inflights(r.limits.maxInflightMessages, r.limits.maxInflightBytes);
    const progress = new Progress(id, learner, (r.log.lastIndex + 1) as LogIndex, nextRound(r), inflights);
    progress.wantsAppend = true;
    // One that has just been added is given an election timeout to answer before the quorum is checked.
    progress.recentActive = true;
    r.progress.set(id, progress);
  }
  r.peers = [...r.progress.values()];
}

/** Sends what there is to send to all members. */
export function pump(r: RaftState): void {
  r.pumpWanted = false;
  for (const progress of r.peers) pumpTo(r, progress);
}

function pumpTo(r: RaftState, progress: Progress): void {
  const { log } = r;
  while (!progress.paused) {
    const prevIndex = (progress.next - 1) as LogIndex;
    const prevTerm = log.termAt(prevIndex);
    if (prevTerm === TERM_UNKNOWN) {
      askForSnapshot(r, progress);
      return;
    }
    const entries = progress.inflights.full ? NO_ENTRIES : log.slice(progress.next, r.limits.maxBytesPerAppend);
    if (entries.length === 0 && !progress.wantsAppend && progress.sentCommit >= Math.min(log.committed, prevIndex)) {
      return;
    }
    let bytes = 0;
    for (const entry of entries) bytes += entry.data.length;
    const lastIndex = (prevIndex + entries.length) as LogIndex;
    r.send(MSG_APPEND, progress.id, {
      index: prevIndex,
      logTerm: prevTerm,
      commit: log.committed,
      context: stampNow(r),
      entries,
    });
    progress.wantsAppend = false;
    progress.sentCommit = Math.min(log.committed, lastIndex) as LogIndex;
    progress.sent(lastIndex, bytes);
    if (entries.length === 0) return;
  }
}

/** What this follower needs next is compacted: the host must find a snapshot for it. */
function askForSnapshot(r: RaftState, progress: Progress): void {
  // One that does not answer would not take a snapshot either; its next answer brings us back here.
  if (!progress.recentActive) return;
  progress.becomeSnapshot();
  r.snapshotRequests.push(progress.id);
}

/**
 * The host has read back what the follower lacks: entries[0] is the one that it should have already, the others follow. Its
 * answer goes on from there, or asks for more.
 */
export function sendReadBack(r: RaftState, progress: Progress, [previous, ...entries]: readonly Entry[]): void {
  assert(previous !== undefined && r.isLeader, 'a leader sends what it has read back');
  assert((entries.at(-1) ?? previous).index <= r.log.committed, 'only what is committed leaves memory');
  progress.becomeProbe();
  progress.next = (previous.index + 1) as LogIndex;
  const { index, term: logTerm } = previous;
  r.send(MSG_APPEND, progress.id, { index, logTerm, commit: r.log.committed, context: stampNow(r), entries });
  progress.sent(index, 0);
  // A megabyte that its disk still writes is not lost when a heartbeat overtakes it, and to read it once more is dear.
  progress.readBackUntil = r.ticks + READ_BACK_TICKS;
}

export function sendSnapshot(r: RaftState, progress: Progress, meta: SnapshotMeta): void {
  assert(meta.index <= r.log.committed, 'a snapshot contains only what is committed');
  progress.pendingSnapshot = meta.index;
  r.send(MSG_SNAPSHOT, progress.id, { context: stampNow(r), snapshot: meta });
}

/** Heartbeats to all members; they also carry the commit index as far as the member has matched. */
export function sendHeartbeats(r: RaftState): void {
  const context = stampNow(r);
  for (const progress of r.peers) {
    const commit = Math.min(progress.match, r.log.committed) as LogIndex;
    r.send(MSG_HEARTBEAT, progress.id, { commit, context });
  }
}
