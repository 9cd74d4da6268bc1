/** What an I/O thread can be asked to do for a log. */
import type { MessagePort } from 'node:worker_threads';
import { unreachable } from '../../core/assert.ts';
import { nodeDisk } from '../disk.ts';
import type { Disk } from '../disk.ts';
import { scrubSlice } from '../scrub.ts';
import type { ScrubResult, ScrubSlice } from '../scrub.ts';
import { keepAside } from './quarantine.ts';
import { readRange } from './range-reader.ts';
import type { RangeAnswer, RangePlace, RangeRead, RecordPlace } from './range-reader.ts';
import { deleteSegment, prepareSegment, recycleIntoSpare, runWalWriter } from './run.ts';
import type { WalTaskOptions } from './run.ts';
import type { WalControl } from './messages.ts';
import type { WalMetrics } from './writer.ts';

export interface IoPorts {
  /** URL of a module that exports `disk`; the real disk when absent. For tests that need a disk with faults. */
  readonly diskModule?: string;
}

export type IoTask = IoPorts &
  (
    | {
        readonly kind: 'wal-writer';
        readonly options: WalTaskOptions;
        readonly port: MessagePort;
        /** Area of the writer's metrics; see observe/counters.ts. */
        readonly metricsArea?: SharedArrayBuffer;
      }
    | { readonly kind: 'prepare'; readonly dir: string; readonly number: number; readonly segmentBytes: number }
    | {
        readonly kind: 'recycle';
        readonly dir: string;
        readonly segmentId: number;
        readonly number: number;
        readonly segmentBytes: number;
      }
    | { readonly kind: 'scrub'; readonly slice: ScrubSlice; readonly bytesMax: number }
    | { readonly kind: 'keep-aside'; readonly dir: string; readonly segmentId: number; readonly isRecycled: boolean }
    | {
        readonly kind: 'read';
        readonly dir: string;
        readonly place: RangePlace;
        readonly wanted: RangeRead;
        readonly from: RecordPlace | null;
      }
    | { readonly kind: 'delete'; readonly dir: string; readonly segmentId: number }
  );

/** Runs one task to its end. Returns what to tell the writer, if anything, or what was read. `metrics`: where a writer counts. */
export async function runIoTask(
  task: IoTask,
  metrics: WalMetrics | null,
): Promise<WalControl | ScrubResult | RangeAnswer | null> {
  const disk = await diskOf(task);
  switch (task.kind) {
    case 'wal-writer':
      runWalWriter(task.options, task.port, disk, metrics);
      task.port.close();
      return null;
    case 'prepare':
      return prepareSegment(disk, task.dir, task.number, task.segmentBytes);
    case 'recycle':
      return recycleIntoSpare(disk, task.dir, task.segmentId, task.number, task.segmentBytes);
    case 'scrub':
      return scrubSlice(disk, task.slice, task.bytesMax);
    case 'keep-aside':
      keepAside(disk, task.dir, task.segmentId, Date.now());
      return task.isRecycled ? { type: 'noSpare', isDiskFull: false } : null;
    case 'read':
      return readRange(disk, task.dir, task.place, task.wanted, task.from);
    case 'delete':
      deleteSegment(disk, task.dir, task.segmentId);
      return null;
    default:
      return unreachable(task);
  }
}

async function diskOf({ diskModule }: IoPorts): Promise<Disk> {
  if (diskModule === undefined) return nodeDisk;
  const { disk } = (await import(diskModule)) as { disk: Disk };
  return disk;
}
