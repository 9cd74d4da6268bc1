/**
 * One RESP connection: commands in, the connection's own commands answered here, all others to the router.
 *
 *     bytes ─▶ parser ─▶ command ─┬─ HELLO CLIENT CONFIG INFO MULTI …   answered here
 *                                 ├─ inside MULTI                       queued, QUEUED
 *                                 └─ everything else                    router.submit(spec, args, connection, slot)
 */
import type { Socket } from 'node:net';
import type { Args } from '../../core/kv/args.ts';
import { argText } from '../../core/kv/args.ts';
import type { ReplySink } from '../../core/kv/reply.ts';
import { execCommand, lookupCommand, requireCommand } from '../../core/kv/table.ts';
import { CommandErrorValue } from '../../codec/native/messages.ts';
import { RespParser, RespProtocolError } from '../../codec/resp/parser.ts';
import { Connection } from '../../net/connection.ts';
import type { FlushQueue } from '../../net/flush-queue.ts';
import { argsOf } from '../args.ts';
import { PartReplies } from '../router/gather.ts';
import type { ReplyMode } from './client-command.ts';
import type { RespClient } from './clients.ts';
import { isOwnCommand, runOwnCommand } from './own-commands.ts';
import type { RespServices } from './services.ts';
import { wrongArity } from './services.ts';
import { Transaction } from './transaction.ts';

export interface RespSessionOptions {
  readonly socket: Socket;
  readonly flushQueue: FlushQueue;
  readonly services: RespServices;
  readonly outputBytesMax: number;
}

/** Texts of unknown commands are cut to this many characters, as in Redis. */
const UNKNOWN_TEXT_MAX = 128;

const versionsCommand = requireCommand('VERSIONS');

export class RespSession {
  readonly connection: Connection;
  readonly client: RespClient;
  readonly transaction = new Transaction();
  readonly services: RespServices;
  readonly #parser: RespParser;
  #replyMode: ReplyMode = 'ON';
  /** CLIENT REPLY SKIP: the next command is not answered. */
  #skipsNext = false;

  constructor({ socket, flushQueue, services, outputBytesMax }: RespSessionOptions) {
    this.services = services;
    this.#parser = new RespParser({
      bulkBytesMax: services.valueBytesMax,
      onCommand: (args, nameStart, nameEnd) => this.#command(args, nameStart, nameEnd),
    });
    this.connection = new Connection({
      socket,
      flushQueue,
      outputBytesMax,
      protocol: 2,
      onPause: () => this.#parser.pause(),
      onResume: () => this.#guard(() => this.#parser.resume()),
    });
    const nowMs = services.nowMs();
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
      queued: -1,
      watched: 0,
    };
    services.clients.add(this.client);
  }

  /** Bytes from the socket. */
  onData(chunk: Buffer): void {
    this.client.bytesIn += chunk.length;
    this.client.lastActiveMs = this.services.nowMs();
    this.#guard(() => this.#parser.push(chunk));
  }

  onClose(): void {
    this.services.clients.remove(this.client);
    this.#parser.close();
  }

  get replyMode(): ReplyMode {
    return this.#replyMode;
  }

  /** ON and OFF last; SKIP concerns the next command only. */
  set replyMode(mode: ReplyMode) {
    this.#replyMode = mode === 'SKIP' ? this.#replyMode : mode;
    this.#skipsNext = mode === 'SKIP';
  }

  /** Ends the connection after the replies that are owed; nothing more is read. */
  close(): void {
    this.#parser.close();
    this.connection.closeWhenAnswered();
  }

  /** Runs `action` when all commands so far are answered; commands behind it wait. */
  afterReplies(action: () => void): void {
    if (this.connection.inFlight === 0) {
      action();
      return;
    }
    this.#parser.pause();
    this.connection.whenIdle(() => {
      action();
      this.#guard(() => this.#parser.resume());
    });
  }

  /** Replies to a command that is answered here. */
  answer(reply: (sink: ReplySink) => void): void {
    const slot = this.#slot(false);
    reply(this.connection.begin(slot));
    this.connection.finish(slot);
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof RespProtocolError)) throw error;
      this.answer((sink) => sink.error(error.message));
      this.connection.closeWhenAnswered();
    }
  }

  #slot(isWrite: boolean): number {
    const isMuted = this.#replyMode === 'OFF' || this.#skipsNext;
    this.#skipsNext = false;
    return this.connection.slot(isWrite, isMuted);
  }

  #command(args: Args, nameStart: number, nameEnd: number): void {
    const { client, transaction } = this;
    client.commandCount++;
    const spec = lookupCommand(args.buffer, nameStart, nameEnd);
    if (spec !== undefined && !spec.flags.includes('native')) {
      client.lastCommand = spec.name;
      const isArityRight = spec.arity < 0 ? args.count + 1 >= -spec.arity : args.count + 1 === spec.arity;
      if (!isArityRight) {
        transaction.isSpoiled ||= transaction.isOpen;
        this.answer((sink) => wrongArity(sink, spec.name));
      } else if (transaction.isOpen) {
        transaction.queue(spec, args);
        client.queued = transaction.queued;
        this.answer((sink) => sink.simple('QUEUED'));
      } else {
        this.services.router.submit(spec, args, this.connection, this.#slot(spec.write));
      }
      return;
    }
    const name = args.buffer.toString('latin1', nameStart, nameEnd);
    client.lastCommand = name.toUpperCase();
    if (isOwnCommand(client.lastCommand)) {
      this.services.onOwnCommand();
      runOwnCommand(this, client.lastCommand, args);
    } else {
      transaction.isSpoiled ||= transaction.isOpen;
      this.answer((sink) => sink.error(unknownCommand(name, args)));
    }
  }

  /** WATCH: reads the keys' versions, in order behind what this connection has written. */
  watch(args: Args): void {
    const keys: Buffer[] = [];
    for (let i = 0; i < args.count; i++) keys.push(Buffer.from(args.buffer.subarray(args.start[i], args.end[i])));
    const slot = this.#slot(false);
    this.#parser.pause();
    const replies = new PartReplies(1, this.connection.writesInFlight, ([value]) => {
      const sink = this.connection.begin(slot);
      if (value instanceof CommandErrorValue) {
        sink.error(value.text);
      } else {
        keys.forEach((key, i) => this.transaction.watch(key, Number((value as readonly unknown[])[i])));
        this.client.watched = this.transaction.watchedCount;
        sink.simple('OK');
      }
      this.connection.finish(slot);
      // Commands behind it must see that the keys are watched. Not from within the reply: the parser may be on the stack.
      queueMicrotask(() => this.#guard(() => this.#parser.resume()));
    });
    this.services.router.submit(versionsCommand, argsOf(keys), replies, 0);
  }

  exec(): void {
    const { transaction, client } = this;
    if (transaction.isSpoiled) {
      this.answer((sink) => sink.error('EXECABORT Transaction discarded because of previous errors.'));
    } else if (transaction.queued === 0 && transaction.watchedCount === 0) {
      this.answer((sink) => sink.array(0));
    } else {
      const { args, touched } = transaction.build();
      this.services.router.submitAtomic(execCommand, args, touched, this.connection, this.#slot(true));
    }
    transaction.reset();
    client.queued = -1;
    client.watched = 0;
  }
}

function unknownCommand(name: string, args: Args): string {
  let shown = '';
  for (let i = 0; i < args.count && shown.length < UNKNOWN_TEXT_MAX; i++) {
    shown += `'${argText(args, i).slice(0, UNKNOWN_TEXT_MAX - shown.length)}' `;
  }
  const text = `ERR unknown command '${name.slice(0, UNKNOWN_TEXT_MAX)}', with args beginning with: ${shown}`;
  return text.replaceAll(/[\r\n]/g, ' ');
}
