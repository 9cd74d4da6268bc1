/**
 * A node: the one place that puts it together. The main thread is the control plane only: it recovers the log, starts the
 * workers, carries their few questions to each other, serves the admin HTTP, and stops everything when one part fails.
 */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { NodeId } from '../core/brands.ts';
import { FatalError, SkerryError } from '../core/errors.ts';
import { nodeOf, workerOf } from '../core/member.ts';
import type { Route } from '../core/range.ts';
import { createCursorTable } from '../gateway/router/cursor-table.ts';
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
import type { FromWorker, RunTimeOptions, ToWorker, WorkerBoot } from '../../shards/messages.ts';
import { reviveRoutes } from '../../shards/messages.ts';
import { DataDir, ofWorker } from './data-dir.ts';
import { FanOut } from './fan-out.ts';
import { createLinks } from './links.ts';
import { NodeMetrics } from './node-metrics.ts';
import type { Settings } from './settings.ts';
import type { EmbeddedEndpoint, RunningServer, ServerAddresses, StartOptions } from './types.ts';
import { version } from './version.ts';
import type { WorkerThread } from './worker-thread.ts';
import { nextMessage } from './worker-thread.ts';

/** The same files are .ts in a checkout and .js in the published package. */
const EXTENSION = path.extname(import.meta.url);
const SHARD_WORKER = new URL(`../../workers/shard.worker${EXTENSION}`, import.meta.url);
const CPU_WORKER = new URL(`../../workers/cpu.worker${EXTENSION}`, import.meta.url);

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
  #workers: WorkerThread[] = [];
  readonly #table = new RouteTable();
  #routeListeners: ((routes: readonly Route[]) => void)[] = [];
  #nextRangeId = 1;
  readonly #splits = new Map<number, (error: string | null) => void>();
  #nextSplit = 1;
  readonly #questions = new FanOut();
  #maxMemoryBytes: number;
  #phase = 'starting';
  #isDiskFull = false;
  #recoveryMs = 0;
  #addresses: ServerAddresses | null = null;
  #closing: Promise<void> | null = null;
  endpoint: EmbeddedEndpoint | null = null;

  constructor(settings: Settings, options: StartOptions) {
    this.#settings = settings;
    this.#maxMemoryBytes = settings.memory.maxMemoryBytes;
    this.#options = options;
    this.#log = createLogger({ level: settings.log.level, format: settings.log.format, thread: 'main' });
    this.#metrics = new NodeMetrics(settings.threads.workers, this.#startedAtMs);
    this.#dir = new DataDir(nodeDisk, settings.node.dataDir);
  }

  get addresses(): ServerAddresses {
    if (this.#addresses === null) throw new SkerryError('KV_STATE', 'The node does not listen.');
    return this.#addresses;
  }

  async start(): Promise<void> {
    const { node, ranges, network, threads } = this.#settings;
    const startedMs = performance.now();
    const workerCount = threads.workers;
    if (this.#options.listens) await this.#startHttp();
    this.#dir.make();
    this.#lock = nodeDisk.lockFile(this.#dir.lockFile);
    if (this.#dir.identity(node.nodeId) === null) {
      this.#dir.bootstrap(
        node.nodeId as NodeId,
        workerCount,
        ranges.preSplit.map((key) => Buffer.from(key)),
      );
      this.#log.info({ dataDir: node.dataDir, ranges: ranges.preSplit.length + 1 }, 'made a new store');
    }
    this.#phase = 'recovering';
    const endpoints = workerCount + (this.#options.listens ? 0 : 1);
    const doorbells = Array.from({ length: endpoints }, createDoorbell);
    const rings = Array.from({ length: workerCount }, () =>
      createRing({ capacityBytes: this.#settings.wal.ringBytes }),
    );
    this.#ioPool = createIoPool(Math.max(2, threads.ioThreads));
    this.#cpuPool = new Piscina({ filename: CPU_WORKER.href, minThreads: 0, maxThreads: threads.cpuThreads });
    const wal = await startWal({
      dir: node.walDir === '' ? this.#dir.walDir : node.walDir,
      pool: this.#ioPool,
      workers: rings.map((ring, i) => ({ ring, doorbell: doorbells[i] as SharedArrayBuffer })),
      segmentBytes: this.#settings.wal.segmentBytes,
      metricsArea: this.#metrics.wal,
    });
    this.#wal = wal;
    this.#followLog(wal);
    const { recovery } = wal;
    if (recovery.tornTail !== null) {
      this.#log.warn({ ...recovery.tornTail }, 'cut off a torn write at the end of the log; it was never acknowledged');
    }
    const links = createLinks(endpoints, threads.forwardRingBytes);
    await this.#startWorkers(wal, doorbells, rings, links);
    wal.replayed();
    this.#recoveryMs = performance.now() - startedMs;
    this.#log.info(
      { records: recovery.recordCount, bytes: recovery.bytesRead, ms: Math.round(this.#recoveryMs) },
      'recovered',
    );
    if (this.#options.listens) await this.#listen(network.port, network.respPort);
    else this.endpoint = this.#embeddedEndpoint(links[workerCount] ?? [], doorbells);
    this.#phase = 'ready';
  }

  ranges(): readonly Route[] {
    return this.#table.routes;
  }

  splitRange(key: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#split(key, (error) => {
        if (error === null) resolve();
        else reject(new SkerryError('KV_STATE', error.replace(/^[A-Z]+ /, '')));
      });
    });
  }

  status(): unknown {
    const { node, threads } = this.#settings;
    return {
      version,
      nodeId: node.nodeId,
      state: this.#phase,
      startedAt: new Date(this.#startedAtMs).toISOString(),
      recoverySeconds: this.#recoveryMs / 1000,
      dataDir: path.resolve(node.dataDir),
      workers: threads.workers,
      maxMemoryBytes: this.#maxMemoryBytes,
      diskFull: this.#isDiskFull,
      addresses: this.#addresses,
      ranges: this.#table.routes.map(({ range, leader }) => ({
        rangeId: range.rangeId,
        startKey: range.startKey.toString('latin1'),
        endKey: range.endKey?.toString('latin1') ?? null,
        epoch: range.epoch,
        leader: nodeOf(leader),
        workerIndex: workerOf(leader) % threads.workers,
      })),
      metrics: this.#metrics.summary(),
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const wasReady = this.#phase === 'ready';
    if (this.#phase !== 'failed') this.#phase = 'stopping';
    if (wasReady) {
      const stopped = this.#workers.map((worker) => nextMessage(worker, 'stopped'));
      this.#tellAll({ type: 'stop' });
      await Promise.all(stopped);
    }
    await Promise.all(this.#workers.map(({ thread }) => thread.terminate()));
    this.#workers = [];
    await this.#wal?.stop();
    await this.#http?.close();
    await this.#cpuPool?.destroy();
    await this.#ioPool?.destroy();
    this.#lock?.release();
    this.#lock = null;
  }

  async #startHttp(): Promise<void> {
    const { host, httpPort } = this.#settings.network;
    this.#http = await startAdminServer(
      {
        notReady: () => [
          ...(this.#phase === 'ready' ? [] : [`the node is ${this.#phase}`]),
          ...(this.#isDiskFull ? ['the disk of the write-ahead log is full: writes are refused'] : []),
        ],
        metrics: () => this.#metrics.page(),
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
      this.#tellAll({ type: 'holdBack', rangeIds: laggards.map(({ rangeId }) => rangeId) });
    });
  }

  async #startWorkers(
    wal: WalHandle,
    doorbells: readonly SharedArrayBuffer[],
    rings: readonly SharedArrayBuffer[],
    links: readonly (readonly LinkEnd[])[],
  ): Promise<void> {
    const { node, network, memory, raft, recovery, threads, log } = this.#settings;
    const found = this.#dir.findRanges(node.nodeId as NodeId);
    const ids = [...found.checkpoints.map(({ rangeId }) => rangeId), ...wal.recovery.ranges.keys()];
    this.#nextRangeId = Math.max(...ids) + 1;
    const scanCursors = createCursorTable();
    for (let workerIndex = 0; workerIndex < threads.workers; workerIndex++) {
      const own = links[workerIndex] ?? [];
      const boot: WorkerBoot & { readonly links: readonly LinkEnd[] } = {
        workerIndex,
        workerCount: threads.workers,
        version,
        options: {
          nodeId: node.nodeId,
          host: network.host,
          maxConnections: network.maxConnections,
          maxOutputBytes: network.maxOutputBytes,
          idleTimeoutMs: network.idleTimeoutMs,
          maxMemoryBytes: memory.maxMemoryBytes,
          maxValueBytes: memory.maxValueBytes,
          maxRecoverySeconds: recovery.maxRecoverySeconds,
          electionTimeoutMs: raft.electionTimeoutMs,
          heartbeatIntervalMs: raft.heartbeatIntervalMs,
          logLevel: log.level,
          logFormat: log.format,
        },
        walDir: wal.dir,
        scan: wal.recovery,
        checkpointsDir: this.#dir.checkpointsDir,
        checkpoints: ofWorker(found.checkpoints, workerIndex, threads.workers),
        staged: ofWorker(found.staged, workerIndex, threads.workers),
        checkpointed: new Set([...found.checkpoints.map(({ rangeId }) => rangeId), ...found.tombstones.keys()]),
        tombstones: found.tombstones,
        doorbells,
        links: own,
        walRing: rings[workerIndex] as SharedArrayBuffer,
        walDoorbell: wal.doorbell,
        walStatus: wal.status,
        metricsAreas: this.#metrics.workers,
        scanCursors,
        startedAtMs: this.#startedAtMs,
      };
      this.#workers.push(
        this.#startWorker(
          boot,
          own.map(({ port }) => port),
        ),
      );
    }
    // Each says what ranges it has before it says that it is done.
    await Promise.all(this.#workers.map((worker) => nextMessage(worker, 'recovered')));
  }

  #startWorker(boot: WorkerBoot, ports: readonly MessagePort[]): WorkerThread {
    const thread = new Worker(SHARD_WORKER, {
      workerData: boot,
      transferList: [...ports],
      name: `shard ${boot.workerIndex}`,
    });
    const worker: WorkerThread = { thread, waiting: new Map() };
    thread.on('message', (message: FromWorker) => this.#onMessage(worker, message));
    thread.on('error', (cause: Error) => {
      this.#fail(new FatalError('KV_STATE', `Worker ${boot.workerIndex} failed: ${cause.message}`, { cause }));
    });
    return worker;
  }

  #onMessage(worker: WorkerThread, message: FromWorker): void {
    const waiting = worker.waiting.get(message.type);
    worker.waiting.delete(message.type);
    if (waiting !== undefined) {
      waiting(message);
      return;
    }
    switch (message.type) {
      case 'ranges':
        this.#learn(message.routes, worker);
        break;
      case 'askSplit':
        this.#split(Buffer.from(message.key), (error) => {
          worker.thread.postMessage({ type: 'splitAnswer', id: message.id, error } satisfies ToWorker);
        });
        break;
      case 'splitDone':
        this.#splits.get(message.id)?.(message.error);
        this.#splits.delete(message.id);
        break;
      case 'checkpoint':
        void this.#checkpoint(worker, message);
        break;
      case 'ask':
        this.#askWorkers(worker, message.id, (id) => ({ type: 'question', id, question: message.question }));
        break;
      case 'configure':
        this.#configure(message.changes);
        this.#askWorkers(worker, message.id, (id) => ({ type: 'configure', id, changes: message.changes }));
        break;
      case 'answer':
        this.#questions.answered(message.id, message.answer);
        break;
      case 'failed':
        this.#fail(new FatalError('KV_STATE', `A worker failed: ${message.message}`));
        break;
      default:
        break;
    }
  }

  /** Asks all workers what one of them wants to know. */
  #askWorkers(asker: WorkerThread, askedAs: number, question: (id: number) => ToWorker): void {
    const answer = (answers: readonly unknown[]): void =>
      asker.thread.postMessage({ type: 'answers', id: askedAs, answers } satisfies ToWorker);
    this.#questions.ask(this.#workers.length, (id) => this.#tellAll(question(id)), answer);
  }

  #configure({ logLevel, maxMemoryBytes }: Partial<RunTimeOptions>): void {
    this.#log.level = logLevel ?? this.#log.level;
    this.#maxMemoryBytes = maxMemoryBytes ?? this.#maxMemoryBytes;
  }

  /** Takes a worker's word for its ranges, and tells the others. */
  #learn(changed: readonly Route[], from?: WorkerThread): void {
    const routes = reviveRoutes(changed);
    this.#table.update(routes);
    for (const worker of this.#workers) {
      if (worker !== from) worker.thread.postMessage({ type: 'routes', routes } satisfies ToWorker);
    }
    for (const listener of this.#routeListeners) listener(routes);
  }

  #split(key: Buffer, done: (error: string | null) => void): void {
    const { leader } = this.#table.find(key, 0, key.length);
    const worker = this.#workers[workerOf(leader) % this.#workers.length];
    if (worker === undefined || key.length === 0) {
      done('ERR a range cannot be split at the empty key');
      return;
    }
    const id = this.#nextSplit++;
    this.#splits.set(id, done);
    worker.thread.postMessage({ type: 'split', id, key, newRangeId: this.#nextRangeId++ } satisfies ToWorker);
  }

  async #checkpoint(worker: WorkerThread, message: Extract<FromWorker, { type: 'checkpoint' }>): Promise<void> {
    const { id, frozen, info } = message;
    let error: string | null = null;
    let bytes = 0;
    try {
      const file = this.#dir.checkpoints.checkpointFile(info.rangeId, info.appliedIndex);
      const written = (await this.#cpuPool?.run({ file, frozen, info })) as { bytes: number } | undefined;
      bytes = written?.bytes ?? 0;
      this.#dir.checkpoints.dropOlder(info.rangeId, info.appliedIndex);
    } catch (cause) {
      error = cause instanceof Error ? cause.message : String(cause);
    }
    worker.thread.postMessage({ type: 'checkpointDone', id, error, bytes } satisfies ToWorker);
  }

  async #listen(nativePort: number, respPort: number): Promise<void> {
    const { host } = this.#settings.network;
    const ports: { native: number; resp: number; own: number }[] = [];
    // One after another: the first may be given free ports, which the others then share.
    for (const worker of this.#workers) {
      const listening = nextMessage(worker, 'listening');
      const first = ports[0];
      const message: ToWorker = {
        type: 'listen',
        nativePort: first?.native ?? nativePort,
        respPort: first?.resp ?? respPort,
      };
      worker.thread.postMessage(message);
      const answer = await listening;
      if (answer.type === 'listening') ports.push(answer.ports);
    }
    const workerPorts = ports.map(({ own }) => own);
    this.#tellAll({ type: 'topology', ports: workerPorts });
    const [first] = ports;
    this.#addresses = {
      host,
      port: first?.native ?? 0,
      respPort: first?.resp ?? 0,
      httpPort: this.#http?.port ?? 0,
      workerPorts,
    };
  }

  #embeddedEndpoint(links: readonly LinkEnd[], doorbells: readonly SharedArrayBuffer[]): EmbeddedEndpoint {
    return {
      links,
      doorbells,
      routes: () => this.#table.routes,
      onRoutes: (listener) => void this.#routeListeners.push(listener),
    };
  }

  #tellAll(message: ToWorker): void {
    for (const { thread } of this.#workers) thread.postMessage(message);
  }

  #fail(error: FatalError): void {
    if (this.#phase === 'failed' || this.#phase === 'stopping') return;
    this.#phase = 'failed';
    this.#log.fatal({ err: error }, 'the node stops');
    void this.close().then(() => this.#options.onFatal(error));
  }
}
