/**
 * Raft messages that wait for one peer. Bounded in bytes: the oldest go first, because Raft repeats what is lost and has
 * newer news in newer messages. They wait unencoded, as references into the log that is in memory anyway.
 *
 *     push ─▶ │ newest … oldest │ ─▶ shift          too many bytes behind the oldest: it is dropped
 *
 * So one message of any size can wait, and what is behind it is bounded.
 */
import { raftMessageBytesMax } from '../../codec/peer/raft-messages.ts';
import type { RangeId } from '../../core/brands.ts';
import type { Message } from '../../core/raft/types.ts';

/** Taken messages are cut off the arrays once there are so many of them. */
const COMPACT_AT = 1024;

export class MessageQueue {
  readonly #bytesMax: number;
  readonly #rangeIds: RangeId[] = [];
  readonly #messages: (Message | null)[] = [];
  readonly #sizes: number[] = [];
  #head = 0;
  /** Bytes of what waits, as an upper bound of its encoding. */
  bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get length(): number {
    return this.#messages.length - this.#head;
  }

  /** Returns how many were dropped for it. */
  push(rangeId: RangeId, message: Message): number {
    const size = raftMessageBytesMax(message);
    this.#rangeIds.push(rangeId);
    this.#messages.push(message);
    this.#sizes.push(size);
    this.bytes += size;
    let dropped = 0;
    while (this.bytes - (this.#sizes[this.#head] as number) > this.#bytesMax) {
      this.shift();
      dropped++;
    }
    return dropped;
  }

  get firstRangeId(): RangeId {
    return this.#rangeIds[this.#head] as RangeId;
  }

  get first(): Message {
    return this.#messages[this.#head] as Message;
  }

  /** Takes the oldest away. */
  shift(): void {
    this.bytes -= this.#sizes[this.#head] as number;
    this.#messages[this.#head] = null;
    this.#head++;
    if (this.#head === this.#messages.length) this.#cut();
    else if (this.#head >= COMPACT_AT && this.#head * 2 > this.#messages.length) this.#cut();
  }

  /** Drops everything; returns how many that were. */
  clear(): number {
    const dropped = this.length;
    this.#head = this.#messages.length;
    this.#cut();
    this.bytes = 0;
    return dropped;
  }

  #cut(): void {
    this.#rangeIds.splice(0, this.#head);
    this.#messages.splice(0, this.#head);
    this.#sizes.splice(0, this.#head);
    this.#head = 0;
  }
}
