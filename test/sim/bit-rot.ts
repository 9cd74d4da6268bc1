/** Disks that forget: bits of a node's durable files flip, where no crash can have left what is found there then. */
import path from 'node:path';
import type { MemberId, NodeId } from '../../src/core/brands.ts';
import { nodeOf } from '../../src/core/member.ts';
import { SkerryError } from '../../src/core/errors.ts';
import type { DamagedReplica } from '../../src/core/placement/report.ts';
import type { Prng } from '../../src/core/prng.ts';
import { isJoint } from '../../src/core/raft/configuration.ts';
import { silentLogger } from '../../src/observe/log.ts';
import type { DataDir } from '../../src/server/data-dir.ts';
import type { HealingPorts } from '../../src/server/healing.ts';
import { giveUpLog } from '../../src/server/healing.ts';
import { DATA_OFFSET } from '../../src/storage/wal/format.ts';
import { scanWal } from '../../src/storage/wal/recovery.ts';
import { segmentName } from '../../src/storage/wal/segment.ts';
import type { Shard } from '../../shards/shard.ts';
import type { FaultyDisk } from '../support/faulty-disk.ts';
import type { ClusterFaultPorts } from './cluster-faults.ts';
import type { ShardNode } from './shard-node.ts';

interface Stretch {
  readonly file: string;
  readonly start: number;
  readonly end: number;
}

/** Voters without which nobody else's bits may flip. */
const VOTERS_MIN = 3;

/** One node's files, and how it starts on them. */
export class RottingFiles {
  readonly healing: HealingPorts;
  readonly #disk: FaultyDisk;
  readonly #dir: DataDir;
  /** Flips back the bit that has flipped while the node was down. */
  #restore: (() => void) | null = null;
  #isStarting = false;
  /** Of a node that is down: its members that are silent for good, as it knew when it was last up. */
  damaged: readonly DamagedReplica[] = [];

  constructor(nodeId: NodeId, disk: FaultyDisk, dir: DataDir) {
    this.#disk = disk;
    this.#dir = dir;
    this.healing = { nodeId, dir, disk, walDir: dir.walDir, hasOthers: true, log: silentLogger };
  }

  /** The node is down. Whether a bit has flipped. */
  flip(prng: Prng): boolean {
    this.#restore = flipSomeBit(this.#disk, this.#dir, prng);
    return this.#restore !== null;
  }

  /** A bit has flipped, and the node has not come to know what of it is damaged. */
  get isInDoubt(): boolean {
    return this.#restore !== null;
  }

  openLog<T>(open: () => T): T {
    try {
      return open();
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      giveUpLog(error, this.healing);
      return open();
    }
  }

  /** Where nobody else has the data, the node refuses to start; its operator puts back what was there. */
  start(begin: () => void): void {
    this.#isStarting = true;
    try {
      begin();
    } catch (error) {
      if (this.#restore === null || !isCorrupt(error)) throw error;
      this.#restore();
      this.#disk.unlock();
      begin();
    }
    this.#restore = null;
    this.#isStarting = false;
  }

  stopped(shard: Shard): void {
    // One that did not come to its own files has found out nothing new.
    if (!this.#isStarting) this.damaged = [...shard.admin.damaged.values()];
  }
}

function isCorrupt(error: unknown): error is SkerryError {
  return error instanceof SkerryError && error.code === 'KV_CORRUPT';
}

/** Members that are silent for good, and that their groups may not have heard of. */
export function givenUp(nodes: readonly ShardNode[]): DamagedReplica[] {
  return nodes.flatMap(({ shard, files }) => (shard === null ? files.damaged : [...shard.admin.damaged.values()]));
}

/** A node dies, and its disk is not the same when it comes back; others can always make it whole. */
export function rotSome({ world, prng, coverage }: Pick<ClusterFaultPorts, 'world' | 'prng' | 'coverage'>): void {
  const { nodes, hosts } = world;
  const node = nodes[prng.below(nodes.length)];
  const host = hosts[(node?.nodeId ?? 0) - 1];
  if (node === undefined || host === undefined || givenUp(nodes).length > 0) return;
  if (hosts.some(({ isUp, isPaused }) => !isUp || isPaused)) return;
  const isSafe = [...node.replicas.keys()].every((rangeId) =>
    nodes.every(({ replicas }) => {
      const conf = replicas.get(rangeId)?.raft.status().conf;
      if (conf === undefined) return true;
      // One that has yet to be made of a snapshot has nothing that others could be healed from.
      const isThere = (id: MemberId): boolean => nodes[nodeOf(id) - 1]?.replicas.get(rangeId)?.raft.id === id;
      return !isJoint(conf) && conf.voters.length >= VOTERS_MIN && conf.voters.every(isThere);
    }),
  );
  if (!isSafe) return;
  host.crash();
  if (node.files.flip(prng)) coverage.count('bits flipped');
  host.start();
  coverage.count('replicas given up', givenUp([node]).length);
}

/** The node is down. Returns what flips it back, or null when there is nothing to flip. */
function flipSomeBit(disk: FaultyDisk, dir: DataDir, prng: Prng): (() => void) | null {
  const stretches = prng.chance(0.6) ? ofLog(disk, dir) : ofCheckpoints(disk, dir);
  const stretch = stretches[prng.below(stretches.length)];
  if (stretch === undefined) return null;
  const { file, start, end } = stretch;
  const at = start + prng.below(end - start);
  const bit = prng.below(8);
  disk.flipBit(file, at, bit);
  return () => disk.flipBit(file, at, bit);
}

/** All batches but the very last one, which could as well have been torn by the crash (docs/wal-format.md). */
function ofLog(disk: FaultyDisk, dir: DataDir): Stretch[] {
  const { segments } = scanWal(disk, dir.walDir);
  return segments.flatMap(({ segmentId, lastBatchStart }) => {
    const file = path.join(dir.walDir, segmentName(segmentId));
    return lastBatchStart > DATA_OFFSET ? [{ file, start: DATA_OFFSET, end: lastBatchStart }] : [];
  });
}

function ofCheckpoints(disk: FaultyDisk, dir: DataDir): Stretch[] {
  return dir.checkpoints.find().flatMap(({ checkpoint }) => {
    if (checkpoint === null) return [];
    const opened = disk.openFile(checkpoint, 'r');
    const end = opened.size();
    opened.close();
    return [{ file: checkpoint, start: 0, end }];
  });
}
