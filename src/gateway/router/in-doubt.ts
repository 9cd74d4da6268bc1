/**
 * Whoever waits for a write that was sent, may have happened, and is sent again, since its identity has it applied once:
 *
 *     an answer that says that nothing was done (NOTLEADER, OVERLOADED, CROSSRANGE …) ─▶ UNKNOWNRESULT: that is of this time only
 *     any other: the range remembers what it did, or has done it now                   ─▶ as it is
 */
import type { ByteWriter } from '../../codec/byte-writer.ts';
import { createByteWriter } from '../../codec/byte-writer.ts';
import { errorCodeOf } from '../../codec/error-words.ts';
import { errorTextStart, STATUS_OK, statusOfReply } from '../../codec/native/frame.ts';
import { createReplyWriter } from '../../codec/reply-writer.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { RangeExplanation } from '../../core/kv/explanation.ts';
import type { ReplySink, ReplyTarget } from '../../core/kv/reply.ts';
import { replyError } from '../../core/kv/reply.ts';

/** What is answered without asking the range what it remembers. */
const NOT_DONE: ReadonlySet<ErrorCode> = new Set([
  'KV_NOT_LEADER',
  'KV_PARTITION',
  'KV_RANGE_MOVED',
  'KV_CROSS_RANGE',
  'KV_OVERLOADED',
  'KV_OUT_OF_MEMORY',
  'KV_DISK_FULL',
  'KV_STATE',
]);

export class InDoubt implements ReplyTarget {
  /** Only requests of the native protocol have identities. */
  readonly protocol = 4;
  readonly #target: ReplyTarget;
  readonly #out: ByteWriter = createByteWriter();

  constructor(target: ReplyTarget) {
    this.#target = target;
  }

  get open(): boolean {
    return this.#target.open;
  }

  get writesInFlight(): number {
    return this.#target.writesInFlight;
  }

  patienceMs(slot: number): number {
    return this.#target.patienceMs?.(slot) ?? Infinity;
  }

  begin(): ReplySink {
    this.#out.reset();
    return createReplyWriter(this.protocol, this.#out);
  }

  finish(slot: number): void {
    this.raw(slot, this.#out.buffer, 0, this.#out.length);
  }

  explain(slot: number, explanation: RangeExplanation): void {
    this.#target.explain?.(slot, explanation);
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    if (statusOfReply(source, start) !== STATUS_OK) {
      const textStart = errorTextStart(source, start);
      if (NOT_DONE.has(errorCodeOf(source, textStart, end))) {
        const why = source.toString('utf8', textStart, end);
        replyError(this.#target, slot, `UNKNOWNRESULT the write was sent and may have happened; sent again: ${why}`);
        return;
      }
    }
    this.#target.raw(slot, source, start, end);
  }
}
