/**
 * A node's folder: which store it belongs to, and where its log and its data lie, apart from each other.
 *
 *     data/
 *       node.json                              written last when a store is made: with it the store exists. Names its log
 *       cluster.json                           copy of the catalog, to find the other nodes after a restart
 *       wal/                                   segments (src/storage/wal)
 *       checkpoints/range-7/000…0042.ckpt      state of range 7 at index 42
 */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import type { Hlc, MemberId, NodeId, RangeId } from '../core/brands.ts';
import { encodeCatalog } from '../codec/catalog.ts';
import { applyCatalogOp, EMPTY_CATALOG, NO_ADDRESSES } from '../core/catalog/catalog.ts';
import type { CatalogOp, CatalogState, NodeProfile } from '../core/catalog/types.ts';
import { SkerryError } from '../core/errors.ts';
import { memberId, nodeOf, workerOf } from '../core/member.ts';
import { confOf } from '../core/raft/configuration.ts';
import type { DamagedReplica } from '../core/placement/report.ts';
import type { RangeDescriptor } from '../core/range.ts';
import { MemoryArena } from '../engine/memory/arena.ts';
import type { CheckpointInfo } from '../storage/checkpoint/index.ts';
import { CheckpointFolder, isBuried, readCheckpointInfo, writeCheckpoint } from '../storage/checkpoint/index.ts';
import type { Disk } from '../storage/disk.ts';
import { readWhole, writeWhole } from '../storage/whole-file.ts';
import { decodeRangeMeta, encodeRangeMeta, FIRST_INDEX, FIRST_TERM } from '../../shards/entry.ts';

const FORMAT = 3;
const NODE_FILE = 'node.json';
const CLUSTER_FILE = 'cluster.json';

export interface NodeIdentity {
  readonly format: number;
  /** Empty while the node waits to be let into a cluster. */
  readonly clusterId: string;
  /** Random: tells this folder from any other that comes under the same node id. */
  readonly storeId: string;
  /** 0 while the node waits to be let into a cluster. */
  readonly nodeId: NodeId;
  /** Starts of the node that the cluster has taken notice of. */
  readonly incarnation: number;
  /** Of a start that the cluster may or may not have taken notice of; the next one goes on with it. Empty: none. */
  readonly bootId: string;
  readonly createdAtMs: number;
  /**
   * The log that the node writes (src/storage/wal/manifest.ts): another one, or none, has lost what was acknowledged and voted
   * for. Not there before the first start has made it.
   */
  readonly logId?: number;
}

/** A file that a range can begin from. */
export interface FoundCheckpoint {
  readonly file: string;
  readonly rangeId: RangeId;
  /** This node's member of the range. */
  readonly memberId: MemberId;
}

/** A member of this node's that may have spoken. */
export interface FoundMember {
  readonly rangeId: RangeId;
  readonly memberId: MemberId;
}

export interface FoundRanges {
  readonly checkpoints: readonly FoundCheckpoint[];
  /** Snapshots that had arrived when the node stopped; the log says whether they count. */
  readonly staged: readonly FoundCheckpoint[];
  /** The last of this node's members of a range that is gone for good. */
  readonly tombstones: ReadonlyMap<RangeId, MemberId>;
  /** The latest of this node's members of each range that is not gone: it may have spoken. */
  readonly members: readonly FoundMember[];
  /** Members that were given up because something of theirs is lost, and that their groups may still count on. */
  readonly damaged: readonly DamagedReplica[];
}

/** Those of the members that live on this worker. */
export function ofWorker<T extends FoundMember>(found: readonly T[], workerIndex: number, workerCount: number): T[] {
  return found.filter(({ memberId }) => workerOf(memberId) % workerCount === workerIndex);
}

/** Gives up a member with damaged files, or throws the error that tells of the damage. */
export type OnDamage = (rangeId: RangeId, memberId: MemberId, error: SkerryError) => DamagedReplica;

function raise(_rangeId: RangeId, _memberId: MemberId, error: SkerryError): never {
  throw error;
}

/** What a new store, and with it a new cluster, is made of. */
export interface NewStore {
  readonly nodeId: NodeId;
  readonly nodeName: (storeId: string) => string;
  readonly workerCount: number;
  readonly splitKeys: readonly Buffer[];
  readonly replicationFactor: number;
}

export class DataDir {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly checkpoints: CheckpointFolder;

  constructor(disk: Disk, dir: string) {
    this.#disk = disk;
    this.#dir = path.resolve(dir);
    this.checkpoints = new CheckpointFolder(disk, this.checkpointsDir);
  }

  get walDir(): string {
    return path.join(this.#dir, 'wal');
  }

  get checkpointsDir(): string {
    return path.join(this.#dir, 'checkpoints');
  }

  get #nodeFile(): string {
    return path.join(this.#dir, NODE_FILE);
  }

  get lockFile(): string {
    return path.join(this.#dir, 'LOCK');
  }

  /**
   * Makes the folder and what is missing in it. Throws KV_STATE when the system does not let us; KV_CORRUPT when the folder of a node
   * that has run has lost its checkpoints, and with them the names of the members that may have spoken.
   */
  make(): void {
    if (this.identity()?.logId !== undefined && !this.#disk.exists(this.checkpointsDir)) {
      throw new SkerryError(
        'KV_CORRUPT',
        `${this.checkpointsDir} is missing, and ${this.#nodeFile} is not. Put it back; or, in a cluster, remove this node (skerry node remove) and let it join as a new one with an empty data folder.`,
        { hint: { file: this.checkpointsDir, offset: 0, what: 'the folder is missing' } },
      );
    }
    try {
      this.checkpoints.make();
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SkerryError(
        'KV_STATE',
        `The data folder ${this.#dir} cannot be used (${why}). Mend that, or choose another --data-dir.`,
        { cause },
      );
    }
  }

  /** Who this folder belongs to; null when no store was made in it yet. Throws KV_CORRUPT, KV_STATE. */
  identity(): NodeIdentity | null {
    const file = this.#nodeFile;
    if (!this.#disk.exists(file)) return null;
    const identity = parseIdentity(file, readWhole(this.#disk, file));
    if (identity.format !== FORMAT) {
      throw new SkerryError(
        'KV_STATE',
        `${file} has format ${identity.format}, and this version of Skerry reads format ${FORMAT} only. Start the version that wrote it, or choose another --data-dir.`,
      );
    }
    return identity;
  }

  /** A folder for a node that is not in a cluster yet. */
  prepare(): NodeIdentity {
    return this.saveIdentity({
      format: FORMAT,
      clusterId: '',
      storeId: randomUUID(),
      nodeId: 0 as NodeId,
      incarnation: 0,
      bootId: '',
      createdAtMs: Date.now(),
    });
  }

  saveIdentity(identity: NodeIdentity): NodeIdentity {
    writeWhole(this.#disk, this.#nodeFile, `${JSON.stringify(identity, null, 2)}\n`);
    return identity;
  }

  /** Notes which log the node writes. */
  keepLogId(logId: number): void {
    const identity = this.identity();
    if (identity !== null) this.saveIdentity({ ...identity, logId });
  }

  /** The last copy of the catalog that reached this node, unchecked; null when there is none. Throws KV_CORRUPT. */
  catalogCopy(): unknown {
    const file = path.join(this.#dir, CLUSTER_FILE);
    if (!this.#disk.exists(file)) return null;
    try {
      return JSON.parse(readWhole(this.#disk, file)) as unknown;
    } catch (cause) {
      throw new SkerryError('KV_CORRUPT', `${file} cannot be read as JSON. Copy it from another node.`, { cause });
    }
  }

  saveCatalogCopy(catalog: CatalogState): void {
    writeWhole(this.#disk, path.join(this.#dir, CLUSTER_FILE), `${JSON.stringify(catalog, null, 2)}\n`);
  }

  /**
   * Makes a new store, and a cluster of it alone: one range, or one more for each key in `splitKeys`, spread over the
   * workers.
   */
  bootstrap({ nodeId, nodeName, workerCount, splitKeys, ...settings }: NewStore): NodeIdentity {
    const clusterId = randomUUID();
    const storeId = randomUUID();
    const keys = [...splitKeys].sort(Buffer.compare);
    keys.forEach((key, i) => {
      if (key.length === 0 || keys[i - 1]?.equals(key) === true) {
        throw new SkerryError('KV_INVALID', '--pre-split wants different keys, none of them empty.');
      }
    });
    const catalog = firstCatalog({
      type: 'create',
      clusterId,
      settings,
      node: { ...NEW_NODE, storeId, name: nodeName(storeId), workers: workerCount },
      nodeId,
      nextRangeId: (keys.length + 2) as RangeId,
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
          ...(i === 0 && { catalog: encodeCatalog(catalog) }),
        }),
      };
      writeCheckpoint(this.#disk, this.checkpoints.checkpointFile(rangeId, FIRST_INDEX), empty.cursor(), info);
      this.checkpoints.stored(rangeId, member);
    });
    const createdAtMs = Date.now();
    return this.saveIdentity({ format: FORMAT, clusterId, storeId, nodeId, incarnation: 0, bootId: '', createdAtMs });
  }

  /**
   * What the ranges of this node begin from: of each its newest checkpoint, verified at its ends. Deletes what a crash
   * left half written. A range whose files are damaged or missing is handed to `onDamage`, which throws when the node may not
   * start without it; without `onDamage` it is thrown: KV_CORRUPT.
   */
  findRanges(nodeId: NodeId, onDamage: OnDamage = raise): FoundRanges {
    const checkpoints: FoundCheckpoint[] = [];
    const staged: FoundCheckpoint[] = [];
    const tombstones = new Map<RangeId, MemberId>();
    const members: FoundMember[] = [];
    const damaged: DamagedReplica[] = [];
    for (const files of this.checkpoints.find()) {
      const { rangeId, tombstone, damage, member } = files;
      if (tombstone !== 0) tombstones.set(rangeId, tombstone);
      if (damage !== null) damaged.push({ rangeId, memberId: tombstone, ...damage });
      const found = (file: string): FoundCheckpoint[] => {
        const memberId = this.#ownMember(file, rangeId, nodeId);
        return isBuried(memberId, tombstone) ? [] : [{ file, rangeId, memberId }];
      };
      try {
        const checkpoint = files.checkpoint === null ? [] : found(files.checkpoint);
        const [latest] = checkpoint;
        if (latest !== undefined) this.checkpoints.stored(rangeId, latest.memberId);
        else if (member !== null && member.hasCheckpoint) throw this.#missing(rangeId);
        staged.push(...files.staged.flatMap(({ file }) => found(file)));
        checkpoints.push(...checkpoint);
        const memberId = member?.memberId ?? latest?.memberId;
        if (memberId !== undefined) members.push({ rangeId, memberId });
      } catch (error) {
        if (member === null || !(error instanceof SkerryError) || error.code !== 'KV_CORRUPT') throw error;
        const lost = onDamage(rangeId, member.memberId, error);
        tombstones.set(rangeId, lost.memberId);
        damaged.push(lost);
      }
    }
    return { checkpoints, staged, tombstones, members, damaged };
  }

  #missing(rangeId: RangeId): SkerryError {
    const dir = path.dirname(this.checkpoints.checkpointFile(rangeId, 0));
    const message = `The checkpoint of range ${rangeId} is missing in ${dir}. Restore the file from a backup, or the node from its peers.`;
    return new SkerryError('KV_CORRUPT', message, {
      hint: { file: dir, offset: 0, what: 'the checkpoint is missing' },
    });
  }

  /** This node's member of the range in a checkpoint. */
  #ownMember(file: string, rangeId: RangeId, nodeId: NodeId): MemberId {
    const { descriptor } = decodeRangeMeta(readCheckpointInfo(this.#disk, file).meta);
    const own = descriptor.replicas.find((replica) => nodeOf(replica.memberId) === nodeId);
    if (own !== undefined) return own.memberId;
    throw new SkerryError(
      'KV_CORRUPT',
      `${file} holds range ${rangeId} without a replica on node ${nodeId}. Restore the folder from a backup.`,
    );
  }
}

/** A node that has not been started yet: what it is follows when it listens. */
const NEW_NODE: NodeProfile = {
  storeId: '',
  incarnation: 0,
  bootId: '',
  name: '',
  addresses: NO_ADDRESSES,
  workers: 1,
  locality: [],
};

function firstCatalog(creation: CatalogOp): CatalogState {
  const { state, result } = applyCatalogOp(EMPTY_CATALOG, creation);
  if (!result.ok) throw new SkerryError(result.code, `The cluster cannot be made: ${result.message}.`);
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
