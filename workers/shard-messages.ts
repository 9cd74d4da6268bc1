/** What a shard worker does when the main thread tells it something (shards/messages.ts). */
import type { RangeId } from '../src/core/brands.ts';
import type { NodeQuestion } from '../src/gateway/node-questions.ts';
import type { MemoryGauge } from '../shards/memory-gauge.ts';
import type { ClusterToWorker, ToWorker } from '../shards/messages.ts';
import { asBuffer, reviveRoutes } from '../shards/messages.ts';
import type { Requests } from '../shards/requests.ts';
import { REQUEST_TIMEOUT_MS } from '../shards/shard-options.ts';
import { clusterHandlers } from './cluster-messages.ts';
import type { ClusterThread } from './cluster-messages.ts';

export interface ShardThread extends ClusterThread {
  /** Questions to the main thread. */
  readonly requests: Requests;
  readonly memory: MemoryGauge;
}

/** How long a node that stops waits for others to take its leaderships; what is left then, their elections settle. */
const HAND_OVER_MS = 1000;
/** By then nobody waits any more: whoever asked for a write that no majority took has been told that its result is unknown. */
const ANSWERED_MS = REQUEST_TIMEOUT_MS + 1000;

type AnyMessage = ToWorker | ClusterToWorker;
type Handlers = { readonly [T in AnyMessage['type']]: (message: Extract<AnyMessage, { type: T }>) => void };

export function handleMessages(thread: ShardThread): (message: AnyMessage) => void {
  const { shard, gateway, servers, requests, loop, memory, log, send } = thread;
  const handlers: Handlers = {
    ...clusterHandlers(thread),
    routes: ({ routes }) => gateway.learn(reviveRoutes(routes)),
    topology: ({ ports }) => servers.setPlaces([{ nodeId: thread.boot.options.nodeId, host: '', workerPorts: ports }]),
    listen: ({ nativePort, respPort }) =>
      void servers.listen(nativePort, respPort).then(
        (ports) => send({ type: 'listening', ports }),
        (error: Error) => send({ type: 'failed', message: error.message }),
      ),
    split: ({ id, key, newRangeId }) =>
      shard.split(asBuffer(key), newRangeId as RangeId, (error) => send({ type: 'splitDone', id, error })),
    splitAnswer: ({ id, error }) => requests.answer(id, error, 0),
    orderAnswer: ({ id, error, value }) => requests.answer(id, error, value),
    question: ({ id, question }) => send({ type: 'answer', id, answer: servers.answer(question as NodeQuestion) }),
    answers: ({ id, answers }) => requests.answer(id, null, answers),
    configure: ({ id, changes }) => {
      log.level = changes.logLevel ?? log.level;
      memory.configure(changes);
      shard.configure(changes);
      servers.configure(changes);
      send({ type: 'answer', id, answer: null });
    },
    logRead: ({ id, error, entries }) => requests.answer(id, error, entries),
    checkpointDone: ({ id, error, bytes }) => requests.answer(id, error, bytes),
    holdBack: ({ rangeIds }) => shard.holdBack(rangeIds as RangeId[]),
    stop: () => {
      servers.close();
      const startMs = performance.now();
      loop.stopWhen(
        () => {
          const passedMs = performance.now() - startMs;
          const isHandedOver = shard.host.handOver() || passedMs > HAND_OVER_MS;
          const isAnswered = shard.host.pendingBytes === 0 && gateway.inFlight === 0;
          loop.schedule();
          return isHandedOver && (isAnswered || passedMs > ANSWERED_MS);
        },
        () => send({ type: 'stopped' }),
      );
    },
  };
  return (message) => (handlers[message.type] as (message: AnyMessage) => void)(message);
}
