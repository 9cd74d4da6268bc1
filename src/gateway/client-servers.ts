/** The servers that clients connect to, of one worker: RESP and native, on the shared ports and on the worker's own. */
import { MetricsReader } from '../observe/counters.ts';
import type { MetricsWriter } from '../observe/counters.ts';
import { sumSlot } from '../observe/counters.ts';
import { slots } from '../observe/metrics.ts';
import type { Listener } from '../net/listener.ts';
import { listen } from '../net/listener.ts';
import type { Gateway } from './gateway.ts';
import { createNativeServer } from './native/server.ts';
import { createClientRegistry } from './resp/clients.ts';
import { infoSections } from './resp/info.ts';
import type { CloseReason } from './resp/server.ts';
import { createRespServer } from './resp/server.ts';
import type { ConfigPort } from './resp/services.ts';

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
    readonly options: {
      readonly host: string;
      readonly maxConnections: number;
      readonly maxOutputBytes: number;
      readonly idleTimeoutMs: number;
      readonly maxMemoryBytes: number;
      readonly maxValueBytes: number;
      readonly maxRecoverySeconds: number;
    };
  };
  /** Cuts a range, wherever it lives. Rejects with SkerryError. */
  readonly splitRange: (key: Buffer) => Promise<void>;
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
  /** The workers' own native ports, by worker. */
  setTopology(ports: readonly number[]): void;
  /** Takes no more connections, and ends those that there are after the replies that are owed. */
  close(): void;
}

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
  const { host, maxConnections, maxOutputBytes, idleTimeoutMs, maxValueBytes } = boot.options;
  const listeners: Listener[] = [];
  const readers = options.metricsAreas.map((area) => new MetricsReader(area));
  let respPort = 0;
  let workerPorts: readonly number[] = [];
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
    idleTimeoutMs,
    isFull: () => sumSlot(readers, slots.connectionsOpen) >= maxConnections,
    meter: {
      sent(bytes: number, replies: number) {
        metrics.add(slots.bytesOut, bytes);
        metrics.add(slots.messagesOut, replies);
      },
      latency: (microseconds: number) => metrics.histograms.commandLatency.record(microseconds),
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
  const resp = createRespServer({
    ...shared,
    flushQueue: gateway.flushQueue,
    services: {
      router: gateway.router,
      config: createConfigPort(options),
      info: () => infoSections({ ...infoNumbers(readers), ...infoConstants() }),
      clients: createClientRegistry(workerIndex, workerCount),
      nowMs: Date.now,
      valueBytesMax: maxValueBytes,
      version,
      onCommands,
    },
  });
  const infoConstants = () => ({
    version,
    startedAtMs: boot.startedAtMs,
    nowMs: Date.now(),
    port: respPort,
    workerCount,
    connectionsMax: maxConnections,
    memoryMaxBytes: boot.options.maxMemoryBytes,
  });
  const native = createNativeServer({
    ...shared,
    gateway,
    workerIndex,
    version,
    valueBytesMax: maxValueBytes,
    workerPorts: () => workerPorts,
    splitRange: options.splitRange,
    status: () => ({ ...infoConstants(), ...infoNumbers(readers) }),
    onCommands,
  });
  return {
    async listen(nativePort, respPortWanted) {
      const isShared = workerCount > 1;
      const at = { host, isShared };
      const everyone = await listen({ ...at, port: nativePort, onConnection: native.onConnection });
      listeners.push(everyone);
      const own = await listen({ host, port: 0, isShared: false, onConnection: native.onConnection });
      listeners.push(own);
      const redis = await listen({ ...at, port: respPortWanted, onConnection: resp.onConnection });
      listeners.push(redis);
      respPort = redis.port;
      return { native: everyone.port, own: own.port, resp: redis.port };
    },
    setTopology(ports) {
      workerPorts = ports;
    },
    close() {
      for (const listener of listeners) listener.close();
      resp.close();
      native.close();
    },
  };
}

function infoNumbers(readers: readonly MetricsReader[]) {
  const sum = (slot: number): number => sumSlot(readers, slot);
  return {
    connections: sum(slots.connectionsOpen),
    connectionsTotal: sum(slots.connectionsAccepted),
    commandsTotal: sum(slots.commandsRead) + sum(slots.commandsWrite) + sum(slots.commandsOther),
    bytesIn: sum(slots.bytesIn),
    bytesOut: sum(slots.bytesOut),
    keys: sum(slots.keys),
    keysExpired: sum(slots.keysExpired),
    memoryUsedBytes: sum(slots.memoryUsedBytes),
    ranges: sum(slots.ranges),
  };
}

/** CONFIG under Redis's names: what tools look for, read only. */
function createConfigPort({ boot }: ClientServersOptions): ConfigPort {
  const { options } = boot;
  const values = new Map([
    ['appendfsync', 'always'],
    ['appendonly', 'yes'],
    ['databases', '1'],
    ['maxclients', String(options.maxConnections)],
    ['maxmemory', String(options.maxMemoryBytes)],
    ['maxmemory-policy', 'noeviction'],
    ['max-recovery-seconds', String(options.maxRecoverySeconds)],
    ['proto-max-bulk-len', String(options.maxValueBytes)],
    ['save', ''],
    ['timeout', String(Math.floor(options.idleTimeoutMs / 1000))],
  ]);
  return {
    all: () => values,
    set: (name) =>
      values.has(name)
        ? `ERR CONFIG SET failed (possibly related to argument '${name}') - can't set immutable config`
        : `ERR Unknown option or number of arguments for CONFIG SET - '${name}'`,
    resetStatistics: () => undefined,
  };
}
