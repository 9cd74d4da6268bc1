/** Main of an I/O thread: a piscina worker that runs one task at a time; a WAL writer's task lasts as long as its log is open. */
import { MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';
import { runIoTask } from '../src/storage/wal/io-tasks.ts';
import type { IoTask } from '../src/storage/wal/io-tasks.ts';
import type { WalMetrics } from '../src/storage/wal/writer.ts';

export default function main(task: IoTask): ReturnType<typeof runIoTask> {
  const area = task.kind === 'wal-writer' ? task.metricsArea : undefined;
  return runIoTask(task, area === undefined ? null : metricsIn(area));
}

function metricsIn(area: SharedArrayBuffer): WalMetrics {
  const metrics = new MetricsWriter(area);
  const { walFsync, walBatchBytes, walBatchRecords } = metrics.histograms;
  return {
    synced(bytes, records, durationUs) {
      metrics.add(slots.walFsyncs, 1);
      metrics.add(slots.walBytes, bytes);
      metrics.add(slots.walRecords, records);
      walFsync.record(durationUs);
      walBatchBytes.record(bytes);
      walBatchRecords.record(records);
    },
    segments: (count) => metrics.set(slots.walSegments, count),
    full: (isFull) => metrics.set(slots.walDiskFull, isFull ? 1 : 0),
  };
}
