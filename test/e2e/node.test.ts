/** A node as its users meet it: the client over TCP, the embedded store, splits under load, clear ends. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { connect } from '../../src/client/connect.ts';
import { open, SkerryError } from '../../src/index.ts';
import { LAUNCHER, startNode, temporaryDir, withNode } from '../support/node-process.ts';

const run = promisify(execFile);

test('the client stores, reads, lists and deletes across ranges and workers', async (t) => {
  const node = await withNode(t);
  await using kv = await connect(`skerry://127.0.0.1:${node.port}`, { as: 'text' });
  for (const key of ['a', 'b', 'y', 'z']) t.true(await kv.set(key, `value of ${key}`));
  t.is(await kv.get('a'), 'value of a');
  t.is(await kv.get('none'), undefined);
  t.deepEqual(await kv.getMany(['z', 'none', 'a']), ['value of z', undefined, 'value of a']);
  t.false(await kv.set('a', 'other', { ifAbsent: true }));
  const forwards = await Array.fromAsync(kv.list(), ({ key }) => key);
  t.deepEqual(forwards, ['a', 'b', 'y', 'z']);
  const backwards = await Array.fromAsync(kv.list({ reverse: true, limit: 3 }), ({ key }) => key);
  t.deepEqual(backwards, ['z', 'y', 'b']);
  t.deepEqual(await Array.fromAsync(kv.list({ prefix: 'y' }), ({ key }) => key), ['y']);
  t.true(await kv.delete('a'));
  t.false(await kv.has('a'));
  await kv.batch([
    { type: 'put', key: 'c', value: '1' },
    { type: 'delete', key: 'b' },
  ]);
  t.is(await kv.get('c'), '1');
  const error = await t.throwsAsync(
    kv.batch([
      { type: 'put', key: 'c', value: '2' },
      { type: 'put', key: 'z', value: '2' },
    ]),
    { instanceOf: SkerryError },
  );
  t.is(error.code, 'KV_CROSS_RANGE');
  t.is(await kv.get('c'), '1');
});

test('reads of every consistency find what was written, on this worker and on another', async (t) => {
  const node = await withNode(t);
  await using kv = await connect(`skerry://127.0.0.1:${node.port}`, { as: 'text' });
  for (const consistency of ['linearizable', 'lease', 'stale'] as const) {
    for (const key of ['a', 'z']) {
      await kv.set(key, consistency);
      t.is(await kv.get(key, { consistency }), consistency);
    }
    t.deepEqual(await kv.getMany(['a', 'z'], { consistency }), [consistency, consistency]);
    t.deepEqual(await Array.fromAsync(kv.list({ consistency }), ({ key }) => key), ['a', 'z']);
  }
});

test('values too long for a ring between workers arrive whole', async (t) => {
  const node = await withNode(t);
  await using kv = await connect(`skerry://127.0.0.1:${node.port}`);
  for (const key of ['a', 'z']) {
    const value = Buffer.alloc(5 * 1024 * 1024, key);
    t.true(await kv.set(key, value));
    t.true((await kv.get(key))?.equals(value));
  }
});

test('writes longer than the ring to the log are all answered, however many are under way', async (t) => {
  const node = await withNode(t, ['--workers', '1', '--wal-ring', '4mb']);
  await using kv = await connect(`skerry://127.0.0.1:${node.port}`);
  const value = Buffer.alloc(12 * 1024 * 1024, 'x');
  for (let round = 0; round < 3; round++) {
    const writes = ['a', 'b', 'c'].map((key) => kv.set(key, value));
    t.deepEqual(await Promise.all(writes), [true, true, true]);
  }
});

test('a split under load loses no write, stops nobody and survives a restart (FAILURES 25, 29)', async (t) => {
  const dataDir = await temporaryDir(t);
  const node = await startNode(dataDir, ['--workers', '2']);
  const kv = await connect(`skerry://127.0.0.1:${node.port}`, { as: 'text' });
  const written = new Map<string, string>();
  let isDone = false;
  const write = async (writer: number): Promise<void> => {
    for (let i = 0; !isDone; i++) {
      const key = `key:${writer}:${i % 200}`;
      await kv.set(key, String(i));
      written.set(key, String(i));
    }
  };
  const writers = Array.from({ length: 8 }, (_, writer) => write(writer));
  for (const at of ['key:4', 'key:2', 'key:6', 'key:4:5']) await kv.splitRange(at);
  isDone = true;
  await Promise.all(writers);
  t.is((await kv.ranges()).length, 5);
  const check = async (store: typeof kv): Promise<void> => {
    const read = new Map<string, string>();
    for await (const { key, value } of store.list()) read.set(key, value);
    t.deepEqual([...read].sort(), [...written].sort());
  };
  await check(kv);
  await kv.close();
  await node.end('SIGKILL');
  const again = await startNode(dataDir, ['--workers', '2']);
  await using after = await connect(`skerry://127.0.0.1:${again.port}`, { as: 'text' });
  t.is((await after.ranges()).length, 5);
  await check(after);
  t.is(await again.end('SIGTERM'), 0);
});

test('an embedded store has the same API, keeps its data, and is refused to a second process', async (t) => {
  const dir = await temporaryDir(t);
  {
    await using kv = await open(dir, { as: 'text', settings: { threads: { workers: 2 } } });
    await Promise.all(Array.from({ length: 500 }, (_, i) => kv.set(`key:${i}`, String(i))));
    t.is(await kv.get('key:7'), '7');
    await kv.splitRange('key:3');
    t.is((await kv.ranges()).length, 2);
    t.is((await Array.fromAsync(kv.list())).length, 500);
    const second = await t.throwsAsync(
      run(process.execPath, [LAUNCHER, 'serve', '--data-dir', dir, '--http-port', '0']),
    );
    t.regex(second.message, /process|lock|use/i);
  }
  await using kv = await open(dir, { as: 'text' });
  t.is(await kv.get('key:499'), '499');
  t.is((await kv.ranges()).length, 2);
});

test('a key whose time is over is gone for readers, and its memory is given back', async (t) => {
  const node = await withNode(t);
  await using kv = await connect(`skerry://127.0.0.1:${node.port}`, { as: 'text' });
  await kv.set('soon', 'x', { ttlMs: 30 });
  await kv.set('later', 'x', { ttlMs: 60_000 });
  while ((await kv.command('DBSIZE')) !== 1) await new Promise(setImmediate);
  t.is(await kv.get('soon'), undefined);
  t.is(await kv.get('later'), 'x');
});

test('checkpoints are written while serving, and a restart begins from them', async (t) => {
  const dataDir = await temporaryDir(t);
  const flags = ['--workers', '2', '--pre-split', 'm', '--max-recovery-seconds', '1'];
  const node = await startNode(dataDir, flags);
  const kv = await connect(`skerry://127.0.0.1:${node.port}`, { as: 'text' });
  const value = 'v'.repeat(64 * 1024);
  let i = 0;
  const checkpoints = async (): Promise<number> => {
    const page = await (await fetch(`http://127.0.0.1:${node.httpPort}/metrics`)).text();
    return [...page.matchAll(/^skerry_checkpoints_total\{.*\} (\d+)$/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
  };
  while ((await checkpoints()) < 2 && i < 8000) {
    await Promise.all(Array.from({ length: 50 }, () => kv.set(`${i % 2 === 0 ? 'a' : 'z'}:${i++ % 300}`, value + i)));
  }
  t.true((await checkpoints()) >= 2, `no checkpoint after ${i} writes`);
  const before = await Array.fromAsync(kv.list({ as: 'text' }), ({ key, value: v }) => `${key}=${v.length}`);
  await kv.close();
  await node.end('SIGKILL');
  const again = await startNode(dataDir, flags);
  await using after = await connect(`skerry://127.0.0.1:${again.port}`, { as: 'text' });
  const now = await Array.fromAsync(after.list({ as: 'text' }), ({ key, value: v }) => `${key}=${v.length}`);
  t.deepEqual(now, before);
  t.is(await again.end('SIGTERM'), 0);
});
