/** What a shard worker does when the main thread tells it something (shards/messages.ts). */
import type { RangeId } from '../src/core/brands.ts';
import type { ClientServers } from '../src/gateway/client-servers.ts';
import type { Gateway } from '../src/gateway/gateway.ts';
import type { NodeQuestion } from '../src/gateway/node-questions.ts';
import type { Logger } from '../src/observe/log.ts';
import type { MemoryGauge } from '../shards/memory-gauge.ts';
import type { FromWorker, ToWorker } from '../shards/messages.ts';
import { asBuffer, reviveRoutes } from '../shards/messages.ts';
import type { Requests } from '../shards/requests.ts';
import type { Shard } from '../shards/shard.ts';
import type { TurnLoop } from '../shards/turn-loop.ts';

export interface ShardThread {
  readonly shard: Shard;
  readonly gateway: Gateway;
  readonly servers: ClientServers;
  /** Questions to the main thread. */
  readonly requests: Requests;
  readonly loop: TurnLoop;
  readonly memory: MemoryGauge;
  readonly log: Logger;
  readonly send: (message: FromWorker) => void;
}

type Handlers = { readonly [T in ToWorker['type']]: (message: Extract<ToWorker, { type: T }>) => void };

export function handleMessages(thread: ShardThread): (message: ToWorker) => void {
  const { shard, gateway, servers, requests, loop, memory, log, send } = thread;
  const handlers: Handlers = {
    routes: ({ routes }) => gateway.learn(reviveRoutes(routes)),
    topology: ({ ports }) => servers.setTopology(ports),
    listen: ({ nativePort, respPort }) =>
      void servers.listen(nativePort, respPort).then(
        (ports) => send({ type: 'listening', ports }),
        (error: Error) => send({ type: 'failed', message: error.message }),
      ),
    split: ({ id, key, newRangeId }) =>
      shard.split(asBuffer(key), newRangeId as RangeId, (error) => send({ type: 'splitDone', id, error })),
    splitAnswer: ({ id, error }) => requests.answer(id, error, 0),
    question: ({ id, question }) => send({ type: 'answer', id, answer: servers.answer(question as NodeQuestion) }),
    answers: ({ id, answers }) => requests.answer(id, null, answers),
    configure: ({ id, changes }) => {
      log.level = changes.logLevel ?? log.level;
      memory.configure(changes);
      shard.configure(changes);
      servers.configure(changes);
      send({ type: 'answer', id, answer: null });
    },
    checkpointDone: ({ id, error, bytes }) => requests.answer(id, error, bytes),
    holdBack: ({ rangeIds }) => shard.holdBack(rangeIds as RangeId[]),
    stop: () => {
      servers.close();
      loop.stopWhen(
        () => shard.host.pendingBytes === 0 && gateway.inFlight === 0,
        () => send({ type: 'stopped' }),
      );
    },
  };
  return (message) => (handlers[message.type] as (message: ToWorker) => void)(message);
}
