/**
 * MULTI and WATCH of one connection. Commands of the store are queued here and leave as one EXEC command of one range
 * (core/kv/commands/exec.ts), which checks the watched versions and runs them in one go; commands of the session that
 * are queued among them are answered when its reply is there.
 */
import type { Args } from '../../core/kv/args.ts';
import { argLength, copyArgs } from '../../core/kv/args.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import { keyIndexes } from '../../core/kv/spec.ts';
import { limits } from '../../core/limits.ts';
import { argsOf } from '../args.ts';
import type { AnsweredCommand, AskedCommand } from './own-command.ts';

interface Watched {
  readonly key: Buffer;
  readonly version: number;
}

/** A command of the store, or of the session. */
export type Queued =
  | { readonly spec: CommandSpec; readonly own?: never; readonly args: Args }
  | { readonly own: AnsweredCommand | AskedCommand; readonly spec?: never; readonly args: Args };

/** What EXEC is to run. */
export interface Execution {
  readonly queued: readonly Queued[];
  /** The arguments of the store's EXEC command, over the store's commands among them. */
  readonly args: Args;
}

/** Bytes that a queued command takes besides its arguments. */
const QUEUED_BYTES = 64;

export class Transaction {
  readonly #bytesMax: number;
  isOpen = false;
  /** A command was refused while queueing: EXEC answers EXECABORT. */
  isSpoiled = false;
  #watched = new Map<string, Watched>();
  #queued: Queued[] = [];
  #bytes = 0;

  /** `bytesMax`: how much may be queued. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get watchedCount(): number {
    return this.#watched.size;
  }

  /** Commands queued, or -1 outside MULTI. */
  get queuedCount(): number {
    return this.isOpen ? this.#queued.length : -1;
  }

  begin(): void {
    this.isOpen = true;
  }

  /** Notes that a command was refused, if that matters. */
  spoil(): void {
    if (this.isOpen) this.isSpoiled = true;
  }

  /** Forgets queued commands and watched keys. */
  reset(): void {
    this.isOpen = false;
    this.isSpoiled = false;
    this.#watched = new Map();
    this.#queued = [];
    this.#bytes = 0;
  }

  unwatch(): void {
    this.#watched = new Map();
  }

  /** The first version seen counts: what changed since then spoils the transaction. */
  watch(key: Buffer, version: number): void {
    const name = key.toString('latin1');
    if (!this.#watched.has(name)) this.#watched.set(name, { key, version });
  }

  queueOwn(own: AnsweredCommand | AskedCommand, args: Args): string | null {
    const error = this.#takeRoom(args);
    if (error === null) this.#queued.push({ own, args: copyArgs(args) });
    return error;
  }

  /** Queues a command whose arity is right. Returns why it is refused, or null. */
  queue(spec: CommandSpec, args: Args): string | null {
    for (const i of keyIndexes(spec, args.count)) {
      const bytes = argLength(args, i);
      if (bytes > limits.keyBytesMax) {
        return `ERR the key has ${bytes} bytes; at most ${limits.keyBytesMax} are allowed`;
      }
    }
    const error = this.#takeRoom(args);
    if (error === null) this.#queued.push({ spec, args: copyArgs(args) });
    return error;
  }

  build(): Execution {
    const watched = [...this.#watched.values()];
    const parts: Buffer[] = [Buffer.from(String(watched.length))];
    for (const { key, version } of watched) parts.push(key, Buffer.from(String(version)));
    for (const { spec, args } of this.#queued) {
      if (spec === undefined) continue;
      parts.push(Buffer.from(String(spec.op)), Buffer.from(String(args.count)), ...valuesOf(args));
    }
    return { queued: this.#queued, args: argsOf(parts) };
  }

  #takeRoom(args: Args): string | null {
    let bytes = QUEUED_BYTES;
    for (let i = 0; i < args.count; i++) bytes += argLength(args, i);
    if (this.#bytes + bytes > this.#bytesMax) {
      return `ERR the commands of a transaction may take ${this.#bytesMax} bytes together; this one is too much`;
    }
    this.#bytes += bytes;
    return null;
  }
}

function valuesOf({ buffer, count, start, end }: Args): Buffer[] {
  return Array.from({ length: count }, (_, i) => buffer.subarray(start[i], end[i]));
}
