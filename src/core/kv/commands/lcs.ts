/** LCS: the longest common subsequence of two strings, by dynamic programming as in Redis (t_string.c). */
import type { CommandContext, CommandSpec } from '../spec.ts';
import { argIs, command, lookUp, NOT_AN_INTEGER, oneValue, safeIntegerArg, SYNTAX_ERROR } from './shared.ts';

const CELL_BYTES = 4;

interface Match {
  leftStart: number;
  readonly leftEnd: number;
  rightStart: number;
  readonly rightEnd: number;
}

function lcs(context: CommandContext): void {
  const { args, reply, value, valueBytesMax } = context;
  let wantsLength = false;
  let wantsIndexes = false;
  let withLength = false;
  let minimum = 0;
  for (let i = 2; i < args.count; i++) {
    if (argIs(args, i, 'LEN')) wantsLength = true;
    else if (argIs(args, i, 'IDX')) wantsIndexes = true;
    else if (argIs(args, i, 'WITHMATCHLEN')) withLength = true;
    else if (argIs(args, i, 'MINMATCHLEN') && i + 1 < args.count) {
      const given = safeIntegerArg(args, ++i);
      if (given === null) {
        reply.error(NOT_AN_INTEGER);
        return;
      }
      minimum = Math.max(0, given);
    } else {
      reply.error(SYNTAX_ERROR);
      return;
    }
  }
  if (wantsLength && wantsIndexes) {
    reply.error('ERR If you want both the length and indexes, please just use IDX.');
    return;
  }
  const left = lookUp(context, 0) ? value.buffer.subarray(value.start, value.end) : Buffer.alloc(0);
  const right = lookUp(context, 1) ? value.buffer.subarray(value.start, value.end) : Buffer.alloc(0);
  // Redis's bound on the table, which has a cell per pair of bytes, keeps one command from taking the thread for long.
  if ((left.length + 1) * (right.length + 1) * CELL_BYTES > valueBytesMax) {
    reply.error('ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len');
    return;
  }
  const lengths = fillTable(left, right);
  const total = lengths[lengths.length - 1] as number;
  if (wantsLength) {
    reply.integer(total);
    return;
  }
  const { text, matches } = walkBack(left, right, lengths);
  if (!wantsIndexes) {
    reply.bulk(text, 0, text.length);
    return;
  }
  const shown = matches.filter(({ leftStart, leftEnd }) => leftEnd - leftStart + 1 >= minimum);
  reply.map(2);
  reply.text('matches');
  reply.array(shown.length);
  for (const { leftStart, leftEnd, rightStart, rightEnd } of shown) {
    reply.array(withLength ? 3 : 2);
    reply.array(2);
    reply.integer(leftStart);
    reply.integer(leftEnd);
    reply.array(2);
    reply.integer(rightStart);
    reply.integer(rightEnd);
    if (withLength) reply.integer(leftEnd - leftStart + 1);
  }
  reply.text('len');
  reply.integer(total);
}

/** Cell (i, j), row-major with right.length + 1 columns: the length for the first i and j bytes. */
function fillTable(left: Buffer, right: Buffer): Uint32Array {
  const columns = right.length + 1;
  const lengths = new Uint32Array((left.length + 1) * columns);
  for (let i = 1; i <= left.length; i++) {
    for (let j = 1; j <= right.length; j++) {
      const above = lengths[(i - 1) * columns + j] as number;
      const before = lengths[i * columns + j - 1] as number;
      lengths[i * columns + j] =
        left[i - 1] === right[j - 1] ? (lengths[(i - 1) * columns + j - 1] as number) + 1 : Math.max(above, before);
    }
  }
  return lengths;
}

function walkBack(left: Buffer, right: Buffer, lengths: Uint32Array): { text: Buffer; matches: Match[] } {
  const columns = right.length + 1;
  const matches: Match[] = [];
  const bytes: number[] = [];
  let i = left.length;
  let j = right.length;
  while (i > 0 && j > 0) {
    if (left[i - 1] === right[j - 1]) {
      bytes.push(left[i - 1] as number);
      i--;
      j--;
      const open = matches.at(-1);
      if (open !== undefined && open.leftStart === i + 1 && open.rightStart === j + 1) {
        open.leftStart = i;
        open.rightStart = j;
      } else {
        matches.push({ leftStart: i, leftEnd: i, rightStart: j, rightEnd: j });
      }
    } else if ((lengths[(i - 1) * columns + j] as number) > (lengths[i * columns + j - 1] as number)) {
      i--;
    } else {
      j--;
    }
  }
  return { text: Buffer.from(bytes.reverse()), matches };
}

export const lcsCommands: readonly CommandSpec[] = [
  command({
    name: 'LCS',
    op: 100,
    arity: -3,
    write: false,
    flags: ['readonly'],
    categories: ['string'],
    lastKey: 2,
    acrossRanges: 'refuse',
    repliesValues: oneValue,
    run: lcs,
  }),
];
