/**
 * Redis's glob patterns (stringmatchlen in its util.c): * ? [abc] [^a-c] and \ before any of them, on bytes.
 *
 * Matching with one remembered star is linear in text × pattern: when what follows a star fails, only the last star is
 * tried one byte further on, since whatever an earlier star could swallow, the last one can as well.
 */

/** Whether all of text[textStart, textEnd) matches pattern[patternStart, patternEnd). */
export function globMatches(
  pattern: Buffer,
  patternStart: number,
  patternEnd: number,
  text: Buffer,
  textStart: number,
  textEnd: number,
): boolean {
  // Redis tries no star on an empty text, but takes "*" alone as no pattern at all.
  if (textStart === textEnd) {
    return patternStart === patternEnd || (patternEnd - patternStart === 1 && pattern[patternStart] === STAR);
  }
  let p = patternStart;
  let t = textStart;
  let starPattern = -1;
  let starText = 0;
  while (t < textEnd) {
    if (p < patternEnd && pattern[p] === STAR) {
      starPattern = ++p;
      starText = t;
      continue;
    }
    const next = p < patternEnd ? matchOne(pattern, p, patternEnd, text[t] as number) : -1;
    if (next >= 0) {
      p = next;
      t++;
    } else if (starPattern >= 0) {
      p = starPattern;
      t = ++starText;
    } else {
      return false;
    }
  }
  while (p < patternEnd && pattern[p] === STAR) p++;
  return p === patternEnd;
}

/** Bytes at the pattern's start that stand for themselves: every text that matches begins with them. */
export function literalPrefixBytes(pattern: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && !SPECIAL.has(pattern[at] as number)) at++;
  return at - start;
}

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const CARET = 0x5e;
const DASH = 0x2d;
const BACKSLASH = 0x5c;
const SPECIAL: ReadonlySet<number> = new Set([STAR, QUESTION, OPEN, BACKSLASH]);

/** The offset behind the pattern's element at `p` if that matches `byte`, else -1. */
function matchOne(pattern: Buffer, p: number, end: number, byte: number): number {
  switch (pattern[p]) {
    case QUESTION:
      return p + 1;
    case OPEN:
      return matchClass(pattern, p + 1, end, byte);
    case BACKSLASH:
      if (p + 1 < end) return pattern[p + 1] === byte ? p + 2 : -1;
      return byte === BACKSLASH ? p + 1 : -1;
    default:
      return pattern[p] === byte ? p + 1 : -1;
  }
}

/** As matchOne, for the class that begins behind its bracket at `p`. A class that is not closed ends with the pattern. */
function matchClass(pattern: Buffer, p: number, end: number, byte: number): number {
  const isNegated = p < end && pattern[p] === CARET;
  if (isNegated) p++;
  let matches = false;
  for (; p < end && pattern[p] !== CLOSE; p++) {
    if (pattern[p] === BACKSLASH && p + 1 < end) {
      p++;
      if (pattern[p] === byte) matches = true;
    } else if (p + 2 < end && pattern[p + 1] === DASH) {
      const from = pattern[p] as number;
      const to = pattern[p + 2] as number;
      if (byte >= Math.min(from, to) && byte <= Math.max(from, to)) matches = true;
      p += 2;
    } else if (pattern[p] === byte) {
      matches = true;
    }
  }
  if (matches === isNegated) return -1;
  return p < end ? p + 1 : p;
}
