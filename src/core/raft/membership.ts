/** Configuration changes: one at a time, and only by a leader that knows what is committed. Raft paper §6; Ongaro, raft-dev 2015. */
import { assert } from '../assert.ts';
import type { LogIndex, MemberId, Term } from '../brands.ts';
import { campaign } from './election.ts';
import { becomeFollower } from './roles.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './state.ts';
import { changedConf, confOf, encodeConfEntry, isJoint } from './configuration.ts';
import { majorityVote, VOTE_WON } from './quorum/majority.ts';
import { appendEntry } from './replication.ts';
import type { ConfChange, Entry } from './types.ts';
import { ENTRY_CONFIG, REFUSED_CONF_INVALID, REFUSED_CONF_PENDING, REFUSED_LEARNER_BEHIND } from './types.ts';

/** The index of the entry, or a Refused. */
export function proposeConfChange(r: RaftState, change: ConfChange): number {
  // Without an entry of its own term committed, an earlier leader's change may still come to hold: two changes at once
  // can have disjoint majorities.
  const isPending = r.log.committed < r.termStart || r.confs.latest.index > r.log.committed;
  if (isPending || (isJoint(r.conf) && change.changes.length > 0)) return REFUSED_CONF_PENDING;
  const conf = changedConf(r.conf, change);
  if (conf === null) return REFUSED_CONF_INVALID;
  const isNewsKnown = conf.voters.every((id) => r.conf.voters.includes(id) || knowsConf(r, id));
  const knows = (id: MemberId): boolean => knowsConf(r, id);
  if (!isNewsKnown || majorityVote(conf.voters, knows) !== VOTE_WON) return REFUSED_LEARNER_BEHIND;
  return appendEntry(r, ENTRY_CONFIG, encodeConfEntry(conf, change.context));
}

/**
 * Goes on without the other voters, which are lost for good: everything that this member has counts as committed, and what
 * only the others had is lost. Nothing in Raft allows it; if a majority of the others lives, there are two groups then.
 */
export function becomeOnlyVoter(r: RaftState): void {
  assert(!r.isLeader, 'a leader has a majority');
  becomeFollower(r, (r.term + 1) as Term, NOBODY);
  const index = (r.log.lastIndex + 1) as LogIndex;
  const entry: Entry = { index, term: r.term, type: ENTRY_CONFIG, data: encodeConfEntry(confOf([r.id])) };
  r.log.push(entry);
  r.confs.appended(entry);
  r.conf = r.confs.latest.conf;
  campaign(r, false);
}

/**
 * A new voter knows the configuration that it is in, as a learner, before anything depends on it (Raft thesis §4.2.1): one
 * that does not grants no vote, and a group that needed it could elect nobody. For the same reason a change must leave a
 * majority that knows: a voter may have been born by a split that its node has not heard of.
 */
function knowsConf(r: RaftState, id: MemberId): boolean {
  return id === r.id || (r.progress.get(id)?.match ?? -1) >= r.confs.latest.index;
}
