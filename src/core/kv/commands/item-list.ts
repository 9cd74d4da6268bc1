/** Collects the elements of a long reply. */
import type { ReplySink } from '../reply.ts';

/** Byte strings collected without an object for each: for replies whose length must be known before their first element. */
export class ItemList {
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;
  readonly #ends: number[] = [];

  get count(): number {
    return this.#ends.length;
  }

  get byteLength(): number {
    return this.#length;
  }

  add(source: Buffer, start: number, end: number): void {
    const needed = this.#length + end - start;
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#length * 2, 4096));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    source.copy(this.#bytes, this.#length, start, end);
    this.#length = needed;
    this.#ends.push(needed);
  }

  replyItem(reply: ReplySink, i: number): void {
    reply.bulk(this.#bytes, i === 0 ? 0 : (this.#ends[i - 1] as number), this.#ends[i] as number);
  }

  /** All items, one after the other. */
  replyAll(reply: ReplySink): void {
    for (let i = 0; i < this.#ends.length; i++) this.replyItem(reply, i);
  }
}
