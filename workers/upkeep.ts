/** What a shard worker does by the clock, without being asked. */
import type { MemoryArena } from '../src/engine/memory/arena.ts';
import type { Gateway } from '../src/gateway/gateway.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import { slots } from '../src/observe/metrics.ts';
import { publishPeerCounters } from '../src/gateway/peer-metrics.ts';
import type { RingProducer } from '../src/sharedarraybuffer-ring/index.ts';
import { watchStalls } from '../src/observe/stall.ts';
import { createGiveBack } from '../shards/give-back.ts';
import type { FromWorker } from '../shards/messages.ts';
import type { Shard } from '../shards/shard.ts';
import type { TurnLoop } from '../shards/turn-loop.ts';
import { publishLeadership } from '../shards/write-metrics.ts';

const UPKEEP_INTERVAL_MS = 100;
const LEADERSHIP_INTERVAL_MS = 500;

/** `tickMs`: the length of a Raft tick. */
export function startUpkeep(
  shard: Shard,
  gateway: Gateway,
  loop: TurnLoop,
  metrics: MetricsWriter,
  tickMs: number,
  arena: MemoryArena,
  send: (message: FromWorker) => void,
): void {
  const giveBack = createGiveBack(arena, () => send({ type: 'gaveBack' }));
  setInterval(() => {
    metrics.add(slots.keysExpired, shard.expireSome());
    gateway.router.tickWaiting();
    giveBack();
    const { keys, expiring } = shard.countKeys();
    metrics.set(slots.keys, keys);
    metrics.set(slots.keysExpiring, expiring);
    metrics.set(slots.forwardRingFull, gateway.ringFullCount);
    if (gateway.peers !== null) publishPeerCounters(metrics, gateway.peers.mesh.counters);
  }, UPKEEP_INTERVAL_MS).unref();
  setInterval(() => publishLeadership(shard.host), LEADERSHIP_INTERVAL_MS).unref();
  setInterval(() => {
    if (shard.host.needsTicks) loop.schedule();
  }, tickMs).unref();
  watchStalls((seconds) => metrics.set(slots.eventLoopStallMaxSeconds, seconds));
}

/** How full things are. At the end of a turn. */
export function publishLevels(
  metrics: MetricsWriter,
  reservedBytes: number,
  walRing: Pick<RingProducer, 'bytesFree' | 'buffer'>,
  gateway: Gateway,
): void {
  metrics.set(slots.memoryReservedBytes, reservedBytes);
  metrics.set(slots.walRingFill, 1 - walRing.bytesFree / walRing.buffer.length);
  metrics.set(slots.forwardRingFill, gateway.ringFill);
}

/** What the start took: `records` of the log were replayed. */
export function publishRecovery(metrics: MetricsWriter, records: number, ms: number): void {
  metrics.set(slots.recoveryRecords, records);
  metrics.set(slots.recoverySeconds, ms / 1000);
}
