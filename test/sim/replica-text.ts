/** Replicas as text: for whoever reads about a run that broke a rule, and to compare what they hold. */
import type { MemberId, NodeId } from '../../src/core/brands.ts';
import { incarnationOf, nodeOf } from '../../src/core/member.ts';
import type { Replica } from '../../shards/replica.ts';

function name(id: MemberId): string {
  return id === 0 ? '-' : `${nodeOf(id)}.${incarnationOf(id)}`;
}

/** Where a replica stands, in a line. */
export function describeReplica(nodeId: NodeId, { descriptor, raft, conf }: Replica): string {
  const { rangeId, startKey, endKey, epoch } = descriptor;
  const { role, term, vote, leader, commit, applied, persisted, lastIndex, progress } = raft.status();
  const followers = progress.map(({ id, state, match, next }) => `${name(id)} ${state} ${match} ${next}`);
  return (
    `range ${rangeId} [${startKey}, ${endKey}) ${epoch.confVersion}.${epoch.version} on node ${nodeId} as ${name(raft.id)}: ` +
    `role ${role} term ${term} vote ${name(vote)} leader ${name(leader)} ` +
    `applied ${applied} commit ${commit} persisted ${persisted} last ${lastIndex} ` +
    `voters ${conf.voters.map(name).join()} learners ${conf.learners.map(name).join()} ${followers.join('; ')}`
  );
}

/** All keys and values of a replica, as text. */
export function valuesOf({ store }: Replica): string {
  const cursor = store.cursor();
  const pairs: string[] = [];
  for (let isThere = cursor.first(); isThere; isThere = cursor.next()) {
    const { keyBuffer, keyStart, keyEnd, value } = cursor;
    const key = keyBuffer.toString('latin1', keyStart, keyEnd);
    pairs.push(`${key}=${value.buffer.toString('latin1', value.start, value.end)}@${value.version}`);
  }
  return pairs.join(' ');
}
