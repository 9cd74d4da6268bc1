/** Checkpoints of ranges: files that a restart begins from. See format.ts. */
export { CheckpointFolder, isBuried } from './folder.ts';
export type { RangeFiles } from './folder.ts';
export type { CheckpointInfo } from './format.ts';
export type { CheckpointDamage, CheckpointLoader, CheckpointSlice, LoadStep } from './read.ts';
export { loadCheckpoint, loadCheckpointSteps, readCheckpointInfo, scrubCheckpoint, verifyCheckpoint } from './read.ts';
export type { Damage } from './tombstone.ts';
export { writeCheckpoint } from './write.ts';
export type { WrittenCheckpoint } from './write.ts';
