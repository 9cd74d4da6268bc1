/**
 * Main of a shard worker: connects its ranges (shards/) to clients and other workers (src/gateway/), to the WAL's ring and
 * to the main thread.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import type { NodeId } from '../src/core/brands.ts';
import { workerIdOf } from '../src/core/member.ts';
import { MemoryArena } from '../src/engine/memory/arena.ts';
import { Gateway } from '../src/gateway/gateway.ts';
import { createClientServers } from '../src/gateway/client-servers.ts';
import { MetricsWriter } from '../src/observe/counters.ts';
import { createLogger } from '../src/observe/log.ts';
import { slots } from '../src/observe/metrics.ts';
import { Doorbell, RingProducer } from '../src/sharedarraybuffer-ring/index.ts';
import { CheckpointFolder } from '../src/storage/checkpoint/index.ts';
import { nodeDisk } from '../src/storage/disk.ts';
import { WalAppender } from '../src/storage/wal/record.ts';
import { WalStatusWords } from '../src/storage/wal/status.ts';
import { createCheckpointPort } from '../shards/checkpoint-port.ts';
import { RangeLog, refusalOf } from '../shards/log.ts';
import { ARENA_BYTES_MAX, createMemoryGauge } from '../shards/memory-gauge.ts';
import { logToLookThrough } from '../shards/find-superseded.ts';
import type { FromWorker } from '../shards/messages.ts';
import { Requests } from '../shards/requests.ts';
import { recoverRanges } from '../shards/recovery.ts';
import { Shard } from '../shards/shard.ts';
import { REQUEST_TIMEOUT_MS, shardOptions } from '../shards/shard-options.ts';
import { TurnLoop } from '../shards/turn-loop.ts';
import { receiveBoot } from './boot.ts';
import { logReads, mainQuestions } from './main-questions.ts';
import { createRangeReports } from './range-reports.ts';
import { handleMessages } from './shard-messages.ts';
import { publishLevels, publishRecovery, startUpkeep } from './upkeep.ts';

const main = parentPort;
if (main === null) throw new Error('shard.worker is the main of a worker thread: run `skerry serve`');
const { boot, superseded } = await receiveBoot(workerData as MessagePort);
const { workerIndex, workerCount, options, metricsAreas } = boot;
const log = createLogger({ level: options.logLevel, format: options.logFormat, thread: `worker ${workerIndex}` });
const metrics = new MetricsWriter(metricsAreas[workerIndex]);
const arena = new MemoryArena({ maxBytes: ARENA_BYTES_MAX });
const memory = createMemoryGauge(metricsAreas, workerIndex, options.maxMemoryBytes, arena);
const wal = new WalStatusWords(boot.walStatus);
const ring = new RingProducer(boot.walRing, new Doorbell(boot.walDoorbell));
const requests = new Requests();
const folder = new CheckpointFolder(nodeDisk, boot.checkpointsDir);
/** Pages of deleted data given back in one turn: about half a millisecond. */
const RECLAIM_STEPS = 1000;
const send = (message: FromWorker): void => main.postMessage(message);

const reports = createRangeReports(
  () => shard,
  () => gateway,
  metrics,
  send,
);

const loop = new TurnLoop({
  doorbell: new Doorbell(boot.doorbells[workerIndex] as SharedArrayBuffer),
  turn,
  isReady: () => gateway.readable || shard.host.hasLogNews,
  onFatal: (error) => {
    log.fatal({ err: error }, 'the worker stops');
    send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
  },
});

const shard = new Shard(shardOptions(boot), {
  log: new RangeLog(new WalAppender(ring, { status: wal }), logReads(requests, send), boot.walSyncTimes),
  disk: nodeDisk,
  folder,
  createStore: () => arena.createStore(),
  refuseWrites: () => refusalOf(wal.status),
  hasMemory: (bytes) => memory.hasRoom(bytes),
  resubmit: (...command) => gateway.router.submitAgain(...command),
  awaitLeader: (...command) => gateway.router.awaitLeader(...command),
  sendMessage: (rangeId, message) => gateway.peers?.mesh.send(rangeId, message),
  sendBeat: (worker, beat) => gateway.peers?.mesh.beat(worker, beat),
  workerOf: (member) => gateway.peers?.mesh.workerOf(member) ?? workerIdOf(member),
  sendSnapshot: (rangeId, message, file, done) => gateway.sendSnapshot(rangeId, message, file, done),
  rangesChanged: () => reports.changed(),
  catalogChanged: (catalog) => send({ type: 'catalog', revision: catalog.revision, bytes: catalog.encode() }),
  ...createCheckpointPort(metrics, log, requests, send),
  schedule: () => loop.schedule(),
  scheduleIn: (delayMs) => loop.scheduleIn(delayMs),
  monotonicMs: () => performance.now(),
  metrics,
});

const gateway = new Gateway({
  nodeId: options.nodeId as NodeId,
  workerIndex,
  workerCount,
  doorbells: boot.doorbells,
  links: boot.links,
  scanCursors: boot.scanCursors,
  localRange: (rangeId) => shard.host.replicas.get(rangeId),
  nowMs: Date.now,
  monotonicMs: () => performance.now(),
  leaderWaitMs: REQUEST_TIMEOUT_MS,
  onForward: () => metrics.add(slots.commandsForwarded, 1),
  schedule: loop.schedule,
});

const servers = createClientServers({
  gateway,
  metrics,
  metricsAreas,
  boot,
  ...mainQuestions(requests, send),
  schedule: loop.schedule,
});

function turn(): void {
  gateway.drain();
  shard.turn(Date.now());
  memory.update();
  publishLevels(metrics, arena.bytesReserved, ring, gateway);
  gateway.flush();
  reports.flush();
  if (arena.reclaim(RECLAIM_STEPS)) loop.schedule();
}

const startedMs = performance.now();
const recovered = recoverRanges({
  ...boot,
  ...logToLookThrough(boot),
  disk: nodeDisk,
  folder,
  createStore: () => arena.createStore(),
  nowMs: Date.now(),
  superseded: await superseded(nodeDisk),
});
for (const range of recovered.ranges) shard.adopt(range);
shard.awaitStates(recovered.waiting);
for (const replica of recovered.damaged) {
  log.error({ ...replica }, 'a range of this node is damaged: it waits to be taken out of its group and made anew');
}
shard.giveUp([...boot.damaged, ...recovered.damaged]);
memory.update();
reports.changed();
reports.flush();
publishRecovery(metrics, recovered.records, performance.now() - startedMs);
send({ type: 'recovered' });
main.on(
  'message',
  handleMessages({
    boot,
    shard,
    gateway,
    folder,
    servers,
    requests,
    loop,
    memory,
    metrics,
    log,
    send,
  }),
);
startUpkeep(shard, gateway, loop, metrics, options.heartbeatIntervalMs, arena, send);
loop.schedule();
