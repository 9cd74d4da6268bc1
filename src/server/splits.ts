/** Splits that clients ask for: each is the business of the worker that leads the range, on this node or another. */
import type { NodeId, RangeId } from '../core/brands.ts';
import { SkerryError } from '../core/errors.ts';
import { nodeOf, workerOf } from '../core/member.ts';
import type { RouteTable } from '../gateway/router/route-table.ts';
import type { ShardThreads } from './shard-threads.ts';

export interface SplitPorts {
  readonly nodeId: NodeId;
  readonly table: RouteTable;
  readonly threads: ShardThreads;
  readonly nextRangeId: () => Promise<RangeId>;
  readonly splitThere: (nodeId: NodeId, rangeId: RangeId, key: Buffer) => Promise<RangeId>;
}

export class Splits {
  readonly #ports: SplitPorts;
  readonly #waiting = new Map<number, (error: string | null) => void>();
  /** Ranges that were made, and that the table does not know yet. */
  readonly #appearing = new Map<RangeId, () => void>();
  #nextId = 1;

  constructor(ports: SplitPorts) {
    this.#ports = ports;
  }

  /**
   * Cuts the range that holds the key there, wherever it is led; resolves when this node knows of it. Rejects with
   * SkerryError.
   */
  async split(key: Buffer): Promise<void> {
    if (key.length === 0) throw new SkerryError('KV_INVALID', 'A range cannot be split at the empty key.');
    const { nodeId, table, splitThere } = this.#ports;
    const { leader, range } = table.find(key, 0, key.length);
    const isElsewhere = leader !== 0 && nodeOf(leader) !== nodeId;
    const newRangeId = isElsewhere ? await splitThere(nodeOf(leader), range.rangeId, key) : await this.splitHere(key);
    if (this.#knows(newRangeId)) return;
    await new Promise<void>((resolve) => {
      this.#appearing.set(newRangeId, resolve);
    });
  }

  /** Cuts a range that this node leads; resolves with the right half's id. Rejects with SkerryError. */
  async splitHere(key: Buffer): Promise<RangeId> {
    const { nodeId, table, threads, nextRangeId } = this.#ports;
    const newRangeId = await nextRangeId();
    const { leader, range } = table.find(key, 0, key.length);
    if (leader === 0 || nodeOf(leader) !== nodeId) {
      throw new SkerryError('KV_NOT_LEADER', `node ${nodeId} does not lead range ${range.rangeId}`, {
        retryable: true,
      });
    }
    const error = await new Promise<string | null>((resolve) => {
      const id = this.#nextId++;
      this.#waiting.set(id, resolve);
      threads.tell(workerOf(leader) % threads.count, { type: 'split', id, key, newRangeId });
    });
    if (error !== null) throw new SkerryError('KV_STATE', error.replace(/^[A-Z]+ /, ''));
    return newRangeId;
  }

  /** The table has changed. */
  learned(): void {
    for (const [rangeId, resolve] of this.#appearing) {
      if (!this.#knows(rangeId)) continue;
      this.#appearing.delete(rangeId);
      resolve();
    }
  }

  /** A worker's answer. */
  done(id: number, error: string | null): void {
    this.#waiting.get(id)?.(error);
    this.#waiting.delete(id);
  }

  #knows(rangeId: RangeId): boolean {
    return this.#ports.table.routes.some(({ range }) => range.rangeId === rangeId);
  }
}
