/**
 * All commands that run on ranges, and how they are found: by name from clients, by code from the log.
 *
 * Codes are on disk and on the wire: a code never changes its command. Families have their tens:
 * strings 1, counters 20, expiry 40, keys 60, bitmaps 80, texts 100, native 120, server 140, transactions 160.
 */
import { assert } from '../assert.ts';
import { bitmapCommands } from './commands/bitmaps.ts';
import { bitfieldCommands } from './commands/bitfield.ts';
import { counterCommands } from './commands/counters.ts';
import { createExecCommand } from './commands/exec.ts';
import { expiryCommands } from './commands/expiry.ts';
import { keyCommands } from './commands/keys.ts';
import { lcsCommands } from './commands/lcs.ts';
import { nativeCommands } from './commands/native.ts';
import { scanCommands } from './commands/scan.ts';
import { serverCommands } from './commands/server.ts';
import { stringCommands } from './commands/strings.ts';
import type { CommandSpec } from './spec.ts';
import { CONSISTENCY_LEASE, CONSISTENCY_STALE, OP_CODE_MASK } from './spec.ts';

const byOp: (CommandSpec | undefined)[] = [];
const byName = new Map<string, CommandSpec>();

export const execCommand = createExecCommand(commandByOp);

export const allCommands: readonly CommandSpec[] = [
  ...stringCommands,
  ...counterCommands,
  ...expiryCommands,
  ...keyCommands,
  ...scanCommands,
  ...bitmapCommands,
  ...bitfieldCommands,
  ...lcsCommands,
  ...nativeCommands,
  ...serverCommands,
  execCommand,
];

/**
 * Names by a hash of their upper-cased bytes, open addressing. The size keeps chains short; a name of a stranger costs as
 * little as one of ours.
 */
const SLOTS = 512;
const slots: (CommandSpec | undefined)[] = Array.from({ length: SLOTS });

for (const spec of allCommands) {
  assert(byOp[spec.op] === undefined, 'command table: a code is used twice');
  assert(!byName.has(spec.name), 'command table: a name is used twice');
  byOp[spec.op] = spec;
  byName.set(spec.name, spec);
  if (spec.flags.includes('internal')) continue;
  const name = Buffer.from(spec.name);
  let slot = hashName(name, 0, name.length);
  while (slots[slot] !== undefined) slot = (slot + 1) % SLOTS;
  slots[slot] = spec;
}

function hashName(buffer: Buffer, start: number, end: number): number {
  let hash = end - start;
  // Clearing bit 5 makes letters upper case; what else it joins, the comparison tells apart.
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + ((buffer[i] as number) & 0xdf)) | 0;
  return (hash >>> 0) % SLOTS;
}

function isName(name: string, buffer: Buffer, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) {
    const byte = buffer[start + i] as number;
    if ((byte >= 0x61 && byte <= 0x7a ? byte - 32 : byte) !== name.charCodeAt(i)) return false;
  }
  return true;
}

/** The command whose name is buffer[start, end), in any case; internal commands are not found. Allocates nothing. */
export function lookupCommand(buffer: Buffer, start: number, end: number): CommandSpec | undefined {
  for (let slot = hashName(buffer, start, end); ; slot = (slot + 1) % SLOTS) {
    const spec = slots[slot];
    if (spec === undefined || isName(spec.name, buffer, start, end)) return spec;
  }
}

/** By upper-case name, internal commands included. */
export function commandByName(name: string): CommandSpec | undefined {
  return byName.get(name);
}

/**
 * Codes of two bytes are on disk and on the wire; on its way inside a cluster a command carries how it is to be run above
 * them: bits 16 and 17 a read's consistency, bit 18 whether its reply is to be explained.
 */
const CONSISTENCY_SHIFT = 16;
const CONSISTENCY_MASK = 3;
const EXPLAIN_BIT = 1 << 18;
const VARIANT_MAX = OP_CODE_MASK | (CONSISTENCY_MASK << CONSISTENCY_SHIFT) | EXPLAIN_BIT;
const variants = new Map<number, CommandSpec>();

export function commandByOp(op: number): CommandSpec | undefined {
  return op <= OP_CODE_MASK ? byOp[op] : variantByOp(op);
}

function variantByOp(op: number): CommandSpec | undefined {
  const known = variants.get(op);
  if (known !== undefined) return known;
  const base = byOp[op & OP_CODE_MASK];
  const consistency = (op >>> CONSISTENCY_SHIFT) & CONSISTENCY_MASK;
  if (base === undefined || op > VARIANT_MAX || consistency > (base.write ? CONSISTENCY_LEASE : CONSISTENCY_STALE)) {
    return undefined;
  }
  const spec = { ...base, op, consistency, explain: (op & EXPLAIN_BIT) !== 0 };
  variants.set(op, spec);
  return spec;
}

/** The same read with a consistency of its own (CONSISTENCY_*), which goes with it wherever it is sent. Writes have none. */
export function withConsistency(spec: CommandSpec, consistency: number): CommandSpec {
  if (consistency === CONSISTENCY_LEASE || spec.write) return spec;
  return variantByOp(spec.op | (consistency << CONSISTENCY_SHIFT)) ?? spec;
}

/** The same command with its reply explained, wherever it is sent. */
export function withExplanation(spec: CommandSpec): CommandSpec {
  return variantByOp(spec.op | EXPLAIN_BIT) ?? spec;
}

/** For the store's own use: throws AssertionFailed when there is no such command. */
export function requireCommand(name: string): CommandSpec {
  const spec = byName.get(name);
  assert(spec !== undefined, 'command table: no such command');
  return spec;
}
