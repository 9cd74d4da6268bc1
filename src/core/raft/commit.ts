/**
 * Committing: what a quorum has made durable, and what follows from it. Raft paper §5.3, §5.4.2, §6.
 */
import type { LogIndex, MemberId } from '../brands.ts';
import { encodeConfEntry, isJoint, leftJoint } from './configuration.ts';
import { jointReached } from './quorum/joint.ts';
import { appendEntry } from './replication.ts';
import { becomeFollower } from './roles.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './state.ts';
import { handOver } from './transfer.ts';
import { ENTRY_CONFIG } from './types.ts';

/**
 * Advances the commit index of a leader to what a quorum has made durable. The leader counts itself only up to
 * log.persisted, so a group of one voter commits only what its own disk has (etcd#14370), while a group of several may
 * commit before the leader's own disk is done.
 */
export function advanceCommit(r: RaftState): boolean {
  const index = quorumIndex(r);
  if (index <= r.log.committed || !r.mayCommit(index)) return false;
  for (let i = r.log.committed + 1; i <= index; i++) r.uncommittedBytes -= r.log.at(i as LogIndex).data.length;
  // Entries of earlier terms were not counted when they were proposed.
  if (r.uncommittedBytes < 0) r.uncommittedBytes = 0;
  r.log.commitTo(index);
  r.pumpWanted = true;
  if (r.confs.latest.index <= index) confCommitted(r);
  return true;
}

function quorumIndex(r: RaftState): LogIndex {
  if (r.isOnlyVoter) return r.log.persisted;
  return jointReached(r.conf, (id: MemberId) =>
    id === r.id ? r.log.persisted : (r.progress.get(id)?.match ?? 0),
  ) as LogIndex;
}

/** The configuration in force is committed: leave it if it is joint, leave the group if it is without this leader. */
function confCommitted(r: RaftState): void {
  if (isJoint(r.conf)) {
    if (r.conf.autoLeave) appendEntry(r, ENTRY_CONFIG, encodeConfEntry(leftJoint(r.conf)));
  } else if (!r.isVoter) {
    // Raft paper §6: a leader that is not in C_new steps down once C_new is committed. It names a successor, so that
    // the others need not wait for their timeouts.
    handOver(r);
    becomeFollower(r, r.term, NOBODY);
  }
}
