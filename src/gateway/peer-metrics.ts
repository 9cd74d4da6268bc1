/** What the peer mesh counts, in the thread's metrics. */
import type { PeerCounters } from '../net/peer/types.ts';
import type { MetricsWriter } from '../observe/counters.ts';
import { slots } from '../observe/metrics.ts';

/** Call it some times a second. */
export function publishPeerCounters(metrics: MetricsWriter, counters: PeerCounters): void {
  metrics.set(slots.peerBytesIn, counters.bytesIn);
  metrics.set(slots.peerBytesOut, counters.bytesOut);
  metrics.set(slots.peerFramesIn, counters.framesIn);
  metrics.set(slots.peerFramesOut, counters.framesOut);
  metrics.set(slots.peerMessagesIn, counters.messagesIn);
  metrics.set(slots.peerMessagesOut, counters.messagesOut);
  metrics.set(slots.peerMessagesDropped, counters.messagesDropped);
  metrics.set(slots.peerQueuedBytes, counters.queuedBytes);
  metrics.set(slots.peerConnects, counters.connects);
  metrics.set(slots.peerBreaks, counters.breaks);
  metrics.set(slots.snapshotsSent, counters.snapshotsSent);
  metrics.set(slots.snapshotsReceived, counters.snapshotsReceived);
}
