/** What a shard worker's clients ask of the whole node, and of the cluster: passed on to the main thread. */
import type { ClientServersOptions } from '../src/gateway/client-servers.ts';
import type { FromWorker } from '../shards/messages.ts';
import type { Requests } from '../shards/requests.ts';

type MainQuestions = Pick<ClientServersOptions, 'splitRange' | 'orderCluster' | 'askAll' | 'changeSettings'>;

export function mainQuestions(requests: Requests, send: (message: FromWorker) => void): MainQuestions {
  return {
    splitRange: (key) => requests.ask((id) => send({ type: 'askSplit', id, key })),
    orderCluster: (order) => requests.ask((id) => send({ type: 'askOrder', id, order })),
    askAll: (question) => requests.ask((id) => send({ type: 'ask', id, question })),
    changeSettings: (changes) => requests.ask((id) => send({ type: 'configure', id, changes })),
  };
}
