/**
 * Counts RESP2 replies in a stream: where each ends and whether it is a value, a null or an error. Nothing is decoded, since
 * a generator that does more than it must measures itself.
 */
import type { Outcome } from './target.ts';
import { DONE, FAILED, MISS } from './target.ts';

const MINUS = 0x2d;
const DOLLAR = 0x24;
const STAR = 0x2a;
const NEWLINE = 0x0a;
const CHARACTER_0 = 0x30;
const ERROR_CHARACTERS_MAX = 200;

export class ReplyCounter {
  readonly #onReply: (outcome: Outcome) => void;
  readonly #onError: (text: string) => void;
  /** Of the line being read; 0 = none has begun. */
  #type = 0;
  #number = 0;
  #negative = false;
  #errorText = '';
  /** Bytes of a bulk string still to come, its CR and LF included. */
  #skip = 0;
  /** Values still to come of the arrays that are open; a reply ends when it is 0. */
  #elements = 0;
  #outcome: Outcome = DONE;

  constructor(onReply: (outcome: Outcome) => void, onError: (text: string) => void) {
    this.#onReply = onReply;
    this.#onError = onError;
  }

  /** Takes the first `length` bytes of `chunk`. */
  push(chunk: Buffer, length: number): void {
    let at = 0;
    while (at < length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, length - at);
        this.#skip -= skipped;
        at += skipped;
        if (this.#skip === 0) this.#valueEnds();
      } else if (this.#type === 0) {
        this.#type = chunk[at++] as number;
        this.#number = 0;
        this.#negative = false;
      } else {
        at = this.#readLine(chunk, at, length);
      }
    }
  }

  #readLine(chunk: Buffer, from: number, length: number): number {
    const hasNumber = this.#type === DOLLAR || this.#type === STAR;
    let at = from;
    for (; at < length; at++) {
      const byte = chunk[at] as number;
      if (byte === NEWLINE) {
        this.#lineEnds();
        return at + 1;
      }
      if (hasNumber) {
        if (byte === MINUS) this.#negative = true;
        else if (byte >= CHARACTER_0) this.#number = this.#number * 10 + (byte - CHARACTER_0);
      } else if (this.#type === MINUS && this.#errorText.length < ERROR_CHARACTERS_MAX) {
        this.#errorText += String.fromCharCode(byte);
      }
    }
    return at;
  }

  #lineEnds(): void {
    const type = this.#type;
    this.#type = 0;
    if (type === DOLLAR && !this.#negative) {
      this.#skip = this.#number + 2;
      return;
    }
    if (type === STAR && !this.#negative && this.#number > 0) {
      // The array itself is one of the values that its own parent waits for.
      this.#elements += this.#number - (this.#elements > 0 ? 1 : 0);
      return;
    }
    if (type === MINUS) {
      this.#outcome = FAILED;
      this.#onError(this.#errorText.trimEnd());
      this.#errorText = '';
    } else if (this.#negative && this.#elements === 0) {
      this.#outcome = MISS;
    }
    this.#valueEnds();
  }

  #valueEnds(): void {
    if (this.#elements > 0) this.#elements--;
    if (this.#elements > 0) return;
    const outcome = this.#outcome;
    this.#outcome = DONE;
    this.#onReply(outcome);
  }
}
