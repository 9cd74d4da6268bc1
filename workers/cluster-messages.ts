/** What a shard worker does when the main thread tells it something of the cluster (shards/messages.ts). */
import type { NodeId } from '../src/core/brands.ts';
import { nodeOf, workerId, workerOf } from '../src/core/member.ts';
import type { ClientServers } from '../src/gateway/client-servers.ts';
import type { Gateway } from '../src/gateway/gateway.ts';
import { NodeDirectory } from '../src/net/peer/directory.ts';
import type { MetricsWriter } from '../src/observe/counters.ts';
import type { Logger } from '../src/observe/log.ts';
import type { CheckpointFolder } from '../src/storage/checkpoint/index.ts';
import type { ClusterToWorker, FromWorker, WorkerBoot } from '../shards/messages.ts';
import { asBuffer } from '../shards/messages.ts';
import type { Shard } from '../shards/shard.ts';
import { createSnapshotRate } from '../shards/snapshot-rate.ts';
import type { TurnLoop } from '../shards/turn-loop.ts';

export interface ClusterThread {
  readonly boot: Pick<WorkerBoot, 'workerIndex' | 'options'>;
  readonly shard: Shard;
  readonly gateway: Gateway;
  readonly servers: ClientServers;
  readonly folder: CheckpointFolder;
  readonly metrics: MetricsWriter;
  readonly log: Logger;
  readonly loop: TurnLoop;
  readonly send: (message: FromWorker) => void;
}

type Handlers = { readonly [T in ClusterToWorker['type']]: (message: Extract<ClusterToWorker, { type: T }>) => void };

export function clusterHandlers(thread: ClusterThread): Handlers {
  const { boot, shard, gateway, servers, folder, metrics, log, loop, send } = thread;
  const { workerIndex } = boot;
  const nodeId = boot.options.nodeId as NodeId;
  const { admin } = shard;
  const { schedule } = loop;
  const directory = new NodeDirectory();
  /** Snapshots; makes their files' names unlike any other. */
  let received = 0;
  return {
    listenPeers({ host, port, clusterId, storeId }) {
      const { mesh } = gateway.connectPeers({
        self: { clusterId, nodeId, workerIndex, storeId },
        directory,
        refusePeer: (peer, peerStore) => directory.refusal(peer, peerStore),
        onMessage: (rangeId, message) => {
          shard.host.receive(rangeId, message);
          schedule();
        },
        onBeat: (peer, worker, beat) => {
          shard.host.receiveBeat(workerId(peer, worker), beat);
          schedule();
        },
        onUnreachable: (peer, worker) => {
          shard.host.unreachable(workerId(peer, worker), (member) => {
            const workers = directory.workersOf(peer);
            return nodeOf(member) === peer && (workers === 0 || workerOf(member) % workers === worker);
          });
        },
        onRoundTrip: (ms) => metrics.histograms.peerRoundTrip.record(ms * 1000),
        schedule,
        random: Math.random,
        warn: (text, fields) => log.warn(fields, text),
        snapshots: {
          bytesPerSecond: createSnapshotRate(boot.options),
          incomingFile: (rangeId, index) => folder.incomingFile(rangeId, index, ++received),
          arrived: (rangeId, message, file, done) => shard.snapshotArrived(rangeId, message, file, done),
        },
      });
      mesh.listen(host, port).then(
        (bound) => send({ type: 'peersListening', port: bound }),
        (error: Error) => send({ type: 'failed', message: error.message }),
      );
    },
    peers({ nodes, removed }) {
      directory.update(nodes, removed);
      // A node that is alone is reached where its clients have found it.
      if (nodes.length > 1) servers.setPlaces(nodes);
      gateway.peers?.mesh.addressesChanged();
      gateway.peers?.mesh.refusalsChanged();
      for (const gone of removed) gateway.peers?.forget(gone as NodeId, `node ${gone} was removed from the cluster`);
    },
    proposeCatalog({ id, op }) {
      admin.changeCatalog(asBuffer(op), (error, result) => send({ type: 'catalogDone', id, result, error }));
      schedule();
    },
    changeMembers({ id, ...change }) {
      admin.changeMembers(change, (error) => send({ type: 'changeDone', id, error }));
      schedule();
    },
    transferLeader({ id, rangeId, to }) {
      admin.transferLeader(rangeId, to, (error) => send({ type: 'changeDone', id, error }));
      schedule();
    },
    recoverRange({ id, rangeId }) {
      log.warn({ rangeId }, 'by order of its operator, a range goes on without its other voters');
      admin.recoverAlone(rangeId, (error) => send({ type: 'changeDone', id, error }));
      schedule();
    },
    dropReplica: ({ rangeId, memberId }) => shard.drop(rangeId, memberId),
  };
}
