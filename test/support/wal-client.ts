/** A shard worker's side of a running log, on the test's own thread: append, and wait for the watermark. */
import type { LogIndex, RangeId, Term } from '../../src/core/brands.ts';
import { createDoorbell, createRing, Doorbell, RingProducer } from '../../src/sharedarraybuffer-ring/index.ts';
import { TYPE_CHECKPOINT, TYPE_DATA } from '../../src/storage/wal/format.ts';
import type { WalHandle } from '../../src/storage/wal/pool.ts';
import { WalAppender } from '../../src/storage/wal/record.ts';
import { WalStatusWords } from '../../src/storage/wal/status.ts';

export class WalClient {
  readonly ring: SharedArrayBuffer;
  readonly doorbell = createDoorbell();
  readonly #bell = new Doorbell(this.doorbell);
  #appender: WalAppender | null = null;
  #status: WalStatusWords | null = null;

  constructor(ringBytes = 1024 * 1024) {
    this.ring = createRing({ capacityBytes: ringBytes });
  }

  connect(wal: WalHandle): void {
    this.#status = new WalStatusWords(wal.status);
    this.#appender = new WalAppender(new RingProducer(this.ring, new Doorbell(wal.doorbell)), { status: this.#status });
  }

  get appender(): WalAppender {
    return this.#appender as WalAppender;
  }

  get status(): number {
    return (this.#status as WalStatusWords).status;
  }

  /** Appends and publishes; false when the ring is full. */
  append(rangeId: number, index: number, data: Buffer, type: number = TYPE_DATA): boolean {
    const [term, range, at] = [1 as Term, rangeId as RangeId, index as LogIndex];
    const done = this.appender.append(type as 1, 0, term, range, at, data, 0, data.length);
    this.appender.publish();
    return done;
  }

  checkpoint(rangeId: number, index: number): boolean {
    return this.append(rangeId, index, Buffer.alloc(0), TYPE_CHECKPOINT);
  }

  /** Resolves when `reached()` holds; looks again each time that the writer rings. */
  until(reached: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      while (!reached()) if (this.#bell.park(reached, look)) return;
      resolve();
    };
    look();
    return promise;
  }

  /** Resolves when everything appended so far is durable. */
  durable(): Promise<void> {
    const { position } = this.appender;
    return this.until(() => this.appender.durable >= position);
  }
}
