/**
 * Commands that are to become one Raft entry, with who waits for each reply.
 *
 *     buffer   [ header ][ command 0 ][ command 1 ][ command 2 ] …      grows by doubling
 *     targets              ^ target 0   ^ target 1   ^ target 2
 *     reads                            ^ a read behind command 0        (read-your-writes inside a connection)
 */
import { assert } from '../src/core/assert.ts';
import type { Hlc, LogIndex, Term } from '../src/core/brands.ts';
import type { Args } from '../src/core/kv/args.ts';
import { createArgs } from '../src/core/kv/args.ts';
import type { BatchCommand, RequestId } from '../src/core/kv/batch.ts';
import {
  BATCH_HEADER_BYTES,
  COMMAND_HAS_REQUEST_ID,
  commandBytes,
  readCommand,
  writeBatchHeader,
  writeCommand,
} from '../src/core/kv/batch.ts';
import type { ReplyTarget } from '../src/core/kv/reply.ts';
import { replyError } from '../src/core/kv/reply.ts';
import { commandByOp, withExplanation } from '../src/core/kv/table.ts';
import type { Submit } from '../src/core/kv/submit.ts';
import type { ParkedRead } from './parked-reads.ts';
import { NOT_LEADER } from './replies.ts';
import { ExplainedWrites, WriteTimes } from './write-times.ts';

const INITIAL_BYTES = 4096;
/** Batches that are kept to be filled again, of the whole thread, and the largest buffer that is kept. */
const SPARES_MAX = 16;
const SPARE_BYTES_MAX = 256 * 1024;

export interface WaitingRead {
  /** The read sees the effects of the batch's first `after` commands and of no later one. */
  readonly after: number;
  readonly read: ParkedRead;
}

export interface BatchTakers {
  /** `args` are valid only during the call. */
  readonly write: Submit;
  read(read: ParkedRead): void;
}

export class PendingBatch {
  #buffer: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  bytes = BATCH_HEADER_BYTES;
  count = 0;
  readonly targets: (ReplyTarget | null)[] = [];
  readonly slots: number[] = [];
  reads: WaitingRead[] = [];
  /** What applying it may add to the store beyond its own bytes (SETBIT far out, COPY …). */
  growthBytes = 0;
  /** Where it stands in the log, once proposed. */
  index = 0 as LogIndex;
  term = 0 as Term;
  /** Nobody else had anything of the group's log when it entered. */
  isUnshared = false;
  /** Whoever waited was told that its end is not known. */
  isGivenUp = false;
  /** When it entered the log, Unix milliseconds. */
  enteredAtMs = 0;
  readonly times = new WriteTimes();
  readonly explained = new ExplainedWrites();

  /** `target` is null for commands that the store gives itself. */
  addWrite(op: number, args: Args, target: ReplyTarget | null, slot: number, requestId: RequestId | null): void {
    const needed = this.bytes + commandBytes(args, requestId !== null);
    if (needed > this.#buffer.length) this.#grow(needed);
    this.bytes = writeCommand(this.#buffer, this.bytes, op, args, requestId);
    this.targets.push(target);
    this.slots.push(slot);
    this.count++;
  }

  addRead(read: ParkedRead): void {
    this.reads.push({ after: this.count, read });
  }

  /** Makes it an empty batch again. */
  clear(): void {
    this.bytes = BATCH_HEADER_BYTES;
    this.count = 0;
    this.targets.length = 0;
    this.slots.length = 0;
    this.reads = [];
    this.growthBytes = 0;
    this.isUnshared = false;
    this.isGivenUp = false;
    this.explained.clear();
  }

  /** Memory that it holds. */
  get capacityBytes(): number {
    return this.#buffer.length;
  }

  /** The entry's data. Nothing may be added afterwards. */
  seal(version: Hlc, rangeVersion: number): Buffer {
    writeBatchHeader(this.#buffer, this.count, version, rangeVersion);
    return this.#buffer.subarray(0, this.bytes);
  }

  /** Answers all writes with this error, and tells the reads behind them to try again. Nobody waits afterwards. */
  answerAll(text: string): void {
    for (const [i, target] of this.targets.entries()) {
      if (target === null) continue;
      this.targets[i] = null;
      replyError(target, this.slots[i] as number, text);
    }
    for (const { read } of this.reads) replyError(read.target, read.slot, NOT_LEADER);
    this.reads = [];
  }

  /** Hands out all writes, and between them the reads, in their order. Nothing of the batch was or will be applied. */
  takeApart(takers: BatchTakers): void {
    const command: BatchCommand = {
      op: 0,
      flags: 0,
      requestId: { clientId: 0, sequence: 0, floor: 0 },
      args: createArgs(),
      next: BATCH_HEADER_BYTES,
    };
    let nextRead = 0;
    for (let i = 0; i < this.count; i++) {
      readCommand(this.#buffer, command.next, command);
      const target = this.targets[i] ?? null;
      if (target !== null) {
        const known = commandByOp(command.op);
        assert(known !== undefined, 'a batch holds known commands');
        const spec = this.explained.has(i) ? withExplanation(known) : known;
        const requestId = (command.flags & COMMAND_HAS_REQUEST_ID) === 0 ? null : { ...command.requestId };
        takers.write(spec, command.args, target, this.slots[i] as number, requestId);
      }
      for (; nextRead < this.reads.length; nextRead++) {
        const { after, read } = this.reads[nextRead] as WaitingRead;
        if (after > i + 1) break;
        takers.read(read);
      }
    }
  }

  #grow(needed: number): void {
    let size = this.#buffer.length;
    while (size < needed) size *= 2;
    const grown = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(grown, 0, 0, this.bytes);
    this.#buffer = grown;
  }
}

const spares: PendingBatch[] = [];

export function takeBatch(): PendingBatch {
  return spares.pop() ?? new PendingBatch();
}

/**
 * Keeps a batch for the next takeBatch(): memory outside of V8's heap that comes and goes at the rate of the log makes it
 * collect garbage of all ages all the time. Nobody may refer to the batch or to its entry's data any more.
 */
export function reuseBatch(batch: PendingBatch): void {
  if (spares.length === SPARES_MAX || batch.capacityBytes > SPARE_BYTES_MAX) return;
  batch.clear();
  spares.push(batch);
}
