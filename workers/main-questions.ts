/** What a shard worker asks the main thread: for its clients, of the whole node and of the cluster; for its ranges, of the log. */
import type { ClientServersOptions } from '../src/gateway/client-servers.ts';
import type { FromWorker } from '../shards/messages.ts';
import type { ReadBack } from '../shards/log.ts';
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

/** Reads of the log by an I/O thread. */
export function logReads(requests: Requests, send: (message: FromWorker) => void): ReadBack {
  return (wanted) => requests.ask((id) => send({ type: 'readLog', id, wanted }));
}
