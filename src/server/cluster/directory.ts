/**
 * The nodes of the cluster as this one knows them: its copy of the catalog, what nodes have said of themselves since, and a
 * control connection to each that was needed.
 */
import type { NodeId } from '../../core/brands.ts';
import { EMPTY_CATALOG, nodeRecord, refusalOfNode } from '../../core/catalog/catalog.ts';
import type { CatalogState, NodeLife, NodeProfile } from '../../core/catalog/types.ts';
import { SkerryError } from '../../core/errors.ts';
import type { PeerNode } from '../../../shards/messages.ts';
import { ControlClient } from './control-client.ts';
import type { ControlAddress } from './control-client.ts';
import type { AnswerBody, RequestBody, RequestType } from './protocol.ts';
import { CONTROL_PROTOCOL } from './protocol.ts';

/** Who this node is. */
export interface OwnIdentity extends NodeLife {
  readonly clusterId: string;
  readonly nodeId: NodeId;
}

export class Directory {
  readonly #self: OwnIdentity;
  readonly #said = new Map<number, NodeProfile>();
  readonly #clients = new Map<string, ControlClient>();
  #catalog: CatalogState = EMPTY_CATALOG;

  constructor(self: OwnIdentity) {
    this.#self = self;
  }

  get catalog(): CatalogState {
    return this.#catalog;
  }

  /** Takes a newer copy; says whether it is one. */
  adopt(catalog: CatalogState): boolean {
    if (catalog.revision <= this.#catalog.revision || catalog.clusterId !== this.#self.clusterId) return false;
    this.#catalog = catalog;
    return true;
  }

  /** A node says where it is now, before the catalog does. Says whether that is new. */
  heardFrom(nodeId: NodeId, profile: NodeProfile): boolean {
    if (refusalOfNode(this.#catalog, nodeId, profile) !== null) return false;
    const before = this.#profile(nodeId);
    this.#said.set(nodeId, profile);
    return JSON.stringify(before?.addresses) !== JSON.stringify(profile.addresses);
  }

  /** Nodes that workers may talk to, and those that they must not. */
  peers(): { readonly nodes: PeerNode[]; readonly removed: number[] } {
    const removed = this.#catalog.nodes.filter(({ state }) => state === 'INACTIVE').map(({ nodeId }) => nodeId);
    const nodes = this.#catalog.nodes
      .filter(({ state, storeId }) => state !== 'INACTIVE' && storeId !== '')
      .map(({ nodeId, storeId }) => {
        const { host, peerPorts, workerPorts } = (this.#profile(nodeId) as NodeProfile).addresses;
        return { nodeId, storeId, host, peerPorts, workerPorts };
      });
    return { nodes, removed };
  }

  /** Where the control servers of the other nodes are. */
  get others(): { readonly nodeId: NodeId; readonly address: ControlAddress }[] {
    return this.#catalog.nodes.flatMap(({ nodeId, state }) => {
      const address = this.addressOf(nodeId);
      return nodeId === this.#self.nodeId || state === 'INACTIVE' || address === null ? [] : [{ nodeId, address }];
    });
  }

  addressOf(nodeId: NodeId): ControlAddress | null {
    const addresses = this.#profile(nodeId)?.addresses;
    if (addresses === undefined || addresses.controlPort === 0) return null;
    return { host: addresses.host, port: addresses.controlPort };
  }

  /** Asks a node. Rejects as ControlClient.request does. */
  request<T extends RequestType>(
    nodeId: NodeId,
    type: T,
    body: RequestBody<T>,
    timeoutMs: number,
  ): Promise<AnswerBody<T>> {
    const address = this.addressOf(nodeId);
    if (address === null) {
      return Promise.reject(new SkerryError('KV_NETWORK', `it is not known where node ${nodeId} is`));
    }
    return this.requestAt(address, nodeId, type, body, timeoutMs);
  }

  /** Asks whoever is at this address; `nodeId` 0: any node of the cluster. */
  requestAt<T extends RequestType>(
    address: ControlAddress,
    nodeId: number,
    type: T,
    body: RequestBody<T>,
    timeoutMs: number,
  ): Promise<AnswerBody<T>> {
    const name = `${nodeId}@${address.host}:${address.port}`;
    let client = this.#clients.get(name);
    if (client === undefined) {
      // A node that has moved leaves its old connection behind.
      for (const [other, old] of this.#clients) {
        if (nodeId === 0 || !other.startsWith(`${nodeId}@`)) continue;
        old.close();
        this.#clients.delete(other);
      }
      client = new ControlClient(address, () => this.#hello(nodeId));
      this.#clients.set(name, client);
    }
    return client.request(type, body, timeoutMs);
  }

  /** Why a connection is not let in; null when it is. */
  refusal(hello: RequestBody<'hello'>): SkerryError | null {
    const { clusterId, nodeId } = this.#self;
    if (hello.protocol !== CONTROL_PROTOCOL) {
      const message = `node ${nodeId} speaks version ${CONTROL_PROTOCOL} of the control protocol, and not ${hello.protocol}`;
      return new SkerryError('KV_INVALID', message);
    }
    if (hello.clusterId !== '' && hello.clusterId !== clusterId) {
      const message = `node ${nodeId} belongs to the cluster ${clusterId}, and not to ${hello.clusterId}`;
      return new SkerryError('KV_CONFLICT', message);
    }
    if (hello.to !== 0 && hello.to !== nodeId) {
      // The asker is not to blame, and will find that node elsewhere.
      const message = `this is node ${nodeId}, and not node ${hello.to}: it has taken over an address of that one`;
      return new SkerryError('KV_NETWORK', message);
    }
    // A copy of the catalog may be behind: a node that it does not know is judged by the catalog itself.
    if (hello.from === 0 || nodeRecord(this.#catalog, hello.from) === undefined) return null;
    const refusal = refusalOfNode(this.#catalog, hello.from, hello);
    return refusal === null ? null : new SkerryError('KV_CONFLICT', refusal);
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #hello(to: number): RequestBody<'hello'> {
    const { clusterId, nodeId, storeId, incarnation, bootId } = this.#self;
    return { protocol: CONTROL_PROTOCOL, clusterId, from: nodeId, storeId, incarnation, bootId, to };
  }

  #profile(nodeId: NodeId): NodeProfile | undefined {
    const record = nodeRecord(this.#catalog, nodeId);
    const said = this.#said.get(nodeId);
    return said !== undefined && said.incarnation > (record?.incarnation ?? -1) ? said : record;
  }
}
