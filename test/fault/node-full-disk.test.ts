/**
 * A whole node on a small real file system that fills up: writes are refused in words, reads go on, writing resumes when there is
 * room, and whatever was acknowledged outlives kill -9, also on the full disk.
 */
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import { SkerryError } from '../../src/core/errors.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { startNode } from '../support/node-process.ts';
import { RawClient, resp } from '../support/resp-harness.ts';
import { canMount, mountSmallDisk, unmount, WITHOUT_MOUNT } from '../support/small-disk.ts';

const onSmallDisk = canMount ? test.serial : test.skip;
const MiB = 2 ** 20;
const DISK_MIB = 96;
const FLAGS = ['--workers', '2', '--pre-split', 'm', '--wal-segment', '8mb', '--wal-ring', '4mb'];
const VALUE_BYTES = 20_000;
const WRITERS = 8;

type Store = Awaited<ReturnType<typeof connect>>;

/** Each key is written once, with a value of its own. */
const valueOf = (key: string): Buffer => Buffer.alloc(VALUE_BYTES, `${key} `);

/** Writes new keys on both workers until the disk is full; adds what was acknowledged. Returns the refusal. */
async function fill(store: Store, acknowledged: Set<string>, round: string): Promise<SkerryError> {
  let refusal: SkerryError | null = null;
  let next = 0;
  const write = async (): Promise<void> => {
    while (refusal === null) {
      const i = next++;
      const key = `${i % 2 === 0 ? 'a' : 'z'}:${round}:${i}`;
      try {
        await store.set(key, valueOf(key));
        acknowledged.add(key);
      } catch (error) {
        if (!(error instanceof SkerryError)) throw error;
        refusal ??= error;
      }
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  return refusal as unknown as SkerryError;
}

async function allThere(t: ExecutionContext, store: Store, acknowledged: ReadonlySet<string>): Promise<void> {
  const found = new Map<string, Buffer>();
  for await (const { key, value } of store.list()) found.set(key.toString(), value as Buffer);
  const lost = [...acknowledged].filter((key) => found.get(key)?.equals(valueOf(key)) !== true);
  t.deepEqual(lost, []);
}

/** Why it does not take writes; empty when it does. */
async function notReady({ httpPort }: NodeProcess): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${httpPort}/readyz`);
  return response.ok ? '' : response.text();
}

onSmallDisk(`a full disk refuses writes, not reads, and forgets nothing${WITHOUT_MOUNT}`, async (t) => {
  t.timeout(120_000);
  const disk = mountSmallDisk(DISK_MIB) as string;
  t.teardown(() => unmount(disk));
  const dataDir = path.join(disk, 'data');
  const filler = path.join(disk, 'filler');
  let node = await startNode(dataDir, FLAGS);
  t.teardown(async () => void (await node.end('SIGKILL')));
  let store = await connect(`skerry://127.0.0.1:${node.port}`, { retries: 0 });
  t.teardown(() => store.close());
  fs.writeFileSync(filler, Buffer.alloc(40 * MiB));
  const acknowledged = new Set<string>();

  const refusal = await fill(store, acknowledged, 'first');
  t.is(refusal.code, 'KV_DISK_FULL', refusal.message);
  t.true(acknowledged.size > 100);
  await allThere(t, store, acknowledged);
  const redis = await RawClient.connect(node.respPort);
  t.regex(await redis.ask(resp('SET', 'z:redis', 'x'), '-DISKFULL '), /^-DISKFULL .*\r\n$/);
  t.is(await redis.ask(resp('EXISTS', 'z:redis'), ':0\r\n'), ':0\r\n');
  redis.close();
  t.regex(await notReady(node), /disk of the write-ahead log is full/);

  // The disk is as full as before when it starts again.
  await store.close();
  await node.end('SIGKILL');
  node = await startNode(dataDir, FLAGS);
  store = await connect(`skerry://127.0.0.1:${node.port}`, { retries: 0 });
  await allThere(t, store, acknowledged);

  const full = await fill(store, acknowledged, 'second');
  t.is(full.code, 'KV_DISK_FULL', full.message);
  fs.unlinkSync(filler);
  for (let reasons = 'unknown'; reasons !== '';) reasons = await notReady(node);
  const before = acknowledged.size;
  const again = await fill(store, acknowledged, 'third');
  t.is(again.code, 'KV_DISK_FULL', again.message);
  t.true(acknowledged.size > before + 100);

  await store.close();
  await node.end('SIGKILL');
  node = await startNode(dataDir, FLAGS);
  store = await connect(`skerry://127.0.0.1:${node.port}`, { retries: 0 });
  await allThere(t, store, acknowledged);
  t.log(`${acknowledged.size} acknowledged writes of ${VALUE_BYTES} bytes, all there`);
});
