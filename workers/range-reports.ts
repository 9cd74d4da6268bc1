/** Tells others of this worker's ranges: its own router at once, the main thread and by it the other workers once a turn. */
import type { Gateway } from '../src/gateway/gateway.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';
import type { FromWorker } from '../shards/messages.ts';
import type { Shard } from '../shards/shard.ts';

export interface RangeReports {
  /** Ranges, leaders or members have changed. */
  changed(): void;
  /** At the end of a turn. */
  flush(): void;
}

/** In a cluster the control plane hears at least so often how far the members of led ranges are. */
const INTERVAL_MS = 1000;
/** Of the thread's time; reports of thousands of ranges, all of them in motion, wait for each other. */
const SHARE_MAX = 0.1;

export function createRangeReports(
  shard: () => Shard,
  gateway: () => Gateway,
  metrics: MetricsWriter,
  send: (message: FromWorker) => void,
): RangeReports {
  let isDue = false;
  /** No report before. */
  let notBeforeMs = 0;
  let waiting: NodeJS.Timeout | null = null;
  let wasAtRest = false;
  const report = (): void => {
    const { admin } = shard();
    const ways = gateway().peers?.mesh.status() ?? [];
    const peers = ways.map(({ nodeId, state, problem, roundTripMs }) => {
      return { nodeId, isOpen: state === 'open', problem, roundTripMs };
    });
    send({ type: 'report', ranges: admin.reports(), damaged: [...admin.damaged.values()], peers });
  };
  setInterval(() => {
    // What rests does not change.
    const { isAtRest } = shard().host;
    if (gateway().peers !== null && !(isAtRest && wasAtRest)) report();
    wasAtRest = isAtRest;
  }, INTERVAL_MS).unref();
  return {
    changed() {
      gateway().learn(shard().routes);
      isDue = true;
    },
    flush() {
      if (!isDue || waiting !== null) return;
      const startMs = performance.now();
      if (startMs < notBeforeMs) {
        waiting = setTimeout(() => {
          waiting = null;
          this.flush();
        }, notBeforeMs - startMs);
        waiting.unref();
        return;
      }
      isDue = false;
      const { routes, admin } = shard();
      metrics.set(slots.ranges, routes.length);
      metrics.set(slots.damagedReplicas, admin.damaged.size);
      send({ type: 'ranges', routes });
      report();
      const endMs = performance.now();
      notBeforeMs = endMs + (endMs - startMs) * (1 / SHARE_MAX - 1);
    },
  };
}
