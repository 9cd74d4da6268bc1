/**
 * Where a command's reply goes, value by value, in the words of RESP3. The codecs implement it (RESP2, RESP3, msgpack);
 * aggregates announce their length first and are followed by that many values (a map: twice as many).
 */

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
