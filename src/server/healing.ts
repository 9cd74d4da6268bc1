/**
 * What a node does at its start about files that are damaged or missing. A node that is alone with a range refuses to start, and
 * says what is wrong. Where a range has other voters, this node's member of it is given up: it never speaks again under
 * its id, which to its group is the same as a node that does not come back. The group takes it out, and a new member is
 * made here from a snapshot.
 *
 *     checkpoint damaged  ─▶ that range's member is given up
 *     log damaged or gone ─▶ all ranges share it, and it cannot be known what it held of whom: all members are given up,
 *                            the log is set aside, and a new one begins
 *
 * docs/adr/0009-damaged-replicas.md says why this is safe.
 */
import path from 'node:path';
import type { NodeId } from '../core/brands.ts';
import { SkerryError } from '../core/errors.ts';
import type { DamagedReplica } from '../core/placement/report.ts';
import { decodeConfEntry } from '../core/raft/configuration.ts';
import type { ConfState } from '../core/raft/types.ts';
import type { Logger } from '../observe/log.ts';
import { readCheckpointInfo } from '../storage/checkpoint/index.ts';
import type { Disk } from '../storage/disk.ts';
import { FRAGMENT_MASK, FRAGMENT_WHOLE, TYPE_CONFIG } from '../storage/wal/format.ts';
import { MANIFEST_NAME, readManifest } from '../storage/wal/manifest.ts';
import { setLogAside } from '../storage/wal/quarantine.ts';
import { listSegments } from '../storage/wal/segment.ts';
import { surveyWal } from '../storage/wal/survey.ts';
import { decodeRangeMeta } from '../../shards/entry.ts';
import { hasOtherVoters } from '../../shards/membership.ts';
import { whatIsDamaged } from '../../shards/damage.ts';
import type { DataDir, FoundRanges } from './data-dir.ts';

export interface HealingPorts {
  readonly nodeId: NodeId;
  readonly dir: DataDir;
  readonly disk: Disk;
  readonly walDir: string;
  /** Whether the cluster has other nodes. Without, any damage ends the start. */
  readonly hasOthers: boolean;
  readonly log: Logger;
}

/** What the node's ranges begin from. Gives up members with damaged checkpoints. Throws KV_CORRUPT when they cannot be missed. */
export function findWholeRanges(ports: HealingPorts): FoundRanges {
  const { nodeId, dir, hasOthers, log } = ports;
  if (!hasOthers) return dir.findRanges(nodeId);
  let confs: Map<number, ConfState> | null = null;
  return dir.findRanges(nodeId, (rangeId, memberId, error) => {
    // The checkpoint cannot say it. Where the log does not either, the cluster's other nodes are taken for others of the range.
    confs ??= lastConfs(ports, []);
    const conf = confs.get(rangeId);
    if (conf !== undefined && !hasOtherVoters(conf, memberId)) throw error;
    const replica: DamagedReplica = { rangeId, memberId, what: whatIsDamaged(error), sinceMs: Date.now() };
    dir.checkpoints.condemn(rangeId, memberId, replica);
    log.error({ ...replica }, 'a range of this node is damaged: it waits to be taken out of its group and made anew');
    return replica;
  });
}

/**
 * Throws KV_CORRUPT when the log that the node has written is not there, or is another one: without a word of what it
 * acknowledged and voted for, an empty folder looks like a new log. `logId`: of NodeIdentity; 0: it has written none yet.
 */
export function expectLog(disk: Disk, walDir: string, logId: number): void {
  const manifest = disk.exists(walDir) ? readManifest(disk, walDir) : undefined;
  const hasSegments = disk.exists(walDir) && listSegments(disk, walDir).length > 0;
  // With segments or a manifest that cannot be read, whoever opens the log says what is wrong.
  if (logId === 0 || manifest === null || (manifest === undefined && hasSegments)) return;
  if (manifest?.logId === logId) return;
  const file = path.join(walDir, MANIFEST_NAME);
  const what = manifest === undefined ? 'the log is missing' : 'it belongs to another log than the one of this node';
  const message =
    `${file}: ${what}. Acknowledged writes and votes were in it. Nothing was changed. Put the folder back, look at --wal-dir, ` +
    'or restore the node from its peers or a backup. To go on with its checkpoints alone and lose what came after them, take "logId" out of node.json.';
  throw new SkerryError('KV_CORRUPT', message, { hint: { file, offset: 0, what } });
}

/**
 * Opens the log with `open`; when it is damaged or not the one that is expected, and can be missed, sets it aside and opens a new
 * one. `logId`: as for expectLog().
 */
export async function openLog<T>(open: () => Promise<T>, logId: number, ports: HealingPorts): Promise<T> {
  try {
    expectLog(ports.disk, ports.walDir, logId);
    return await open();
  } catch (error) {
    if (!(error instanceof SkerryError) || error.code !== 'KV_CORRUPT' || !ports.hasOthers) throw error;
    giveUpLog(error, ports);
    return open();
  }
}

/** Gives up all members of this node, and the log that they had in common. Throws KV_CORRUPT when one cannot be missed. */
export function giveUpLog(error: SkerryError, ports: HealingPorts): void {
  const { dir, disk, walDir, log } = ports;
  const { checkpoints, members } = findWholeRanges(ports);
  const confs = lastConfs(ports, checkpoints);
  const alone = checkpoints.filter(({ rangeId, memberId }) => {
    const conf = confs.get(rangeId);
    return conf === undefined || !hasOtherVoters(conf, memberId);
  });
  if (alone.length > 0) {
    const ranges = alone.map(({ rangeId }) => rangeId).join(', ');
    const message = `${error.message} (No other node has a voting replica of range ${ranges}.)`;
    throw new SkerryError(error.code, message, { cause: error, hint: error.hint });
  }
  const sinceMs = Date.now();
  const what = whatIsDamaged(error);
  for (const { rangeId, memberId } of members) dir.checkpoints.condemn(rangeId, memberId, { what, sinceMs });
  disk.mkdir(walDir);
  const side = setLogAside(disk, walDir, sinceMs);
  log.error(
    { what, setAside: side, ranges: members.map(({ rangeId }) => rangeId) },
    'the write-ahead log is damaged: the ranges of this node wait to be taken out of their groups and made anew',
  );
}

/** The last configuration of each range that can be read anywhere here. */
function lastConfs({ disk, walDir }: HealingPorts, checkpoints: FoundRanges['checkpoints']): Map<number, ConfState> {
  const confs = new Map<number, ConfState>();
  for (const { rangeId, file } of checkpoints) {
    confs.set(rangeId, decodeRangeMeta(readCheckpointInfo(disk, file).meta).conf);
  }
  if (!disk.exists(walDir)) return confs;
  surveyWal(disk, walDir, {
    record({ type, flags, rangeId, dataStart, dataEnd }, buffer) {
      if (type !== TYPE_CONFIG || (flags & FRAGMENT_MASK) !== FRAGMENT_WHOLE) return;
      confs.set(rangeId, decodeConfEntry(buffer.subarray(dataStart, dataEnd)).conf);
    },
  });
  return confs;
}
