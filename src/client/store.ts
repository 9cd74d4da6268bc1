/** The store as its users have it: the same over TCP and embedded. */
import { OP_CLUSTER, OP_RANGE_SPLIT, OP_STATUS, OP_TOPOLOGY } from '../codec/native/frame.ts';
import type { ClusterStatus, RangeRecovery, RangeRoute, Topology } from '../codec/native/messages.ts';
import { SkerryError } from '../core/errors.ts';
import type { CommandSpec } from '../core/kv/spec.ts';
import { commandByName, requireCommand } from '../core/kv/table.ts';
import type { Request } from './call.ts';
import { CALL_ONCE, CALL_READ, CALL_WRITE } from './call.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Explained, ExplainOption } from './explanation.ts';
import { nothingAsked, wantsExplanation } from './explanation.ts';
import { listEntries } from './list.ts';
import type {
  BatchOperation,
  CallOptions,
  ClientSettings,
  Entry,
  Format,
  Formatted,
  Key,
  ListOptions,
  ReadOptions,
  SetOptions,
  Value,
} from './options.ts';
import { consistencyCode } from './options.ts';
import type { Decode } from './replies.ts';
import {
  decodeBytes,
  decodeBytesArray,
  decodeDone,
  decodeOk,
  decodePositive,
  decodeText,
  decodeTextArray,
  decodeValue,
} from './replies.ts';

export type { ClusterNode, ClusterStatus, RangeRecovery, SurvivingReplica } from '../codec/native/messages.ts';

const GET = requireCommand('GET');
const MGET = requireCommand('MGET');
const SET = requireCommand('SET');
const DEL = requireCommand('DEL');
const EXISTS = requireCommand('EXISTS');
const BATCH = requireCommand('BATCH');

/** A store. Every method rejects with SkerryError; `code` says what happened. */
export class Store<As extends Format = 'bytes'> implements AsyncDisposable {
  readonly #dispatcher: Dispatcher;
  readonly #settings: ClientSettings;

  constructor(dispatcher: Dispatcher, settings: ClientSettings) {
    this.#dispatcher = dispatcher;
    this.#settings = settings;
  }

  /** The value of a key, undefined when it is absent. */
  get<F extends Format = As>(key: Key, options?: ReadOptions<F>): Promise<Formatted<F> | undefined>;
  get<F extends Format = As>(
    key: Key,
    options: ReadOptions<F> & ExplainOption,
  ): Promise<Explained<Formatted<F> | undefined>>;
  get(key: Key, options?: ReadOptions): Promise<unknown> {
    const decode: Decode<unknown> = this.#isText(options) ? decodeText : decodeBytes;
    return this.#read(GET, [key], key, decode, options);
  }

  /** The values of several keys, in the order of the keys. Each is read linearizably, all of them not at one instant. */
  getMany<F extends Format = As>(keys: readonly Key[], options?: ReadOptions<F>): Promise<(Formatted<F> | undefined)[]>;
  getMany<F extends Format = As>(
    keys: readonly Key[],
    options: ReadOptions<F> & ExplainOption,
  ): Promise<Explained<(Formatted<F> | undefined)[]>>;
  async getMany(keys: readonly Key[], options?: ReadOptions): Promise<unknown> {
    const [first] = keys;
    if (first === undefined) return nothingAsked([], options);
    const decode: Decode<unknown> = this.#isText(options) ? decodeTextArray : decodeBytesArray;
    return await this.#read(MGET, keys, first, decode, options);
  }

  /** Stores a value. False only when ifAbsent or ifPresent did not hold. Durable when it resolves. */
  set(key: Key, value: Value, options?: SetOptions): Promise<boolean>;
  set(key: Key, value: Value, options: SetOptions & ExplainOption): Promise<Explained<boolean>>;
  set(key: Key, value: Value, options: SetOptions = {}): Promise<unknown> {
    const args: Value[] = [key, value];
    if (options.ifAbsent === true) args.push('NX');
    if (options.ifPresent === true) args.push('XX');
    if (options.keepTtl === true) args.push('KEEPTTL');
    if (options.ttlMs !== undefined) args.push('PX', String(Math.ceil(options.ttlMs)));
    return this.#write(SET, args, key, decodeOk, options);
  }

  /** Deletes a key; whether it was there. */
  delete(key: Key, options?: CallOptions): Promise<boolean>;
  delete(key: Key, options: CallOptions & ExplainOption): Promise<Explained<boolean>>;
  delete(key: Key, options?: CallOptions): Promise<unknown> {
    return this.#write(DEL, [key], key, decodePositive, options);
  }

  has(key: Key, options?: ReadOptions): Promise<boolean>;
  has(key: Key, options: ReadOptions & ExplainOption): Promise<Explained<boolean>>;
  has(key: Key, options?: ReadOptions): Promise<unknown> {
    return this.#read(EXISTS, [key], key, decodePositive, options);
  }

  /** Entries in the order of their keys. Each page is read at one instant, the whole is not. */
  list<F extends Format = As>(options: ListOptions<F> = {}): AsyncIterableIterator<Entry<F>> {
    const format = (options.as ?? this.#settings.as) as F;
    return listEntries(this.#dispatcher, this.#settings, options, format);
  }

  /** Changes several keys of one range, all or none; KV_CROSS_RANGE when they lie in several. */
  batch(operations: readonly BatchOperation[], options?: CallOptions): Promise<void>;
  batch(operations: readonly BatchOperation[], options: CallOptions & ExplainOption): Promise<Explained<void>>;
  async batch(operations: readonly BatchOperation[], options?: CallOptions): Promise<unknown> {
    const [first] = operations;
    if (first === undefined) return nothingAsked(undefined, options);
    const args = operations.flatMap((operation): Value[] =>
      operation.type === 'delete'
        ? [operation.key, 'D', '']
        : [operation.key, operation.ttlMs === undefined ? 'P' : `P${Math.ceil(operation.ttlMs)}`, operation.value],
    );
    return await this.#write(BATCH, args, first.key, decodeDone, options);
  }

  /** Any command of the store by its name, as over RESP; replies are numbers, Buffers, strings, null and arrays. */
  async command(name: string, args?: readonly Value[], options?: CallOptions): Promise<unknown>;
  async command(
    name: string,
    args: readonly Value[],
    options: CallOptions & ExplainOption,
  ): Promise<Explained<unknown>>;
  async command(name: string, args: readonly Value[] = [], options?: CallOptions): Promise<unknown> {
    const spec = commandByName(name.toUpperCase());
    if (spec === undefined || spec.flags.includes('internal')) {
      throw new SkerryError('KV_INVALID', `there is no command ${name}`);
    }
    const count = args.length + 1;
    if (spec.arity < 0 ? count < -spec.arity : count !== spec.arity) {
      throw new SkerryError('KV_INVALID', `${spec.name} does not take ${args.length} arguments`);
    }
    const key = spec.firstKey > 0 ? (args[spec.firstKey - 1] ?? null) : null;
    return spec.write
      ? await this.#write(spec, args, key, decodeValue, options)
      : await this.#read(spec, args, key, decodeValue, options);
  }

  /** The ranges of the store, in the order of their keys. */
  async ranges(options?: CallOptions): Promise<readonly RangeRoute[]> {
    const topology = (await this.#control(OP_TOPOLOGY, [], CALL_READ, options)) as Topology;
    return topology.ranges;
  }

  /** Cuts the range that holds the key there. */
  async splitRange(key: Key, options?: CallOptions): Promise<void> {
    await this.#control(OP_RANGE_SPLIT, [key], CALL_ONCE, options);
  }

  /** What the node says of itself. */
  async status(options?: CallOptions): Promise<Readonly<Record<string, unknown>>> {
    return (await this.#control(OP_STATUS, [], CALL_READ, options)) as Readonly<Record<string, unknown>>;
  }

  /** The cluster and its nodes, as the node knows them that is asked. */
  async cluster(options?: CallOptions): Promise<ClusterStatus> {
    return (await this.#control(OP_CLUSTER, ['nodes'], CALL_READ, options)) as ClusterStatus;
  }

  /**
   * Changes the cluster. `add`: a node of this name will join · `drain`: the node's replicas and leaderships move away, and then
   * it is out · `keep`: it drains no longer · `remove`: it is out for good; a node that is alive only by force. A node is
   * named by its id or name. Resolves when the cluster has taken notice.
   */
  async changeNode(
    change: 'add' | 'drain' | 'keep' | 'remove',
    node: string | number,
    options?: CallOptions & { readonly force?: boolean },
  ): Promise<Readonly<Record<string, unknown>>> {
    const order = [change, String(node), ...(options?.force === true ? ['force'] : [])];
    return (await this.#control(OP_CLUSTER, order, CALL_ONCE, options)) as Readonly<Record<string, unknown>>;
  }

  /**
   * What the node that is asked, and those it reaches, have of a range that has no leader. `force`: the range has lost the majority
   * of its voters for good, and goes on with this node's replica alone; what only the others had is lost. Refused
   * while a majority can be reached, and when another node has more of the log.
   */
  async recoverRange(rangeId: number, options?: CallOptions & { readonly force?: boolean }): Promise<RangeRecovery> {
    const order = ['recover', String(rangeId), ...(options?.force === true ? ['force'] : [])];
    return (await this.#control(OP_CLUSTER, order, CALL_ONCE, options)) as RangeRecovery;
  }

  /** Sets how many replicas each range should have, as far as there are nodes for them: an odd number. */
  async setReplicationFactor(replicationFactor: number, options?: CallOptions): Promise<void> {
    await this.#control(OP_CLUSTER, ['replication', String(replicationFactor)], CALL_ONCE, options);
  }

  /** Ends the connections; of an embedded store, the store. Calls under way fail. */
  close(): Promise<void> {
    return this.#dispatcher.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #isText(options: { readonly as?: Format | undefined } | undefined): boolean {
    return (options?.as ?? this.#settings.as) === 'text';
  }

  #read<Result>(
    spec: CommandSpec,
    args: readonly Value[],
    key: Value | null,
    decode: Decode<Result>,
    options: ReadOptions | undefined,
  ): Promise<Result> {
    const consistency = consistencyCode(options);
    const isExplained = wantsExplanation(options);
    const request: Request = { op: spec.op, kind: CALL_READ, args, key, consistency, isExplained };
    return this.#dispatcher.call(request, decode, options);
  }

  #write<Result>(
    spec: CommandSpec,
    args: readonly Value[],
    key: Value | null,
    decode: Decode<Result>,
    options: CallOptions | undefined,
  ): Promise<Result> {
    const isExplained = wantsExplanation(options);
    const request: Request = { op: spec.op, kind: CALL_WRITE, args, key, consistency: 0, isExplained };
    return this.#dispatcher.call(request, decode, options);
  }

  #control(
    op: number,
    args: readonly Value[],
    kind: typeof CALL_READ | typeof CALL_ONCE,
    options: CallOptions | undefined,
  ): Promise<unknown> {
    const request = { op, kind, args, key: null, consistency: 0, isExplained: false };
    return this.#dispatcher.call(request, decodeValue, options);
  }
}
