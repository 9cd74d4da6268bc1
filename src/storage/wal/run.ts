/**
 * A WAL directory's life on its I/O thread: recover, then write until told to stop. Also the small tasks beside it, which run on
 * other I/O threads: preparing spares, recycling and deleting segments.
 */
import { randomInt } from 'node:crypto';
import path from 'node:path';
import { receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { SkerryError } from '../../core/errors.ts';
import { Doorbell } from '../../sharedarraybuffer-ring/index.ts';
import { makeDirDurably } from '../disk.ts';
import type { Disk } from '../disk.ts';
import { createManifest, writeManifest } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import type { WalControl, WalEvent, WalFailure } from './messages.ts';
import { readLayout, scanWal, settleWal } from './recovery.ts';
import type { WalScan } from './recovery.ts';
import { createSpare, recycleSegment, segmentName, spareNumberOf } from './segment.ts';
import { WAL_POISONED, WalStatusWords } from './status.ts';
import { WalWriter } from './writer.ts';
import type { WalMetrics, WalTail, WalWriterOptions } from './writer.ts';

/** What goes to the I/O thread: fit for structured cloning. */
export interface WalTaskOptions extends WalWriterOptions {
  /** createWalStatus() */
  readonly status: SharedArrayBuffer;
  /** createDoorbell(): rung for the writer. */
  readonly doorbell: SharedArrayBuffer;
}

const LOG_ID_MAX = 2 ** 48 - 1;

/**
 * Makes the directory a log that is closed and ready to go on, and says what it found. Repeating it changes nothing.
 * Throws KV_CORRUPT when the log is damaged (nothing is changed then), or the disk's own error.
 */
export function openWal(disk: Disk, dir: string, segmentBytes: number): { scan: WalScan; tail: WalTail } {
  makeDirDurably(disk, dir);
  if (readLayout(disk, dir).manifest === null) {
    createManifest(disk, dir, { generation: 1, logId: randomInt(1, LOG_ID_MAX), firstSegment: 1, openedSegment: 0 });
  }
  const scan = scanWal(disk, dir);
  // Its last change may be in memory only, after an fsync that failed: it is made durable before files are given up by it.
  if (scan.manifest !== null) writeManifest(disk, dir, scan.manifest);
  settleWal(disk, dir, scan, Date.now() * 1000);
  return {
    scan,
    tail: {
      manifest: scan.manifest as Manifest,
      nextSegmentId: scan.nextSegmentId,
      nextSequence: scan.nextSequence,
      ranges: scan.ranges,
      tracker: scan.tracker,
      leftovers: scan.leftovers,
      ...findSpares(disk, dir, segmentBytes),
    },
  };
}

/** Keeps the spares of the right size; deletes others, and what a crash left half made. */
function findSpares(disk: Disk, dir: string, segmentBytes: number): { spares: string[]; nextSpareNumber: number } {
  const spares: string[] = [];
  let nextSpareNumber = 1;
  for (const name of disk.list(dir)) {
    if (name.endsWith('.tmp')) disk.unlink(path.join(dir, name));
    const number = spareNumberOf(name);
    if (number === null) continue;
    nextSpareNumber = Math.max(nextSpareNumber, number + 1);
    const file = disk.openFile(path.join(dir, name), 'r');
    const bytes = file.size();
    file.close();
    if (bytes === segmentBytes) spares.push(name);
    else disk.unlink(path.join(dir, name));
  }
  return { spares, nextSpareNumber };
}

/**
 * Runs until a 'stop' message comes; blocks its thread in between. Reports through `port`: 'recovered' once the log is open,
 * or 'fatal' when it cannot be opened or, later, cannot be written any more.
 */
export function runWalWriter(
  options: WalTaskOptions,
  port: MessagePort,
  disk: Disk,
  metrics: WalMetrics | null = null,
): void {
  const send = (event: WalEvent): void => port.postMessage(event);
  const status = new WalStatusWords(options.status);
  const doorbell = new Doorbell(options.doorbell);
  let writer: WalWriter;
  try {
    const { scan, tail } = openWal(disk, options.dir, options.segmentBytes);
    writer = new WalWriter(options, { disk, status, send, metrics }, tail);
    send({ type: 'recovered', scan });
  } catch (error) {
    status.status = WAL_POISONED;
    send({ type: 'fatal', error: failureOf(error, options.dir) });
    return;
  }
  let seenControls = status.controlCount;
  const guard = (step: () => boolean): boolean => {
    try {
      return step();
    } catch (error) {
      writer.poison();
      send({ type: 'fatal', error: failureOf(error, options.dir) });
      return false;
    }
  };
  const isAwake = (): boolean => status.controlCount !== seenControls || writer.isReady;
  for (;;) {
    seenControls = status.controlCount;
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
      const message = next.message as WalControl;
      if (message.type === 'stop') {
        guard(() => {
          writer.stop();
          return true;
        });
        return;
      }
      writer.control(message);
    }
    if (!guard(() => writer.turn())) doorbell.wait(isAwake, writer.waitMs);
  }
}

function failureOf(error: unknown, dir: string): WalFailure {
  if (error instanceof SkerryError) return { code: error.code, message: error.message, hint: error.hint };
  const { message } = error as Error;
  return {
    code: 'KV_STATE',
    message:
      `The write-ahead log in ${dir} failed and takes no more writes: ${message}. Writes under way have an unknown result. ` +
      'Check the disk, then start again: everything that was acknowledged is read back, or the start says what is missing.',
    hint: { dir },
  };
}

/** The tasks beside the writer. Each returns what to tell the writer. */
export function prepareSegment(disk: Disk, dir: string, number: number, segmentBytes: number): WalControl {
  const name = createSpare(disk, dir, number, segmentBytes);
  return name === null ? { type: 'noSpare', isDiskFull: true } : { type: 'spare', name };
}

export function recycleIntoSpare(
  disk: Disk,
  dir: string,
  segmentId: number,
  number: number,
  segmentBytes: number,
): WalControl {
  const file = disk.openFile(path.join(dir, segmentName(segmentId)), 'r');
  const bytes = file.size();
  file.close();
  if (bytes !== segmentBytes) {
    deleteSegment(disk, dir, segmentId);
    return { type: 'noSpare', isDiskFull: false };
  }
  return { type: 'spare', name: recycleSegment(disk, dir, segmentId, number) };
}

export function deleteSegment(disk: Disk, dir: string, segmentId: number): void {
  disk.unlink(path.join(dir, segmentName(segmentId)));
  disk.syncDir(dir);
}
