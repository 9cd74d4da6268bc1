/** A state machine in one thread, driven command by command, for tests of what commands do. */
import type { Hlc } from '../../src/core/brands.ts';
import { HLC_LOGICAL_RANGE } from '../../src/core/hlc.ts';
import type { Args } from '../../src/core/kv/args.ts';
import { createArgs } from '../../src/core/kv/args.ts';
import type { RequestId } from '../../src/core/kv/batch.ts';
import { BATCH_HEADER_BYTES, commandBytes, writeBatchHeader, writeCommand } from '../../src/core/kv/batch.ts';
import type { ReplySink } from '../../src/core/kv/reply.ts';
import type { CommandSpec } from '../../src/core/kv/spec.ts';
import type { StateMachine } from '../../src/core/kv/state-machine.ts';
import { createStateMachine } from '../../src/core/kv/state-machine.ts';
import type { OrderedStore } from '../../src/core/kv/store.ts';
import { requireCommand } from '../../src/core/kv/table.ts';
import { ArrayStore } from './array-store.ts';

export type Bytes = string | Buffer;

/** A simple reply has a '+' before it, an error a '-'; binary strings are latin1 text as they are. */
export type Reply = string | number | bigint | boolean | null | readonly Reply[];

/** Strings stand for their latin1 bytes. */
export function bytesOf(value: Bytes): Buffer {
  return typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
}

export function argsOf(values: readonly Bytes[]): Args {
  const args = createArgs();
  const parts = values.map(bytesOf);
  args.buffer = Buffer.concat(parts);
  args.count = parts.length;
  let at = 0;
  parts.forEach((part, i) => {
    args.start[i] = at;
    at += part.length;
    args.end[i] = at;
  });
  return args;
}

export interface BatchItem {
  readonly spec: CommandSpec;
  readonly args: Args;
  readonly requestId?: RequestId;
}

export function encodeBatch(version: number, items: readonly BatchItem[], rangeVersion = 1): Buffer {
  let bytes = BATCH_HEADER_BYTES;
  for (const { args, requestId } of items) bytes += commandBytes(args, requestId !== undefined);
  const batch = Buffer.alloc(bytes);
  writeBatchHeader(batch, items.length, version as Hlc, rangeVersion);
  let at = BATCH_HEADER_BYTES;
  for (const { spec, args, requestId } of items) at = writeCommand(batch, at, spec.op, args, requestId ?? null);
  return batch;
}

/** Keeps one reply as a value. */
export class ValueSink implements ReplySink {
  #whole: Reply[] = [];
  #open: { readonly elements: Reply[]; readonly length: number }[] = [];

  /** The replies so far; aggregates must be complete. */
  take(): readonly Reply[] {
    if (this.#open.length > 0) throw new Error('an aggregate of the reply is not complete');
    const whole = this.#whole;
    this.#whole = [];
    return whole;
  }

  simple(text: string): void {
    this.#add(`+${text}`);
  }
  error(text: string): void {
    this.#add(`-${text}`);
  }
  integer(value: number | bigint): void {
    this.#add(value);
  }
  double(value: number): void {
    this.#add(`,${value}`);
  }
  boolean(value: boolean): void {
    this.#add(value);
  }
  bulk(source: Buffer, start: number, end: number): void {
    this.#add(source.toString('latin1', start, end));
  }
  text(value: string): void {
    this.#add(value);
  }
  null(): void {
    this.#add(null);
  }
  nullArray(): void {
    this.#add('*null');
  }
  array(length: number): void {
    const elements: Reply[] = [];
    if (length === 0) this.#add(elements);
    else this.#open.push({ elements, length });
  }
  map(pairs: number): void {
    this.array(pairs * 2);
  }
  set(length: number): void {
    this.array(length);
  }

  #add(value: Reply): void {
    const innermost = this.#open.at(-1);
    if (innermost === undefined) {
      this.#whole.push(value);
      return;
    }
    innermost.elements.push(value);
    if (innermost.elements.length < innermost.length) return;
    this.#open.pop();
    this.#add(innermost.elements);
  }
}

export interface KvMachineOptions {
  readonly store?: OrderedStore;
  readonly valueBytesMax?: number;
  readonly sessions?: Buffer;
}

export class KvMachine {
  readonly store: OrderedStore;
  machine: StateMachine;
  /** The clock of everything that follows. */
  nowMs = 1_700_000_000_000;
  #version = 0;

  constructor(options: KvMachineOptions = {}) {
    this.store = options.store ?? new ArrayStore();
    this.machine = createStateMachine({
      store: this.store,
      valueBytesMax: options.valueBytesMax ?? 1024 * 1024,
      ...(options.sessions === undefined ? {} : { sessions: options.sessions }),
    });
  }

  /** Runs one command, the name first, and returns its reply. */
  run(name: string, ...values: Bytes[]): Reply {
    const sink = new ValueSink();
    this.runInto(sink, requireCommand(name), argsOf(values));
    return only(sink.take());
  }

  /** Runs a write that carries a request id. */
  runOnce(requestId: RequestId, name: string, ...values: Bytes[]): Reply {
    const sink = new ValueSink();
    this.runInto(sink, requireCommand(name), argsOf(values), requestId);
    return only(sink.take());
  }

  runInto(sink: ReplySink, spec: CommandSpec, args: Args, requestId?: RequestId): void {
    if (!spec.write) {
      this.machine.read(spec, args, this.nowMs, sink);
      return;
    }
    const version = this.nextVersion(1);
    const item = requestId === undefined ? { spec, args } : { spec, args, requestId };
    this.machine.apply(encodeBatch(version, [item]), { sink: () => sink, applied: () => undefined });
  }

  /** Reserves `count` versions at the present time. */
  nextVersion(count: number): number {
    const first = Math.max(this.#version + 1, this.nowMs * HLC_LOGICAL_RANGE);
    this.#version = first + count - 1;
    return first;
  }

  /** Runs commands as one transaction. `watched`: key and version pairs. */
  exec(watched: readonly (readonly [Bytes, number])[], commands: readonly (readonly Bytes[])[]): Reply {
    const values: Bytes[] = [String(watched.length)];
    for (const [key, version] of watched) values.push(key, String(version));
    for (const [name, ...rest] of commands) {
      values.push(String(requireCommand(String(name)).op), String(rest.length), ...rest);
    }
    return this.run('EXEC', ...values);
  }
}

function only(replies: readonly Reply[]): Reply {
  if (replies.length !== 1) throw new Error(`the command sent ${replies.length} replies instead of one`);
  return replies[0] as Reply;
}
