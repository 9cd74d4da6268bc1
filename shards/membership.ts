/** The members of a range: what a config entry does to its descriptor, who decides, who is this node's. */
import { assert } from '../src/core/assert.ts';
import type { MemberId, NodeId } from '../src/core/brands.ts';
import { nodeOf } from '../src/core/member.ts';
import { membersOf } from '../src/core/raft/configuration.ts';
import type { ConfState, RaftStatus } from '../src/core/raft/types.ts';
import type { RangeDescriptor, RangeReplica } from '../src/core/range.ts';

/** The descriptor after the entry that made `conf` was applied. */
export function withMembers(descriptor: RangeDescriptor, conf: ConfState): RangeDescriptor {
  const { epoch } = descriptor;
  const replicas = [...membersOf(conf)].map((memberId): RangeReplica => {
    const isVoter = conf.voters.includes(memberId) || conf.votersOutgoing.includes(memberId);
    return { memberId, role: isVoter ? 'voter' : 'learner' };
  });
  return { ...descriptor, epoch: { ...epoch, confVersion: epoch.confVersion + 1 }, replicas };
}

/** A group whose only voter decides alone: what is durable there is committed. */
export function isSingle({ voters, votersOutgoing }: ConfState): boolean {
  return voters.length === 1 && votersOutgoing.length === 0;
}

/** Whether the member is the only voter. A learner never is. */
export function decidesAlone(member: MemberId, conf: ConfState): boolean {
  return isSingle(conf) && conf.voters[0] === member;
}

/** This node's member, by the descriptor in a checkpoint of its own. */
export function ownMember({ replicas }: RangeDescriptor, nodeId: NodeId): MemberId {
  const own = replicas.find(({ memberId }) => nodeOf(memberId) === nodeId);
  assert(own !== undefined, 'recovery: a checkpoint of a range that this node has no member of');
  return own.memberId;
}

/** Whether the group can go on without this member: somebody else votes. */
export function hasOtherVoters({ voters, votersOutgoing }: ConfState, member: MemberId): boolean {
  return [...voters, ...votersOutgoing].some((id) => id !== member);
}

/** The voter that a leader had best hand over to: it is there and has most of the log. Null: there is none. */
export function heirOf({ id: leader, progress }: RaftStatus): MemberId | null {
  const heirs = progress.filter(({ id, state, learner, recentActive }) => {
    return id !== leader && state === 'replicate' && !learner && recentActive;
  });
  return heirs.sort((a, b) => b.match - a.match)[0]?.id ?? null;
}
