/** Inline commands: a line of words as a person types them, cut up exactly as Redis does (sds.c, sdssplitargs). */
import type { Args } from '../../core/kv/args.ts';

const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const BACKSLASH = 0x5c;
const LETTER_X = 0x78;

/** What C's isspace() takes for a space. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

/** Where a word without quotes ends. Vertical tab and form feed are part of it: Redis's own inconsistency. */
function endsWord(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

const ESCAPED: ReadonlyMap<number, number> = new Map([
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
  [0x62, 0x08],
  [0x61, 0x07],
]);

/**
 * Fills `out` with the words of source[start, end), which is one line without its end, into bytes of their own.
 * Returns how many there are, the command's name included, or -1 when quotes are unbalanced.
 *
 *     "…"  \n \r \t \b \a \xHH, and \ before anything else means it      '…'  \' only
 */
export function splitInline(source: Buffer, start: number, end: number, out: Args): number {
  // A zero byte ends the line, as it ends a C string.
  const zero = source.subarray(start, end).indexOf(0);
  const line = source.subarray(start, zero < 0 ? end : start + zero);
  const words = Buffer.allocUnsafe(line.length);
  let written = 0;
  let count = 0;
  let at = 0;
  for (;;) {
    while (at < line.length && isSpace(line[at] as number)) at++;
    if (at >= line.length) break;
    out.start[count] = written;
    let quote = 0;
    for (; ; at++) {
      const byte = line[at];
      if (byte === undefined) {
        if (quote !== 0) return -1;
        break;
      }
      if (quote === 0) {
        if (endsWord(byte)) break;
        if (byte === QUOTE || byte === APOSTROPHE) quote = byte;
        else words[written++] = byte;
      } else if (byte === quote) {
        const next = line[at + 1];
        if (next !== undefined && !isSpace(next)) return -1;
        at++;
        break;
      } else if (byte === BACKSLASH && quote === QUOTE && at + 1 < line.length) {
        const high = line[at + 1] === LETTER_X ? hexDigit(line[at + 2]) : -1;
        const low = high < 0 ? -1 : hexDigit(line[at + 3]);
        if (low >= 0) {
          words[written++] = high * 16 + low;
          at += 3;
        } else {
          at++;
          const escaped = line[at] as number;
          words[written++] = ESCAPED.get(escaped) ?? escaped;
        }
      } else if (byte === BACKSLASH && quote === APOSTROPHE && line[at + 1] === APOSTROPHE) {
        words[written++] = APOSTROPHE;
        at++;
      } else {
        words[written++] = byte;
      }
    }
    out.end[count++] = written;
  }
  out.buffer = words;
  out.count = count;
  return count;
}
