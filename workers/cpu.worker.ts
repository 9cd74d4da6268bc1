/**
 * Main of a thread for long computations: a piscina worker that compresses and writes checkpoints, and looks through a share of the
 * log when a node starts.
 */
import type { FrozenStore } from '../src/engine/engine.ts';
import { openFrozen } from '../src/engine/memory/frozen.ts';
import type { CheckpointInfo, WrittenCheckpoint } from '../src/storage/checkpoint/index.ts';
import { writeCheckpoint } from '../src/storage/checkpoint/index.ts';
import { nodeDisk } from '../src/storage/disk.ts';
import type { LogToLookThrough, Superseded } from '../shards/find-superseded.ts';
import { findSuperseded } from '../shards/find-superseded.ts';
import type { Share } from '../shards/superseded.ts';

export type CpuTask =
  | {
      readonly kind: 'checkpoint';
      readonly file: string;
      readonly frozen: FrozenStore;
      readonly info: CheckpointInfo;
    }
  | { readonly kind: 'superseded'; readonly log: LogToLookThrough; readonly share: Share };

export default function main(task: CpuTask): WrittenCheckpoint | Superseded {
  if (task.kind === 'superseded') return findSuperseded(nodeDisk, task.log, task.share);
  const { file, frozen, info } = task;
  const { meta } = info;
  // Crossing threads made a plain array of it.
  const whole = { ...info, meta: Buffer.from(meta.buffer, meta.byteOffset, meta.byteLength) };
  return writeCheckpoint(nodeDisk, file, openFrozen(frozen), whole);
}
