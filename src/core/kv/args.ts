/**
 * Arguments of one command, in place: offsets into the bytes they arrived in (a socket's chunk, a ring, a log entry).
 * One Args object is filled anew for each command by whoever parses it, so that a command allocates nothing.
 *
 *     buffer  … | SET | key | value | …
 *                     ^start[0] ^start[1]        argument 0 is the first one after the command's name
 *                         ^end[0]   ^end[1]
 */

export interface Args {
  /** Where all arguments of this command lie. Valid only until the caller returns to whoever filled it. */
  buffer: Buffer;
  /** Number of arguments, without the command's name. */
  count: number;
  readonly start: number[];
  readonly end: number[];
  /** Where in `buffer` all of them lie as a command of a batch has them (batch.ts), to be copied as they are; -1: nowhere. */
  bodyStart: number;
  bodyEnd: number;
}

export function createArgs(): Args {
  return { buffer: Buffer.alloc(0), count: 0, start: [], end: [], bodyStart: -1, bodyEnd: -1 };
}

/** The bytes of argument `i` as latin1 text: for option words and numbers, not for keys or values. */
export function argText(args: Args, i: number): string {
  return args.buffer.toString('latin1', args.start[i], args.end[i]);
}

export function argLength(args: Args, i: number): number {
  return (args.end[i] as number) - (args.start[i] as number);
}

/** A copy of argument `i` that outlives the call. */
export function argCopy(args: Args, i: number): Buffer {
  return Buffer.from(args.buffer.subarray(args.start[i], args.end[i]));
}

/** All arguments in bytes of their own, for a command that must wait. */
export function copyArgs(args: Args): Args {
  const { count } = args;
  const start = args.start.slice(0, count);
  const end = args.end.slice(0, count);
  let first = Infinity;
  let last = 0;
  for (let i = 0; i < count; i++) {
    first = Math.min(first, start[i] as number);
    last = Math.max(last, end[i] as number);
  }
  if (count === 0) first = 0;
  return {
    buffer: Buffer.from(args.buffer.subarray(first, last)),
    count,
    start: start.map((offset) => offset - first),
    end: end.map((offset) => offset - first),
    bodyStart: -1,
    bodyEnd: -1,
  };
}
