// The dumb second implementation that the ring is compared with: a queue of records and a tape that never ends.
//
// The tape has one cell per position; the ring's data area is a window of it, `capacityBytes` wide. Nothing wraps here.
import type { RingConsumer, RingProducer } from '../index.ts';

interface ModelRecord {
  readonly start: number;
  readonly end: number;
  readonly fill: number;
}

export type Step =
  | { readonly kind: 'reserve'; readonly bytes: number }
  | { readonly kind: 'commit'; readonly bytes: number }
  | { readonly kind: 'releaseTo'; readonly records: number }
  | {
      readonly kind:
        | 'reserveToLapEnd'
        | 'publish'
        | 'consume'
        | 'consumeAll'
        | 'release'
        | 'newProducer'
        | 'newConsumer';
    };

/** A ring's two ends, replaceable while the ring lives on. */
export interface Ends {
  producer: RingProducer;
  consumer: RingConsumer;
  readonly newProducer: () => RingProducer;
  readonly newConsumer: () => RingConsumer;
}

function check(holds: boolean, promise: string): void {
  if (!holds) throw new Error(`broken: ${promise}`);
}

/** Takes the same steps on a ring and on a plain queue, and throws where they part. */
export class Model {
  readonly #ends: Ends;
  readonly #capacityBytes: number;
  #records: ModelRecord[] = [];
  #publishedRecords = 0;
  #consumedRecords = 0;
  #reserved: { readonly start: number; readonly bytes: number } | null = null;
  #position: number;
  #published: number;
  #released: number;
  #nextFill = 0;
  /** How often each way was really taken: a property that never gets there shows nothing. */
  readonly seen = { full: 0, skipped: 0, exactLapEnd: 0, abandoned: 0, consumed: 0 };

  constructor(ends: Ends, capacityBytes: number, startPosition: number) {
    this.#ends = ends;
    this.#capacityBytes = capacityBytes;
    this.#position = startPosition;
    this.#published = startPosition;
    this.#released = startPosition;
  }

  take(step: Step): void {
    switch (step.kind) {
      case 'reserve':
        this.#reserve(step.bytes);
        break;
      case 'reserveToLapEnd':
        this.#reserve(this.#capacityBytes - (this.#position % this.#capacityBytes));
        break;
      case 'commit':
        this.#commit(step.bytes);
        break;
      case 'publish':
        this.#ends.producer.publish();
        this.#publishedRecords = this.#records.length;
        this.#published = this.#position;
        break;
      case 'consume':
        this.#consume();
        break;
      case 'consumeAll':
        while (this.#consumedRecords < this.#publishedRecords) this.#consume();
        this.#consume();
        break;
      case 'release':
        this.#ends.consumer.release();
        this.#give(this.#ends.consumer.position);
        break;
      case 'releaseTo':
        this.#releaseTo(step.records);
        break;
      case 'newProducer':
        this.#newProducer();
        break;
      case 'newConsumer':
        this.#ends.consumer = this.#ends.newConsumer();
        this.#consumedRecords = 0;
        check(this.#ends.consumer.position === this.#released, 'a new consumer begins at the released position');
        break;
    }
    const { producer, consumer } = this.#ends;
    const readable = this.#consumedRecords < this.#publishedRecords;
    check(producer.position === this.#position, 'the position lies behind the last committed byte');
    check(producer.released() === this.#released, 'the producer sees what was released');
    check(producer.bytesFree === this.#capacityBytes - (this.#position - this.#released), 'free is what is left');
    check(consumer.readable === readable, 'readable when something is published and not consumed');
  }

  #reserve(bytes: number): void {
    const lapBytesLeft = this.#capacityBytes - (this.#position % this.#capacityBytes);
    const start = bytes > lapBytesLeft ? this.#position + lapBytesLeft : this.#position;
    const fits = start + bytes - this.#released <= this.#capacityBytes;
    if (this.#reserved !== null) this.seen.abandoned += 1;
    const { producer } = this.#ends;
    const offset = producer.reserve(bytes);
    check(offset === (fits ? start % this.#capacityBytes : -1), 'a reservation succeeds exactly when there is room');
    const empty = this.#position === this.#released;
    check(offset !== -1 || !empty || bytes > this.#capacityBytes / 2, 'half of the capacity fits an empty ring');
    this.#reserved = fits ? { start, bytes } : null;
    // Whatever is written into a reservation, committed or not, must not harm a record that is still owned.
    if (fits) producer.buffer.fill(0xff, offset, offset + bytes);
    else this.seen.full += 1;
  }

  #commit(bytesWanted: number): void {
    if (this.#reserved === null) return;
    const { start, bytes: reservedBytes } = this.#reserved;
    const bytes = Math.min(bytesWanted, reservedBytes);
    const fill = this.#nextFill;
    this.#nextFill = (fill + 1) % 255;
    const { producer } = this.#ends;
    const offset = start % this.#capacityBytes;
    producer.buffer.fill(fill, offset, offset + bytes);
    producer.commit(bytes);
    this.#reserved = null;
    if (bytes === 0) return;
    if (start !== this.#position) this.seen.skipped += 1;
    if ((start + bytes) % this.#capacityBytes === 0) this.seen.exactLapEnd += 1;
    this.#records.push({ start, end: start + bytes, fill });
    this.#position = start + bytes;
  }

  #consume(): void {
    const { consumer } = this.#ends;
    const expected = this.#consumedRecords < this.#publishedRecords ? this.#records[this.#consumedRecords] : undefined;
    const found = consumer.poll();
    check(found === (expected !== undefined), 'poll finds exactly what is published and unconsumed');
    check(found || consumer.start === consumer.end, 'an empty ring shows no bytes');
    if (expected === undefined) return;
    const bytes = expected.end - expected.start;
    check(consumer.start === expected.start % this.#capacityBytes, 'records come in the order of their commits');
    check(consumer.end - consumer.start >= bytes, 'a record comes whole');
    for (let index = 0; index < bytes; index += 1) {
      check(consumer.buffer[consumer.start + index] === expected.fill, 'a record comes as it was written');
    }
    consumer.consume(bytes);
    this.#consumedRecords += 1;
    this.seen.consumed += 1;
    check(consumer.position === expected.end, 'both ends give a record the same position');
  }

  #releaseTo(records: number): void {
    const last = this.#records[Math.min(records, this.#consumedRecords) - 1];
    if (last === undefined) return;
    // `release` after an idle poll may already have given back the skip behind this record.
    const position = Math.max(last.end, this.#released);
    this.#ends.consumer.releaseTo(position);
    this.#give(position);
  }

  #give(position: number): void {
    this.#released = position;
    const kept = this.#records.findIndex((record) => record.end > position);
    const released = kept === -1 ? this.#records.length : kept;
    this.#records = this.#records.slice(released);
    this.#publishedRecords -= released;
    this.#consumedRecords -= released;
  }

  #newProducer(): void {
    this.#records = this.#records.slice(0, this.#publishedRecords);
    this.#ends.producer = this.#ends.newProducer();
    this.#position = this.#published;
    this.#reserved = null;
    check(this.#ends.producer.position === this.#published, 'a new producer goes on behind the last published byte');
  }
}
