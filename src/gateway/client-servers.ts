/** The servers that clients connect to, of one worker: RESP and native, on the shared ports and on the worker's own. */
import { createHash } from 'node:crypto';
import { MetricsReader } from '../observe/counters.ts';
import type { MetricsWriter } from '../observe/counters.ts';
import { maxSlot, sumSlot } from '../observe/counters.ts';
import { errorSlots, slots } from '../observe/metrics.ts';
import type { NodeId } from '../core/brands.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Listener } from '../net/listener.ts';
import { listen } from '../net/listener.ts';
import type { Gateway } from './gateway.ts';
import { createNativeServer } from './native/server.ts';
import type { NodePlace } from './native/server.ts';
import type { NodeFigures } from './node-figures.ts';
import { figuresSince, RateMeter, readFigures } from './node-figures.ts';
import type { AskAll, NodeQuestion } from './node-questions.ts';
import { answerQuestion, createWholeNode } from './node-questions.ts';
import { createClientRegistry } from './resp/clients.ts';
import type { RunTimeSettings } from './resp/config.ts';
import { infoSections } from './resp/info.ts';
import type { CloseReason } from './resp/server.ts';
import { createRespServer } from './resp/server.ts';

export interface ClientServersOptions {
  readonly gateway: Gateway;
  readonly metrics: MetricsWriter;
  /** Of all workers. */
  readonly metricsAreas: readonly SharedArrayBuffer[];
  readonly boot: {
    readonly workerIndex: number;
    readonly workerCount: number;
    readonly version: string;
    readonly startedAtMs: number;
    readonly httpPort: number;
    readonly options: {
      readonly nodeId: number;
      readonly host: string;
      readonly maxOutputBytes: number;
      readonly maxValueBytes: number;
    } & RunTimeSettings;
  };
  /** Cuts a range, wherever it lives. Rejects with SkerryError. */
  readonly splitRange: (key: Buffer) => Promise<void>;
  /** Asks something of the cluster; resolves with plain data. Rejects with SkerryError. */
  readonly orderCluster: (order: readonly string[]) => Promise<unknown>;
  /** Asks all workers of the node, this one included. */
  readonly askAll: AskAll;
  /** Changes settings of the node; resolves when all workers have taken them. */
  readonly changeSettings: (changes: Partial<RunTimeSettings>) => Promise<unknown>;
  readonly schedule: () => void;
}

export interface ListeningPorts {
  readonly native: number;
  readonly resp: number;
  /** The native port that only this worker listens on. */
  readonly own: number;
}

export interface ClientServers {
  /** Port 0 takes a free one. Rejects with KV_STATE when an address cannot be had. */
  listen(nativePort: number, respPort: number): Promise<ListeningPorts>;
  /** Where the workers of all nodes take native connections of their own. */
  setPlaces(nodes: readonly NodePlace[]): void;
  /** This worker's answer to what one of the node's workers asks. */
  answer(question: NodeQuestion): unknown;
  /** Takes changed settings. */
  configure(changes: Partial<RunTimeSettings>): void;
  /** Takes no more connections, and ends those that there are after the replies that are owed. */
  close(): void;
}

/** INFO's rates are those of the last such interval. */
const SAMPLE_INTERVAL_MS = 1000;

const closedSlots: Readonly<Record<CloseReason, number>> = {
  client: slots.connectionsClosedByClient,
  idle: slots.connectionsClosedIdle,
  limit: slots.connectionsClosedLimit,
  protocol: slots.connectionsClosedProtocol,
  output: slots.connectionsClosedOutput,
  network: slots.connectionsClosedNetwork,
  shutdown: slots.connectionsClosedShutdown,
};

export function createClientServers(options: ClientServersOptions): ClientServers {
  const { gateway, metrics, boot, schedule } = options;
  const { workerIndex, workerCount, version } = boot;
  const nodeId = boot.options.nodeId as NodeId;
  const { host, maxOutputBytes, idleTimeoutMs, maxValueBytes } = boot.options;
  const listeners: Listener[] = [];
  const readers = options.metricsAreas.map((area) => new MetricsReader(area));
  const runId = createHash('sha1').update(`${process.pid} ${boot.startedAtMs}`).digest('hex');
  const rates = new RateMeter();
  let settings: RunTimeSettings = boot.options;
  let baseline: NodeFigures | null = null;
  let memoryPeakBytes = 0;
  let sampling: NodeJS.Timeout | undefined;
  let respPort = 0;
  let places: readonly NodePlace[] = [];
  const onOpen = (): void => {
    metrics.add(slots.connectionsAccepted, 1);
    metrics.add(slots.connectionsOpen, 1);
  };
  const onClose = (reason: CloseReason = 'client'): void => {
    if (reason !== 'limit') metrics.add(slots.connectionsOpen, -1);
    metrics.add(closedSlots[reason], 1);
  };
  const onBytesIn = (bytes: number): void => {
    metrics.add(slots.bytesIn, bytes);
    schedule();
  };
  const shared = {
    outputBytesMax: maxOutputBytes + maxValueBytes,
    largestValueBytes: () => maxSlot(readers, slots.longestValueBytes),
    idleTimeoutMs,
    isFull: () => sumSlot(readers, slots.connectionsOpen) >= settings.maxConnections,
    meter: {
      sent(bytes: number, replies: number) {
        metrics.add(slots.bytesOut, bytes);
        metrics.add(slots.messagesOut, replies);
      },
      latency: (microseconds: number) => metrics.histograms.commandLatency.record(microseconds),
      failed: (code: ErrorCode) => metrics.add(errorSlots[code], 1),
    },
    onOpen,
    onClose,
    onBytesIn,
  };
  const onCommands = (reads: number, writes: number, others: number): void => {
    metrics.add(slots.commandsRead, reads);
    metrics.add(slots.commandsWrite, writes);
    metrics.add(slots.commandsOther, others);
    metrics.add(slots.messagesIn, reads + writes + others);
  };
  const figures = (): NodeFigures => readFigures(readers);
  const clients = createClientRegistry(workerIndex, workerCount);
  const constants = () => ({
    version,
    startedAtMs: boot.startedAtMs,
    nowMs: Date.now(),
    port: respPort,
    workerCount,
    connectionsMax: settings.maxConnections,
    memoryMaxBytes: settings.maxMemoryBytes,
  });
  const resp = createRespServer({
    ...shared,
    flushQueue: gateway.flushQueue,
    services: {
      router: gateway.router,
      config: {
        settings: () => ({ ...boot.options, ...settings, respPort, workerCount }),
        change: async (changes) => void (await options.changeSettings(changes)),
      },
      info: () =>
        infoSections({
          ...constants(),
          runId,
          memoryPeakBytes,
          figures: figuresSince(baseline, figures()),
          rates: rates.rates,
        }),
      clients,
      node: createWholeNode(options.askAll, figures),
      nowMs: Date.now,
      valueBytesMax: maxValueBytes,
      version,
      onCommands,
    },
  });
  const sample = (): void => {
    const now = figures();
    rates.sample(now, performance.now());
    memoryPeakBytes = Math.max(memoryPeakBytes, now.memoryUsedBytes);
  };
  const native = createNativeServer({
    ...shared,
    gateway,
    nodeId,
    workerIndex,
    version,
    valueBytesMax: maxValueBytes,
    places: () => places,
    splitRange: options.splitRange,
    orderCluster: options.orderCluster,
    status: () => ({ ...constants(), httpPort: boot.httpPort, ...figures() }),
    onCommands,
  });
  return {
    async listen(nativePort, respPortWanted) {
      const isShared = workerCount > 1;
      const at = { host, isShared, sharesReads: true };
      const everyone = await listen({ ...at, port: nativePort, onConnection: native.onConnection });
      listeners.push(everyone);
      const own = await listen({ ...at, port: 0, isShared: false, onConnection: native.onConnection });
      listeners.push(own);
      const redis = await listen({ ...at, port: respPortWanted, onConnection: resp.onConnection });
      listeners.push(redis);
      respPort = redis.port;
      sampling = setInterval(sample, SAMPLE_INTERVAL_MS).unref();
      return { native: everyone.port, own: own.port, resp: redis.port };
    },
    setPlaces(nodes) {
      places = nodes;
    },
    answer: (question) =>
      answerQuestion(question, { clients, nowMs: Date.now, setBaseline: (figuresThen) => (baseline = figuresThen) }),
    configure(changes) {
      settings = { ...settings, ...changes };
      if (changes.idleTimeoutMs !== undefined) {
        resp.setIdleTimeout(changes.idleTimeoutMs);
        native.setIdleTimeout(changes.idleTimeoutMs);
      }
    },
    close() {
      clearInterval(sampling);
      for (const listener of listeners) listener.close();
      resp.close();
      native.close();
    },
  };
}
