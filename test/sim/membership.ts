/**
 * Who asks for membership changes in a simulation: draws one that makes sense for the configuration that the leader has
 * applied. A node without a member may be given one, of a new incarnation; a node never has two.
 */
import type { MemberId, NodeId } from '../../src/core/brands.ts';
import { incarnationOf, memberId, nodeOf } from '../../src/core/member.ts';
import type { Prng } from '../../src/core/prng.ts';
import { isJoint, membersOf } from '../../src/core/raft/configuration.ts';
import type { ConfChange, ConfChangeStep } from '../../src/core/raft/types.ts';
import { ROLE_LEADER } from '../../src/core/raft/types.ts';
import type { CoreNode } from './core-node.ts';

const VOTERS_MAX = 5;

/**
 * Asks for one change. That nothing is committed and not yet applied when the core takes it is what makes confVersion + 1 a
 * new incarnation. Whether a leader took it.
 */
export function changeMembers(node: CoreNode, nodes: number, prng: Prng): boolean {
  const { raft } = node;
  if (raft === null || raft.role !== ROLE_LEADER) return false;
  const conf = node.appliedConf;
  if (isJoint(conf)) return raft.proposeConfChange({ changes: [] }) > 0;

  const one = <T>(choices: readonly T[]): T | undefined => choices[prng.below(choices.length)];
  const taken = new Set([...membersOf(conf)].map(nodeOf));
  const free: MemberId[] = [];
  for (let number = 1; number <= nodes; number++) {
    if (!taken.has(number as NodeId)) free.push(memberId(number as NodeId, 0, node.confVersion + 1));
  }
  const changes: ConfChangeStep[] = [];
  const add = (type: ConfChangeStep['type'], id: MemberId | undefined): void => {
    if (id !== undefined && !changes.some((step) => step.id === id)) changes.push({ type, id });
  };
  const steps = one([1, 1, 1, 2, 4]) ?? 1;
  const keepsVoters = (): boolean => changes.filter(({ type }) => type !== 'addVoter').length < conf.voters.length - 1;
  for (let i = 0; i < steps; i++) {
    const kind = prng.below(6);
    const hasRoom = conf.voters.length + changes.length < VOTERS_MAX;
    if (kind === 0 && hasRoom) add('addVoter', one(free));
    else if (kind === 1) add('addLearner', one(free));
    else if (kind === 2 && hasRoom) add('addVoter', one(conf.learners));
    else if (kind === 3) add('remove', one(conf.learners));
    else if (kind === 4 && keepsVoters()) add('remove', one(conf.voters));
    else if (kind === 5 && keepsVoters()) add('addLearner', one(conf.voters));
  }
  if (changes.length === 0) return false;
  const transition: ConfChange['transition'] = one(['auto', 'auto', 'joint', 'explicit']);
  return raft.proposeConfChange({ changes, transition: transition ?? 'auto' }) > 0;
}

/**
 * The placement tells nodes of members that are none any more. `leader` has the newest configuration applied; a member
 * that is newer than that may be about to be added.
 */
export function removeTheDead(leader: CoreNode, nodes: readonly CoreNode[]): void {
  const members = membersOf(leader.appliedConf);
  // A member that began without a configuration may lead before it has applied one.
  if (members.size === 0) return;
  for (const node of nodes) {
    const { raft } = node;
    if (raft !== null && !members.has(raft.id) && incarnationOf(raft.id) <= leader.confVersion) node.destroy();
  }
}
