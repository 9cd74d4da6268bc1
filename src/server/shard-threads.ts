/** The shard workers of a node: starting them, telling them things, and stopping them. */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { FatalError, SkerryError } from '../core/errors.ts';
import type { LinkEnd } from '../gateway/gateway.ts';
import type { FromWorker, ToWorkerInCluster, WorkerBoot, WorkerPorts } from '../../shards/messages.ts';

/** The same files are .ts in a checkout and .js in the published package. */
const EXTENSION = path.extname(import.meta.url);
const SHARD_WORKER = new URL(`../../workers/shard.worker${EXTENSION}`, import.meta.url);

export interface ShardThreadEvents {
  /** What a worker says that nobody waits for. */
  readonly onMessage: (workerIndex: number, message: FromWorker) => void;
  readonly onFailed: (error: FatalError) => void;
}

interface ShardThread {
  readonly thread: Worker;
  /** Resolves with the first message of the type. */
  readonly waiting: Map<FromWorker['type'], (message: FromWorker) => void>;
}

export class ShardThreads {
  readonly #events: ShardThreadEvents;
  #threads: ShardThread[] = [];

  constructor(events: ShardThreadEvents) {
    this.#events = events;
  }

  get count(): number {
    return this.#threads.length;
  }

  /** Starts them and resolves when all have recovered. Rejects with KV_STATE when one fails. */
  async start(boots: readonly (WorkerBoot & { readonly links: readonly LinkEnd[] })[]): Promise<void> {
    for (const boot of boots) this.#threads.push(this.#start(boot));
    // Each says what ranges it has before it says that it is done.
    await Promise.all(this.#threads.map((thread) => nextMessage(thread, 'recovered')));
  }

  tell(workerIndex: number, message: ToWorkerInCluster): void {
    this.#threads[workerIndex]?.thread.postMessage(message);
  }

  /** Tells all of them, but for one that knows already. */
  tellAll(message: ToWorkerInCluster, except = -1): void {
    this.#threads.forEach(({ thread }, workerIndex) => {
      if (workerIndex !== except) thread.postMessage(message);
    });
  }

  /** Listens for clients; resolves with the ports of each worker. */
  async listen(nativePort: number, respPort: number): Promise<WorkerPorts[]> {
    const ports: WorkerPorts[] = [];
    // One after another: the first may be given free ports, which the others then share.
    for (const thread of this.#threads) {
      const listening = nextMessage(thread, 'listening');
      const [first] = ports;
      this.#post(thread, {
        type: 'listen',
        nativePort: first?.native ?? nativePort,
        respPort: first?.resp ?? respPort,
      });
      const answer = await listening;
      if (answer.type === 'listening') ports.push(answer.ports);
    }
    this.tellAll({ type: 'topology', ports: ports.map(({ own }) => own) });
    return ports;
  }

  /** Listens for the workers of other nodes, on the ports from `firstPort` on (0: free ones); resolves with the ports. */
  async listenPeers(
    host: string,
    firstPort: number,
    { clusterId, storeId }: { readonly clusterId: string; readonly storeId: string },
  ): Promise<number[]> {
    const answers = this.#threads.map((thread, workerIndex) => {
      const listening = nextMessage(thread, 'peersListening');
      const port = firstPort === 0 ? 0 : firstPort + workerIndex;
      this.#post(thread, { type: 'listenPeers', host, port, clusterId, storeId });
      return listening;
    });
    return (await Promise.all(answers)).map((answer) => (answer.type === 'peersListening' ? answer.port : 0));
  }

  /** Lets them finish what they owe, when `isGentle`, and ends them. Rejects when one fails at that; all have ended then, too. */
  async stop(isGentle: boolean): Promise<void> {
    const threads = this.#threads;
    try {
      if (isGentle) {
        const stopped = threads.map((thread) => nextMessage(thread, 'stopped'));
        this.tellAll({ type: 'stop' });
        await Promise.all(stopped);
      }
    } finally {
      await Promise.all(threads.map(({ thread }) => thread.terminate()));
      this.#threads = [];
    }
  }

  #start(boot: WorkerBoot & { readonly links: readonly LinkEnd[] }): ShardThread {
    const { workerIndex } = boot;
    const thread = new Worker(SHARD_WORKER, {
      workerData: boot,
      transferList: boot.links.map(({ port }) => port),
      name: `shard ${workerIndex}`,
    });
    const waiting: ShardThread['waiting'] = new Map();
    thread.on('message', (message: FromWorker) => {
      const waiter = waiting.get(message.type);
      waiting.delete(message.type);
      if (waiter !== undefined) waiter(message);
      else if (message.type !== 'failed') this.#events.onMessage(workerIndex, message);
      else this.#events.onFailed(new FatalError('KV_STATE', `A worker failed: ${message.message}`));
    });
    thread.on('error', (cause: Error) => {
      this.#events.onFailed(new FatalError('KV_STATE', `Worker ${workerIndex} failed: ${cause.message}`, { cause }));
    });
    return { thread, waiting };
  }

  #post({ thread }: ShardThread, message: ToWorkerInCluster): void {
    thread.postMessage(message);
  }
}

/** The worker's next message of the type. Rejects when it fails first. */
function nextMessage({ thread, waiting }: ShardThread, type: FromWorker['type']): Promise<FromWorker> {
  return new Promise((resolve, reject) => {
    waiting.set(type, (message) => {
      waiting.delete('failed');
      resolve(message);
    });
    waiting.set('failed', (message) => {
      reject(new SkerryError('KV_STATE', message.type === 'failed' ? message.message : 'the worker failed'));
    });
    thread.once('error', reject);
  });
}
