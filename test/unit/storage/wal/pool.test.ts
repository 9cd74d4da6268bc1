/** A log on real threads and the real disk. FAILURES 9, 16. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { FatalError } from '../../../../src/core/errors.ts';
import { nodeDisk } from '../../../../src/storage/disk.ts';
import { createIoPool, startWal } from '../../../../src/storage/wal/pool.ts';
import type { StartWalOptions, WalHandle } from '../../../../src/storage/wal/pool.ts';
import { replayWal, scanWal } from '../../../../src/storage/wal/recovery.ts';
import { WAL_POISONED, WAL_STOPPED } from '../../../../src/storage/wal/status.ts';
import { WalClient } from '../../../support/wal-client.ts';
import { FAIL_SYNC_FILE } from '../../../support/wal-faults-disk.ts';

const SEGMENT_BYTES = 2 * 1024 * 1024;

interface Running {
  readonly wal: WalHandle;
  readonly clients: WalClient[];
  readonly stop: () => Promise<void>;
}

function tempDir(t: ExecutionContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-wal-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  return path.join(dir, 'wal');
}

async function start(
  t: ExecutionContext,
  dir: string,
  workers = 1,
  options: Partial<StartWalOptions> = {},
): Promise<Running> {
  const pool = createIoPool(2);
  const clients = Array.from({ length: workers }, () => new WalClient());
  const wal = await startWal({ dir, pool, workers: clients, segmentBytes: SEGMENT_BYTES, ...options });
  for (const client of clients) client.connect(wal);
  wal.replayed();
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (isStopped) return;
    isStopped = true;
    await wal.stop();
    await pool.destroy();
  };
  t.teardown(stop);
  return { wal, clients, stop };
}

test('several workers write through segments, stop, and find everything again', async (t) => {
  const dir = tempDir(t);
  // No idle mark: the records are counted.
  const first = await start(t, dir, 3, { idleMarkMs: 1e6 });
  const value = Buffer.alloc(30_000, 'value');
  for (let index = 1; index <= 60; index++) {
    for (const [worker, client] of first.clients.entries()) {
      await client.until(() => client.append(worker + 1, index, value));
    }
  }
  await Promise.all(first.clients.map((client) => client.durable()));
  const stats = await first.wal.stats();
  t.is(stats.recordCount, 180);
  t.true(stats.segmentIds.length > 2);
  await first.stop();
  t.is(first.clients[0]?.status, WAL_STOPPED);
  await t.throwsAsync(() => first.wal.stats(), { code: 'KV_STATE' });

  const second = await start(t, dir);
  t.deepEqual([...second.wal.recovery.ranges.keys()], [1, 2, 3]);
  const seen: number[] = [];
  replayWal(
    nodeDisk,
    dir,
    second.wal.recovery,
    (id) => id === 2,
    (_type, _flags, _term, _range, index, buffer, from, to) => {
      if (buffer.subarray(from, to).equals(value)) seen.push(index);
    },
  );
  t.deepEqual(
    seen,
    Array.from({ length: 60 }, (_, i) => i + 1),
  );
});

test('a checkpoint frees segments, whose files are used again', async (t) => {
  const { wal, clients } = await start(t, tempDir(t));
  const [client] = clients as [WalClient];
  const value = Buffer.alloc(200_000, 1);
  for (let index = 1; index <= 100; index++) {
    await client.until(() => client.append(1, index, value));
    if (index % 10 === 0) await client.until(() => client.checkpoint(1, index));
    await client.durable();
  }
  const { segmentIds } = await wal.stats();
  t.true((segmentIds.at(-1) as number) > 9);
  t.true(segmentIds.length <= 3, String(segmentIds));
  await wal.stop();
  const files = fs.readdirSync(wal.dir).filter((name) => name.endsWith('.wal'));
  t.true(files.length < 10, files.join(' '));
});

test('FAILURES 16: fsync answers EIO once, then would succeed: fatal, nothing acknowledged, and the start after it is clean', async (t) => {
  const dir = tempDir(t);
  const diskModule = new URL('../../../support/wal-faults-disk.ts', import.meta.url).href;
  const { wal, clients, stop } = await start(t, dir, 2, { diskModule, idleMarkMs: 1e6 });
  const [client, other] = clients as [WalClient, WalClient];
  client.append(1, 1, Buffer.from('safe'));
  await client.durable();
  const fatal = once(wal, 'fatal') as Promise<[FatalError]>;
  fs.writeFileSync(path.join(dir, FAIL_SYNC_FILE), 'x');
  client.append(1, 2, Buffer.from('in doubt'));
  await Promise.all([client, other].map((each) => each.until(() => each.status === WAL_POISONED)));
  const [error] = await fatal;
  t.is(error.name, 'FatalError');
  t.regex(error.message, /EIO.*unknown result/s);
  t.false(fs.existsSync(path.join(dir, FAIL_SYNC_FILE)), 'the next sync would have succeeded');
  t.true(client.appender.durable < client.appender.position);
  other.append(2, 1, Buffer.from('after it'));
  const { syncCount } = await wal.stats();
  t.is(syncCount, 1);
  t.true(other.appender.durable < other.appender.position);
  await stop();
  t.true(client.appender.durable < client.appender.position);

  const again = await start(t, dir);
  t.true((again.wal.recovery.ranges.get(1)?.lastIndex as number) >= 1);
});

test('a log that cannot be opened rejects, lets go of the lock, and changes nothing', async (t) => {
  const dir = tempDir(t);
  const first = await start(t, dir);
  for (const [index, text] of ['a', 'b', 'c'].entries()) {
    first.clients[0]?.append(1, index + 1, Buffer.from(text));
    await first.clients[0]?.durable();
  }
  await first.stop();
  const segment = path.join(dir, '0000000000000001.wal');
  const bytes = fs.readFileSync(segment);
  bytes[8192 + 40] = (bytes[8192 + 40] as number) ^ 1;
  fs.writeFileSync(segment, bytes);
  const pool = createIoPool(2);
  t.teardown(() => pool.destroy());
  const workers = [new WalClient()];
  const opening = startWal({ dir, pool, workers, segmentBytes: SEGMENT_BYTES });
  await t.throwsAsync(opening, { code: 'KV_CORRUPT', message: /0000000000000001\.wal, offset 8192/ });
  t.true(fs.readFileSync(segment).equals(bytes));
  t.notThrows(() => nodeDisk.lockFile(path.join(dir, 'LOCK')).release());
});

test('two processes on one directory are impossible; the second one is told the pid of the first', async (t) => {
  const dir = tempDir(t);
  const { stop } = await start(t, dir);
  const pool = createIoPool(2);
  t.teardown(() => pool.destroy());
  const workers = [new WalClient()];
  await t.throwsAsync(startWal({ dir, pool, workers }), {
    code: 'KV_STATE',
    message: new RegExp(`process ${process.pid}`),
  });

  const disk = new URL('../../../../src/storage/disk.ts', import.meta.url).href;
  const script = `
    const { nodeDisk } = await import(${JSON.stringify(disk)});
    try {
      nodeDisk.lockFile(${JSON.stringify(path.join(dir, 'LOCK'))});
      console.log('taken');
    } catch (error) {
      console.log(error.code + ' ' + error.message);
    }`;
  const run = async (): Promise<string> => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    return stdout.trim();
  };
  t.regex(await run(), new RegExp(`^KV_STATE .*in use by process ${process.pid}:`));
  await stop();
  t.is(await run(), 'taken');
});

test('a process that is killed leaves no lock behind, and what it had acknowledged is there', async (t) => {
  const dir = tempDir(t);
  const child = new URL('../../../support/wal-writing-child.ts', import.meta.url);
  const { fork } = await import('node:child_process');
  const writing = fork(child, [dir], { stdio: 'ignore' });
  let acknowledged = 0;
  const enough = Promise.withResolvers<void>();
  writing.on('message', (index: number) => {
    acknowledged = index;
    if (index === 200) enough.resolve();
  });
  await enough.promise;
  writing.kill('SIGKILL');
  await once(writing, 'exit');
  const { wal } = await start(t, dir);
  t.true((wal.recovery.ranges.get(1)?.lastIndex as number) >= acknowledged);
});

test('scanning a directory with no log finds an empty one', (t) => {
  const scan = scanWal(nodeDisk, path.join(os.tmpdir(), 'skerry-there-is-no-such-directory'));
  t.deepEqual([scan.nextSequence, scan.nextSegmentId, scan.segments.length], [1, 1, 0]);
});
