/** The shard workers of a node: starting them, telling them things, and stopping them. */
import path from 'node:path';
import { MessageChannel, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { FatalError, SkerryError } from '../core/errors.ts';
import type { LinkEnd } from '../gateway/gateway.ts';
import { logToLookThrough } from '../../shards/find-superseded.ts';
import type { LogToLookThrough, Superseded } from '../../shards/find-superseded.ts';
import type { FromWorker, ToWorkerInCluster, WorkerBoot, WorkerPorts } from '../../shards/messages.ts';

/** The same files are .ts in a checkout and .js in the published package. */
const EXTENSION = path.extname(import.meta.url);
const SHARD_WORKER = new URL(`../../workers/shard.worker${EXTENSION}`, import.meta.url);

export interface ShardThreadEvents {
  /** What a worker says that nobody waits for. */
  readonly onMessage: (workerIndex: number, message: FromWorker) => void;
  readonly onFailed: (error: FatalError) => void;
}

type BootWithLinks = WorkerBoot & { readonly links: readonly LinkEnd[] };

interface ShardThread {
  readonly thread: Worker;
  /** Says what it is to recover. */
  readonly boot: MessagePort;
  readonly recovered: Promise<FromWorker>;
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

  /** Starts so many, which load their modules while the main thread finds out what they are to recover. */
  spawn(count: number): void {
    this.#threads = Array.from({ length: count }, (_, workerIndex) => this.#spawn(workerIndex));
  }

  /**
   * Has them recover, and resolves when all have. Rejects with KV_STATE when one fails, or has failed before. `help`: finds the
   * puts that the second share of a worker's keys supersedes, when its boot says that it is helped; null: nobody has.
   */
  async recover(
    boots: readonly BootWithLinks[],
    help: (log: LogToLookThrough) => Promise<Superseded | null>,
  ): Promise<void> {
    for (const [workerIndex, { boot: port }] of this.#threads.entries()) {
      const boot = boots[workerIndex] as BootWithLinks;
      port.postMessage(
        boot,
        boot.links.map((link) => link.port),
      );
      if (boot.isHelped) void help(logToLookThrough(boot)).then((superseded) => port.postMessage(superseded));
    }
    // Each says what ranges it has before it says that it is done.
    await Promise.all(this.#threads.map(({ recovered }) => recovered));
    for (const { boot } of this.#threads) boot.close();
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
      for (const { boot } of threads) boot.close();
      this.#threads = [];
    }
  }

  #spawn(workerIndex: number): ShardThread {
    const { port1, port2 } = new MessageChannel();
    const thread = new Worker(SHARD_WORKER, {
      workerData: port2,
      transferList: [port2],
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
    const recovered = nextMessage({ thread, waiting }, 'recovered');
    // Whoever calls recover() gets to know of it, or onFailed() has been told.
    recovered.catch(() => undefined);
    return { thread, boot: port1, recovered, waiting };
  }

  #post({ thread }: ShardThread, message: ToWorkerInCluster): void {
    thread.postMessage(message);
  }
}

/** The worker's next message of the type. Rejects when it fails first. */
function nextMessage(
  { thread, waiting }: Pick<ShardThread, 'thread' | 'waiting'>,
  type: FromWorker['type'],
): Promise<FromWorker> {
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
