/** What the scrubber reads on this node, and what is done about the damage that it finds. */
import type { Piscina } from 'piscina';
import type { RangeId } from '../core/brands.ts';
import { MetricsWriter } from '../observe/counters.ts';
import type { MetricsArea } from '../observe/counters.ts';
import type { Logger } from '../observe/log.ts';
import { slots } from '../observe/metrics.ts';
import type { CheckpointFolder } from '../storage/checkpoint/index.ts';
import type { Disk } from '../storage/disk.ts';
import type { ScrubResult, ScrubSlice } from '../storage/scrub.ts';
import type { IoTask } from '../storage/wal/io-tasks.ts';
import type { WalHandle } from '../storage/wal/pool.ts';
import { listSegments } from '../storage/wal/segment.ts';
import { Scrubber } from './scrubber.ts';

export interface ScrubbingPorts {
  readonly rateBytes: number;
  readonly intervalMs: number;
  readonly disk: Disk;
  readonly checkpoints: CheckpointFolder;
  readonly wal: WalHandle;
  readonly pool: Piscina;
  readonly metricsArea: MetricsArea;
  readonly rangeIds: () => RangeId[];
  /** Asks for new checkpoints of these ranges. */
  readonly rewrite: (rangeIds: RangeId[]) => void;
  readonly log: Logger;
}

/** Begins; stop() ends it. */
export function startScrubbing(ports: ScrubbingPorts): Scrubber {
  const { rateBytes, intervalMs, disk, checkpoints, wal, pool, log } = ports;
  const metrics = new MetricsWriter(ports.metricsArea);
  const { logId } = wal.recovery;
  const counters = { bytes: slots.scrubBytes, files: slots.scrubFiles, passes: slots.scrubPasses };
  const ranges = new Map<string, RangeId>();
  return new Scrubber({
    rateBytes,
    intervalMs,
    files() {
      ranges.clear();
      for (const { rangeId, file } of checkpoints.newest()) ranges.set(file, rangeId);
      const segments = listSegments(disk, wal.dir).map((segmentId): ScrubSlice => {
        return { kind: 'segment', dir: wal.dir, segmentId, logId, from: null };
      });
      return [...[...ranges.keys()].map((file): ScrubSlice => ({ kind: 'checkpoint', file, from: null })), ...segments];
    },
    async read(slice, bytesMax) {
      const task: IoTask = { kind: 'scrub', slice, bytesMax };
      return (await pool.run(task)) as ScrubResult;
    },
    damaged(slice, what) {
      metrics.add(slots.scrubDamages, 1);
      log.error({ what }, 'a file is damaged; it is replaced by new checkpoints, and kept aside');
      if (slice.kind === 'checkpoint') {
        checkpoints.keepAside(slice.file, Date.now());
        ports.rewrite([ranges.get(slice.file) as RangeId]);
      } else {
        wal.keepAside(slice.segmentId);
        ports.rewrite(ports.rangeIds());
      }
    },
    failed: (error) => log.error({ err: error }, 'the scrubber cannot read; it tries again in its next pass'),
    count: (event, times) => metrics.add(counters[event], times),
    progress: (share) => metrics.set(slots.scrubProgress, share),
    nowMs: () => performance.now(),
  });
}
