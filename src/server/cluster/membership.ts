/**
 * Which node this is, found out before anything else of it starts:
 *
 *     data folder      --join      --bootstrap
 *     new              no          any            makes a cluster, of which it is the first node
 *     new              yes         yes            the same
 *     new              yes         no             asks the cluster to be one of its nodes; tells its folder to remember
 *     of a node        any         any            is that node again
 */
import { hostname } from 'node:os';
import type { NodeId } from '../../core/brands.ts';
import type { CatalogState, NodeAddresses, NodeProfile } from '../../core/catalog/types.ts';
import { NO_ADDRESSES } from '../../core/catalog/catalog.ts';
import { SkerryError } from '../../core/errors.ts';
import type { Logger } from '../../observe/log.ts';
import type { DataDir, NodeIdentity } from '../data-dir.ts';
import type { Settings } from '../settings.ts';
import { askToJoin } from './join.ts';
import { catalogSchema } from './protocol.ts';

export interface Membership {
  readonly identity: NodeIdentity;
  /** The copy of the catalog in the folder; null when the node has the only one. */
  readonly catalog: CatalogState | null;
}

/**
 * Finds out, and writes down, who this node is. Rejects with SkerryError: the folder is another node's, the cluster lets
 * nobody in under these settings.
 */
export async function becomeMember(
  dir: DataDir,
  settings: Settings,
  log: Logger,
  isStopped: () => boolean,
): Promise<Membership> {
  const { cluster, node } = settings;
  const found = dir.identity();
  if (found === null && (cluster.join.length === 0 || cluster.bootstrap)) {
    const identity = makeCluster(dir, settings);
    log.info({ dataDir: node.dataDir, ranges: settings.ranges.preSplit.length + 1 }, 'made a new store');
    return { identity, catalog: null };
  }
  if (found !== null && found.nodeId !== 0) {
    checkNodeId(found, settings);
    return { identity: found, catalog: readCopy(dir) };
  }
  if (cluster.join.length === 0) {
    throw new SkerryError(
      'KV_STATE',
      `${node.dataDir} was made to join a cluster and has not joined it yet: give --join, or another --data-dir.`,
    );
  }
  if (node.nodeId !== 0) {
    throw new SkerryError('KV_INVALID', 'A node that joins a cluster is given its number: leave --node-id out.');
  }
  // The store has its id before it asks, so that it is the same one when it has to ask again.
  const asking = found ?? dir.prepare();
  const profile = { ...profileOf(asking, settings, NO_ADDRESSES), name: nameOf(asking.storeId, settings) };
  const joined = await askToJoin(cluster.join, profile, log, isStopped);
  const { nodeId, catalog } = joined;
  dir.saveCatalogCopy(catalog);
  const identity = dir.saveIdentity({ ...asking, nodeId, clusterId: catalog.clusterId });
  log.info({ nodeId, clusterId: catalog.clusterId }, 'joined a cluster');
  return { identity, catalog };
}

/** What a node says of itself; with an empty name and an empty locality where its settings say nothing of them. */
export function profileOf(
  { storeId, incarnation, bootId }: NodeIdentity,
  { cluster, threads }: Settings,
  addresses: NodeAddresses,
): NodeProfile {
  const { nodeName: name, locality } = cluster;
  return { storeId, incarnation, bootId, name, addresses, workers: threads.workers, locality };
}

/** Where others reach a node that listens on `host`. */
export function advertisedHost({ cluster, network }: Settings): string {
  if (cluster.advertise !== '') return cluster.advertise;
  return ['0.0.0.0', '::', ''].includes(network.host) ? hostname() : network.host;
}

/** The name of a node that has none yet. */
function nameOf(storeId: string, { cluster }: Settings): string {
  return cluster.nodeName === '' ? `node-${storeId.slice(0, 8)}` : cluster.nodeName;
}

function makeCluster(dir: DataDir, settings: Settings): NodeIdentity {
  const { cluster, node, ranges, threads } = settings;
  return dir.bootstrap({
    nodeId: (node.nodeId === 0 ? 1 : node.nodeId) as NodeId,
    nodeName: (storeId) => nameOf(storeId, settings),
    workerCount: threads.workers,
    splitKeys: ranges.preSplit.map((key) => Buffer.from(key)),
    replicationFactor: Number(cluster.replicationFactor),
  });
}

function checkNodeId({ nodeId }: NodeIdentity, { node }: Settings): void {
  if (node.nodeId === 0 || node.nodeId === nodeId) return;
  throw new SkerryError(
    'KV_STATE',
    `${node.dataDir} belongs to node ${nodeId}, and this node was started as ${node.nodeId}. Use --node-id ${nodeId}, or another --data-dir.`,
  );
}

function readCopy(dir: DataDir): CatalogState | null {
  const copy = dir.catalogCopy();
  if (copy === null) return null;
  const result = catalogSchema.safeParse(copy);
  if (result.success) return result.data;
  throw new SkerryError('KV_CORRUPT', 'cluster.json is no copy of a catalog. Copy it from another node.');
}
