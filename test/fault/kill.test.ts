/**
 * Nothing acknowledged is ever lost: a node under load is killed at random moments, started again, and every write that it
 * acknowledged must read back. A write that was under way may be there or not, but never another value.
 *
 * Each key belongs to one writer, which writes 1, 2, 3 … to it, one at a time: after a crash the key holds the last
 * acknowledged number, or the one that was under way. That is linearizability for a single writer per key.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import { SkerryError } from '../../src/core/errors.ts';
import { createPrng } from '../../src/core/prng.ts';
import { startNode } from '../support/node-process.ts';

const ROUNDS = Number(process.env['KILL_ROUNDS'] ?? 5);
const WRITERS = 16;

interface Writer {
  readonly key: string;
  acknowledged: number;
  /** Sent and not known to have happened; 0 = none. */
  attempted: number;
}

test(`${ROUNDS} times kill -9 under load: every acknowledged write reads back (FAILURES 9, 12, 23)`, async (t) => {
  t.timeout(600_000);
  const dataDir = await mkdtemp(path.join(tmpdir(), 'skerry-kill-'));
  t.teardown(() => rm(dataDir, { recursive: true, force: true }));
  const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 2 ** 31);
  t.log(`seed ${seed}`);
  const prng = createPrng(seed);
  // Keys on both sides of the cut, so that half of the writes are forwarded between workers.
  const writers = Array.from({ length: WRITERS }, (_, i): Writer => {
    return { key: `${i % 2 === 0 ? 'a' : 'z'}:${i}`, acknowledged: 0, attempted: 0 };
  });
  for (let round = 0; round < ROUNDS; round++) {
    const node = await startNode(dataDir, ['--workers', '2', '--pre-split', 'm']);
    await check(writers, node.port, t);
    const store = await connect(`skerry://127.0.0.1:${node.port}`, { retries: 0, as: 'text' });
    const target = writers.reduce((sum, { acknowledged }) => sum + acknowledged, 0) + 200 + prng.below(2000);
    let killed: Promise<unknown> | null = null;
    const write = async (writer: Writer): Promise<void> => {
      while (killed === null) {
        writer.attempted = writer.acknowledged + 1;
        try {
          await store.set(writer.key, String(writer.attempted));
        } catch (error) {
          t.true(error instanceof SkerryError, String(error));
          return;
        }
        writer.acknowledged = writer.attempted;
        writer.attempted = 0;
        if (killed === null && writers.reduce((sum, { acknowledged }) => sum + acknowledged, 0) >= target) {
          killed = node.end('SIGKILL');
        }
      }
    };
    await Promise.all(writers.map(write));
    await killed;
    await store.close();
  }
  const node = await startNode(dataDir, ['--workers', '2']);
  await check(writers, node.port, t);
  t.is(await node.end('SIGTERM'), 0);
  t.true(writers.every(({ acknowledged }) => acknowledged > 0));
});

async function check(writers: readonly Writer[], port: number, t: ExecutionContext): Promise<void> {
  const store = await connect(`skerry://127.0.0.1:${port}`, { as: 'text' });
  for (const writer of writers) {
    const read = Number((await store.get(writer.key)) ?? 0);
    const allowed = [writer.acknowledged, ...(writer.attempted > 0 ? [writer.attempted] : [])];
    t.true(allowed.includes(read), `${writer.key} holds ${read}; possible are ${allowed.join(' and ')}`);
    writer.acknowledged = read;
    writer.attempted = 0;
  }
  await store.close();
}
