/**
 * The same random commands on a real redis-server and on the state machine: every reply must be the same, byte for byte.
 * What differs on purpose is listed in docs/resp.md and left out here.
 */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ByteWriter } from '../../../../src/codec/byte-writer.ts';
import { Resp2Writer } from '../../../../src/codec/resp/reply-writer.ts';
import type { Prng } from '../../../../src/core/prng.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import { requireCommand } from '../../../../src/core/kv/table.ts';
import type { OrderedStore } from '../../../../src/core/kv/store.ts';
import { MemoryArena } from '../../../../src/engine/memory/arena.ts';
import { ArrayStore } from '../../../support/array-store.ts';
import { argsOf, KvMachine } from '../../../support/kv-machine.ts';
import { randomCommand } from '../../../support/redis-commands.ts';
import type { RedisServer } from '../../../support/redis-server.ts';
import { redisServerVersion, replyEnd, startRedisServer } from '../../../support/redis-server.ts';

const SEED = Number(process.env['KV_SEED'] ?? 20_260_101);
const ROUNDS = Number(process.env['KV_ROUNDS'] ?? 300);
const COMMANDS_PER_ROUND = 200;
const VALUE_BYTES_MAX = 1024 * 1024;

const version = redisServerVersion();
const isComparable = version?.startsWith('7.0.') === true;
const testWithRedis = isComparable ? test.serial : test.skip;
if (!isComparable)
  process.stderr.write(`redis-server 7.0 is not on the PATH (${version ?? 'none'}): replies are not compared with it`);

/** Replies that tell the time may differ by what passed between the two servers. */
const TIME_SLACK: Readonly<Record<string, number>> = { TTL: 2, EXPIRETIME: 2, PTTL: 2000, PEXPIRETIME: 2000 };

function isSame(name: string, theirs: Buffer, ours: Buffer): boolean {
  if (theirs.equals(ours)) return true;
  if (name === 'KEYS') return sortedArray(theirs) === sortedArray(ours);
  const slack = TIME_SLACK[name];
  if (slack === undefined) return false;
  const [theirTime, ourTime] = [theirs, ours].map((bytes) => Number(bytes.toString('latin1', 1, bytes.length - 2)));
  // Redis counts on to 2^63 ms; here no expiry is later than 2^53 ms, the year 287396.
  const farAway = name.startsWith('P') ? 7e15 : 7e12;
  if ((theirTime as number) > farAway) return (ourTime as number) > farAway;
  return Math.abs((theirTime as number) - (ourTime as number)) <= slack;
}

function sortedArray(bytes: Buffer): string {
  const items: string[] = [];
  let at = bytes.indexOf('\r\n') + 2;
  for (let end = 0; at > 0 && at < bytes.length; at = end) {
    end = replyEnd(bytes, at);
    items.push(bytes.toString('latin1', at, end));
  }
  return items.sort().join('');
}

function show(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('latin1').slice(0, 200));
}

function runHere(kv: KvMachine, words: readonly string[]): Buffer {
  const out = new ByteWriter(Buffer.alloc(64));
  kv.runInto(new Resp2Writer(out), requireCommand(words[0] as string), argsOf(words.slice(1)));
  return Buffer.from(out.buffer.subarray(0, out.length));
}

/** Runs commands on both sides and describes the first difference, or returns null. */
async function firstDifference(
  redis: RedisServer,
  store: OrderedStore,
  commands: readonly (readonly string[])[],
): Promise<string | null> {
  const theirs = await redis.run([['FLUSHALL'], ...commands]);
  const kv = new KvMachine({ store, valueBytesMax: VALUE_BYTES_MAX });
  kv.nowMs = Date.now();
  for (const [i, words] of commands.entries()) {
    const their = theirs[i + 1] as Buffer;
    const ours = runHere(kv, words);
    if (isSame(words[0] as string, their, ours)) continue;
    return `${JSON.stringify(words).slice(0, 300)}\n    redis ${show(their)}\n    here  ${show(ours)}`;
  }
  return null;
}

/** Compares rounds of commands; `draw` makes those of one round. Every second round runs on the real engine. */
async function compare(t: ExecutionContext, rounds: number, draw: (prng: Prng) => string[][]): Promise<void> {
  const redis = await startRedisServer(['--proto-max-bulk-len', String(VALUE_BYTES_MAX)]);
  const prng = createPrng(SEED);
  const arena = new MemoryArena({ maxBytes: 2 ** 28 });
  const differences: string[] = [];
  try {
    for (let round = 0; round < rounds && differences.length < 20; round++) {
      const engine = round % 2 === 0 ? arena.createStore() : null;
      const difference = await firstDifference(redis, engine ?? new ArrayStore(), draw(prng));
      engine?.destroy();
      if (difference !== null) differences.push(difference);
    }
  } finally {
    await redis.stop();
  }
  t.is(differences.join('\n'), '', `seed ${SEED}`);
}

function times<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}

testWithRedis('every command answers as redis-server does, byte for byte', async (t) => {
  await compare(t, ROUNDS, (prng) => times(COMMANDS_PER_ROUND, () => randomCommand(prng)));
});

testWithRedis('patterns match the keys that redis-server matches', async (t) => {
  await compare(t, 20, (prng) => {
    const text = (letters: string, lengthMax: number): string =>
      times(prng.below(lengthMax), () => letters[prng.below(letters.length)] as string).join('');
    const keys = times(40, () => ['SET', text('ab-]\\^c', 6), 'v']);
    return [...keys, ...times(300, () => ['KEYS', text('ab*?[]^-\\*c', 9)])];
  });
});

testWithRedis('sums of fractions have the digits that redis-server gives them', async (t) => {
  await compare(t, 20, (prng) => {
    const digits = (count: number): string => times(count, () => String(prng.below(10))).join('');
    const number = (): string => {
      const sign = prng.chance(0.5) ? '-' : '';
      const exponent = prng.chance(0.3) ? `e${prng.below(50) - 25}` : '';
      return `${sign}${digits(1 + prng.below(20))}.${digits(prng.below(25))}${exponent}`;
    };
    return times(200, () =>
      prng.chance(0.1) ? ['SET', 'a', number()] : ['INCRBYFLOAT', prng.chance(0.9) ? 'a' : 'b', number()],
    );
  });
});

/** What tells the time, or comes in another order, is compared elsewhere. */
function hasExactReply([name = '']: readonly string[]): boolean {
  return !/^(?:P?TTL|P?EXPIRETIME|KEYS)$/.test(name);
}

testWithRedis('a transaction answers as in redis-server, errors of single commands included', async (t) => {
  const redis = await startRedisServer(['--proto-max-bulk-len', String(VALUE_BYTES_MAX)]);
  const prng = createPrng(SEED);
  const kv = new KvMachine({ valueBytesMax: VALUE_BYTES_MAX });
  try {
    for (let round = 0; round < 200; round++) {
      const commands = times(10, () => randomCommand(prng)).filter(hasExactReply);
      const theirs = (await redis.run([['MULTI'], ...commands, ['EXEC']])).at(-1) as Buffer;
      kv.nowMs = Date.now();
      const exec = ['EXEC', '0'];
      for (const [name, ...args] of commands) {
        exec.push(String(requireCommand(name as string).op), String(args.length), ...args);
      }
      t.is(runHere(kv, exec).toString('latin1'), theirs.toString('latin1'), JSON.stringify(commands));
    }
  } finally {
    await redis.stop();
  }
});
