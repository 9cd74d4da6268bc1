/** Nodes as the placement sees them: how each fares, where it stands, and how much it carries. */
import type { MemberId, NodeId } from '../brands.ts';
import type { LocalityTier, NodeRecord } from '../catalog/types.ts';
import { nodeOf, workerOf, WORKERS_MAX } from '../member.ts';
import type { PlacementInput, PlacementOptions } from './options.ts';

/**
 * good: takes replicas · silent: not heard of, but not for long · dead: to be replaced · leaving: drains ·
 * gone: removed, or never there
 */
export type Standing = 'good' | 'silent' | 'dead' | 'leaving' | 'gone';

export class PlacementNodes {
  readonly #records: ReadonlyMap<number, NodeRecord>;
  readonly #input: PlacementInput;
  readonly #options: PlacementOptions;
  readonly #replicas = new Map<number, number>();
  readonly #byWorker = new Map<number, number>();
  readonly #leaders = new Map<number, number>();
  /** Nodes that replicas may be put on, in the order of their ids. */
  readonly good: readonly NodeId[];
  readonly active: readonly NodeId[];

  constructor(input: PlacementInput, options: PlacementOptions) {
    this.#input = input;
    this.#options = options;
    const { nodes } = input.catalog;
    this.#records = new Map(nodes.map((node) => [node.nodeId, node]));
    this.active = nodes.filter(({ state }) => state === 'ACTIVE').map(({ nodeId }) => nodeId);
    this.good = this.active.filter((nodeId) => this.standing(nodeId) === 'good');
    for (const { range, leader } of input.views) {
      for (const { memberId } of range.replicas) this.addReplica(memberId);
      if (leader !== 0) this.addLeader(nodeOf(leader), 1);
    }
  }

  standing(nodeId: NodeId): Standing {
    const record = this.#records.get(nodeId);
    if (record === undefined || record.state === 'INACTIVE' || record.state === 'INIT') return 'gone';
    if (record.state === 'LEAVING') return 'leaving';
    const silentMs = this.#silentMs(nodeId);
    if (record.state === 'JOINING' || silentMs < this.#options.replaceAfterMs) {
      return record.state === 'ACTIVE' && silentMs < this.#options.silentAfterMs ? 'good' : 'silent';
    }
    return 'dead';
  }

  /** Heard of lately, whatever it is. */
  isAlive(nodeId: NodeId): boolean {
    return this.#records.has(nodeId) && this.#silentMs(nodeId) < this.#options.silentAfterMs;
  }

  replicas(nodeId: NodeId): number {
    return this.#replicas.get(nodeId) ?? 0;
  }

  leaders(nodeId: NodeId): number {
    return this.#leaders.get(nodeId) ?? 0;
  }

  addReplica(memberId: MemberId): void {
    const nodeId = nodeOf(memberId);
    const slot = this.#slot(nodeId, workerOf(memberId));
    this.#replicas.set(nodeId, this.replicas(nodeId) + 1);
    this.#byWorker.set(slot, (this.#byWorker.get(slot) ?? 0) + 1);
  }

  addLeader(nodeId: NodeId, count: number): void {
    this.#leaders.set(nodeId, this.leaders(nodeId) + count);
  }

  /** The worker of the node that carries the fewest replicas. */
  idlestWorker(nodeId: NodeId): number {
    let idlest = 0;
    let fewest = Number.POSITIVE_INFINITY;
    for (let worker = 0; worker < this.#workers(nodeId); worker++) {
      const count = this.#byWorker.get(this.#slot(nodeId, worker)) ?? 0;
      if (count < fewest) [idlest, fewest] = [worker, count];
    }
    return idlest;
  }

  /**
   * How close together nodes stand: for each pair, the tiers of locality that they share from the widest on. The smaller,
   * the less is lost when one place is.
   */
  closeness(nodeIds: readonly NodeId[]): number {
    let sum = 0;
    nodeIds.forEach((a, i) => {
      for (const b of nodeIds.slice(i + 1)) sum += sharedTiers(this.#locality(a), this.#locality(b));
    });
    return sum;
  }

  #locality(nodeId: NodeId): readonly LocalityTier[] {
    return this.#records.get(nodeId)?.locality ?? [];
  }

  #workers(nodeId: NodeId): number {
    return this.#records.get(nodeId)?.workers ?? 1;
  }

  #slot(nodeId: NodeId, worker: number): number {
    return nodeId * WORKERS_MAX + (worker % this.#workers(nodeId));
  }

  #silentMs(nodeId: NodeId): number {
    return this.#input.nowMs - (this.#input.heardMs.get(nodeId) ?? Number.NEGATIVE_INFINITY);
  }
}

function sharedTiers(a: readonly LocalityTier[], b: readonly LocalityTier[]): number {
  let shared = 0;
  while (a[shared] !== undefined && a[shared]?.tier === b[shared]?.tier && a[shared]?.value === b[shared]?.value) {
    shared++;
  }
  return shared;
}
