/** What a shard worker does by the clock, without being asked. */
import type { Gateway } from '../src/gateway/gateway.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';
import { publishPeerCounters } from '../src/gateway/peer-metrics.ts';
import { watchStalls } from '../src/observe/stall.ts';
import type { Shard } from '../shards/shard.ts';
import type { TurnLoop } from '../shards/turn-loop.ts';

const UPKEEP_INTERVAL_MS = 100;

/** `tickMs`: the length of a Raft tick. */
export function startUpkeep(
  shard: Shard,
  gateway: Gateway,
  loop: TurnLoop,
  metrics: MetricsWriter,
  tickMs: number,
): void {
  setInterval(() => {
    metrics.add(slots.keysExpired, shard.expireSome());
    gateway.router.tickWaiting();
    metrics.set(slots.keys, shard.keyCount);
    if (gateway.peers !== null) publishPeerCounters(metrics, gateway.peers.mesh.counters);
  }, UPKEEP_INTERVAL_MS).unref();
  setInterval(() => {
    if (shard.host.needsTicks) loop.schedule();
  }, tickMs).unref();
  watchStalls((seconds) => metrics.set(slots.eventLoopStallMaxSeconds, seconds));
}
