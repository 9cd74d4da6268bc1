/**
 * Nothing acknowledged is ever lost: a node under load is killed at random moments and started again, many times over. Every
 * operation of every connection is recorded, and the whole history, across all the restarts, must be linearizable:
 *
 *     connection 1 (native)  ├ write 1.7 ┤ ├─ read ─┤      ├ write 1.8 ┤ ✗ ......... unknown: it may have happened, or not
 *     connection 2 (Redis)      ├ read ┤  ├ write 2.4 ┤  ├─ read ─┤ ✗ ............. nobody cares
 *                                                                 kill -9 ─▶ start ─▶ ├ read of every key ┤
 *
 * Several connections write to each key, each write its own value, so that any read names its writer; a write that was
 * reported as failed must never be seen. Counters, which every retry or loss would shift, are judged by round.
 */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Redis } from 'ioredis';
import { connect } from '../../src/client/connect.ts';
import { SkerryError } from '../../src/core/errors.ts';
import { createPrng } from '../../src/core/prng.ts';
import type { Prng } from '../../src/core/prng.ts';
import { checkLinearizable } from '../support/linearizability.ts';
import type { Operation } from '../support/linearizability.ts';
import { startNode, temporaryDir } from '../support/node-process.ts';
import type { NodeProcess } from '../support/node-process.ts';

const ROUNDS = Number(process.env['KILL_ROUNDS'] ?? 5);
const NATIVE_CLIENTS = 8;
const REDIS_CLIENTS = 4;
/** On both sides of the cut, so that half of the operations of each connection are forwarded between workers. */
const KEYS = ['a:0', 'a:1', 'a:2', 'z:0', 'z:1', 'z:2'];
const FLAGS = ['--workers', '2', '--pre-split', 'm'];

/** One connection, whatever it speaks. Rejects with `Unknown` when a write may have happened. */
interface Client {
  readonly name: string;
  get(key: string): Promise<string | null>;
  set(key: string, value: string): Promise<void>;
  increment(key: string): Promise<string>;
  close(): Promise<void>;
}

class Unknown extends Error {}

async function nativeWrite<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    if (cause instanceof SkerryError && cause.code === 'KV_UNKNOWN_RESULT') throw new Unknown(cause.message, { cause });
    throw cause;
  }
}

async function nativeClient(name: string, { port }: NodeProcess): Promise<Client> {
  const store = await connect(`skerry://127.0.0.1:${port}`, { retries: 0, as: 'text' });
  return {
    name,
    get: async (key) => (await store.get(key)) ?? null,
    set: async (key, value) => void (await nativeWrite(store.set(key, value))),
    increment: async (key) => String(await nativeWrite(store.command('INCR', [key]))),
    close: () => store.close(),
  };
}

function redisClient(name: string, { respPort }: NodeProcess): Client {
  const options = { retryStrategy: () => null, maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false };
  const redis = new Redis({ port: respPort, ...options });
  let whyClosed: Error | null = null;
  redis.on('error', (error) => (whyClosed = error));
  // The Redis protocol does not say what became of a command when a connection ends.
  const write = <T>(answer: Promise<T>): Promise<T> =>
    answer.catch((cause: unknown) => {
      throw new Unknown(String(whyClosed ?? cause), { cause });
    });
  return {
    name,
    get: (key) => redis.get(key),
    set: async (key, value) => void (await write(redis.set(key, value))),
    increment: async (key) => String(await write(redis.incr(key))),
    close: async () => redis.disconnect(),
  };
}

/** Everything that was asked and answered, in milliseconds of this process's monotonic clock. */
class History {
  readonly operations: Operation[] = [];
  /** Writes that were acknowledged. */
  acknowledged = 0;

  /** Runs one operation and keeps what came of it. Returns false when the connection is of no more use. */
  async record(
    client: string,
    kind: 'read' | 'write' | 'incr',
    key: string,
    value: string | null,
    run: () => Promise<string | null | undefined>,
  ): Promise<boolean> {
    const invokedAt = performance.now();
    const operation = { client, key, kind, invokedAt };
    try {
      const answer = await run();
      const known = { outcome: 'ok', value: answer === undefined ? value : answer } as const;
      this.operations.push({ ...operation, ...known, returnedAt: performance.now() });
      if (kind !== 'read') this.acknowledged++;
      return true;
    } catch (error) {
      if (error instanceof TypeError) throw error;
      const outcome = error instanceof Unknown || kind === 'read' ? 'unknown' : 'failed';
      this.operations.push({ ...operation, value, outcome, returnedAt: null });
      return false;
    }
  }
}

/** What one connection does until it ends: reads, writes with values never used before, counts. */
async function load(client: Client, history: History, round: number, prng: Prng, enough: () => void): Promise<void> {
  const { name } = client;
  for (let i = 0, isOpen = true; isOpen; i++) {
    const key = KEYS[prng.below(KEYS.length)] as string;
    const counter = `${prng.chance(0.5) ? 'a' : 'z'}:count:${round}`;
    const dice = prng.next();
    if (dice < 0.45) {
      const value = `${name}.${round}.${i}`;
      isOpen = await history.record(name, 'write', key, value, async () => void (await client.set(key, value)));
    } else if (dice < 0.5) {
      isOpen = await history.record(name, 'incr', counter, null, () => client.increment(counter));
    } else {
      isOpen = await history.record(name, 'read', key, null, () => client.get(key));
    }
    enough();
  }
}

async function readAll(node: NodeProcess, history: History, keys: readonly string[]): Promise<void> {
  const reader = await nativeClient('reader', node);
  for (const key of keys) await history.record('reader', 'read', key, null, () => reader.get(key));
  await reader.close();
}

async function runRound(t: ExecutionContext, node: NodeProcess, history: History, round: number, prng: Prng) {
  const names = Array.from({ length: NATIVE_CLIENTS }, (_, i) => `native${i}`);
  const clients = await Promise.all(names.map((name) => nativeClient(name, node)));
  for (let i = 0; i < REDIS_CLIENTS; i++) clients.push(redisClient(`redis${i}`, node));
  const target = history.acknowledged + 200 + prng.below(2000);
  let killed: Promise<unknown> | null = null;
  const enough = (): void => {
    if (history.acknowledged >= target) killed ??= node.end('SIGKILL');
  };
  await Promise.all(clients.map((client) => load(client, history, round, prng.fork(), enough)));
  t.not(killed, null, `the node ended by itself: ${node.stderr()}`);
  await killed;
  await Promise.all(clients.map((client) => client.close()));
}

test(`${ROUNDS} times kill -9 under load: nothing acknowledged is lost, all is linearizable (FAILURES 9, 10, 12, 19, 23)`, async (t) => {
  t.timeout(30_000 + ROUNDS * 20_000);
  const dataDir = await temporaryDir(t);
  const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 2 ** 31);
  const prng = createPrng(seed);
  const history = new History();
  for (let round = 0; round < ROUNDS; round++) {
    const node = await startNode(dataDir, FLAGS);
    await readAll(node, history, KEYS);
    await runRound(t, node, history, round, prng);
  }
  const node = await startNode(dataDir, FLAGS);
  const counters = Array.from({ length: ROUNDS }, (_, round) => [`a:count:${round}`, `z:count:${round}`]).flat();
  await readAll(node, history, [...KEYS, ...counters]);
  t.is(await node.end('SIGTERM'), 0);
  const { operations, acknowledged } = history;
  const unknown = operations.filter(({ kind, outcome }) => kind !== 'read' && outcome === 'unknown').length;
  t.log(`seed ${seed}: ${operations.length} operations, ${acknowledged} writes acknowledged, ${unknown} unknown`);
  t.true(KEYS.every((key) => operations.some((operation) => operation.key === key && operation.outcome === 'ok')));
  const verdict = checkLinearizable(operations);
  t.true(verdict.ok, verdict.ok ? '' : verdict.explanation);
});
