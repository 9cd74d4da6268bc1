/**
 * What an operator asks of the cluster, by way of any node:
 *
 *     nodes                 the cluster and its nodes
 *     add NAME              a node of this name will come
 *     drain NODE            its replicas and leaderships move away; then it is out
 *     keep NODE             it drains no longer
 *     remove NODE [force]   it is out for good; `force`: although it is alive
 *     replication N         voters that a range should have
 *     recover RANGE [force] the range has lost its majority for good: what there is, and with `force`, this node's replica goes
 *                           on alone
 *
 * NODE is a node's id or name.
 */
import type { CatalogOp, NodeRecord } from '../../core/catalog/types.ts';
import { SkerryError } from '../../core/errors.ts';
import type { RangeId } from '../../core/brands.ts';
import type { Cluster } from './cluster.ts';
import { recoverRange } from './recover-range.ts';
import { describeCluster } from './status.ts';

/** Resolves with plain data when it is done, or under way. Rejects with SkerryError. */
export async function carryOut(cluster: Cluster, [order, subject = '', extra]: readonly string[]): Promise<object> {
  switch (order) {
    case 'nodes':
      return describeCluster(cluster);
    case 'add':
      return { nodeId: await change(cluster, { type: 'expectNode', name: subject }) };
    case 'drain':
      return setState(cluster, nodeOf(cluster, subject), 'LEAVING');
    case 'keep':
      return setState(cluster, nodeOf(cluster, subject), 'ACTIVE');
    case 'remove':
      return remove(cluster, nodeOf(cluster, subject), extra === 'force');
    case 'replication':
      return {
        replicationFactor: await change(cluster, {
          type: 'setReplicationFactor',
          replicationFactor: Number(subject),
        }),
      };
    case 'recover':
      return recoverRange(cluster, Number(subject) as RangeId, extra === 'force');
    default:
      throw new SkerryError('KV_INVALID', `There is no order ${String(order)} to a cluster.`);
  }
}

function remove(cluster: Cluster, node: NodeRecord, isForced: boolean): Promise<object> {
  const isThere = node.state === 'ACTIVE' || node.state === 'LEAVING';
  if (isThere && !isForced && !cluster.silent.includes(node.nodeId)) {
    if (cluster.peers.viewOf(node.nodeId, cluster.self.nodeId).state === 'lost') {
      const who = cluster.coordinator === 0 ? 'range 1 has no leader, so nobody says' : 'the coordinator has not said';
      const message = `Node ${node.nodeId} (${node.name}) cannot be reached from here, but ${who} that it is dead. Try again.`;
      throw new SkerryError('KV_CONSENSUS', message);
    }
    const message = `Node ${node.nodeId} (${node.name}) is alive: drain it, so that no range is short of a replica meanwhile, or remove it by force.`;
    throw new SkerryError('KV_STATE', message);
  }
  return setState(cluster, node, 'INACTIVE');
}

async function setState(cluster: Cluster, { nodeId, name }: NodeRecord, state: NodeRecord['state']): Promise<object> {
  await change(cluster, { type: 'setNodeState', nodeId, state });
  return { nodeId, name, state };
}

async function change(cluster: Cluster, op: CatalogOp): Promise<number> {
  const result = await cluster.propose(op);
  if (!result.ok) throw new SkerryError(result.code, `The cluster refuses: ${result.message}.`);
  return result.value;
}

function nodeOf({ catalog }: Cluster, subject: string): NodeRecord {
  const found =
    catalog.nodes.find(({ nodeId }) => String(nodeId) === subject) ??
    catalog.nodes.find(({ name, state }) => name === subject && state !== 'INACTIVE');
  if (found === undefined) throw new SkerryError('KV_INVALID', `There is no node ${subject} in the cluster.`);
  return found;
}
