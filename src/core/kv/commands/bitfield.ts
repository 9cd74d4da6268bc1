/** BITFIELD: integers of any width inside a string, with wrapping, saturating or failing overflow. */
import type { Args } from '../args.ts';
import { argText } from '../args.ts';
import type { ReplySink } from '../reply.ts';
import type { CommandContext, CommandSpec } from '../spec.ts';
import {
  argIs,
  command,
  find,
  lookUp,
  INT64_MAX,
  integerArg,
  narrow,
  NOT_AN_INTEGER,
  putString,
  scratchBytes,
  SYNTAX_ERROR,
} from './shared.ts';

type Overflow = 'WRAP' | 'SAT' | 'FAIL';

interface Step {
  readonly kind: 'GET' | 'SET' | 'INCRBY';
  readonly isSigned: boolean;
  readonly bits: number;
  readonly offset: number;
  /** SET's value, INCRBY's increment. */
  readonly operand: bigint;
  readonly overflow: Overflow;
}

const BAD_TYPE = 'ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.';
const BAD_OFFSET = 'ERR bit offset is not an integer or out of range';

/** Reads the steps, or returns the error's text. */
function parseSteps(args: Args, valueBytesMax: number): Step[] | string {
  const steps: Step[] = [];
  let overflow: Overflow = 'WRAP';
  for (let i = 1; i < args.count;) {
    if (argIs(args, i, 'OVERFLOW') && i + 1 < args.count) {
      const word = argText(args, i + 1).toUpperCase();
      if (word !== 'WRAP' && word !== 'SAT' && word !== 'FAIL') return 'ERR Invalid OVERFLOW type specified';
      overflow = word;
      i += 2;
      continue;
    }
    const kind = argText(args, i).toUpperCase();
    const wanted = kind === 'GET' ? 2 : kind === 'SET' || kind === 'INCRBY' ? 3 : 0;
    if (wanted === 0 || i + wanted >= args.count) return SYNTAX_ERROR;
    const type = /^([iu])([1-9]\d?)$/.exec(argText(args, i + 1));
    const bits = Number(type?.[2]);
    const isSigned = type?.[1] === 'i';
    if (type === null || bits > (isSigned ? 64 : 63)) return BAD_TYPE;
    const offset = parseOffset(args, i + 2, bits);
    if (offset === null || Math.floor(offset / 8) >= valueBytesMax) return BAD_OFFSET;
    const operand = wanted === 3 ? integerArg(args, i + 3) : 0;
    if (operand === null) return NOT_AN_INTEGER;
    steps.push({ kind: kind as Step['kind'], isSigned, bits, offset, operand: BigInt(operand), overflow });
    i += wanted + 1;
  }
  return steps;
}

/** A bit offset; with a leading '#', in units of the type's width. */
function parseOffset(args: Args, i: number, bits: number): number | null {
  const text = argText(args, i);
  const digits = text.startsWith('#') ? text.slice(1) : text;
  if (!/^(?:0|[1-9]\d{0,14})$/.test(digits)) return null;
  return Number(digits) * (text.startsWith('#') ? bits : 1);
}

function readField(bytes: Buffer, length: number, { offset, bits, isSigned }: Step): bigint {
  let value = 0n;
  for (let at = offset; at < offset + bits; at++) {
    const byte = Math.floor(at / 8);
    const bit = byte < length ? ((bytes[byte] as number) >>> (7 - (at % 8))) & 1 : 0;
    value = (value << 1n) | BigInt(bit);
  }
  return isSigned ? BigInt.asIntN(bits, value) : value;
}

function writeField(bytes: Buffer, { offset, bits }: Step, value: bigint): void {
  let rest = BigInt.asUintN(bits, value);
  for (let at = offset + bits - 1; at >= offset; at--) {
    const byte = Math.floor(at / 8);
    const mask = 0x80 >>> (at % 8);
    const old = bytes[byte] as number;
    bytes[byte] = (rest & 1n) === 1n ? old | mask : old & ~mask;
    rest >>= 1n;
  }
}

/** The value as the type can hold it, or null when FAIL forbids. */
function fit({ kind, isSigned, bits, overflow }: Step, value: bigint): bigint | null {
  const low = isSigned ? -(1n << BigInt(bits - 1)) : 0n;
  const high = isSigned ? (1n << BigInt(bits - 1)) - 1n : (1n << BigInt(bits)) - 1n;
  if (value >= low && value <= high) return value;
  if (overflow === 'FAIL') return null;
  // Redis's test for the upper end overflows itself when a number far below the lower end is set, and takes it for too large.
  const isTooLarge = value > high || (isSigned && kind === 'SET' && value < high - INT64_MAX);
  if (overflow === 'SAT') return isTooLarge ? high : low;
  return isSigned ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
}

function bitfield(isReadOnly: boolean): (context: CommandContext) => void {
  return (context) => {
    const { args, reply, value, valueBytesMax } = context;
    const steps = parseSteps(args, valueBytesMax);
    if (typeof steps === 'string') {
      reply.error(steps);
      return;
    }
    const neededBytes = writtenBytes(steps);
    if (isReadOnly && neededBytes > 0) {
      reply.error('ERR BITFIELD_RO only supports the GET subcommand');
      return;
    }
    const isPresent = neededBytes === 0 ? lookUp(context, 0) : find(context, 0);
    const oldBytes = isPresent ? value.end - value.start : 0;
    reply.array(steps.length);
    if (neededBytes === 0) {
      const old = value.buffer.subarray(value.start, value.start + oldBytes);
      for (const step of steps) reply.integer(narrow(readField(old, oldBytes, step)));
      return;
    }
    const bytes = Math.max(oldBytes, neededBytes);
    const whole = scratchBytes(bytes);
    if (isPresent) value.buffer.copy(whole, 0, value.start, value.end);
    whole.fill(0, oldBytes, bytes);
    for (const step of steps) runStep(whole, bytes, step, reply);
    putString(context, 0, whole, 0, bytes, isPresent ? value.expiresAtMs : 0);
  };
}

/** Length of the string that holds every field that is written; 0 = none is. */
function writtenBytes(steps: readonly Step[]): number {
  let bytes = 0;
  for (const { kind, offset, bits } of steps) {
    if (kind !== 'GET') bytes = Math.max(bytes, Math.floor((offset + bits - 1) / 8) + 1);
  }
  return bytes;
}

function growth(context: CommandContext): number {
  const { args, value, valueBytesMax } = context;
  const steps = parseSteps(args, valueBytesMax);
  const neededBytes = typeof steps === 'string' ? 0 : writtenBytes(steps);
  if (neededBytes === 0) return 0;
  return find(context, 0) ? Math.max(neededBytes, value.end - value.start) : neededBytes;
}

function runStep(whole: Buffer, bytes: number, step: Step, reply: ReplySink): void {
  const old = readField(whole, bytes, step);
  if (step.kind === 'GET') {
    reply.integer(narrow(old));
    return;
  }
  // A negative number set into an unsigned field is a very large one, as a cast in C makes it.
  const operand = step.isSigned ? step.operand : BigInt.asUintN(64, step.operand);
  const fitted = fit(step, step.kind === 'SET' ? operand : old + step.operand);
  if (fitted === null) {
    reply.null();
    return;
  }
  writeField(whole, step, fitted);
  reply.integer(narrow(step.kind === 'SET' ? old : fitted));
}

export const bitfieldCommands: readonly CommandSpec[] = [
  command({
    name: 'BITFIELD',
    op: 85,
    arity: -2,
    write: true,
    flags: ['write', 'denyoom'],
    categories: ['bitmap'],
    growthBytes: growth,
    run: bitfield(false),
  }),
  command({
    name: 'BITFIELD_RO',
    op: 86,
    arity: -2,
    write: false,
    flags: ['readonly', 'fast'],
    categories: ['bitmap'],
    run: bitfield(true),
  }),
];
