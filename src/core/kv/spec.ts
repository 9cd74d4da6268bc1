/**
 * What the rest of the store knows of a command: its code, its keys, and how it is run. The table itself is
 * table.ts; the gateway routes by it, the state machine executes by it.
 */
import type { Hlc } from '../brands.ts';
import type { RangeDescriptor } from '../range.ts';
import { rangeContains } from '../range.ts';
import type { Args } from './args.ts';
import type { ReplySink } from './reply.ts';
import type { OrderedStore, ValueRef } from './store.ts';

/** All that running a command may touch. One object per state machine, filled anew for each command. */
export interface CommandContext {
  args: Args;
  store: OrderedStore;
  reply: ReplySink;
  /** The command's own version: unique in its range, increasing. Reads have the newest version applied. */
  version: Hlc;
  /** Unix milliseconds: the batch's clock for writes, the wall clock for reads. Keys with expiry ≤ nowMs are absent. */
  nowMs: number;
  /** Limit on a value that a command builds (APPEND, SETRANGE, SETBIT …). */
  valueBytesMax: number;
  /** Differs from command to command: what is chosen at random is chosen by it. The same on every replica for writes. */
  seed: number;
  /** Scratch for one value in place. */
  readonly value: ValueRef;
  /** [keys that were found, keys that were not], of the lookups that Redis counts. */
  lookups: Float64Array;
}

/**
 * How a command behaves when its keys lie in more than one range:
 * - `one`    has one key, or none that matters: cannot happen
 * - `refuse` answers CROSSRANGE (MSET, RENAME …)
 * - `gather` is run once per range on that range's keys; replies are put together as `gather` says
 */
export type AcrossRanges = 'one' | 'refuse' | 'gather';

/** How the replies of a gathered command become one. `all`: the command has no keys and goes to every range. */
export type Gather =
  | 'sum' // DEL, EXISTS, DBSIZE: integers are added
  | 'perKey' // MGET: arrays, put back into the order of the keys
  | 'concat' // KEYS: arrays, in key order
  | 'ok' // FLUSHALL: OK when all say OK
  | 'walk'; // SCAN, RANDOMKEY: the gateway walks the ranges itself

/** What an atomic command touches, to find out whether one range holds all of it. */
export interface KeySet {
  /** Keys in place, in any order, repeated or not. */
  readonly keys: Args;
  /** It also touches every key there is (FLUSHALL, DBSIZE, KEYS …): only a store of one range holds that. */
  readonly everything: boolean;
}

/**
 * How fresh a read must be.
 * - `LEASE`         the leader answers while its lease holds
 * - `LINEARIZABLE`  the leader asks a quorum whether it still leads (ReadIndex), whatever its clock says of the lease
 * - `STALE`         whoever has the range answers from what it has applied
 */
export const CONSISTENCY_LEASE = 0;
export const CONSISTENCY_LINEARIZABLE = 1;
export const CONSISTENCY_STALE = 2;

/** The part of `op` that is the command's code; above it is how this call of it is to be run (table.ts). */
export const OP_CODE_MASK = 0xffff;

/** Of a reply that is not made of values, or of nobody knows how many, and may have any length. */
export const UNKNOWN_VALUES = -1;

export interface CommandSpec {
  /** Upper case. */
  readonly name: string;
  /** On disk and on the wire: its code never changes, never is given to another command. */
  readonly op: number;
  /** As Redis counts it, the name included; negative = at least. */
  readonly arity: number;
  /** Whether it may change the store: then it is a Raft entry. */
  readonly write: boolean;
  /** Redis's own flags, for COMMAND. */
  readonly flags: readonly string[];
  /** Redis's ACL categories without the @, for COMMAND. */
  readonly categories: readonly string[];
  /** Positions of keys as Redis counts them (the name is 0; last < 0 counts from the end; first 0 = no keys). */
  readonly firstKey: number;
  readonly lastKey: number;
  readonly keyStep: number;
  readonly acrossRanges: AcrossRanges;
  /** Of reads; LEASE unless given. */
  readonly consistency?: number;
  /** The reply is to be explained: ReplyTarget.explain(). */
  readonly explain?: boolean;
  /** For a command (EXEC) whose keys no positions can tell: they are found in its arguments. Then firstKey is 0. */
  readonly touched?: (args: Args) => KeySet;
  readonly gather?: Gather;
  /**
   * How many values of the store its reply holds at most. UNKNOWN_VALUES: the reply is as
   * long as the store makes it.
   */
  readonly repliesValues: (args: Args) => number;
  /**
   * Bytes that a value which it builds may have beyond the command's own bytes, at most, if that is not 0. Whoever admits
   * writes asks before they are in the log, because an applied command must never find the memory used up.
   */
  readonly growthBytes?: (context: CommandContext) => number;
  /** Runs it. Sends exactly one reply (aggregates count as one). Changes nothing when it replies with an error. */
  readonly run: (context: CommandContext) => void;
}

export type KeyPositions = Pick<CommandSpec, 'firstKey' | 'lastKey' | 'keyStep'>;

/** Which arguments of the command are keys, when it has `count` of them. */
export function keyIndexes({ firstKey, lastKey, keyStep }: KeyPositions, count: number): number[] {
  if (firstKey === 0) return [];
  const last = lastKey < 0 ? count + lastKey : Math.min(lastKey, count) - 1;
  const indexes: number[] = [];
  for (let i = firstKey - 1; i <= last; i += keyStep) indexes.push(i);
  return indexes;
}

/** Whether all keys of the command belong to the range. */
export function holdsKeys(range: RangeDescriptor, spec: CommandSpec, { buffer, count, start, end }: Args): boolean {
  return keyIndexes(spec, count).every((i) => rangeContains(range, buffer, start[i] as number, end[i] as number));
}
