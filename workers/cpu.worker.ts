/** Main of a thread for long computations: a piscina worker that compresses and writes checkpoints. */
import type { FrozenStore } from '../src/engine/engine.ts';
import { openFrozen } from '../src/engine/memory/frozen.ts';
import type { CheckpointInfo, WrittenCheckpoint } from '../src/storage/checkpoint/index.ts';
import { writeCheckpoint } from '../src/storage/checkpoint/index.ts';
import { nodeDisk } from '../src/storage/disk.ts';

export interface CheckpointTask {
  readonly file: string;
  readonly frozen: FrozenStore;
  readonly info: CheckpointInfo;
}

export default function main({ file, frozen, info }: CheckpointTask): WrittenCheckpoint {
  const { meta } = info;
  // Crossing threads made a plain array of it.
  const whole = { ...info, meta: Buffer.from(meta.buffer, meta.byteOffset, meta.byteLength) };
  return writeCheckpoint(nodeDisk, file, openFrozen(frozen), whole);
}
