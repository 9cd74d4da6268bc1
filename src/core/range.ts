/**
 * A range: one slice of the key space and who holds it. Descriptors live in the ranges themselves and change only by
 * Raft entries of that range; every other copy (routers, clients) is a guess that the epoch proves or refutes.
 */
import type { MemberId, RangeId, Term } from './brands.ts';

export interface RangeEpoch {
  /** Counts membership changes: one for each config entry applied. */
  readonly confVersion: number;
  /** Counts changes of the boundaries: splits and merges. */
  readonly version: number;
}

export interface RangeReplica {
  /** Names the node and the worker too (member.ts). */
  readonly memberId: MemberId;
  readonly role: 'voter' | 'learner';
}

export interface RangeDescriptor {
  readonly rangeId: RangeId;
  /** First key of the range; empty = the beginning of the key space. */
  readonly startKey: Buffer;
  /** First key behind the range; null = the end of the key space. */
  readonly endKey: Buffer | null;
  readonly epoch: RangeEpoch;
  readonly replicas: readonly RangeReplica[];
}

/** A range and who leads it, as far as somebody knows. */
export interface Route {
  readonly range: RangeDescriptor;
  /** 0 = nobody is known to lead. */
  readonly leader: MemberId;
  /** The leader's, or the newest that is known of. */
  readonly term: Term;
  /** Whoever led this term says that it has stepped down: `leader` is 0, and stays so until the next term. */
  readonly isTermOver?: boolean;
}

/** Restricts a command to one range, as its asker knew it. */
export interface RangeScope {
  readonly rangeId: RangeId;
  /** epoch.version; another one now means that the boundaries have changed. */
  readonly version: number;
}

/** Compares left[leftStart, leftEnd) with right as unsigned bytes, shorter first: < 0, 0 or > 0. */
export function compareBytes(
  left: Buffer,
  leftStart: number,
  leftEnd: number,
  right: Buffer,
  rightStart: number,
  rightEnd: number,
): number {
  const leftLength = leftEnd - leftStart;
  const rightLength = rightEnd - rightStart;
  const shared = leftLength < rightLength ? leftLength : rightLength;
  for (let i = 0; i < shared; i++) {
    const difference = (left[leftStart + i] as number) - (right[rightStart + i] as number);
    if (difference !== 0) return difference;
  }
  return leftLength - rightLength;
}

export function rangesOverlap(a: RangeDescriptor, b: RangeDescriptor): boolean {
  const aBeforeB = a.endKey !== null && Buffer.compare(a.endKey, b.startKey) <= 0;
  const bBeforeA = b.endKey !== null && Buffer.compare(b.endKey, a.startKey) <= 0;
  return !aBeforeB && !bBeforeA;
}

/** Whether key[start, end) belongs to the range. */
export function rangeContains(range: RangeDescriptor, key: Buffer, start: number, end: number): boolean {
  const { startKey, endKey } = range;
  if (startKey.length > 0 && compareBytes(key, start, end, startKey, 0, startKey.length) < 0) return false;
  return endKey === null || compareBytes(key, start, end, endKey, 0, endKey.length) < 0;
}

/** Whether the ranges, in the order of their keys, hold every key there is, each once. */
export function coverAllKeys(ranges: readonly RangeDescriptor[]): boolean {
  return (
    ranges[0]?.startKey.length === 0 &&
    ranges.every(({ endKey }, i) => {
      const next = ranges[i + 1];
      return next === undefined ? endKey === null : endKey?.equals(next.startKey) === true;
    })
  );
}
