/** How a new node gets its id: it asks the nodes whose addresses it was given, until one that belongs to a cluster answers. */
import type { NodeId } from '../../core/brands.ts';
import type { CatalogState, NodeProfile } from '../../core/catalog/types.ts';
import { SkerryError } from '../../core/errors.ts';
import type { Logger } from '../../observe/log.ts';
import { ControlClient } from './control-client.ts';
import type { ControlAddress } from './control-client.ts';
import { CONTROL_PROTOCOL } from './protocol.ts';

const ASK_TIMEOUT_MS = 5000;
const PAUSE_MS = 500;
/** Rounds between two lines in the log. */
const ROUNDS_PER_WARNING = 20;

export interface Joined {
  readonly nodeId: NodeId;
  readonly catalog: CatalogState;
}

/**
 * Asks to be a node, again and again: the others may not be up yet. Rejects with the cluster's refusal (KV_CONFLICT, KV_INVALID,
 * KV_STATE that no time will cure), or with KV_STATE when `isStopped`.
 */
export async function askToJoin(
  seeds: readonly ControlAddress[],
  node: NodeProfile,
  log: Logger,
  isStopped: () => boolean,
): Promise<Joined> {
  for (let round = 1; !isStopped(); round++) {
    for (const seed of seeds) {
      try {
        return await ask(seed, node);
      } catch (error) {
        if (!(error instanceof SkerryError)) throw error;
        const isFinal = ['KV_CONFLICT', 'KV_INVALID', 'KV_STATE'].includes(error.code) && !error.retryable;
        if (isFinal) throw new SkerryError(error.code, `Cannot join the cluster: ${error.message}.`, { cause: error });
        if (round % ROUNDS_PER_WARNING === 1) {
          log.warn({ seed: `${seed.host}:${seed.port}`, reason: error.message }, 'waits for a cluster to join');
        }
      }
    }
    await new Promise((resolve) => {
      setTimeout(resolve, PAUSE_MS);
    });
  }
  throw new SkerryError('KV_STATE', 'The node was stopped before it had joined a cluster.');
}

async function ask(seed: ControlAddress, node: NodeProfile): Promise<Joined> {
  const client = new ControlClient(seed, () => ({
    protocol: CONTROL_PROTOCOL,
    clusterId: '',
    from: 0,
    storeId: node.storeId,
    incarnation: node.incarnation,
    bootId: node.bootId,
    to: 0,
  }));
  try {
    return await client.request('join', { node, isForwarded: false }, ASK_TIMEOUT_MS);
  } finally {
    client.close();
  }
}
