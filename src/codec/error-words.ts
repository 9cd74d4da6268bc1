/** The words that the store itself, not a command, puts before an error's text, and what they stand for (docs/errors.md). */
import type { ErrorCode } from '../core/errors.ts';

export interface WordMeaning {
  readonly code: ErrorCode;
  /** Whether asking again can help. */
  readonly retryable: boolean;
}

const meanings: ReadonlyMap<string, WordMeaning> = new Map<string, WordMeaning>([
  ['CROSSRANGE', { code: 'KV_CROSS_RANGE', retryable: false }],
  ['NOTLEADER', { code: 'KV_NOT_LEADER', retryable: true }],
  ['RANGEMOVED', { code: 'KV_RANGE_MOVED', retryable: true }],
  ['UNKNOWNRESULT', { code: 'KV_UNKNOWN_RESULT', retryable: true }],
  ['OVERLOADED', { code: 'KV_OVERLOADED', retryable: true }],
  ['LOADING', { code: 'KV_STATE', retryable: true }],
  ['TRYAGAIN', { code: 'KV_STATE', retryable: true }],
  ['CLUSTERDOWN', { code: 'KV_PARTITION', retryable: true }],
  ['OOM', { code: 'KV_OUT_OF_MEMORY', retryable: false }],
  ['DISKFULL', { code: 'KV_DISK_FULL', retryable: false }],
  ['MISCONF', { code: 'KV_DISK_FULL', retryable: false }],
  ['TOOLARGE', { code: 'KV_TOO_LARGE', retryable: false }],
]);

/** What the first word of an error's text stands for; undefined: the error is the command's own. */
export function meaningOf(text: string): WordMeaning | undefined {
  const space = text.indexOf(' ');
  return space > 0 ? meanings.get(text.slice(0, space)) : undefined;
}

/** Longer than any word, and than what a text needs to be told by it. */
const WORD_BYTES_MAX = 16;

/** The code of an error whose text is source[start, end). */
export function errorCodeOf(source: Buffer, start: number, end: number): ErrorCode {
  return meaningOf(source.toString('latin1', start, Math.min(end, start + WORD_BYTES_MAX)))?.code ?? 'KV_REPLY';
}
