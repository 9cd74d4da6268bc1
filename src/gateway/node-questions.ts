/**
 * What a worker asks all workers of its node, itself included, for the commands that speak of the whole node:
 *
 *     CLIENT LIST ─▶ askAll({ kind: 'listClients' }) ─▶ (main thread) ─▶ answer() on each worker
 *                 ◀─ one answer per worker ◀──────────────────────────┘
 *
 * Questions and answers are plain data. They are rare, so they travel as messages by way of the main thread.
 */
import type { NodeFigures } from './node-figures.ts';
import type { ClientFilter } from './resp/client-filter.ts';
import { matchesClient } from './resp/client-filter.ts';
import type { ClientRegistry } from './resp/clients.ts';
import { describeClient } from './resp/clients.ts';

export type NodeQuestion =
  | { readonly kind: 'listClients'; readonly filter: ClientFilter }
  /** `selfId`: the client that asks, which still gets its reply when it is among them. */
  | { readonly kind: 'killClients'; readonly filter: ClientFilter; readonly selfId: number }
  | { readonly kind: 'resetStatistics'; readonly baseline: NodeFigures };

/** Asks all workers and resolves with their answers, in any order. */
export type AskAll = (question: NodeQuestion) => Promise<readonly unknown[]>;

/** A client as it is listed. */
export interface ListedClient {
  readonly id: number;
  readonly connectedAtMs: number;
  /** As CLIENT LIST shows it. */
  readonly line: string;
}

/** The node as one, to the commands of a session. */
export interface WholeNode {
  /** Oldest connection first. */
  listClients(filter: ClientFilter): Promise<readonly ListedClient[]>;
  /** Ends the clients' connections; resolves with their number. */
  killClients(filter: ClientFilter, selfId: number): Promise<number>;
  /** INFO's counters begin at 0 again, on all workers. */
  resetStatistics(): Promise<void>;
}

export function createWholeNode(askAll: AskAll, figures: () => NodeFigures): WholeNode {
  return {
    async listClients(filter) {
      const lists = (await askAll({ kind: 'listClients', filter })) as readonly (readonly ListedClient[])[];
      return lists.flat().sort((a, b) => a.connectedAtMs - b.connectedAtMs || a.id - b.id);
    },
    async killClients(filter, selfId) {
      const counts = (await askAll({ kind: 'killClients', filter, selfId })) as readonly number[];
      return counts.reduce((sum, count) => sum + count, 0);
    },
    async resetStatistics() {
      await askAll({ kind: 'resetStatistics', baseline: figures() });
    },
  };
}

export interface AnswerOptions {
  readonly clients: ClientRegistry;
  readonly nowMs: () => number;
  /** INFO counts from here on. */
  readonly setBaseline: (baseline: NodeFigures) => void;
}

/** This worker's part of an answer. */
export function answerQuestion(question: NodeQuestion, { clients, nowMs, setBaseline }: AnswerOptions): unknown {
  switch (question.kind) {
    case 'listClients':
      return [...clients.clients.values()]
        .filter((client) => matchesClient(question.filter, client))
        .map((client): ListedClient => {
          const { id, connectedAtMs } = client;
          return { id, connectedAtMs, line: describeClient(client, nowMs()) };
        });
    case 'killClients': {
      const found = [...clients.clients.values()].filter((client) => matchesClient(question.filter, client));
      for (const client of found) client.kill(client.id === question.selfId);
      return found.length;
    }
    case 'resetStatistics':
      setBaseline(question.baseline);
      return null;
  }
}
