/** What can be set when a store is opened and with each call. */

import { CONSISTENCY_LEASE, CONSISTENCY_LINEARIZABLE, CONSISTENCY_STALE } from '../core/kv/spec.ts';

/** How keys and values come back: `bytes` as Buffer (a Uint8Array), `text` as string (UTF-8). */
export type Format = 'bytes' | 'text';
export type Formatted<As extends Format> = As extends 'text' ? string : Buffer;

/** Keys and values that go in: strings are UTF-8. The bytes must not change until the call has settled. */
export type Key = Uint8Array | string;
export type Value = Uint8Array | string;

/**
 * What a read may rest on. `lease`: the leader, while its lease holds. `linearizable`: the leader, once a quorum has
 * confirmed that it still leads. `stale`: any replica.
 */
export type Consistency = 'lease' | 'linearizable' | 'stale';

export interface CallOptions {
  /** Gives up when it aborts: KV_ABORTED. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for the whole call, retries included; Infinity = no limit. Default: the store's `timeoutMs`. */
  readonly timeoutMs?: number | undefined;
}

export interface ReadOptions<As extends Format = Format> extends CallOptions {
  readonly as?: As | undefined;
  readonly consistency?: Consistency | undefined;
}

export interface SetOptions extends CallOptions {
  /** Milliseconds until the key expires. Without it (and without keepTtl) the key does not expire. */
  readonly ttlMs?: number | undefined;
  /** Keeps the expiry that the key has. */
  readonly keepTtl?: boolean | undefined;
  /** Only when the key is absent. */
  readonly ifAbsent?: boolean | undefined;
  /** Only when the key is present. */
  readonly ifPresent?: boolean | undefined;
}

export interface ListOptions<As extends Format = Format> extends ReadOptions<As> {
  /** Only keys that begin with it. Not together with start or end. */
  readonly prefix?: Key | undefined;
  /** First key (inclusive). */
  readonly start?: Key | undefined;
  /** Key behind the last one (exclusive). */
  readonly end?: Key | undefined;
  /** At most this many entries. */
  readonly limit?: number | undefined;
  /** From the last key to the first. */
  readonly reverse?: boolean | undefined;
  /** Goes on behind this key: the key of the last entry that an earlier list gave. */
  readonly cursor?: Key | undefined;
}

export interface Entry<As extends Format = 'bytes'> {
  readonly key: Formatted<As>;
  readonly value: Formatted<As>;
}

export type BatchOperation =
  | { readonly type: 'put'; readonly key: Key; readonly value: Value; readonly ttlMs?: number | undefined }
  | { readonly type: 'delete'; readonly key: Key };

export interface OpenOptions<As extends Format = Format> {
  /** How keys and values come back unless a call says otherwise. Default `bytes`. */
  readonly as?: As | undefined;
  /** Milliseconds for a call that does not say itself. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /** Milliseconds for one attempt to connect. Default 5,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** How often one call is sent again, or waits for another round of connecting, before it fails. Default 16. */
  readonly retries?: number | undefined;
  /** Milliseconds before the first retry; doubled for each further one, up to a second. Default 20. */
  readonly retryDelayMs?: number | undefined;
  /** Calls not yet settled; more fail at once with KV_OVERLOADED. Default 100,000. */
  readonly pendingMax?: number | undefined;
  /** Entries that one request of list() asks for. Default 256. */
  readonly pageEntries?: number | undefined;
  /** What the store shall call this client. */
  readonly name?: string | undefined;
  /** For an embedded store (a path instead of an address): its settings, as in the configuration file. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
}

const CONSISTENCIES: Readonly<Record<Consistency, number>> = {
  lease: CONSISTENCY_LEASE,
  linearizable: CONSISTENCY_LINEARIZABLE,
  stale: CONSISTENCY_STALE,
};

/** The consistency of a read as frames say it. */
export function consistencyCode(options: ReadOptions | undefined): number {
  return CONSISTENCIES[options?.consistency ?? 'lease'];
}

export interface ClientSettings {
  readonly as: Format;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly retries: number;
  readonly retryDelayMs: number;
  readonly pendingMax: number;
  readonly pageEntries: number;
  readonly name: string;
}

export const RETRY_DELAY_MAX_MS = 1000;

export function clientSettings(options: OpenOptions): ClientSettings {
  return {
    as: options.as ?? 'bytes',
    timeoutMs: options.timeoutMs ?? 10_000,
    connectTimeoutMs: options.connectTimeoutMs ?? 5000,
    retries: options.retries ?? 16,
    retryDelayMs: options.retryDelayMs ?? 20,
    pendingMax: options.pendingMax ?? 100_000,
    pageEntries: options.pageEntries ?? 256,
    name: options.name ?? 'skerry',
  };
}
