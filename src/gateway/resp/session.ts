/**
 * One RESP connection: commands in, the session's own commands answered here, all others to the router.
 *
 *     bytes ─▶ parser ─▶ command ─┬─ HELLO CLIENT CONFIG INFO MULTI …   answered here
 *                                 ├─ inside MULTI                       queued, QUEUED
 *                                 └─ everything else                    router.submit(spec, args, connection, slot)
 *
 * The parser is held back for one of three reasons, which come and go independently: the connection has too much to send
 * or to wait for, the next command must see the outcome of one that is under way (WATCH, CLIENT LIST), or a command is to be run
 * when all before it are answered: HELLO, and what would be sent another way than those, and might overtake them.
 */
import type { Socket } from 'node:net';
import type { Args } from '../../core/kv/args.ts';
import { argCopy, argText, copyArgs } from '../../core/kv/args.ts';
import type { ReplySink } from '../../core/kv/reply.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import { allCommands, execCommand, lookupCommand, requireCommand } from '../../core/kv/table.ts';
import { CommandErrorValue } from '../../codec/native/messages.ts';
import { RespParser, RespProtocolError } from '../../codec/resp/parser.ts';
import type { ConnectionMeter } from '../../net/connection.ts';
import { Connection } from '../../net/connection.ts';
import type { FlushQueue } from '../../net/flush-queue.ts';
import { argsOf } from '../args.ts';
import { PartReplies } from '../router/gather.ts';
import type { ReplyValue } from '../router/reply-value.ts';
import { playReply } from '../router/reply-value.ts';
import type { RespClient } from './clients.ts';
import type { AnsweredCommand, AskedCommand, ControlCommand, LateReply } from './own-command.ts';
import { isArityRight, wrongArity } from './own-command.ts';
import { findOwnCommand } from './own-commands.ts';
import type { RespServices } from './services.ts';
import type { Queued } from './transaction.ts';
import { Transaction } from './transaction.ts';

/** Why a connection was closed. */
export type CloseReason = 'client' | 'idle' | 'limit' | 'protocol' | 'output' | 'network' | 'shutdown';

/** What CLIENT REPLY sets. */
export type ReplyMode = 'ON' | 'OFF' | 'SKIP';

export interface RespSessionOptions {
  readonly socket: Socket;
  readonly flushQueue: FlushQueue;
  readonly services: RespServices;
  readonly outputBytesMax: number;
  readonly largestValueBytes: () => number;
  readonly meter?: ConnectionMeter;
}

const HOLD_CONNECTION = 1;
const HOLD_ORDER = 2;
const HOLD_UNTIL_ANSWERED = 4;

/** Texts of unknown commands are cut to this many characters, as in Redis. */
const UNKNOWN_TEXT_MAX = 128;
/** What a transaction may take beyond one value of the largest size. */
const TRANSACTION_BYTES_EXTRA = 1024 * 1024;

const versionsCommand = requireCommand('VERSIONS');

/** By op: commands that are not for Redis clients. */
const isHidden: readonly boolean[] = allCommands.reduce<boolean[]>((hidden, { op, flags }) => {
  hidden[op] = flags.includes('native');
  return hidden;
}, []);

const queued = (sink: ReplySink): void => sink.simple('QUEUED');

export class RespSession {
  readonly connection: Connection;
  readonly client: RespClient;
  readonly transaction: Transaction;
  readonly services: RespServices;
  /** Why it was closed, as far as the session knows. */
  closeReason: CloseReason = 'client';
  readonly #parser: RespParser;
  #holds = 0;
  /** No more bytes come, but commands that are held back are still to be run. */
  #isEnded = false;
  #isClosing = false;
  // Commands run since they were last counted.
  #reads = 0;
  #writes = 0;
  #others = 0;
  #replyMode: ReplyMode = 'ON';
  /** CLIENT REPLY SKIP: the next command is not answered. */
  #skipsNext = false;
  /** The router's, when the commands that are unanswered were sent. */
  #generation = 0;

  constructor({ socket, flushQueue, services, outputBytesMax, largestValueBytes, meter }: RespSessionOptions) {
    this.services = services;
    this.transaction = new Transaction(services.valueBytesMax + TRANSACTION_BYTES_EXTRA);
    this.#parser = new RespParser({
      bulkBytesMax: services.valueBytesMax,
      onCommand: (args, nameStart, nameEnd) => this.#command(args, nameStart, nameEnd),
    });
    this.connection = new Connection({
      socket,
      flushQueue,
      outputBytesMax,
      largestValueBytes,
      protocol: 2,
      onPause: () => this.#hold(HOLD_CONNECTION),
      onResume: () => this.#release(HOLD_CONNECTION),
      onOverflow: () => (this.closeReason = 'output'),
      ...(meter === undefined ? {} : { meter }),
    });
    const nowMs = services.nowMs();
    const { transaction } = this;
    this.client = {
      id: services.clients.nextId(),
      connection: this.connection,
      address: `${socket.remoteAddress ?? '?'}:${socket.remotePort ?? 0}`,
      localAddress: `${socket.localAddress ?? '?'}:${socket.localPort ?? 0}`,
      connectedAtMs: nowMs,
      name: '',
      libraryName: '',
      libraryVersion: '',
      lastCommand: 'NULL',
      lastActiveMs: nowMs,
      commandCount: 0,
      bytesIn: 0,
      get queued() {
        return transaction.queuedCount;
      },
      get watched() {
        return transaction.watchedCount;
      },
      kill: (isSelf) => {
        if (isSelf) this.close();
        else socket.destroy();
      },
    };
    services.clients.add(this.client);
  }

  /** Bytes from the socket. */
  onData(chunk: Buffer): void {
    this.client.bytesIn += chunk.length;
    this.client.lastActiveMs = this.services.nowMs();
    try {
      this.#parser.push(chunk);
    } catch (error) {
      this.#refuse(error);
    }
    this.#countCommands();
  }

  /** The client sends no more; it may still read. */
  onEnd(): void {
    this.#isEnded = true;
    if (this.#holds === 0) this.close();
  }

  onClose(): void {
    this.services.clients.remove(this.client);
    this.#parser.close();
    this.transaction.reset();
  }

  /** ON and OFF last; SKIP concerns the next command only, and only when it would be answered. */
  set replyMode(mode: ReplyMode) {
    if (mode === 'SKIP') {
      this.#skipsNext = this.#replyMode === 'ON';
    } else {
      this.#replyMode = mode;
      this.#skipsNext = false;
    }
  }

  /** Ends the connection after the replies that are owed; nothing more is read. */
  close(reason: CloseReason = 'client'): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.closeReason = reason;
    this.#parser.close();
    this.connection.closeWhenAnswered();
  }

  /** Runs `action` when all commands so far are answered; commands behind it wait. */
  afterReplies(action: () => void): void {
    if (this.connection.inFlight === 0) {
      action();
      return;
    }
    this.#hold(HOLD_UNTIL_ANSWERED);
    this.connection.whenIdle(() => {
      action();
      this.#release(HOLD_UNTIL_ANSWERED);
    });
  }

  /** Whether a command that is sent now might overtake one that is unanswered, because that one was sent another way. */
  get #mightOvertake(): boolean {
    const { generation } = this.services.router;
    if (generation === this.#generation) return false;
    if (this.connection.inFlight > 0) return true;
    this.#generation = generation;
    return false;
  }

  /** Replies to the command at hand. */
  readonly answer = (reply: (sink: ReplySink) => void): void => {
    const slot = this.#slot(false, 0);
    reply(this.connection.begin(slot));
    this.connection.finish(slot);
  };

  /** WATCH: reads the keys' versions, behind what this connection has written. */
  watch(args: Args): void {
    if (this.#mightOvertake) {
      const own = copyArgs(args);
      this.afterReplies(() => this.watch(own));
      return;
    }
    const keys = Array.from({ length: args.count }, (_, i) => argCopy(args, i));
    const slot = this.#slot(false, 0);
    this.#hold(HOLD_ORDER);
    const replies = new PartReplies(1, this.connection.writesInFlight, ([value]) => {
      const sink = this.connection.begin(slot);
      if (value instanceof CommandErrorValue) {
        sink.error(value.text);
      } else {
        const versions = value as readonly ReplyValue[];
        keys.forEach((key, i) => this.transaction.watch(key, Number(versions[i])));
        sink.simple('OK');
      }
      this.connection.finish(slot);
      // Commands behind it must find the keys watched. Not from within the reply: a range may be in the midst of a batch.
      queueMicrotask(() => this.#release(HOLD_ORDER));
    });
    this.services.router.submit(versionsCommand, argsOf(keys), replies, 0);
  }

  exec(): void {
    if (this.#mightOvertake) {
      this.afterReplies(() => this.exec());
      return;
    }
    const { transaction } = this;
    const { router } = this.services;
    if (transaction.isSpoiled) {
      this.answer((sink) => sink.error('EXECABORT Transaction discarded because of previous errors.'));
    } else {
      const { queued: commands, args } = transaction.build();
      const needsStore = transaction.watchedCount > 0 || commands.some(({ spec }) => spec !== undefined);
      const slot = this.#slot(needsStore, args.buffer.length, execCommand.repliesValues(args));
      if (needsStore && commands.every(({ spec }) => spec !== undefined)) {
        router.submit(execCommand, args, this.connection, slot);
      } else if (needsStore) {
        this.#hold(HOLD_ORDER);
        const replies = new PartReplies(1, this.connection.writesInFlight, ([value = null]) => {
          void this.#finishExec(commands, value, slot);
        });
        router.submit(execCommand, args, replies, 0);
      } else {
        this.#hold(HOLD_ORDER);
        void this.#finishExec(commands, [], slot);
      }
    }
    transaction.reset();
  }

  /** EXEC's reply: those of the store's commands, with the session's own in their places. */
  async #finishExec(commands: readonly Queued[], value: ReplyValue, slot: number): Promise<void> {
    const late = new Map<Queued, LateReply>();
    if (Array.isArray(value)) {
      for (const queued of commands) {
        if (queued.own?.kind === 'ask') late.set(queued, await queued.own.ask(this, queued.args));
      }
    }
    const sink = this.connection.begin(slot);
    if (value instanceof CommandErrorValue) sink.error(value.text);
    else if (value === null) sink.nullArray();
    else this.#playExec(commands, value as readonly ReplyValue[], late, sink);
    this.connection.finish(slot);
    // Not from within the reply: a range may be in the midst of a batch.
    queueMicrotask(() => this.#release(HOLD_ORDER));
  }

  #playExec(
    commands: readonly Queued[],
    values: readonly ReplyValue[],
    late: ReadonlyMap<Queued, LateReply>,
    sink: ReplySink,
  ): void {
    sink.array(commands.length);
    let next = 0;
    for (const queued of commands) {
      const { own, args } = queued;
      if (own === undefined) playReply(values[next++] ?? null, sink);
      else if (own.kind === 'answer') own.answer(this, args, sink);
      else late.get(queued)?.(sink);
    }
  }

  #hold(reason: number): void {
    this.#holds |= reason;
    this.#parser.pause();
  }

  #release(reason: number): void {
    this.#holds &= ~reason;
    // No bytes from the socket led here: what was handed to the ranges, and will be, waits for a turn of the loop.
    this.connection.wake();
    if (this.#holds !== 0) return;
    try {
      this.#parser.resume();
    } catch (error) {
      this.#refuse(error);
    }
    this.#countCommands();
    if (this.#isEnded && this.#holds === 0) this.close();
  }

  #countCommands(): void {
    this.services.onCommands(this.#reads, this.#writes, this.#others);
    this.#reads = 0;
    this.#writes = 0;
    this.#others = 0;
  }

  /** The stream is no RESP: say so, and no more. */
  #refuse(error: unknown): void {
    if (!(error instanceof RespProtocolError)) throw error;
    this.answer((sink) => sink.error(error.message));
    this.close('protocol');
  }

  #slot(isWrite: boolean, bytes: number, values = 0): number {
    const isMuted = this.#skipsNext || this.#replyMode === 'OFF';
    this.#skipsNext = false;
    return this.connection.slot(isWrite, isMuted, bytes, values);
  }

  #command(args: Args, nameStart: number, nameEnd: number): void {
    this.client.commandCount++;
    const spec = lookupCommand(args.buffer, nameStart, nameEnd);
    if (spec === undefined || isHidden[spec.op] === true) {
      this.#ownCommand(args.buffer.toString('latin1', nameStart, nameEnd), args);
      return;
    }
    this.client.lastCommand = spec.name;
    if (!isArityRight(spec.arity, args.count + 1)) {
      this.#refuseCommand(wrongArity(spec.name));
    } else if (this.transaction.isOpen) {
      this.#queue(this.transaction.queue(spec, args));
    } else {
      const bytes = args.count === 0 ? 0 : (args.end[args.count - 1] as number) - nameStart;
      if (spec.write) this.#writes++;
      else this.#reads++;
      this.#run(spec, args, bytes);
    }
  }

  #run(spec: CommandSpec, args: Args, bytes: number): void {
    if (this.#mightOvertake) {
      const own = copyArgs(args);
      this.afterReplies(() => this.#run(spec, own, bytes));
      return;
    }
    const slot = this.#slot(spec.write, bytes, spec.repliesValues(args));
    this.services.router.submit(spec, args, this.connection, slot);
  }

  #ownCommand(name: string, args: Args): void {
    const own = findOwnCommand(name, args);
    if (own === undefined) {
      this.#unknownCommand(name, args);
      return;
    }
    this.#others++;
    if (typeof own === 'string') {
      this.#refuseOwn(name, own);
      return;
    }
    this.client.lastCommand = own.name;
    if (own.kind === 'control') this.#runControl(own, args);
    else if (this.transaction.isOpen) this.#queue(this.transaction.queueOwn(own, args));
    else if (own.kind === 'ask') void this.#runAsked(own, args);
    else this.#runAnswered(own, args);
  }

  async #runAsked(own: AskedCommand, args: Args): Promise<void> {
    const slot = this.#slot(false, 0);
    this.#hold(HOLD_ORDER);
    const reply = await own.ask(this, args);
    reply(this.connection.begin(slot));
    this.connection.finish(slot);
    this.#release(HOLD_ORDER);
  }

  #runControl(own: ControlCommand, args: Args): void {
    if (own.isRefusedInMulti && this.transaction.isOpen) {
      this.#refuseCommand('ERR Command not allowed inside a transaction');
    } else {
      own.run(this, args);
    }
  }

  #runAnswered(own: AnsweredCommand, args: Args): void {
    this.answer((sink) => own.answer(this, args, sink));
  }

  /** As Redis does, EXEC itself aborts the transaction when it is written wrongly. */
  #refuseOwn(name: string, error: string): void {
    if (name.toUpperCase() !== 'EXEC') {
      this.#refuseCommand(error);
      return;
    }
    this.transaction.reset();
    this.answer((sink) => sink.error(`EXECABORT Transaction discarded because of: ${error.slice('ERR '.length)}`));
  }

  #queue(error: string | null): void {
    if (error === null) this.answer(queued);
    else this.#refuseCommand(error);
  }

  #refuseCommand(error: string): void {
    this.transaction.spoil();
    this.answer((sink) => sink.error(error));
  }

  #unknownCommand(name: string, args: Args): void {
    // A browser that was talked into sending HTTP here: what is in the request's body must not be run.
    if (/^(?:post|host:)$/i.test(name)) {
      this.closeReason = 'protocol';
      this.#parser.close();
      this.connection.socket.destroy();
      return;
    }
    let shown = '';
    for (let i = 0; i < args.count && shown.length < UNKNOWN_TEXT_MAX; i++) {
      shown += `'${argText(args, i).slice(0, UNKNOWN_TEXT_MAX - shown.length)}' `;
    }
    const known = name.slice(0, UNKNOWN_TEXT_MAX);
    this.#refuseCommand(`ERR unknown command '${known}', with args beginning with: ${shown}`);
  }
}
