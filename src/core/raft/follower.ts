/** What a follower does with its leader's messages. Raft paper §5.3, §7. */
import type { LogIndex } from '../brands.ts';
import { ConfHistory } from './conf-history.ts';
import type { RaftState } from './state.ts';
import type { Entry, Message, SnapshotMeta } from './types.ts';
import { MSG_APPEND_RESPONSE, MSG_HEARTBEAT_RESPONSE } from './types.ts';

export function handleAppend(r: RaftState, message: Message): void {
  const { from, index: previous, logTerm, entries, context } = message;
  const { log } = r;
  if (previous < log.committed) {
    // Stale, or after a restart of the leader: what is committed here is the same there.
    r.send(MSG_APPEND_RESPONSE, from, { index: log.committed, context }, true);
    return;
  }
  if (log.termAt(previous) !== logTerm) {
    const hint = log.lastIndexWithTermAtMost(Math.min(previous, log.lastIndex) as LogIndex, logTerm);
    r.send(MSG_APPEND_RESPONSE, from, { index: previous, reject: true, hint, logTerm: log.termAt(hint), context });
    return;
  }
  appendEntries(r, entries);
  const last = (previous + entries.length) as LogIndex;
  log.commitTo(Math.min(message.commit, last) as LogIndex);
  r.send(MSG_APPEND_RESPONSE, from, { index: last, context }, true);
}

/** Skips what is there already, cuts at the first conflict, appends the rest (Raft paper, figure 2, AppendEntries 3, 4). */
function appendEntries(r: RaftState, entries: readonly Entry[]): void {
  const { log, confs } = r;
  for (const entry of entries) {
    if (log.termAt(entry.index) === entry.term) continue;
    if (entry.index <= log.lastIndex) {
      log.truncateFrom(entry.index);
      confs.truncatedFrom(entry.index);
    }
    log.push(entry);
    confs.appended(entry);
  }
  r.conf = confs.latest.conf;
}

export function handleHeartbeat(r: RaftState, { from, commit, context }: Message): void {
  r.log.commitTo(commit);
  // A member that waits to be told promises nothing: it may be made anew, of a split or a snapshot, and know nothing of it.
  r.send(MSG_HEARTBEAT_RESPONSE, from, { context, reject: !r.hasSay });
}

export function handleSnapshot(r: RaftState, { from, snapshot, context }: Message): void {
  const { log } = r;
  const meta = snapshot as SnapshotMeta;
  if (meta.index > log.committed) {
    if (log.termAt(meta.index) === meta.term) log.commitTo(meta.index);
    else restore(r, meta);
  }
  r.send(MSG_APPEND_RESPONSE, from, { index: log.committed, context }, true);
}

function restore(r: RaftState, meta: SnapshotMeta): void {
  const readyNumber = r.readyNumber + 1;
  r.log.restore(meta, readyNumber);
  r.confs = new ConfHistory(meta.index, meta.conf);
  r.conf = meta.conf;
  r.snapshot = meta;
  r.snapshotReady = readyNumber;
}
