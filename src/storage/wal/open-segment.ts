/** The segment that the writer is writing to: from a spare's activation to its seal. */
import type { Disk, DiskFile } from '../disk.ts';
import { DATA_OFFSET, segmentSeed, STATE_OPEN } from './format.ts';
import type { SegmentHeader, SegmentState } from './format.ts';
import { activateSegment, sealSegment } from './segment.ts';

export class OpenSegment {
  readonly segmentId: number;
  readonly seed: number;
  /** Where the next batch goes. */
  position = DATA_OFFSET;
  /** The next batch's number. */
  batchNumber = 0;
  /** Sequence number of the next record. */
  nextSequence: number;
  dataChecksum = 0;
  readonly #file: DiskFile;
  readonly #header: SegmentHeader;

  /** Makes a segment of the spare; it is durable when this returns. */
  constructor(
    disk: Disk,
    dir: string,
    spare: string,
    id: { readonly segmentId: number; readonly logId: number; readonly startSequence: number },
    segmentBytes: number,
  ) {
    const createdUs = Date.now() * 1000;
    this.#header = {
      ...id,
      endSequence: 0,
      entryCount: 0,
      segmentBytes,
      createdUs,
      modifiedUs: createdUs,
      dataChecksum: 0,
      dataEnd: 0,
      state: STATE_OPEN,
    };
    this.segmentId = id.segmentId;
    this.seed = segmentSeed(id.segmentId, id.logId);
    this.nextSequence = id.startSequence;
    this.#file = activateSegment(disk, dir, spare, this.#header);
  }

  get roomBytes(): number {
    return this.#header.segmentBytes - this.position;
  }

  /** Hands the batch to the operating system. May be repeated with the same views as long as sync() was not called. */
  write(views: readonly Buffer[]): void {
    this.#file.writev(views, this.position);
  }

  sync(): void {
    this.#file.datasync();
  }

  /** The batch is durable. */
  wrote(bytes: number, recordCount: number, dataChecksum: number): void {
    this.position += bytes;
    this.batchNumber += 1;
    this.nextSequence += recordCount;
    this.dataChecksum = dataChecksum;
  }

  seal(state: SegmentState): void {
    const { startSequence } = this.#header;
    sealSegment(this.#file, {
      ...this.#header,
      endSequence: this.nextSequence - 1,
      entryCount: this.nextSequence - startSequence,
      modifiedUs: Date.now() * 1000,
      dataChecksum: this.dataChecksum,
      dataEnd: this.position,
      state,
    });
  }

  close(): void {
    this.#file.close();
  }
}
