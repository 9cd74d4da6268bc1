/**
 * Where a command's reply goes, value by value, in the words of RESP3. The codecs implement it (RESP2, RESP3, msgpack);
 * aggregates announce their length first and are followed by that many values (a map: twice as many).
 */
import type { MemberId } from '../brands.ts';
import type { RangeExplanation } from './explanation.ts';

export interface ReplySink {
  /** A short status such as OK or PONG. */
  simple(text: string): void;
  /** `text` begins with the error's word: "ERR …", "WRONGTYPE …". No CR or LF. */
  error(text: string): void;
  integer(value: number | bigint): void;
  double(value: number): void;
  boolean(value: boolean): void;
  /** Binary string: source[start, end). Copied before the call returns. */
  bulk(source: Buffer, start: number, end: number): void;
  /** Text, sent as UTF-8. */
  text(value: string): void;
  null(): void;
  /** RESP2 knows a null array apart from a null string (an aborted EXEC). */
  nullArray(): void;
  array(length: number): void;
  map(pairs: number): void;
  set(length: number): void;
}

/**
 * Whoever waits for replies: a client's connection, a gatherer of several ranges' replies, another worker. A slot is the
 * target's own number for one command; replies may come in any order of slots.
 */
export interface ReplyTarget {
  /** The sink for the whole reply of `slot`; finish(slot) follows in the same synchronous run. */
  begin(slot: number): ReplySink;
  finish(slot: number): void;
  /** The whole reply of `slot`, already encoded in `protocol` by another worker. Copied before the call returns. */
  raw(slot: number, source: Buffer, start: number, end: number): void;
  /** Where the time went at one of the ranges that `slot` waits for. Comes before the reply, for commands that ask for it. */
  explain?(slot: number, explanation: RangeExplanation): void;
  /** How many milliseconds `slot` is willing to wait for its range to have a leader, if it says so. */
  patienceMs?(slot: number): number;
  /** Of a target that finds the leader itself: the range is not led here, and nothing was done. `leader`: 0 = not known. */
  notLeader?(slot: number, leader: MemberId | 0): void;
  /** How replies made on another thread are encoded: RESP2, RESP3 or the native protocol's msgpack. */
  readonly protocol: ReplyProtocol;
  /** Writes handed to the router and not yet answered: reads are then ordered behind them (read-your-writes). */
  readonly writesInFlight: number;
  /** False once the client is gone: replies may be dropped. */
  readonly open: boolean;
}

/** 2 = RESP2, 3 = RESP3, 4 = native (msgpack). */
export type ReplyProtocol = 2 | 3 | 4;

/** The whole reply of `slot` is this error. */
export function replyError(target: ReplyTarget, slot: number, text: string): void {
  target.begin(slot).error(text);
  target.finish(slot);
}

const nothing = (): void => undefined;

/** For replay and for replicas that answer nobody. */
export const discardReply: ReplySink = {
  simple: nothing,
  error: nothing,
  integer: nothing,
  double: nothing,
  boolean: nothing,
  bulk: nothing,
  text: nothing,
  null: nothing,
  nullArray: nothing,
  array: nothing,
  map: nothing,
  set: nothing,
};
