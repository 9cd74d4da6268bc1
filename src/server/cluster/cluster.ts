/**
 * This node's part in its cluster, on the main thread: its copy of the catalog, what its workers report, the control server, and
 * while range 1 is led here, the coordinator.
 *
 *     workers ── catalog, report ──▶ Cluster ── peers, routes, asks ──▶ workers
 *                                     │  ▲
 *         control client (directory) ─┘  └─ control server ◀── other nodes
 */
import { encodeCatalogOp, decodeCatalog } from '../../codec/catalog.ts';
import type { MemberId, NodeId, RangeId } from '../../core/brands.ts';
import { nodeRecord, refusalOfNode } from '../../core/catalog/catalog.ts';
import type { CatalogOp, CatalogResult, CatalogState, NodeProfile } from '../../core/catalog/types.ts';
import { SkerryError } from '../../core/errors.ts';
import { nodeOf } from '../../core/member.ts';
import type { PlacementOptions } from '../../core/placement/options.ts';
import type { DamagedReplica, RangeReport } from '../../core/placement/report.ts';
import type { Route } from '../../core/range.ts';
import type { Logger } from '../../observe/log.ts';
import type { FromWorker, ToWorkerInCluster } from '../../../shards/messages.ts';
import { asBuffer } from '../../../shards/messages.ts';
import type { ControlAddress } from './control-client.ts';
import { startControlServer } from './control-server.ts';
import type { ControlServer, RequestHandlers } from './control-server.ts';
import { Coordinator, WATCH_MS } from './coordinator.ts';
import { Directory } from './directory.ts';
import type { OwnIdentity } from './directory.ts';
import type { AnswerBody, RequestBody, RequestType } from './protocol.ts';
import { PeerBook } from './peer-book.ts';
import { ReportBook, reviveReports } from './report-book.ts';
import { retrying } from './retrying.ts';
import { WorkerAsks } from './worker-asks.ts';

const CATALOG_RANGE = 1 as RangeId;
const PROPOSE_TIMEOUT_MS = 5000;
const CHECK_IN_TIMEOUT_MS = 1500;
/** Shorter than clients wait by default: they are to be told why. */
const PROPOSE_DEADLINE_MS = 8000;
const CHANGE_TIMEOUT_MS = 14_000;
/** Range ids taken from the catalog at a time, so that splits need not wait for it. */
const RANGE_IDS_AT_ONCE = 64;

export interface ClusterPorts {
  readonly tell: (workerIndex: number, message: ToWorkerInCluster) => void;
  readonly tellAll: (message: ToWorkerInCluster) => void;
  /** Who leads what, from the coordinator. */
  readonly learnRoutes: (routes: readonly Route[]) => void;
  /** The node that leads a range, as far as is known. */
  readonly leaderOf: (rangeId: RangeId) => NodeId | null;
  /** Cuts a range that this node leads; resolves with the right half's id. Rejects with SkerryError. */
  readonly splitHere: (key: Buffer) => Promise<RangeId>;
  readonly saveCatalog: (catalog: CatalogState) => void;
  /**
   * This node may not go on, and why: it was removed, or is not who it says it is. `hint.left`: it has drained, and all is
   * well.
   */
  readonly expelled: (error: SkerryError) => void;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly log: Logger;
}

export class Cluster {
  readonly self: OwnIdentity;
  /** The ways to the others. */
  readonly peers = new PeerBook();
  readonly #ports: ClusterPorts;
  readonly #options: PlacementOptions;
  readonly #directory: Directory;
  readonly #book: ReportBook;
  readonly #asks: WorkerAsks;
  #server: ControlServer | null = null;
  #coordinator: Coordinator | null = null;
  #lastCoordinator = { nodeId: 0, term: 0 };
  #silent: readonly NodeId[] = [];
  #rangeIds = { next: 0, end: 0 };
  #isClosed = false;
  #isRemoving = false;

  constructor(self: OwnIdentity, options: PlacementOptions, ports: ClusterPorts) {
    this.self = self;
    this.#ports = ports;
    this.#options = options;
    this.#directory = new Directory(self);
    this.#book = new ReportBook(ports.nowMs);
    this.#asks = new WorkerAsks(ports.tell);
  }

  get catalog(): CatalogState {
    return this.#directory.catalog;
  }

  /** Nodes that the coordinator has not heard from for a while. */
  get silent(): readonly NodeId[] {
    return this.#silent;
  }

  /** Replicas of this node that were given up, and that their ranges may still count on. */
  get damaged(): readonly DamagedReplica[] {
    return this.#book.damaged;
  }

  /** The node where range 1 leads, as far as this one knows; 0: not known. */
  get coordinator(): number {
    if (this.#coordinator !== null) return this.self.nodeId;
    const own = this.#book.find(CATALOG_RANGE)?.report;
    if (own !== undefined && own.leader !== 0 && own.leader !== own.memberId) return nodeOf(own.leader);
    return this.#lastCoordinator.nodeId === this.self.nodeId ? 0 : this.#lastCoordinator.nodeId;
  }

  /** Takes a copy of the catalog: from disk, a worker, or the coordinator. */
  adopt(catalog: CatalogState): void {
    const before = nodeRecord(this.catalog, this.self.nodeId);
    if (!this.#directory.adopt(catalog)) return;
    this.#ports.saveCatalog(catalog);
    this.announcePeers();
    this.#coordinator?.catalogChanged();
    const { nodeId } = this.self;
    if (nodeRecord(catalog, nodeId) === undefined) return;
    const refusal = refusalOfNode(catalog, nodeId, this.self);
    if (refusal === null) return;
    const left = before?.state === 'LEAVING';
    this.#ports.expelled(new SkerryError('KV_CONFLICT', `This node must stop: ${refusal}.`, { hint: { left } }));
  }

  /** A worker's word. Says whether it was meant for the cluster. */
  onMessage(workerIndex: number, message: FromWorker): boolean {
    switch (message.type) {
      case 'catalog':
        this.adopt(decodeCatalog(asBuffer(message.bytes)));
        return true;
      case 'report':
        this.peers.set(workerIndex, message.peers);
        if (this.#book.set(workerIndex, reviveReports(message.ranges), message.damaged)) this.#reported();
        return true;
      case 'catalogDone':
      case 'changeDone':
        this.#asks.answered(message);
        return true;
      case 'dropEarlier':
        this.#ports.tellAll({ ...message, type: 'dropReplica' });
        return true;
      default:
        return false;
    }
  }

  /** Listens for other nodes; resolves with the port. Rejects with KV_NETWORK. */
  async listen(host: string, port: number): Promise<number> {
    const service = { admit: (hello: RequestBody<'hello'>) => this.#admit(hello), handlers: this.#handlers() };
    this.#server = await startControlServer(host, port, service, this.#ports.log);
    return this.#server.port;
  }

  /**
   * Asks the other nodes, as far as they answer soon, whether they would let this one in. Rejects with their refusal: who
   * is refused must not even start, since it could vote as if it were whole.
   */
  async checkIn(seeds: readonly ControlAddress[]): Promise<void> {
    const others = [...this.#directory.others, ...seeds.map((address) => ({ nodeId: 0, address }))];
    const answers = await Promise.allSettled(
      others.map(({ nodeId, address }) => this.#directory.requestAt(address, nodeId, 'ping', {}, CHECK_IN_TIMEOUT_MS)),
    );
    for (const answer of answers) {
      if (answer.status === 'fulfilled') continue;
      const error = answer.reason as SkerryError;
      if (error.code === 'KV_CONFLICT' || error.code === 'KV_INVALID') throw error;
      this.#ports.log.debug({ err: error }, 'another node does not answer yet');
    }
  }

  /**
   * Tells the cluster where this node is now. Resolves when the catalog says so too; goes on trying until then.
   * `seeds`: addresses to ask when nobody of the catalog answers.
   */
  async announce(node: NodeProfile, seeds: readonly ControlAddress[]): Promise<void> {
    const { nodeId } = this.self;
    const body = { nodeId, node, isForwarded: false };
    const others = (): { nodeId: number; address: ControlAddress }[] => [
      ...this.#directory.others,
      ...seeds.map((address) => ({ nodeId: 0, address })),
    ];
    for (let round = 0; !this.#isClosed; round++) {
      try {
        if (this.coordinator === nodeId) {
          const result = await this.#proposeHere({ type: 'announceNode', nodeId, node });
          if (!result.ok) throw new SkerryError(result.code, result.message);
          return;
        }
        const candidates = others();
        const candidate = candidates[round % candidates.length];
        if (candidate === undefined) throw new SkerryError('KV_PARTITION', 'no other node is known');
        const { nodeId: to, address } = candidate;
        const answer = await this.#directory.requestAt(address, to, 'announce', body, PROPOSE_TIMEOUT_MS);
        this.adopt(answer.catalog);
        return;
      } catch (error) {
        if (error instanceof SkerryError && (error.code === 'KV_CONFLICT' || error.code === 'KV_INVALID')) throw error;
        if (round % 50 === 10)
          this.#ports.log.warn({ err: error }, 'the cluster has not taken notice of this node yet');
      }
      await new Promise((resolve) => {
        setTimeout(resolve, 200);
      });
    }
  }

  /** Changes the catalog. Rejects with KV_TIMEOUT when nobody who could do it was found in time. */
  propose(op: CatalogOp): Promise<CatalogResult> {
    return retrying(PROPOSE_DEADLINE_MS, () => {
      const { coordinator } = this;
      if (coordinator === this.self.nodeId) return this.#proposeHere(op);
      if (coordinator === 0) throw new SkerryError('KV_CONSENSUS', 'range 1 has no leader', { retryable: true });
      const body = { op: op as RequestBody<'propose'>['op'], isForwarded: true };
      return this.#directory.request(coordinator as NodeId, 'propose', body, PROPOSE_TIMEOUT_MS);
    });
  }

  /** An id for a new range that nobody else has. */
  async nextRangeId(): Promise<RangeId> {
    if (this.#rangeIds.next === this.#rangeIds.end) {
      const result = await this.propose({ type: 'reserveRangeIds', count: RANGE_IDS_AT_ONCE });
      if (!result.ok) throw new SkerryError(result.code, result.message);
      this.#rangeIds = { next: result.value, end: result.value + RANGE_IDS_AT_ONCE };
    }
    return this.#rangeIds.next++ as RangeId;
  }

  /** Asks the node that leads the range to cut it; resolves with the right half's id. Rejects with SkerryError. */
  async splitThere(nodeId: NodeId, rangeId: RangeId, key: Buffer): Promise<RangeId> {
    const { newRangeId } = await this.#directory.request(nodeId, 'split', { rangeId, key }, CHANGE_TIMEOUT_MS);
    return newRangeId;
  }

  /** What this node and those that can be reached have of a range, and who has it. */
  async replicasOf(rangeId: RangeId): Promise<RangeReport[]> {
    const own = this.#book.find(rangeId)?.report;
    const others = this.#directory.others.map(({ nodeId, address }) =>
      this.#directory.requestAt(address, nodeId, 'replicaOf', { rangeId }, CHECK_IN_TIMEOUT_MS),
    );
    const answers = await Promise.allSettled(others);
    const found = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : null));
    return [own ?? null, ...found].filter((report) => report !== null);
  }

  /** Goes on with a range of this node without its other voters. Rejects with SkerryError. */
  async recoverAlone(rangeId: RangeId): Promise<void> {
    await this.#askLeader(rangeId, (id) => ({ type: 'recoverRange', id, rangeId }));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#coordinator?.stop();
    this.#coordinator = null;
    this.#directory.close();
    await this.#server?.close();
  }

  /** Tells the workers who is in the cluster. */
  announcePeers(): void {
    this.#ports.tellAll({ type: 'peers', ...this.#directory.peers() });
  }

  /** Reports of this node's workers have changed. */
  #reported(): void {
    const own = this.#book.find(CATALOG_RANGE)?.report;
    const leads = own !== undefined && own.leader === own.memberId && !this.#isClosed;
    if (!leads || own.term !== this.#coordinator?.term) {
      this.#coordinator?.stop();
      this.#coordinator = null;
    }
    if (!leads) return;
    if (this.#coordinator !== null) {
      this.#coordinator.reported();
      return;
    }
    const { log, nowMs } = this.#ports;
    log.info({ term: own.term }, 'this node coordinates the cluster');
    this.#coordinator = new Coordinator(own.term, this.#options, {
      nodeId: this.self.nodeId,
      catalog: () => this.catalog,
      ownReports: () => this.#book.reports,
      ownDamaged: () => this.#book.damaged,
      request: (nodeId, type, body, timeoutMs) => this.#requestOf(nodeId, type, body, timeoutMs),
      propose: (op) => this.#proposeHere(op),
      learned: (routes, silent) => {
        this.#silent = silent;
        this.#ports.learnRoutes(routes);
      },
      nowMs,
      log,
    });
  }

  #requestOf<T extends RequestType>(
    nodeId: NodeId,
    type: T,
    body: RequestBody<T>,
    timeoutMs: number,
  ): Promise<AnswerBody<T>> {
    if (nodeId !== this.self.nodeId) return this.#directory.request(nodeId, type, body, timeoutMs);
    const handler = this.#handlers()[type as Exclude<T, 'hello'>] as (
      body: RequestBody<T>,
    ) => AnswerBody<T> | Promise<AnswerBody<T>>;
    return new Promise((resolve) => {
      resolve(handler(body));
    });
  }

  async #proposeHere(op: CatalogOp): Promise<CatalogResult> {
    if (op.type !== 'setNodeState' || op.state !== 'INACTIVE') return this.#enterHere(op);
    // One after another: each is judged by what the one before has left.
    if (this.#isRemoving) throw new SkerryError('KV_CONSENSUS', 'another node is being removed', { retryable: true });
    this.#checkRemoval(op.nodeId);
    this.#isRemoving = true;
    try {
      return await this.#enterHere(op);
    } finally {
      this.#isRemoving = false;
    }
  }

  /** A node takes its voters with it: only where the others are enough. */
  #checkRemoval(nodeId: NodeId): void {
    const state = nodeRecord(this.catalog, nodeId)?.state;
    if (state !== 'ACTIVE' && state !== 'LEAVING') return;
    if (this.#coordinator === null) throw notCoordinator(this.self.nodeId);
    const refusal = this.#coordinator.refusalOfRemoval(nodeId);
    if (refusal !== null) throw refusal;
  }

  /** Puts the change into the catalog's log. */
  async #enterHere(op: CatalogOp): Promise<CatalogResult> {
    const own = this.#book.find(CATALOG_RANGE);
    if (own === null) throw notCoordinator(this.self.nodeId);
    const bytes = encodeCatalogOp(op);
    const result = await this.#asks.ask(own.workerIndex, PROPOSE_TIMEOUT_MS, (id) => {
      return { type: 'proposeCatalog', id, op: bytes };
    });
    if (result === null) throw new SkerryError('KV_CONSENSUS', 'the change was lost', { retryable: true });
    return result;
  }

  #admit(hello: RequestBody<'hello'>): AnswerBody<'hello'> {
    const refusal = this.#directory.refusal(hello);
    if (refusal !== null) throw refusal;
    return { nodeId: this.self.nodeId, clusterId: this.self.clusterId };
  }

  #handlers(): RequestHandlers {
    return {
      ping: () => null,
      join: async ({ node, isForwarded }) => {
        const answer = await this.#forwarded('join', { node, isForwarded: true }, isForwarded, async () => {
          const result = await this.#proposeHere({ type: 'joinNode', node });
          if (!result.ok) throw new SkerryError(result.code, result.message);
          return { nodeId: result.value as NodeId, catalog: this.catalog };
        });
        return answer;
      },
      announce: ({ nodeId, node, isForwarded }) => {
        if (this.#directory.heardFrom(nodeId, node)) this.announcePeers();
        return this.#forwarded('announce', { nodeId, node, isForwarded: true }, isForwarded, async () => {
          const result = await this.#proposeHere({ type: 'announceNode', nodeId, node });
          if (!result.ok) throw new SkerryError(result.code, result.message);
          return { catalog: this.catalog };
        });
      },
      propose: ({ op, isForwarded }) => {
        return this.#forwarded('propose', { op, isForwarded: true }, isForwarded, () => this.#proposeHere(op));
      },
      split: async ({ key, rangeId }) => {
        if (this.#ports.leaderOf(rangeId) !== this.self.nodeId) throw notLeader(this.self.nodeId, rangeId);
        return { newRangeId: await this.#ports.splitHere(key) };
      },
      update: (body) => this.#update(body),
      watch: async ({ coordinator, term, seen }) => {
        this.#follow(coordinator, term);
        await this.#book.changedSince(seen, WATCH_MS);
        const { number, damaged } = this.#book;
        return { report: number, ranges: number === seen ? null : [...this.#book.reports], damaged: [...damaged] };
      },
      changeMembers: ({ rangeId, confVersion, changes, isJoint }) =>
        this.#askLeader(rangeId, (id) => ({ type: 'changeMembers', id, rangeId, confVersion, changes, isJoint })),
      replicaOf: ({ rangeId }) => this.#book.find(rangeId)?.report ?? null,
      transferLeader: ({ rangeId, to }) =>
        this.#askLeader(rangeId, (id) => ({ type: 'transferLeader', id, rangeId, to })),
      dropReplica: ({ rangeId, memberId, confVersion }) => this.#dropReplica(rangeId, memberId, confVersion),
    };
  }

  /** Does it here where range 1 leads, else asks there: one hop. */
  #forwarded<T extends 'join' | 'announce' | 'propose'>(
    type: T,
    body: RequestBody<T>,
    isForwarded: boolean,
    here: () => Promise<AnswerBody<T>>,
  ): Promise<AnswerBody<T>> {
    const { coordinator } = this;
    if (coordinator === this.self.nodeId) return here();
    if (isForwarded || coordinator === 0) throw notCoordinator(this.self.nodeId);
    return this.#directory.request(coordinator as NodeId, type, body, PROPOSE_TIMEOUT_MS);
  }

  #follow(nodeId: NodeId, term: number): void {
    if (term < this.#lastCoordinator.term) {
      throw new SkerryError('KV_NOT_LEADER', `node ${nodeId} coordinates no longer: range 1 has a later term`);
    }
    this.#lastCoordinator = { nodeId, term };
  }

  #update({ coordinator, term, catalog, routes, silent }: RequestBody<'update'>): null {
    this.#follow(coordinator, term);
    if (catalog !== null) this.adopt(catalog);
    if (routes !== null) this.#ports.learnRoutes(routes);
    this.#silent = silent as NodeId[];
    return null;
  }

  async #askLeader(rangeId: RangeId, message: (id: number) => ToWorkerInCluster): Promise<null> {
    const own = this.#book.find(rangeId);
    if (own === null) throw notLeader(this.self.nodeId, rangeId);
    await this.#asks.ask(own.workerIndex, CHANGE_TIMEOUT_MS, message);
    return null;
  }

  #dropReplica(rangeId: RangeId, memberId: MemberId, confVersion: number): null {
    const worker = this.#book.workerOf(rangeId, memberId);
    if (worker !== null) this.#ports.tell(worker, { type: 'dropReplica', rangeId, memberId, confVersion });
    return null;
  }
}

const notCoordinator = (nodeId: NodeId): SkerryError =>
  new SkerryError('KV_NOT_LEADER', `range 1 is not led on node ${nodeId}`, { retryable: true });

const notLeader = (nodeId: NodeId, rangeId: RangeId): SkerryError =>
  new SkerryError('KV_NOT_LEADER', `node ${nodeId} does not lead range ${rangeId}`, { retryable: true });
