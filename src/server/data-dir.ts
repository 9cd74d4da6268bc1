/**
 * A node's folder: which store it belongs to, and where its log and its data lie, apart from each other.
 *
 *     data/
 *       node.json                              written last when a store is made: with it the store exists
 *       wal/                                   segments (src/storage/wal)
 *       checkpoints/range-7/000…0042.ckpt      state of range 7 at index 42
 */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import type { Hlc, MemberId, NodeId, RangeId } from '../core/brands.ts';
import { encodeCatalog } from '../codec/catalog.ts';
import { assert } from '../core/assert.ts';
import { applyCatalogOp, EMPTY_CATALOG, NO_ADDRESSES, REPLICATION_FACTOR_DEFAULT } from '../core/catalog/catalog.ts';
import type { CatalogState } from '../core/catalog/types.ts';
import { SkerryError } from '../core/errors.ts';
import { memberId, nodeOf } from '../core/member.ts';
import { confOf } from '../core/raft/configuration.ts';
import type { RangeDescriptor } from '../core/range.ts';
import { MemoryArena } from '../engine/memory/arena.ts';
import type { CheckpointInfo } from '../storage/checkpoint/index.ts';
import { readCheckpointInfo, TEMPORARY_SUFFIX, writeCheckpoint } from '../storage/checkpoint/index.ts';
import type { Disk } from '../storage/disk.ts';
import { decodeRangeMeta, encodeRangeMeta, FIRST_INDEX, FIRST_TERM } from '../../shards/entry.ts';

const FORMAT = 2;
const NODE_FILE = 'node.json';
const CHECKPOINT_NAME = /^(\d{16})\.ckpt$/;
const RANGE_NAME = /^range-(\d+)$/;

export interface NodeIdentity {
  readonly format: number;
  readonly storeId: string;
  readonly nodeId: number;
  readonly createdAtMs: number;
}

/** A range's newest checkpoint. */
export interface FoundCheckpoint {
  readonly file: string;
  readonly rangeId: number;
  /** This node's member of the range. */
  readonly memberId: MemberId;
}

export class DataDir {
  readonly #disk: Disk;
  readonly #dir: string;

  constructor(disk: Disk, dir: string) {
    this.#disk = disk;
    this.#dir = path.resolve(dir);
  }

  get walDir(): string {
    return path.join(this.#dir, 'wal');
  }

  get lockFile(): string {
    return path.join(this.#dir, 'LOCK');
  }

  make(): void {
    this.#disk.mkdir(this.#checkpoints);
    this.#disk.syncDir(this.#dir);
  }

  /** Who this folder belongs to; null when no store was made in it yet. Throws KV_CORRUPT, KV_STATE. */
  identity(nodeId: number): NodeIdentity | null {
    const file = path.join(this.#dir, NODE_FILE);
    if (!this.#disk.exists(file)) return null;
    const identity = parseIdentity(file, this.#read(file));
    if (identity.format !== FORMAT) {
      throw new SkerryError(
        'KV_STATE',
        `${file} has format ${identity.format}; this version of Skerry reads ${FORMAT}.`,
      );
    }
    if (identity.nodeId !== nodeId) {
      throw new SkerryError(
        'KV_STATE',
        `${this.#dir} belongs to node ${identity.nodeId}, and this node was started as ${nodeId}. Use --node-id ${identity.nodeId}, or another --data-dir.`,
      );
    }
    return identity;
  }

  /** Makes a new store: one range, or one more for each key in `splitKeys`, spread over the workers. */
  bootstrap(nodeId: NodeId, workerCount: number, splitKeys: readonly Buffer[]): void {
    const storeId = randomUUID();
    const keys = [...splitKeys].sort(Buffer.compare);
    keys.forEach((key, i) => {
      if (key.length === 0 || keys[i - 1]?.equals(key) === true) {
        throw new SkerryError('KV_INVALID', '--pre-split wants different keys, none of them empty.');
      }
    });
    const empty = new MemoryArena({ maxBytes: 16 * 2 ** 20 }).createStore();
    const starts = [Buffer.alloc(0), ...keys];
    starts.forEach((startKey, i) => {
      const rangeId = (i + 1) as RangeId;
      const member = memberId(nodeId, i % workerCount, 1);
      const descriptor: RangeDescriptor = {
        rangeId,
        startKey,
        endKey: starts[i + 1] ?? null,
        epoch: { confVersion: 1, version: 1 },
        replicas: [{ memberId: member, role: 'voter' }],
      };
      const conf = confOf([member]);
      const info: CheckpointInfo = {
        rangeId,
        appliedIndex: FIRST_INDEX,
        appliedTerm: FIRST_TERM,
        latestVersion: 0 as Hlc,
        meta: encodeRangeMeta({
          descriptor,
          conf,
          sessions: Buffer.alloc(4),
          ...(i === 0 && { catalog: encodeCatalog(firstCatalog(nodeId, storeId, workerCount, starts.length)) }),
        }),
      };
      writeCheckpoint(this.#disk, this.checkpointFile(rangeId, FIRST_INDEX), empty.cursor(), info);
    });
    const identity: NodeIdentity = { format: FORMAT, storeId, nodeId, createdAtMs: Date.now() };
    this.#writeWhole(path.join(this.#dir, NODE_FILE), `${JSON.stringify(identity, null, 2)}\n`);
  }

  /** The name of a checkpoint to be written; its folder is made. */
  checkpointFile(rangeId: number, index: number): string {
    const folder = path.join(this.#checkpoints, `range-${rangeId}`);
    if (!this.#disk.exists(folder)) {
      this.#disk.mkdir(folder);
      this.#disk.syncDir(this.#checkpoints);
    }
    return path.join(folder, `${String(index).padStart(16, '0')}.ckpt`);
  }

  /** The newest checkpoint of each range of this node; its ends are verified. Deletes what a crash left half written. */
  findCheckpoints(nodeId: NodeId): FoundCheckpoint[] {
    const found: FoundCheckpoint[] = [];
    for (const name of this.#disk.list(this.#checkpoints)) {
      const rangeId = Number(RANGE_NAME.exec(name)?.[1]);
      if (!Number.isSafeInteger(rangeId)) continue;
      const folder = path.join(this.#checkpoints, name);
      for (const file of this.#disk.list(folder)) {
        if (file.endsWith(TEMPORARY_SUFFIX)) this.#disk.unlink(path.join(folder, file));
      }
      const newest = this.#checkpointsIn(folder).at(-1);
      if (newest === undefined) continue;
      const file = path.join(folder, newest);
      const { descriptor } = decodeRangeMeta(readCheckpointInfo(this.#disk, file).meta);
      const own = descriptor.replicas.find((replica) => nodeOf(replica.memberId) === nodeId);
      if (own === undefined) {
        throw new SkerryError(
          'KV_CORRUPT',
          `${file} holds range ${rangeId} without a replica on node ${nodeId}. Restore the folder from a backup.`,
        );
      }
      found.push({ file, rangeId, memberId: own.memberId });
    }
    return found;
  }

  /** Deletes the range's checkpoints before `index`, which are of no more use. */
  dropOlderCheckpoints(rangeId: number, index: number): void {
    const folder = path.join(this.#checkpoints, `range-${rangeId}`);
    for (const name of this.#checkpointsIn(folder)) {
      if (Number(CHECKPOINT_NAME.exec(name)?.[1]) < index) this.#disk.unlink(path.join(folder, name));
    }
    this.#disk.syncDir(folder);
  }

  get #checkpoints(): string {
    return path.join(this.#dir, 'checkpoints');
  }

  /** Names, oldest first. */
  #checkpointsIn(folder: string): string[] {
    return this.#disk
      .list(folder)
      .filter((name) => CHECKPOINT_NAME.test(name))
      .sort();
  }

  #read(name: string): string {
    const file = this.#disk.openFile(name, 'r');
    try {
      const bytes = Buffer.alloc(file.size());
      file.read(bytes, 0, bytes.length, 0);
      return bytes.toString();
    } finally {
      file.close();
    }
  }

  #writeWhole(name: string, text: string): void {
    const temporary = name + TEMPORARY_SUFFIX;
    const bytes = Buffer.from(text);
    const file = this.#disk.openFile(temporary, 'w+');
    try {
      file.write(bytes, 0, bytes.length, 0);
      file.sync();
    } finally {
      file.close();
    }
    this.#disk.rename(temporary, name);
    this.#disk.syncDir(path.dirname(name));
  }
}

/** The catalog of a cluster of one. The node's addresses follow when it listens. */
function firstCatalog(nodeId: NodeId, storeId: string, workers: number, rangeCount: number): CatalogState {
  const { state, result } = applyCatalogOp(EMPTY_CATALOG, {
    type: 'create',
    clusterId: randomUUID(),
    settings: { replicationFactor: REPLICATION_FACTOR_DEFAULT },
    node: { storeId, incarnation: 0, name: `node-${nodeId}`, addresses: NO_ADDRESSES, workers, locality: [] },
    nodeId,
    nextRangeId: (rangeCount + 1) as RangeId,
  });
  assert(result.ok, 'a new cluster can be made');
  return state;
}

function parseIdentity(file: string, text: string): NodeIdentity {
  try {
    const value = JSON.parse(text) as NodeIdentity;
    if (typeof value.nodeId === 'number' && typeof value.format === 'number') return value;
  } catch (cause) {
    throw new SkerryError('KV_CORRUPT', `${file} cannot be read as JSON. Restore it from a backup.`, { cause });
  }
  throw new SkerryError('KV_CORRUPT', `${file} does not say which node it belongs to. Restore it from a backup.`);
}
