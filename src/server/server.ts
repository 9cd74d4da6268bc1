/**
 * A node: the one place that puts it together. The main thread is the control plane only: it recovers the log, starts the
 * workers, carries their few questions to each other, serves the admin HTTP, and stops everything when one part fails.
 */
import path from 'node:path';
import type { Piscina } from 'piscina';
import type { FatalError } from '../core/errors.ts';
import { SkerryError } from '../core/errors.ts';
import type { Route } from '../core/range.ts';
import { coverAllKeys } from '../core/range.ts';
import { RouteTable } from '../gateway/router/route-table.ts';
import type { LinkEnd } from '../gateway/gateway.ts';
import type { AdminServer } from '../gateway/http/admin-server.ts';
import { startAdminServer } from '../gateway/http/admin-server.ts';
import type { Logger } from '../observe/log.ts';
import { createLogger } from '../observe/log.ts';
import { createDoorbell, createRing } from '../sharedarraybuffer-ring/index.ts';
import { nodeDisk } from '../storage/disk.ts';
import type { DiskLock } from '../storage/disk.ts';
import { createIoPool, startWal } from '../storage/wal/pool.ts';
import type { WalHandle } from '../storage/wal/pool.ts';
import { createSyncTimes } from '../storage/wal/sync-times.ts';
import { collectGarbage } from '../../shards/garbage.ts';
import type { FromWorker, RunTimeOptions, ToWorker } from '../../shards/messages.ts';
import { reviveRoutes } from '../../shards/messages.ts';
import { formCluster } from './cluster/node-cluster.ts';
import type { NodeCluster } from './cluster/node-cluster.ts';
import { carryOut } from './cluster/orders.ts';
import { describeCluster, describeRanges } from './cluster/status.ts';
import { DataDir } from './data-dir.ts';
import { readLog } from './log-reads.ts';
import { FanOut } from './fan-out.ts';
import { findWholeRanges, openLog } from './healing.ts';
import { createLinks } from './links.ts';
import { clusterSamples } from './cluster/cluster-samples.ts';
import { createCpuPool, helpToRecover } from './cpu-pool.ts';
import { NodeMetrics } from './node-metrics.ts';
import type { Scrubber } from './scrubber.ts';
import { startScrubbing } from './scrubbing.ts';
import type { Settings } from './settings.ts';
import { ShardThreads } from './shard-threads.ts';
import { Splits } from './splits.ts';
import type { EmbeddedEndpoint, RunningServer, ServerAddresses, StartOptions } from './types.ts';
import { version } from './version.ts';
import { workerBoots } from './worker-boots.ts';

/** Segments beyond which ranges that hold back the oldest one are checkpointed out of turn. */
const SEGMENTS_WANTED_MAX = 8;

/** Starts a node and resolves when it serves. Rejects with SkerryError; then nothing of it is left. */
export async function startServer(settings: Settings, options: StartOptions): Promise<RunningServer> {
  const node = new Node(settings, options);
  try {
    await node.start();
    return node;
  } catch (error) {
    await node.close();
    throw error;
  }
}

class Node implements RunningServer {
  readonly version = version;
  readonly #settings: Settings;
  readonly #options: StartOptions;
  readonly #log: Logger;
  readonly #startedAtMs = Date.now();
  readonly #dir: DataDir;
  readonly #metrics: NodeMetrics;
  #lock: DiskLock | null = null;
  #ioPool: Piscina | null = null;
  #cpuPool: Piscina | null = null;
  #wal: WalHandle | null = null;
  #http: AdminServer | null = null;
  readonly #threads: ShardThreads;
  readonly #table = new RouteTable();
  #routeListeners: ((routes: readonly Route[]) => void)[] = [];
  #cluster: NodeCluster | null = null;
  #splits: Splits | null = null;
  #scrubber: Scrubber | null = null;
  readonly #questions = new FanOut();
  #maxMemoryBytes: number;
  #phase = 'starting';
  #isDiskFull = false;
  #recoveryMs = 0;
  #addresses: ServerAddresses | null = null;
  #closing: Promise<void> | null = null;
  readonly #allKeysKnown = Promise.withResolvers<void>();
  /** Rejects when the node cannot go on. */
  readonly #failed = Promise.withResolvers<never>();
  endpoint: EmbeddedEndpoint | null = null;

  constructor(settings: Settings, options: StartOptions) {
    this.#settings = settings;
    this.#maxMemoryBytes = settings.memory.maxMemoryBytes;
    this.#options = options;
    this.#log = createLogger({ level: settings.log.level, format: settings.log.format, thread: 'main' });
    this.#metrics = new NodeMetrics(settings.threads.workers, this.#startedAtMs);
    this.#dir = new DataDir(nodeDisk, settings.node.dataDir);
    this.#failed.promise.catch(() => this.#log.debug('the node has failed'));
    this.#threads = new ShardThreads({
      onMessage: (workerIndex, message) => this.#onMessage(workerIndex, message),
      onFailed: (error) => this.#fail(error),
    });
  }

  get addresses(): ServerAddresses {
    if (this.#addresses === null) throw new SkerryError('KV_STATE', 'The node does not listen.');
    return this.#addresses;
  }

  async start(): Promise<void> {
    const { node, threads, wal: walSettings } = this.#settings;
    const startedMs = performance.now();
    const workerCount = threads.workers;
    if (this.#options.listens) await this.#startHttp();
    this.#dir.make();
    this.#lock = nodeDisk.lockFile(this.#dir.lockFile);
    this.#phase = 'joining';
    const nodeCluster = await this.#formCluster();
    this.#phase = 'recovering';
    const endpoints = workerCount + (this.#options.listens ? 0 : 1);
    const doorbells = Array.from({ length: endpoints }, createDoorbell);
    const rings = Array.from({ length: workerCount }, () => createRing({ capacityBytes: walSettings.ringBytes }));
    const syncTimes = rings.map(createSyncTimes);
    this.#ioPool = createIoPool(Math.max(2, threads.ioThreads));
    const cpuPool = (this.#cpuPool = createCpuPool(threads.cpuThreads));
    const walDir = node.walDir === '' ? this.#dir.walDir : node.walDir;
    const walOptions = {
      dir: walDir,
      pool: this.#ioPool,
      workers: rings.map((ring, i) => {
        return { ring, doorbell: doorbells[i] as SharedArrayBuffer, syncTimes: syncTimes[i] as SharedArrayBuffer };
      }),
      segmentBytes: walSettings.segmentBytes,
      metricsArea: this.#metrics.wal,
    };
    const healing = {
      nodeId: nodeCluster.identity.nodeId,
      dir: this.#dir,
      disk: nodeDisk,
      walDir,
      hasOthers: nodeCluster.hasOthers,
      log: this.#log,
    };
    this.#threads.spawn(workerCount);
    const wal = await openLog(() => startWal(walOptions), nodeCluster.identity.logId ?? 0, healing);
    nodeCluster.keepLogId(wal.recovery.logId);
    this.#wal = wal;
    this.#followLog(wal);
    const { recovery } = wal;
    if (recovery.tornTail !== null) {
      this.#log.warn({ ...recovery.tornTail }, 'cut off a torn write at the end of the log; it was never acknowledged');
    }
    const links = createLinks(endpoints, threads.forwardRingBytes);
    const boots = workerBoots({
      nodeId: nodeCluster.identity.nodeId,
      settings: this.#settings,
      dir: this.#dir,
      found: findWholeRanges(healing),
      mayHeal: healing.hasOthers,
      wal,
      doorbells,
      rings,
      syncTimes,
      links,
      metricsAreas: this.#metrics.workers,
      startedAtMs: this.#startedAtMs,
      httpPort: this.#http?.port ?? 0,
    });
    await this.#threads.recover(boots, (log) => helpToRecover(cpuPool, log, this.#log));
    wal.replayed();
    this.#recoveryMs = performance.now() - startedMs;
    this.#log.info(
      { records: recovery.recordCount, bytes: recovery.bytesRead, ms: Math.round(this.#recoveryMs) },
      'recovered',
    );
    if (this.#options.listens) await this.#listen(nodeCluster);
    else this.endpoint = this.#embeddedEndpoint(links[workerCount] ?? [], doorbells);
    // Whatever failed meanwhile has not been waited for by anybody.
    await Promise.race([this.#failed.promise, Promise.resolve()]);
    this.#phase = 'ready';
    this.#startScrubbing(wal, this.#ioPool);
  }

  #startScrubbing(wal: WalHandle, pool: Piscina): void {
    const { rateBytes, intervalSeconds } = this.#settings.scrub;
    if (intervalSeconds === 0) return;
    this.#scrubber = startScrubbing({
      rateBytes,
      intervalMs: intervalSeconds * 1000,
      disk: nodeDisk,
      checkpoints: this.#dir.checkpoints,
      wal,
      pool,
      metricsArea: this.#metrics.wal,
      rangeIds: () => this.#table.routes.map(({ range }) => range.rangeId),
      rewrite: (rangeIds) => this.#threads.tellAll({ type: 'holdBack', rangeIds }),
      log: this.#log,
    });
  }

  ranges(): readonly Route[] {
    return this.#table.routes;
  }

  splitRange(key: Buffer): Promise<void> {
    return this.#splits?.split(key) ?? Promise.reject(new SkerryError('KV_STATE', 'The node does not run.'));
  }

  async orderCluster(order: readonly string[]): Promise<unknown> {
    if (this.#cluster === null) throw new SkerryError('KV_STATE', 'The node does not run.');
    return await carryOut(this.#cluster.cluster, order);
  }

  status(): unknown {
    const { node, threads } = this.#settings;
    return {
      version,
      nodeId: this.#cluster?.identity.nodeId ?? 0,
      state: this.#phase,
      startedAt: new Date(this.#startedAtMs).toISOString(),
      recoverySeconds: this.#recoveryMs / 1000,
      dataDir: path.resolve(node.dataDir),
      workers: threads.workers,
      maxMemoryBytes: this.#maxMemoryBytes,
      diskFull: this.#isDiskFull,
      addresses: this.#addresses,
      cluster: this.#cluster === null ? null : describeCluster(this.#cluster.cluster),
      ranges: describeRanges(this.#table.routes),
      metrics: this.#metrics.summary(),
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const wasReady = this.#phase === 'ready';
    this.#scrubber?.stop();
    if (this.#phase !== 'failed') this.#phase = 'stopping';
    await this.#cluster?.cluster.close();
    try {
      await this.#threads.stop(wasReady);
    } finally {
      // Also when a worker fails at its end: what runs on would keep the process alive, and the folder locked.
      await this.#wal?.stop();
      await this.#http?.close();
      await this.#cpuPool?.destroy();
      await this.#ioPool?.destroy();
      this.#lock?.release();
    }
  }

  async #startHttp(): Promise<void> {
    const { host, httpPort } = this.#settings.network;
    this.#http = await startAdminServer(
      {
        notReady: () => [
          ...(this.#phase === 'ready' ? [] : [`the node is ${this.#phase}`]),
          ...(this.#isDiskFull ? ['the disk of the write-ahead log is full: writes are refused'] : []),
        ],
        metrics: () => this.#metrics.page(clusterSamples(this.#cluster?.cluster ?? null)),
        status: () => this.status(),
      },
      { host, port: httpPort, log: this.#log },
    );
  }

  #followLog(wal: WalHandle): void {
    wal.on('fatal', (error) => this.#fail(error));
    wal.on('full', () => {
      this.#isDiskFull = true;
      this.#log.error({ dir: wal.dir }, 'the disk is full: writes are refused until there is room; reads go on');
    });
    wal.on('resumed', () => {
      this.#isDiskFull = false;
      this.#log.info('there is room on the disk again: writes go on');
    });
    wal.on('sealed', ({ segmentCount, laggards }) => {
      if (segmentCount <= SEGMENTS_WANTED_MAX) return;
      this.#threads.tellAll({ type: 'holdBack', rangeIds: laggards.map(({ rangeId }) => rangeId) });
    });
  }

  async #formCluster(): Promise<NodeCluster> {
    const nodeCluster = await formCluster(
      {
        settings: this.#settings,
        dir: this.#dir,
        threads: this.#threads,
        table: this.#table,
        learnRoutes: (routes) => this.#learn(routes),
        splitHere: (key) => splits.splitHere(key),
        onFatal: (error) => this.#fail(error),
        isStopped: () => this.#closing !== null,
        log: this.#log,
      },
      this.#options.listens,
    );
    const { cluster, identity } = nodeCluster;
    const splits = new Splits({
      nodeId: identity.nodeId,
      table: this.#table,
      threads: this.#threads,
      nextRangeId: () => cluster.nextRangeId(),
      splitThere: (nodeId, rangeId, key) => cluster.splitThere(nodeId, rangeId, key),
    });
    this.#cluster = nodeCluster;
    this.#splits = splits;
    return nodeCluster;
  }

  #onMessage(workerIndex: number, message: FromWorker): void {
    if (this.#cluster?.cluster.onMessage(workerIndex, message) === true) return;
    switch (message.type) {
      case 'ranges':
        this.#learn(reviveRoutes(message.routes), workerIndex);
        break;
      case 'askSplit': {
        const answer = (error: string | null): void =>
          this.#threads.tell(workerIndex, { type: 'splitAnswer', id: message.id, error });
        const split = this.splitRange(Buffer.from(message.key));
        split.then(() => answer(null)).catch((error: Error) => answer(error.message));
        break;
      }
      case 'askOrder':
        this.orderCluster(message.order).then(
          (value) => this.#threads.tell(workerIndex, { type: 'orderAnswer', id: message.id, error: null, value }),
          (error: Error) => {
            this.#threads.tell(workerIndex, { type: 'orderAnswer', id: message.id, error: error.message, value: null });
          },
        );
        break;
      case 'splitDone':
        this.#splits?.done(message.id, message.error);
        break;
      case 'checkpoint':
        void this.#checkpoint(workerIndex, message);
        break;
      case 'keepAside':
        this.#dir.checkpoints.keepAside(message.file, Date.now());
        break;
      case 'readLog':
        void readLog(this.#wal, message, (answer) => this.#threads.tell(workerIndex, answer));
        break;
      case 'gaveBack':
        // Else this thread is a program's, whose heap may be large.
        if (this.#options.listens) collectGarbage();
        break;
      case 'ask':
        this.#askWorkers(workerIndex, message.id, (id) => ({ type: 'question', id, question: message.question }));
        break;
      case 'configure':
        this.#configure(message.changes);
        this.#askWorkers(workerIndex, message.id, (id) => ({ type: 'configure', id, changes: message.changes }));
        break;
      case 'answer':
        this.#questions.answered(message.id, message.answer);
        break;
      default:
    }
  }

  /** Asks all workers what one of them wants to know. */
  #askWorkers(asker: number, askedAs: number, question: (id: number) => ToWorker): void {
    const answer = (answers: readonly unknown[]): void =>
      this.#threads.tell(asker, { type: 'answers', id: askedAs, answers });
    this.#questions.ask(this.#threads.count, (id) => this.#threads.tellAll(question(id)), answer);
  }

  #configure({ logLevel, maxMemoryBytes }: Partial<RunTimeOptions>): void {
    this.#log.level = logLevel ?? this.#log.level;
    this.#maxMemoryBytes = maxMemoryBytes ?? this.#maxMemoryBytes;
  }

  /** Takes a worker's word for its ranges, or the coordinator's for everybody's, and tells the others. */
  #learn(routes: readonly Route[], from?: number): void {
    this.#table.update(routes);
    this.#threads.tellAll({ type: 'routes', routes }, from);
    this.#splits?.learned();
    for (const listener of this.#routeListeners) listener(routes);
    if (this.#knowsAllKeys) this.#allKeysKnown.resolve();
  }

  get #knowsAllKeys(): boolean {
    return coverAllKeys(this.#table.routes.map(({ range }) => range));
  }

  async #checkpoint(workerIndex: number, message: Extract<FromWorker, { type: 'checkpoint' }>): Promise<void> {
    const { id, frozen, info } = message;
    let error: string | null = null;
    let bytes = 0;
    try {
      const file = this.#dir.checkpoints.checkpointFile(info.rangeId, info.appliedIndex);
      const written = (await this.#cpuPool?.run({ kind: 'checkpoint', file, frozen, info })) as
        | { bytes: number }
        | undefined;
      bytes = written?.bytes ?? 0;
      this.#dir.checkpoints.dropOlder(info.rangeId, info.appliedIndex);
    } catch (cause) {
      error = cause instanceof Error ? cause.message : String(cause);
    }
    this.#threads.tell(workerIndex, { type: 'checkpointDone', id, error, bytes });
  }

  async #listen(nodeCluster: NodeCluster): Promise<void> {
    const { host, port, respPort } = this.#settings.network;
    await nodeCluster.listen();
    if (!this.#knowsAllKeys) {
      // A node that has no ranges yet hears of them from the cluster, once that knows where it is.
      this.#phase = 'waiting for the cluster';
      await Promise.race([nodeCluster.announce(null), this.#failed.promise]);
      await Promise.race([this.#allKeysKnown.promise, this.#failed.promise]);
    }
    const ports = await this.#threads.listen(port, respPort);
    const [first] = ports;
    const addresses = {
      host,
      port: first?.native ?? 0,
      respPort: first?.resp ?? 0,
      httpPort: this.#http?.port ?? 0,
      peerPort: nodeCluster.peerPort,
      workerPorts: ports.map(({ own }) => own),
    };
    this.#addresses = addresses;
    const { workerPorts, httpPort } = addresses;
    void nodeCluster.announce({ workerPorts, nativePort: addresses.port, respPort: addresses.respPort, httpPort });
  }

  #embeddedEndpoint(links: readonly LinkEnd[], doorbells: readonly SharedArrayBuffer[]): EmbeddedEndpoint {
    return {
      links,
      doorbells,
      routes: () => this.#table.routes,
      onRoutes: (listener) => void this.#routeListeners.push(listener),
    };
  }

  #fail(error: FatalError): void {
    if (this.#phase === 'failed' || this.#phase === 'stopping') return;
    this.#phase = 'failed';
    if (error.hint['left'] === true) this.#log.info('this node has left the cluster, and stops');
    else this.#log.fatal({ err: error }, 'the node stops');
    this.#failed.reject(error);
    void this.close().then(() => this.#options.onFatal(error));
  }
}
