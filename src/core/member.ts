/**
 * Raft member ids. A member is one replica of one range, in one life: a node that is removed from a range and added again
 * comes back as another member, so votes and acknowledgements of its former life count for nothing.
 *
 *     bit 52            32 31          24 23             0
 *        │  node id (20)  │  worker (8)  │  incarnation (24)  │      0 = nobody
 *
 * The id says where the member lives, so a message needs no table to find its way. The incarnation of a new member is the
 * range's epoch.confVersion after the change that adds it, which only grows. A node with fewer workers than when the
 * member was made has it on worker `workerIndex % workers`: both ends compute the same.
 */
import { assert } from './assert.ts';
import type { MemberId, NodeId } from './brands.ts';

export const NODE_ID_MAX = 2 ** 20 - 1;
export const WORKERS_MAX = 256;
const INCARNATIONS = 2 ** 24;
const WORKER_UNIT = INCARNATIONS;
const NODE_UNIT = INCARNATIONS * WORKERS_MAX;

export function memberId(nodeId: NodeId, workerIndex: number, incarnation: number): MemberId {
  assert(nodeId > 0 && nodeId <= NODE_ID_MAX, 'member: the node id fits');
  assert(workerIndex >= 0 && workerIndex < WORKERS_MAX, 'member: the worker index fits');
  assert(incarnation > 0 && incarnation < INCARNATIONS, 'member: the incarnation fits');
  return (nodeId * NODE_UNIT + workerIndex * WORKER_UNIT + incarnation) as MemberId;
}

/** As memberId(), for numbers from outside: 0 when they do not fit. */
export function memberFrom(nodeId: NodeId, workerIndex: number, incarnation: number): MemberId {
  const fits = workerIndex < WORKERS_MAX && incarnation > 0 && incarnation < INCARNATIONS;
  return (fits ? nodeId * NODE_UNIT + workerIndex * WORKER_UNIT + incarnation : 0) as MemberId;
}

export function nodeOf(member: MemberId): NodeId {
  return Math.floor(member / NODE_UNIT) as NodeId;
}

export function workerOf(member: MemberId): number {
  return Math.floor(member / WORKER_UNIT) % WORKERS_MAX;
}

/** A worker among all workers of the cluster, in one number; 0 is none. */
export function workerId(nodeId: NodeId, workerIndex: number): number {
  return nodeId * WORKERS_MAX + workerIndex;
}

/** Of the worker that a member was made on. */
export function workerIdOf(member: MemberId): number {
  return Math.floor(member / WORKER_UNIT);
}

export function nodeOfWorker(id: number): NodeId {
  return Math.floor(id / WORKERS_MAX) as NodeId;
}

export function incarnationOf(member: MemberId): number {
  return member % INCARNATIONS;
}
