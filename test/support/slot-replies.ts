/** Stands for a client's connection in tests of the router: keeps the reply of each slot. */
import type { ReplySink, ReplyTarget } from '../../src/core/kv/reply.ts';
import type { Reply } from './kv-machine.ts';
import { ValueSink } from './kv-machine.ts';

export class SlotReplies implements ReplyTarget {
  readonly protocol = 2;
  readonly open = true;
  readonly writesInFlight = 0;
  readonly replies = new Map<number, Reply>();
  /** By slot, in milliseconds; as long as the store lets it wait where nothing is said. */
  readonly patience = new Map<number, number>();
  readonly #sink = new ValueSink();
  begin(): ReplySink {
    return this.#sink;
  }
  finish(slot: number): void {
    this.replies.set(slot, this.#sink.take()[0] as Reply);
  }
  patienceMs(slot: number): number {
    return this.patience.get(slot) ?? Infinity;
  }
  raw(): void {
    throw new Error('nothing comes from elsewhere');
  }
}
