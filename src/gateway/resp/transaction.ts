/**
 * MULTI, EXEC, DISCARD, WATCH, UNWATCH of one connection. Commands are queued here and leave as one EXEC command of one
 * range (core/kv/commands/exec.ts), which checks the watched versions and runs them in one go.
 */
import type { Args } from '../../core/kv/args.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import { argsOf } from '../args.ts';
import type { KeySet } from '../ports.ts';

interface Watched {
  readonly key: Buffer;
  readonly version: number;
}

export class Transaction {
  isOpen = false;
  /** A command was refused while queueing: EXEC answers EXECABORT. */
  isSpoiled = false;
  #watched = new Map<string, Watched>();
  #parts: Buffer[] = [];
  #keys: Buffer[] = [];
  #everything = false;
  queued = 0;

  get watchedCount(): number {
    return this.#watched.size;
  }

  begin(): void {
    this.isOpen = true;
  }

  /** Forgets queued commands and watched keys. */
  reset(): void {
    this.isOpen = false;
    this.isSpoiled = false;
    this.#watched = new Map();
    this.#parts = [];
    this.#keys = [];
    this.#everything = false;
    this.queued = 0;
  }

  unwatch(): void {
    this.#watched = new Map();
  }

  /** The first version seen counts: what changed since then spoils the transaction. */
  watch(key: Buffer, version: number): void {
    const name = key.toString('latin1');
    if (!this.#watched.has(name)) this.#watched.set(name, { key, version });
  }

  queue(spec: CommandSpec, args: Args): void {
    this.queued++;
    this.#parts.push(Buffer.from(String(spec.op)), Buffer.from(String(args.count)));
    const copies: Buffer[] = [];
    for (let i = 0; i < args.count; i++) copies.push(Buffer.from(args.buffer.subarray(args.start[i], args.end[i])));
    this.#parts.push(...copies);
    if (spec.firstKey === 0) {
      if (spec.gather !== undefined) this.#everything = true;
      return;
    }
    const last = spec.lastKey < 0 ? args.count + spec.lastKey : spec.lastKey - 1;
    for (let i = spec.firstKey - 1; i <= last; i += spec.keyStep) this.#keys.push(copies[i] as Buffer);
  }

  /** The arguments of EXEC, and what it touches. */
  build(): { args: Args; touched: KeySet } {
    const watched = [...this.#watched.values()];
    const parts: Buffer[] = [Buffer.from(String(watched.length))];
    for (const { key, version } of watched) parts.push(key, Buffer.from(String(version)));
    const keys = [...this.#keys, ...watched.map(({ key }) => key)];
    return {
      args: argsOf([...parts, ...this.#parts]),
      touched: { keys: argsOf(keys), everything: this.#everything },
    };
  }
}
