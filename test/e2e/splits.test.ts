/**
 * Commands that concern more than one key of a range, or every range, while ranges are split under them: clients see
 * neither a split nor a word of it.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import { Redis } from 'ioredis';
import { connect } from '../../src/client/connect.ts';
import { startNode } from '../support/node-process.ts';

const KEYS = 400;
const SPLITS = 40;
const CLIENTS = 8;

const keyOf = (i: number): string => `key:${String(i).padStart(4, '0')}`;

test('MULTI, commands without keys and fan-outs know nothing of the splits that go on meanwhile', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'skerry-splits-'));
  const node = await startNode(dir, ['--workers', '2', '--pre-split', keyOf(KEYS / 2)]);
  t.teardown(async () => {
    await node.end('SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  const clients = await Promise.all(
    Array.from({ length: CLIENTS + 3 }, async () => {
      const client = new Redis(node.respPort, '127.0.0.1', { retryStrategy: () => null });
      t.teardown(() => client.disconnect());
      await once(client, 'ready');
      return client;
    }),
  );
  const [counting, scanning, spread, ...writers] = clients as [Redis, Redis, Redis, ...Redis[]];
  await counting.mset(new Map(Array.from({ length: KEYS / 2 }, (_, i) => [keyOf(i), '0'])));
  await counting.mset(new Map(Array.from({ length: KEYS / 2 }, (_, i) => [keyOf(i + KEYS / 2), '0'])));

  let isDone = false;
  const rounds = new Map<string, number>();
  const repeat = async (name: string, step: (round: number) => Promise<unknown>): Promise<void> => {
    for (let round = 0; !isDone; round++) {
      await step(round);
      rounds.set(name, (rounds.get(name) ?? 0) + 1);
    }
  };
  const added = new Map<string, number>();
  const transactions = writers.map((client, writer) =>
    repeat('transactions', async (round) => {
      const key = keyOf((writer + round * CLIENTS) % KEYS);
      const half = 1 + (round % 5);
      const replies = await client.multi().incrby(key, half).incrby(key, half).exec();
      const [first, second] = (replies ?? []).map(([, value]) => Number(value));
      t.is(second, (first as number) + half, 'both, and nothing in between');
      added.set(key, (added.get(key) ?? 0) + 2 * half);
    }),
  );
  const others = [
    repeat('DBSIZE', async () => t.is(await counting.dbsize(), KEYS)),
    repeat('KEYS', async () => t.is(new Set(await counting.keys('*')).size, KEYS)),
    repeat('SCAN', async () => {
      const seen: string[] = [];
      for (let cursor = '0', isFirst = true; isFirst || cursor !== '0'; isFirst = false) {
        const [next, keys] = await scanning.scan(cursor, 'COUNT', 50);
        seen.push(...keys);
        cursor = next;
      }
      t.is(seen.length, KEYS);
      t.is(new Set(seen).size, KEYS);
    }),
    repeat('MGET, EXISTS', async () => {
      const all = Array.from({ length: KEYS }, (_, i) => keyOf(i));
      t.is(await spread.exists(...all), KEYS);
      t.false((await spread.mget(...all)).includes(null));
    }),
    repeat('RANDOMKEY', async () => t.truthy(await spread.randomkey())),
  ];

  const kv = await connect(`skerry://127.0.0.1:${node.port}`);
  for (let i = 1; i <= SPLITS; i++) await kv.splitRange(keyOf(Math.floor((i * 7919) % KEYS)));
  isDone = true;
  await Promise.all([...transactions, ...others]);
  t.is((await kv.ranges()).length, SPLITS + 2);
  t.is(rounds.size, 6);
  for (const [key, sum] of added) t.is(Number(await counting.get(key)), sum, key);

  const more = (async () => {
    for (let i = 1; i <= 10; i++) await kv.splitRange(`${keyOf(i * 31)}:half`);
  })();
  for (let i = 0; i < 10; i++) t.is(await counting.flushall(), 'OK');
  await more;
  t.is(await counting.dbsize(), 0);
  await kv.close();
});
