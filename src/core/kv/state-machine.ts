/**
 * A range's state machine: applies batches in the order of the log, answers reads from what is applied.
 *
 * Deterministic: what a batch does depends on the batch and the state only. The clock is the batch's own version, and a
 * command's errors are part of its outcome. Running out of memory would not be deterministic, so the host asks for
 * memory before it proposes (HostPorts.hasMemory), with a margin; if the store still has none while applying, it
 * throws, and the node stops rather than differ from its peers.
 */
import type { Hlc } from '../brands.ts';
import { hlcToMs } from '../hlc.ts';
import { limits } from '../limits.ts';
import { assert } from '../assert.ts';
import type { Args } from './args.ts';
import { argLength, createArgs } from './args.ts';
import type { BatchCommand } from './batch.ts';
import { BATCH_HEADER_BYTES, batchCount, batchVersion, COMMAND_HAS_REQUEST_ID, readCommand } from './batch.ts';
import { replayReply, ReplyRecorder } from './recorded-reply.ts';
import type { ReplySink } from './reply.ts';
import { discardReply } from './reply.ts';
import { SessionTable } from './sessions.ts';
import type { CommandContext, CommandSpec } from './spec.ts';
import type { OrderedStore } from './store.ts';
import { createValueRef } from './store.ts';
import { commandByOp } from './table.ts';

/** Follows the application of a batch. */
export interface ApplyListener {
  /** Where the reply of command `i` goes. */
  sink(i: number): ReplySink;
  /** Command `i` has run and its reply is complete; the next one has not begun, so read() may be called. */
  applied(i: number): void;
}

export interface StateMachineOptions {
  readonly store: OrderedStore;
  readonly valueBytesMax: number;
  /** encodeSessions() of the state that the store holds. */
  readonly sessions?: Buffer;
  /** The newest version in the store. */
  readonly latestVersion?: Hlc;
}

export interface StateMachine {
  /** The version of the last command applied. */
  readonly latestVersion: Hlc;
  apply(batch: Buffer, listener: ApplyListener): void;
  /** Runs a command that changes nothing. `nowMs`: Unix milliseconds, for expiry. */
  read(spec: CommandSpec, args: Args, nowMs: number, reply: ReplySink): void;
  /** The remembered requests, for a checkpoint. */
  encodeSessions(): Buffer;
}

const FORGOTTEN = 'UNKNOWNRESULT this request was sent before and its reply is no longer remembered';

export function createStateMachine(options: StateMachineOptions): StateMachine {
  const { store, valueBytesMax } = options;
  const sessions = options.sessions === undefined ? new SessionTable() : SessionTable.decode(options.sessions);
  const recorder = new ReplyRecorder(discardReply);
  const command: BatchCommand = {
    op: 0,
    flags: 0,
    requestId: { clientId: 0, sequence: 0, floor: 0 },
    args: createArgs(),
    next: 0,
  };
  let latestVersion = options.latestVersion ?? (0 as Hlc);
  const newContext = (): CommandContext => ({
    args: command.args,
    store,
    reply: discardReply,
    version: 0 as Hlc,
    nowMs: 0,
    valueBytesMax,
    value: createValueRef(),
  });
  // Two, since a read may run between two commands of a batch.
  const writeContext = newContext();
  const readContext = newContext();

  function runOnce(spec: CommandSpec, reply: ReplySink): void {
    const known = sessions.lookup(command.requestId);
    if (known === 'forgotten') {
      reply.error(FORGOTTEN);
    } else if (known === 'new') {
      recorder.next = reply;
      runWrite(spec, recorder);
      sessions.record(command.requestId, recorder.take());
    } else {
      replayReply(known, reply);
    }
  }

  function runWrite(spec: CommandSpec, reply: ReplySink): void {
    const tooLong = longestKey(spec, command.args);
    if (tooLong > limits.keyBytesMax) {
      reply.error(`ERR the key has ${tooLong} bytes; at most ${limits.keyBytesMax} are allowed`);
      return;
    }
    writeContext.args = command.args;
    writeContext.reply = reply;
    spec.run(writeContext);
  }

  return {
    get latestVersion() {
      return latestVersion;
    },
    apply(batch, listener) {
      const count = batchCount(batch);
      const first = batchVersion(batch);
      assert(first > latestVersion, 'state machine: versions do not go back');
      writeContext.nowMs = hlcToMs(first);
      command.next = BATCH_HEADER_BYTES;
      for (let i = 0; i < count; i++) {
        readCommand(batch, command.next, command);
        const spec = commandByOp(command.op);
        assert(spec !== undefined && spec.write, 'state machine: a batch holds an unknown command');
        latestVersion = (first + i) as Hlc;
        writeContext.version = latestVersion;
        const reply = listener.sink(i);
        if ((command.flags & COMMAND_HAS_REQUEST_ID) === 0) runWrite(spec, reply);
        else runOnce(spec, reply);
        listener.applied(i);
      }
    },
    read(spec, args, nowMs, reply) {
      readContext.args = args;
      readContext.nowMs = nowMs;
      readContext.version = latestVersion;
      readContext.reply = reply;
      spec.run(readContext);
    },
    encodeSessions: () => sessions.encode(),
  };
}

/** Bytes of the longest key of the command. Keys of EXEC's commands are checked when they are queued. */
function longestKey(spec: CommandSpec, args: Args): number {
  if (spec.firstKey === 0) return 0;
  const last = spec.lastKey < 0 ? args.count + spec.lastKey : Math.min(spec.lastKey, args.count) - 1;
  let longest = 0;
  for (let i = spec.firstKey - 1; i <= last; i += spec.keyStep) longest = Math.max(longest, argLength(args, i));
  return longest;
}
