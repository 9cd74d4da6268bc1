/**
 * A range's state machine: applies batches in the order of the log, answers reads from what is applied.
 *
 * Deterministic: what a batch does depends on the batch and the state only. The clock is the batch's own version, and a
 * command's errors are part of its outcome. So `valueBytesMax` must be the same on all replicas.
 *
 * Running out of memory would not be deterministic: each replica has its own. Whoever admits writes asks for memory before
 * a command is proposed, for its bytes and for growthBytes(), with a margin, and refuses it with an OOM error then. If
 * the store still throws KV_OUT_OF_MEMORY while applying, apply() lets it pass, and the node stops rather than differ
 * from its peers.
 */
import type { Hlc } from '../brands.ts';
import { hlcToMs } from '../hlc.ts';
import { assert } from '../assert.ts';
import type { Args } from './args.ts';
import { createArgs } from './args.ts';
import type { BatchCommand } from './batch.ts';
import {
  BATCH_HEADER_BYTES,
  batchCount,
  batchVersion,
  COMMAND_HAS_REQUEST_ID,
  nextCommand,
  readCommand,
} from './batch.ts';
import { oversize } from './commands/shared.ts';
import type { RecordedReply } from './recorded-reply.ts';
import { recordedKeys, recordOfKeys, replayReply, ReplyRecorder } from './recorded-reply.ts';
import type { ReplySink } from './reply.ts';
import { discardReply } from './reply.ts';
import { LOOKUP_NEW, LOOKUP_REMEMBERED, SessionTable } from './sessions.ts';
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
  /** `isSuperseded`: in a replay, which commands need not be run, since later ones of the log make up for them. */
  apply(batch: Buffer, listener: ApplyListener, isSuperseded?: (i: number) => boolean): void;
  /** Runs a command that changes nothing. `nowMs`: Unix milliseconds, for expiry. */
  read(spec: CommandSpec, args: Args, nowMs: number, reply: ReplySink): void;
  /**
   * Bytes that the store may come to need for this command beside the command's own, at most: what to ask memory for
   * before the command goes into the log (SETRANGE, SETBIT, COPY and their like build long values out of short commands).
   */
  growthBytes(spec: CommandSpec, args: Args, nowMs: number): number;
  /** The remembered requests, for a checkpoint. */
  encodeSessions(): Buffer;
  /** Where lookups of commands that somebody waits for are counted: CommandContext.lookups. */
  lookups: Float64Array;
}

/** A reply longer than this is not kept for a retry. */
const RECORDED_BYTES_MAX = 64 * 1024;

const FORGOTTEN = 'UNKNOWNRESULT this request was sent before and its reply is no longer remembered';
const TOO_LONG_TO_KEEP: RecordedReply = recordError(
  'UNKNOWNRESULT this request was applied once, when it first arrived; its reply was too long to be remembered',
);

const OF_OTHER_KEYS =
  'UNKNOWNRESULT this request was applied once, before its range was cut; how many of its keys lay on this side is not remembered';

function recordError(text: string): RecordedReply {
  const recorder = new ReplyRecorder(discardReply, RECORDED_BYTES_MAX);
  recorder.error(text);
  return recorder.take() ?? '';
}

export function createStateMachine(options: StateMachineOptions): StateMachine {
  const { store, valueBytesMax } = options;
  const sessions = options.sessions === undefined ? new SessionTable() : SessionTable.decode(options.sessions);
  const recorder = new ReplyRecorder(discardReply, RECORDED_BYTES_MAX);
  const command: BatchCommand = {
    op: 0,
    flags: 0,
    requestId: { clientId: 0, sequence: 0, floor: 0 },
    args: createArgs(),
    next: 0,
  };
  let latestVersion = options.latestVersion ?? (0 as Hlc);
  const uncounted = new Float64Array(2);
  let lookups = new Float64Array(2);
  const newContext = (): CommandContext => ({
    args: command.args,
    store,
    reply: discardReply,
    version: 0 as Hlc,
    nowMs: 0,
    valueBytesMax,
    seed: 0,
    value: createValueRef(),
    lookups: uncounted,
  });
  // Two, since a read may run between two commands of a batch.
  const writeContext = newContext();
  const readContext = newContext();

  function runOnce(spec: CommandSpec, reply: ReplySink): void {
    switch (sessions.lookup(command.requestId)) {
      case LOOKUP_NEW:
        recorder.next = reply;
        runWrite(spec, recorder);
        recorder.next = discardReply;
        sessions.record(command.requestId, recordOf(spec, recorder.take() ?? TOO_LONG_TO_KEEP));
        break;
      case LOOKUP_REMEMBERED: {
        // Either half of a range that was cut is asked for its keys alone, and both remember the reply for all of them.
        const keys = recordedKeys(sessions.found);
        if (keys === 0 || keys === command.args.count) replayReply(sessions.found, reply);
        else reply.error(OF_OTHER_KEYS);
        break;
      }
      default:
        reply.error(FORGOTTEN);
    }
  }

  function recordOf(spec: CommandSpec, record: RecordedReply): RecordedReply {
    return spec.gather === 'sum' ? recordOfKeys(command.args.count, record) : record;
  }

  function runWrite(spec: CommandSpec, reply: ReplySink): void {
    const refused = oversize(spec, command.args, valueBytesMax);
    if (refused !== null) {
      reply.error(refused);
      return;
    }
    writeContext.args = command.args;
    writeContext.reply = reply;
    spec.run(writeContext);
  }

  function prepareRead(args: Args, nowMs: number, reply: ReplySink): void {
    readContext.args = args;
    // The clock of the batches may run ahead of the wall clock; what was expired for a write is so for reads behind it.
    readContext.nowMs = Math.max(nowMs, hlcToMs(latestVersion));
    readContext.version = latestVersion;
    readContext.seed = (readContext.seed + 1) | 0;
    readContext.reply = reply;
  }

  return {
    get latestVersion() {
      return latestVersion;
    },
    apply(batch, listener, isSuperseded) {
      const count = batchCount(batch);
      const first = batchVersion(batch);
      assert(first > latestVersion, 'state machine: versions do not go back');
      writeContext.nowMs = hlcToMs(first);
      command.next = BATCH_HEADER_BYTES;
      for (let i = 0; i < count; i++) {
        latestVersion = (first + i) as Hlc;
        if (isSuperseded?.(i) === true) {
          command.next = nextCommand(batch, command.next);
          continue;
        }
        readCommand(batch, command.next, command);
        const spec = commandByOp(command.op);
        assert(spec !== undefined && spec.write, 'state machine: a batch holds an unknown command');
        writeContext.version = latestVersion;
        writeContext.seed = latestVersion % 2 ** 32;
        const reply = listener.sink(i);
        writeContext.lookups = reply === discardReply ? uncounted : lookups;
        if ((command.flags & COMMAND_HAS_REQUEST_ID) === 0) runWrite(spec, reply);
        else runOnce(spec, reply);
        listener.applied(i);
      }
    },
    read(spec, args, nowMs, reply) {
      prepareRead(args, nowMs, reply);
      readContext.lookups = lookups;
      spec.run(readContext);
    },
    growthBytes(spec, args, nowMs) {
      if (spec.growthBytes === undefined) return 0;
      prepareRead(args, nowMs, discardReply);
      return spec.growthBytes(readContext);
    },
    encodeSessions: () => sessions.encode(),
    get lookups() {
      return lookups;
    },
    set lookups(counts) {
      lookups = counts;
    },
  };
}
