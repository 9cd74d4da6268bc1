/** A load of reads and writes by several clients of a store, and the history of what they did and saw. */
import type { Store } from '../../src/client/store.ts';
import { connect } from '../../src/client/connect.ts';
import { SkerryError } from '../../src/core/errors.ts';
import type { Prng } from '../../src/core/prng.ts';
import type { Operation } from './linearizability.ts';

export interface WorkloadOptions {
  /** Each client is given one of them first. */
  readonly urls: readonly string[];
  readonly clients: number;
  readonly keys: readonly string[];
  readonly prng: Prng;
  /** Of one call, retries included. */
  readonly timeoutMs: number;
}

/** Errors after which a write did not happen for sure. */
const REFUSED = new Set(['KV_INVALID', 'KV_TOO_LARGE', 'KV_OVERLOADED', 'KV_DISK_FULL', 'KV_OUT_OF_MEMORY']);

export class Workload {
  readonly history: Operation[] = [];
  /** Why calls failed, by code. */
  readonly errors = new Map<string, number>();
  readonly #options: WorkloadOptions;
  #isStopping = false;
  #running: Promise<void>[] = [];
  #nextValue = 1;
  #succeeded = 0;
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  /** May be called again after stop(): the history goes on. */
  start(): void {
    const { clients } = this.#options;
    this.#isStopping = false;
    this.#running = [];
    for (let i = 0; i < clients; i++) this.#running.push(this.#client(i));
  }

  /** Resolves when so many more operations have succeeded. */
  progress(count: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ count: this.#succeeded + count, resolve }));
  }

  /** Stops, whatever becomes of the calls under way. */
  async abandon(): Promise<void> {
    this.#isStopping = true;
    await Promise.allSettled(this.#running);
  }

  /** Stops, and reads every key once more. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#running);
    const store = await this.#open(0);
    for (const key of this.#options.keys) await this.#read(store, 'last', key);
    await store.close();
  }

  #open(client: number): Promise<Store<'text'>> {
    const { urls, timeoutMs } = this.#options;
    const own = urls[client % urls.length] as string;
    const others = urls.filter((url) => url !== own);
    return connect(`skerry://${[own, ...others].join(',')}`, { as: 'text', timeoutMs, retries: 1000 });
  }

  async #client(client: number): Promise<void> {
    const { keys, prng } = this.#options;
    const store = await this.#open(client);
    while (!this.#isStopping) {
      const key = keys[prng.below(keys.length)] as string;
      if (prng.below(2) === 0) await this.#read(store, client, key);
      else await this.#write(store, client, key);
    }
    await store.close();
  }

  async #read(store: Store<'text'>, client: number | string, key: string): Promise<void> {
    const invokedAt = performance.now();
    try {
      const value = (await store.get(key)) ?? null;
      this.#done({ client, key, kind: 'read', value, invokedAt, returnedAt: performance.now(), outcome: 'ok' });
    } catch (error) {
      this.#failed(error);
    }
  }

  async #write(store: Store<'text'>, client: number, key: string): Promise<void> {
    const value = String(this.#nextValue++);
    const invokedAt = performance.now();
    const operation = { client, key, kind: 'write', value, invokedAt } as const;
    try {
      await store.set(key, value);
      this.#done({ ...operation, returnedAt: performance.now(), outcome: 'ok' });
    } catch (error) {
      const outcome = REFUSED.has(this.#failed(error)) ? 'failed' : 'unknown';
      this.history.push({ ...operation, returnedAt: null, outcome });
    }
  }

  #done(operation: Operation): void {
    this.history.push(operation);
    this.#succeeded++;
    for (const waiting of this.#waiting) if (this.#succeeded >= waiting.count) waiting.resolve();
    this.#waiting = this.#waiting.filter(({ count }) => this.#succeeded < count);
  }

  #failed(error: unknown): string {
    if (!(error instanceof SkerryError)) throw error;
    this.errors.set(error.code, (this.errors.get(error.code) ?? 0) + 1);
    return error.code;
  }
}

/** The longest time without a successful operation that ended between the two moments (performance.now). */
export function longestGapMs(history: readonly Operation[], fromMs: number, untilMs: number): number {
  const ends = history
    .filter(({ outcome, returnedAt }) => outcome === 'ok' && returnedAt !== null)
    .map(({ returnedAt }) => returnedAt as number)
    .filter((end) => end >= fromMs && end <= untilMs)
    .sort((a, b) => a - b);
  let longest = 0;
  let last = fromMs;
  for (const end of [...ends, untilMs]) {
    longest = Math.max(longest, end - last);
    last = end;
  }
  return longest;
}
