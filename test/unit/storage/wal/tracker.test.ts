/** The tracker against a dumb second implementation that keeps every record. FAILURES 31. */
import test from 'ava';
import { array, assert as assertProperty, constant, integer, oneof, property, record } from 'fast-check';
import { WalTracker } from '../../../../src/storage/wal/tracker.ts';

type Step =
  | { readonly kind: 'entry' | 'begin'; readonly rangeId: number; readonly back: number }
  | { readonly kind: 'piece' | 'end'; readonly rangeId: number }
  | { readonly kind: 'hardState' | 'removed'; readonly rangeId: number }
  | { readonly kind: 'checkpoint'; readonly rangeId: number; readonly behind: number }
  | { readonly kind: 'open' | 'drop' | 'copy' };

const rangeId = integer({ min: 1, max: 4 });
const steps = array(
  oneof(
    {
      weight: 10,
      arbitrary: record({
        kind: oneof(constant('entry' as const), constant('begin' as const)),
        rangeId,
        back: oneof(constant(0), integer({ min: 0, max: 3 })),
      }),
    },
    {
      weight: 6,
      arbitrary: record({ kind: oneof(constant('piece' as const), constant('end' as const)), rangeId }),
    },
    { weight: 2, arbitrary: record({ kind: constant('hardState' as const), rangeId }) },
    {
      weight: 4,
      arbitrary: record({ kind: constant('checkpoint' as const), rangeId, behind: integer({ min: 0, max: 3 }) }),
    },
    {
      weight: 3,
      arbitrary: record({
        kind: oneof(constant('open' as const), constant('drop' as const), constant('copy' as const)),
      }),
    },
    { weight: 1, arbitrary: record({ kind: constant('removed' as const), rangeId }) },
  ),
  { maxLength: 120 },
);

interface NaiveRecord {
  readonly segmentId: number;
  readonly rangeId: number;
  /** 0 = a hard state. */
  readonly index: number;
}

/** Keeps all records, and looks at all of them each time. */
class NaiveLog {
  segments: number[] = [];
  records: NaiveRecord[] = [];
  readonly checkpoints = new Map<number, number>();
  readonly last = new Map<number, number>();
  /** By range, the pieces of an entry that has not ended. */
  readonly unfinished = new Map<number, NaiveRecord[]>();

  append(pieces: readonly NaiveRecord[], { rangeId: id, index }: NaiveRecord): void {
    // A log that goes on from an index again makes what it had from there on void.
    this.records = this.records.filter((one) => one.rangeId !== id || one.index < index);
    this.records.push(...pieces);
    this.last.set(id, index);
    this.unfinished.delete(id);
  }

  isNeeded(record: NaiveRecord): boolean {
    if (record.index > 0) return record.index > (this.checkpoints.get(record.rangeId) ?? 0);
    return this.records.findLast((other) => other.rangeId === record.rangeId && other.index === 0) === record;
  }

  reusable(): number[] {
    const pieces = [...this.unfinished.values()].flat();
    const needed = [...this.records.filter((one) => this.isNeeded(one)), ...pieces].map(({ segmentId }) => segmentId);
    const oldest = Math.min(...needed, this.segments.at(-1) ?? 0);
    return this.segments.filter((id) => id < oldest);
  }

  holders(): number[] {
    const [oldest] = this.segments;
    if (this.segments.length < 2) return [];
    const holding = this.records.filter((one) => one.segmentId === oldest && this.isNeeded(one));
    return [...new Set(holding.map((one) => one.rangeId))].sort();
  }
}

test('it frees exactly the segments that a log of every record would', (t) => {
  assertProperty(
    property(steps, (list: Step[]) => {
      let tracker = new WalTracker();
      const naive = new NaiveLog();
      const removed = new Set<number>();
      const open = (): void => {
        const id = (naive.segments.at(-1) ?? 0) + 1;
        tracker.opened(id);
        naive.segments.push(id);
      };
      open();
      for (const step of list) {
        const segmentId = naive.segments.at(-1) as number;
        if (step.kind === 'entry' || step.kind === 'begin') {
          const last = naive.last.get(step.rangeId) ?? 0;
          const index = Math.max(1, last + 1 - step.back);
          const isWhole = step.kind === 'entry';
          tracker.entry(step.rangeId, index, 100, true, isWhole);
          if (removed.has(step.rangeId)) continue;
          const piece = { segmentId, rangeId: step.rangeId, index };
          if (isWhole) naive.append([piece], piece);
          else naive.unfinished.set(step.rangeId, [piece]);
        } else if (step.kind === 'piece' || step.kind === 'end') {
          const pieces = naive.unfinished.get(step.rangeId);
          if (pieces === undefined) continue;
          const [{ index }] = pieces as [NaiveRecord];
          const isEnd = step.kind === 'end';
          tracker.entry(step.rangeId, index, 100, false, isEnd);
          const piece = { segmentId, rangeId: step.rangeId, index };
          pieces.push(piece);
          if (isEnd) naive.append(pieces, piece);
        } else if (step.kind === 'hardState') {
          tracker.hardState(step.rangeId, 56);
          if (!removed.has(step.rangeId)) naive.records.push({ segmentId, rangeId: step.rangeId, index: 0 });
        } else if (step.kind === 'checkpoint') {
          const index = Math.max(0, (naive.last.get(step.rangeId) ?? 0) - step.behind);
          tracker.checkpointed(step.rangeId, index);
          naive.checkpoints.set(step.rangeId, Math.max(index, naive.checkpoints.get(step.rangeId) ?? 0));
        } else if (step.kind === 'removed') {
          tracker.removed(step.rangeId);
          removed.add(step.rangeId);
          naive.records = naive.records.filter((one) => one.rangeId !== step.rangeId);
          naive.unfinished.delete(step.rangeId);
        } else if (step.kind === 'open') {
          open();
        } else if (step.kind === 'copy' && removed.size === 0) {
          tracker = new WalTracker(structuredClone(tracker.snapshot()));
          naive.unfinished.clear();
        } else if (step.kind === 'drop') {
          const newest = tracker.reusable().at(-1);
          if (newest === undefined) continue;
          tracker.dropThrough(newest);
          naive.segments = naive.segments.filter((id) => id > newest);
          naive.records = naive.records.filter((one) => one.segmentId > newest);
        }
        const holders = tracker.laggards().map((laggard) => laggard.rangeId);
        if (String(tracker.reusable()) !== String(naive.reusable())) {
          throw new Error(`reusable ${tracker.reusable()} where ${naive.reusable()} is right`);
        }
        if (String(holders.sort()) !== String(naive.holders())) {
          throw new Error(`laggards ${holders} where ${naive.holders()} is right`);
        }
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('FAILURES 31: the range that pins the log is named, with the checkpoint that would free it', (t) => {
  const tracker = new WalTracker();
  tracker.opened(1);
  tracker.entry(1, 1, 1000, true, true);
  tracker.entry(2, 1, 1000, true, true);
  tracker.entry(2, 2, 1000, true, true);
  tracker.opened(2);
  tracker.entry(1, 2, 1000, true, true);
  tracker.opened(3);
  t.deepEqual(tracker.reusable(), []);
  tracker.checkpointed(1, 2);
  t.deepEqual(tracker.laggards(), [{ rangeId: 2, checkpointIndex: 2, needsHardState: false }]);
  tracker.checkpointed(2, 1);
  t.deepEqual(tracker.reusable(), []);
  tracker.checkpointed(2, 2);
  t.deepEqual(tracker.reusable(), [1, 2]);
});

test('bytes behind a checkpoint shrink as it advances', (t) => {
  const tracker = new WalTracker();
  tracker.opened(1);
  for (let index = 1; index <= 10; index++) tracker.entry(1, index, 1000, true, true);
  tracker.opened(2);
  for (let index = 11; index <= 20; index++) tracker.entry(1, index, 1000, true, true);
  t.is(tracker.bytesBehind(1), 20_000);
  tracker.checkpointed(1, 5);
  t.is(tracker.bytesBehind(1), 15_000);
  tracker.checkpointed(1, 15);
  t.is(tracker.bytesBehind(1), 5000);
  tracker.checkpointed(1, 20);
  t.is(tracker.bytesBehind(1), 0);
  t.is(tracker.bytesBehind(99), 0);
});

test('an idle range whose log was cut back frees its segment by a checkpoint at its new end', (t) => {
  const tracker = new WalTracker();
  tracker.opened(1);
  for (let index = 1; index <= 100; index++) tracker.entry(1, index, 10, true, true);
  tracker.opened(2);
  tracker.entry(1, 91, 10, true, true);
  tracker.opened(3);
  tracker.checkpointed(1, 91);
  t.deepEqual(tracker.reusable(), [1, 2]);
});
