/** Checkpoints of ranges: files that a restart begins from. See format.ts. */
export type { CheckpointInfo } from './format.ts';
export type { CheckpointDamage, CheckpointLoader } from './read.ts';
export { loadCheckpoint, readCheckpointInfo, verifyCheckpoint } from './read.ts';
export { TEMPORARY_SUFFIX, writeCheckpoint } from './write.ts';
export type { WrittenCheckpoint } from './write.ts';
