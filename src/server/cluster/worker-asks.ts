/** What the main thread asks shard workers to do, and their answers. */
import type { CatalogResult } from '../../core/catalog/types.ts';
import { SkerryError } from '../../core/errors.ts';
import type { FromWorker, ToWorkerInCluster } from '../../../shards/messages.ts';

type Tell = (workerIndex: number, message: ToWorkerInCluster) => void;

interface Waiting {
  readonly resolve: (value: CatalogResult | null) => void;
  readonly reject: (error: SkerryError) => void;
  readonly timer: NodeJS.Timeout;
}

export class WorkerAsks {
  readonly #tell: Tell;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  /**
   * Sends what `message` makes of an id, and resolves with the answer. Rejects with KV_CONSENSUS when the worker refuses,
   * with KV_TIMEOUT when it says nothing: what was asked may or may not happen then.
   */
  ask(
    workerIndex: number,
    timeoutMs: number,
    message: (id: number) => ToWorkerInCluster,
  ): Promise<CatalogResult | null> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new SkerryError('KV_TIMEOUT', `worker ${workerIndex} did not answer`, { retryable: true }));
      }, timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#tell(workerIndex, message(id));
    });
  }

  answered(message: Extract<FromWorker, { type: 'catalogDone' | 'changeDone' }>): void {
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.error !== null) waiting.reject(new SkerryError('KV_CONSENSUS', message.error, { retryable: true }));
    else waiting.resolve(message.type === 'catalogDone' ? message.result : null);
  }
}
