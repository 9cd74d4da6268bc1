/** A target that is used as programs use it: by the client's API, over TCP or embedded. */
import type { Store } from '../client/store.ts';
import { KEY_BYTES, writeKey } from './keys.ts';
import { READ, SCAN } from './operations.ts';
import type { Outcome, Target, TargetEvents } from './target.ts';
import { DONE, FAILED, MISS } from './target.ts';

export interface StoreTargetOptions {
  /** Opens the store of one client. */
  readonly openStore: () => Promise<Store>;
  /** Stores to open; each carries the requests of `slotsPerStore` slots. */
  readonly stores: number;
  readonly slotsPerStore: number;
  readonly valueBytes: number;
  readonly nowMs: () => number;
}

/** What a slot needs, made once and used for all its operations. */
interface Slot {
  readonly store: Store;
  /** The key under way; the client may write it again when it retries. */
  readonly key: Buffer;
  readonly onWritten: () => void;
  readonly onRead: (value: Buffer | undefined) => void;
  readonly onFailed: (error: Error) => void;
}

export function createStoreTarget(options: StoreTargetOptions): Target {
  const { slotsPerStore, nowMs } = options;
  const value = Buffer.alloc(options.valueBytes, 'x');
  const stores: Store[] = [];
  const slots: Slot[] = [];

  const createSlot = (number: number, store: Store, events: TargetEvents): Slot => {
    const done = (outcome: Outcome): void => {
      const atMs = nowMs();
      events.done(number, outcome, atMs);
      events.turned(atMs);
    };
    return {
      store,
      key: Buffer.alloc(KEY_BYTES),
      onWritten: () => done(DONE),
      onRead: (found) => done(found === undefined ? MISS : DONE),
      onFailed: (error) => {
        events.failed(error.message);
        done(FAILED);
      },
    };
  };

  return {
    async open(events) {
      for (let i = 0; i < options.stores; i++) {
        const store = await options.openStore();
        stores.push(store);
        for (let j = 0; j < slotsPerStore; j++) slots.push(createSlot(slots.length, store, events));
      }
    },
    begin(number, { kind, keyNumber, entries }) {
      const slot = slots[number] as Slot;
      const { store, key } = slot;
      writeKey(key, 0, keyNumber);
      if (kind === READ) store.get(key).then(slot.onRead, slot.onFailed);
      else if (kind === SCAN) readEntries(store, key, entries).then(slot.onWritten, slot.onFailed);
      else store.set(key, value).then(slot.onWritten, slot.onFailed);
    },
    flush() {
      // The client sends what a turn of the loop has called, by itself.
    },
    async close() {
      await Promise.all(stores.map((store) => store.close()));
    },
  };
}

async function readEntries(store: Store, start: Buffer, limit: number): Promise<void> {
  const entries = store.list({ start, limit });
  for (let result = await entries.next(); result.done !== true; result = await entries.next());
}
