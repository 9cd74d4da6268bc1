/** A node's cluster membership from start to end: who it is, its servers for other nodes, and what it tells them of itself. */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import type { RangeId } from '../../core/brands.ts';
import type { NodeAddresses } from '../../core/catalog/types.ts';
import { NO_ADDRESSES, nodeRecord, refusalOfNode } from '../../core/catalog/catalog.ts';
import { FatalError, SkerryError } from '../../core/errors.ts';
import { nodeOf } from '../../core/member.ts';
import { PLACEMENT_DEFAULTS } from '../../core/placement/options.ts';
import type { Route } from '../../core/range.ts';
import type { RouteTable } from '../../gateway/router/route-table.ts';
import type { Logger } from '../../observe/log.ts';
import type { DataDir, NodeIdentity } from '../data-dir.ts';
import type { Settings } from '../settings.ts';
import type { ShardThreads } from '../shard-threads.ts';
import { Cluster } from './cluster.ts';
import { advertisedHost, becomeMember, profileOf } from './membership.ts';

export interface NodeClusterPorts {
  readonly settings: Settings;
  readonly dir: DataDir;
  readonly threads: ShardThreads;
  readonly table: RouteTable;
  readonly learnRoutes: (routes: readonly Route[]) => void;
  /** Cuts a range that this node leads; resolves with the right half's id. Rejects with SkerryError. */
  readonly splitHere: (key: Buffer) => Promise<RangeId>;
  readonly onFatal: (error: FatalError) => void;
  readonly isStopped: () => boolean;
  readonly log: Logger;
}

/** Where clients reach the node. */
export type ClientPorts = Pick<NodeAddresses, 'workerPorts' | 'nativePort' | 'respPort' | 'httpPort'>;

/**
 * Finds out which node this is. `listens`: it serves other nodes and clients; without, the store is this process's alone.
 * Rejects with SkerryError.
 */
export async function formCluster(ports: NodeClusterPorts, listens: boolean): Promise<NodeCluster> {
  const { settings, dir, log, isStopped } = ports;
  if (!listens && settings.cluster.join.length > 0) {
    throw new SkerryError(
      'KV_INVALID',
      'A store that is embedded in a process joins no cluster: leave cluster.join out.',
    );
  }
  const { identity, catalog } = await becomeMember(dir, settings, log, isStopped);
  const others = catalog?.nodes.filter(({ nodeId, state }) => nodeId !== identity.nodeId && state !== 'INACTIVE') ?? [];
  if (!listens && others.length > 0) {
    const message = `${settings.node.dataDir} belongs to node ${identity.nodeId} of a cluster: run it with skerry serve, and connect to it.`;
    throw new SkerryError('KV_STATE', message);
  }
  const started = listens ? begin(dir, identity) : identity;
  if (catalog !== null && nodeRecord(catalog, identity.nodeId)?.state === 'INACTIVE') {
    throw new SkerryError(
      'KV_CONFLICT',
      `This node may not start: ${refusalOfNode(catalog, identity.nodeId, started)}.`,
    );
  }
  const isAlone = others.length === 0 && settings.cluster.join.length === 0;
  const nodeCluster = new NodeCluster(started, isAlone, ports);
  if (catalog !== null) nodeCluster.cluster.adopt(catalog);
  try {
    if (listens) await nodeCluster.cluster.checkIn(settings.cluster.join);
  } catch (error) {
    await nodeCluster.cluster.close();
    throw new SkerryError('KV_CONFLICT', `This node may not start: ${(error as Error).message}.`, { cause: error });
  }
  return nodeCluster;
}

export class NodeCluster {
  #identity: NodeIdentity;
  readonly cluster: Cluster;
  readonly #ports: NodeClusterPorts;
  readonly #isAlone: boolean;
  #controlPort = 0;
  #peerPorts: readonly number[] = [];

  constructor(identity: NodeIdentity, isAlone: boolean, ports: NodeClusterPorts) {
    const { settings, dir, threads, table, log } = ports;
    this.#identity = identity;
    this.#isAlone = isAlone;
    this.#ports = ports;
    const options = { ...PLACEMENT_DEFAULTS, replaceAfterMs: settings.cluster.replaceAfterSeconds * 1000 };
    this.cluster = new Cluster(identity, options, {
      tell: (workerIndex, message) => threads.tell(workerIndex, message),
      tellAll: (message) => threads.tellAll(message),
      learnRoutes: ports.learnRoutes,
      leaderOf: (rangeId) => {
        const leader = table.routes.find(({ range }) => range.rangeId === rangeId)?.leader ?? 0;
        return leader === 0 ? null : nodeOf(leader);
      },
      splitHere: ports.splitHere,
      saveCatalog: (catalog) => dir.saveCatalogCopy(catalog),
      expelled: (error) => this.#fail(error),
      nowMs: () => performance.now(),
      log,
    });
  }

  get identity(): NodeIdentity {
    return this.#identity;
  }

  /** From now on this log is expected. Durable. */
  keepLogId(logId: number): void {
    if (this.#identity.logId === logId) return;
    this.#identity = { ...this.#identity, logId };
    this.#ports.dir.keepLogId(logId);
  }

  /** Whether other nodes may have replicas of this one's ranges. */
  get hasOthers(): boolean {
    const { nodes } = this.cluster.catalog;
    return nodes.some(({ nodeId, state }) => {
      return nodeId !== this.identity.nodeId && (state === 'ACTIVE' || state === 'LEAVING');
    });
  }

  get peerPort(): number {
    return this.#controlPort;
  }

  /** Listens for the other nodes. Rejects with KV_NETWORK, KV_STATE. */
  async listen(): Promise<void> {
    const { settings, threads } = this.#ports;
    const { host, peerPort } = settings.network;
    // Nobody else knows the ports of a node that is alone: when they are in use, others do as well.
    const isMovable = this.#isAlone && !settings.cluster.bootstrap;
    const isFree = !isMovable || (await arePortsFree(host, peerPort, threads.count + 1));
    const port = isFree ? peerPort : 0;
    this.#controlPort = await this.cluster.listen(host, port);
    const firstPeerPort = port === 0 ? 0 : port + 1;
    this.#peerPorts = await threads.listenPeers(host, firstPeerPort, this.identity);
    this.cluster.announcePeers();
  }

  /** Tells the cluster where the node is; resolves when the catalog says it. `clients` null: not for clients yet. */
  async announce(clients: ClientPorts | null): Promise<void> {
    const { settings } = this.#ports;
    const addresses: NodeAddresses = {
      ...(clients ?? NO_ADDRESSES),
      host: advertisedHost(settings),
      controlPort: this.#controlPort,
      peerPorts: this.#peerPorts,
    };
    const { nodeId } = this.identity;
    const seeds = settings.cluster.join;
    try {
      await this.cluster.announce(profileOf(this.identity, settings, addresses), seeds);
      this.#ports.dir.saveIdentity({ ...this.identity, bootId: '' });
      this.#ports.log.info({ nodeId, clusterId: this.identity.clusterId }, 'the cluster knows where this node is');
    } catch (error) {
      this.#fail(error as SkerryError);
    }
  }

  #fail(error: SkerryError): void {
    this.#ports.onFatal(new FatalError(error.code, error.message, { cause: error, hint: error.hint }));
  }
}

/**
 * This start of the node, which counts when the cluster has taken notice of it. Until then the next one is the same, so that a
 * folder gets ahead of the catalog neither by a crash nor by being refused.
 */
function begin(dir: DataDir, identity: NodeIdentity): NodeIdentity {
  const bootId = identity.bootId === '' ? randomUUID() : identity.bootId;
  dir.saveIdentity({ ...identity, bootId });
  return { ...identity, bootId, incarnation: identity.incarnation + 1 };
}

async function arePortsFree(host: string, first: number, count: number): Promise<boolean> {
  for (let port = first; port < first + count; port++) {
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, host, () => server.close(() => resolve(true)));
    });
    if (!isFree) return false;
  }
  return true;
}
