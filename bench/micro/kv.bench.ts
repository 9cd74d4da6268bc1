/**
 * The state machine over the memory engine: batches of 64 commands applied, and single reads, on 200,000 keys of 16 bytes with
 * values of 100 bytes; figures are for one command.
 */
import type { Hlc } from '../../src/core/brands.ts';
import { HLC_LOGICAL_RANGE } from '../../src/core/hlc.ts';
import type { Args } from '../../src/core/kv/args.ts';
import { createArgs } from '../../src/core/kv/args.ts';
import type { RequestId } from '../../src/core/kv/batch.ts';
import { BATCH_HEADER_BYTES, commandBytes, writeBatchHeader, writeCommand } from '../../src/core/kv/batch.ts';
import { discardReply } from '../../src/core/kv/reply.ts';
import { createStateMachine } from '../../src/core/kv/state-machine.ts';
import { lookupCommand, requireCommand } from '../../src/core/kv/table.ts';
import { createPrng } from '../../src/core/prng.ts';
import { MemoryArena } from '../../src/engine/memory/arena.ts';
import { runSuite } from './suite.ts';

const KEYS = 200_000;
const BATCH_COMMANDS = 64;
const VARIANTS = 256;

const prng = createPrng(1);
const machine = createStateMachine({
  store: new MemoryArena({ maxBytes: 2 ** 31 }).createStore(),
  valueBytesMax: 2 ** 26,
});
const listener = { sink: () => discardReply, applied: () => undefined };
let version = Date.now() * HLC_LOGICAL_RANGE;
let sequence = 0;

function argsOf(values: readonly string[]): Args {
  const args = createArgs();
  args.buffer = Buffer.from(values.join(''));
  args.count = values.length;
  let at = 0;
  values.forEach((value, i) => {
    args.start[i] = at;
    at += value.length;
    args.end[i] = at;
  });
  return args;
}

function encode(name: string, all: readonly Args[], requestIds: readonly RequestId[] | null): Buffer {
  const bytes = all.reduce((sum, args) => sum + commandBytes(args, requestIds !== null), BATCH_HEADER_BYTES);
  const batch = Buffer.alloc(bytes);
  let at = BATCH_HEADER_BYTES;
  all.forEach((args, i) => (at = writeCommand(batch, at, requireCommand(name).op, args, requestIds?.[i] ?? null)));
  return batch;
}

function apply(batch: Buffer): void {
  writeBatchHeader(batch, BATCH_COMMANDS, version as Hlc, 1);
  version += BATCH_COMMANDS;
  machine.apply(batch, listener);
}

const keyName = (i: number): string => `key:${String(i).padStart(12, '0')}`;
const randomKey = (prefix = ''): string => prefix + keyName(prng.below(KEYS)).slice(prefix.length);

/** Many batches of the same command on random keys, to be applied in turn. */
function batchesOf(name: string, prefix: string, ...rest: string[]): () => void {
  const batches = Array.from({ length: VARIANTS }, () =>
    encode(
      name,
      Array.from({ length: BATCH_COMMANDS }, () => argsOf([randomKey(prefix), ...rest])),
      null,
    ),
  );
  let next = 0;
  return () => apply(batches[next++ % VARIANTS] as Buffer);
}

function identifiedSets(): () => void {
  const all = Array.from({ length: BATCH_COMMANDS }, () => argsOf([randomKey(), 'v'.repeat(100)]));
  const requestIds = all.map(() => ({ clientId: 1, sequence: 0, floor: 0 }));
  return () => {
    for (const id of requestIds) id.sequence = ++sequence;
    for (const id of requestIds) id.floor = sequence - BATCH_COMMANDS;
    apply(encode('SET', all, requestIds));
  };
}

function readsOf(name: string, keysEach: number): () => void {
  const all = Array.from({ length: VARIANTS }, () => argsOf(Array.from({ length: keysEach }, () => randomKey())));
  const spec = requireCommand(name);
  const nowMs = Date.now();
  let next = 0;
  return () => machine.read(spec, all[next++ % VARIANTS] as Args, nowMs, discardReply);
}

for (let i = 0; i < KEYS; i += BATCH_COMMANDS) {
  apply(
    encode(
      'SET',
      Array.from({ length: BATCH_COMMANDS }, (_, j) => argsOf([keyName(i + j), 'v'.repeat(100)])),
      null,
    ),
  );
}

const name = Buffer.from('..set..');

await runSuite('state machine', [
  { name: 'look up a command by name', run: () => lookupCommand(name, 2, 5) },
  { name: 'SET, values of 100 bytes', run: batchesOf('SET', '', 'v'.repeat(100)), per: BATCH_COMMANDS },
  { name: 'SET with request ids, encoding included', run: identifiedSets(), per: BATCH_COMMANDS },
  { name: 'SETEX', run: batchesOf('SETEX', '', '1000', 'v'.repeat(100)), per: BATCH_COMMANDS },
  { name: 'INCR', run: batchesOf('INCR', 'count:'), per: BATCH_COMMANDS },
  { name: 'DEL of absent keys', run: batchesOf('DEL', 'none:'), per: BATCH_COMMANDS },
  { name: 'GET', run: readsOf('GET', 1) },
  { name: 'EXISTS', run: readsOf('EXISTS', 1) },
  { name: 'MGET of 10 keys', run: readsOf('MGET', 10) },
]);
