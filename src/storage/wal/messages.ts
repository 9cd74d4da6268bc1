/**
 * What the main thread and the WAL writer tell each other. Rare: data goes through the rings and the watermarks only.
 *
 *     main ──▶ writer   posted, counted in the status words, then the writer's doorbell is rung; read once per turn
 *     writer ──▶ main   port messages
 */
import type { ErrorCode } from '../../core/errors.ts';
import type { RangePlace } from './range-reader.ts';
import type { WalScan } from './recovery.ts';
import type { Laggard } from './tracker.ts';

export type WalControl =
  /** A spare is ready under this name. */
  | { readonly type: 'spare'; readonly name: string }
  /** A segment's file was given up, or could not be prepared for want of room. */
  | { readonly type: 'noSpare'; readonly isDiskFull: boolean }
  | { readonly type: 'checkpointed'; readonly rangeId: number; readonly index: number }
  | { readonly type: 'removed'; readonly rangeId: number }
  /** Every range's records have been read: segments may be used again from now on. */
  | { readonly type: 'replayed' }
  | { readonly type: 'stats'; readonly id: number }
  /** Where the range's entries from `index` on lie. */
  | { readonly type: 'locate'; readonly id: number; readonly rangeId: number; readonly index: number }
  /** Write what is in the rings, close the log, end. */
  | { readonly type: 'stop' };

export type WalEvent =
  | { readonly type: 'recovered'; readonly scan: WalScan }
  /** The log cannot be opened, or cannot be written any more. */
  | { readonly type: 'fatal'; readonly error: WalFailure }
  | { readonly type: 'full' }
  | { readonly type: 'resumed' }
  | { readonly type: 'sealed'; readonly segmentId: number; readonly segmentCount: number; readonly laggards: Laggard[] }
  /** Have spare `number` made of zeros. */
  | { readonly type: 'prepare'; readonly number: number }
  /** Have spare `number` made of this segment. */
  | { readonly type: 'recycle'; readonly segmentId: number; readonly number: number }
  /** Have this segment's file deleted. */
  | { readonly type: 'delete'; readonly segmentId: number }
  | { readonly type: 'located'; readonly id: number; readonly place: RangePlace }
  | { readonly type: 'stats'; readonly id: number; readonly stats: WalStats };

/** An error in a form that crosses threads. */
export interface WalFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: Readonly<Record<string, unknown>>;
}

export interface WalStats {
  readonly nextSequence: number;
  /** Ids of the segments that are needed or open, oldest first. */
  readonly segmentIds: readonly number[];
  readonly spareCount: number;
  readonly syncCount: number;
  readonly recordCount: number;
  readonly writtenBytes: number;
  /** Ranges that hold back the oldest segment. */
  readonly laggards: readonly Laggard[];
  /** Bytes of the log behind each range's checkpoint. */
  readonly bytesBehind: ReadonlyMap<number, number>;
}
