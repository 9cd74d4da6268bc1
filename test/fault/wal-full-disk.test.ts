/** The log on a small real file system that fills up. Needs the right to mount a tmpfs; is skipped, and says so, without. */
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { nodeDisk } from '../../src/storage/disk.ts';
import { createIoPool, startWal } from '../../src/storage/wal/pool.ts';
import type { WalHandle } from '../../src/storage/wal/pool.ts';
import { scanWal } from '../../src/storage/wal/recovery.ts';
import { WAL_FULL, WAL_RUNNING } from '../../src/storage/wal/status.ts';
import { canMount, mountSmallDisk, unmount, WITHOUT_MOUNT } from '../support/small-disk.ts';
import { WalClient } from '../support/wal-client.ts';

const MiB = 1024 * 1024;

const onSmallDisk = canMount ? test.serial : test.skip;

async function open(t: ExecutionContext, dir: string): Promise<{ wal: WalHandle; client: WalClient }> {
  const pool = createIoPool(2);
  const client = new WalClient(MiB);
  const wal = await startWal({ dir, pool, workers: [client], segmentBytes: 2 * MiB, retryMs: 20 });
  client.connect(wal);
  wal.replayed();
  t.teardown(async () => {
    await wal.stop();
    await pool.destroy();
  });
  return { wal, client };
}

onSmallDisk(
  `a full disk refuses writes in time, loses nothing, and takes them again when there is room${WITHOUT_MOUNT}`,
  async (t) => {
    const disk = mountSmallDisk(24) as string;
    const dir = path.join(disk, 'wal');
    t.teardown(() => unmount(disk));
    const filler = path.join(disk, 'filler');
    fs.writeFileSync(filler, Buffer.alloc(10 * MiB));
    const { wal, client } = await open(t, dir);
    const value = Buffer.alloc(50_000, 'v');

    const full = once(wal, 'full');
    let index = 0;
    while (client.status === WAL_RUNNING) {
      if (client.append(1, index + 1, value)) index += 1;
      await client.durable();
    }
    await full;
    t.is(client.status, WAL_FULL);
    // What was on its way when the disk filled up becomes durable all the same.
    for (let i = 0; i < 10; i++) t.true(client.append(2, i + 1, value));
    await client.durable();
    const scan = scanWal(nodeDisk, dir);
    t.is(scan.ranges.get(2)?.lastIndex, 10);
    t.is(scan.ranges.get(1)?.lastIndex, index);

    const resumed = once(wal, 'resumed');
    fs.unlinkSync(filler);
    await resumed;
    t.is(client.status, WAL_RUNNING);
    for (let i = 0; i < 40; i++) await client.until(() => client.append(2, i + 11, value));
    await client.durable();
    t.is(scanWal(nodeDisk, dir).ranges.get(2)?.lastIndex, 50);
  },
);

onSmallDisk(`a checkpoint makes room on a full disk, without a byte to spare${WITHOUT_MOUNT}`, async (t) => {
  const disk = mountSmallDisk(16) as string;
  const dir = path.join(disk, 'wal');
  t.teardown(() => unmount(disk));
  const { wal, client } = await open(t, dir);
  const value = Buffer.alloc(50_000, 'v');
  const full = once(wal, 'full');
  let index = 0;
  while (client.status === WAL_RUNNING) {
    if (client.append(1, index + 1, value)) index += 1;
    await client.durable();
  }
  await full;
  // Others take the rest.
  const rest = fs.openSync(path.join(disk, 'others'), 'w');
  try {
    for (;;) fs.writeSync(rest, Buffer.alloc(4096));
  } catch (error) {
    t.is((error as NodeJS.ErrnoException).code, 'ENOSPC');
  }
  fs.closeSync(rest);
  const resumed = once(wal, 'resumed');
  t.true(client.checkpoint(1, index));
  await resumed;
  for (let i = 0; i < 100; i++) await client.until(() => client.append(1, index + i + 1, value));
  await client.durable();
  t.is(scanWal(nodeDisk, dir).ranges.get(1)?.lastIndex, index + 100);
});

onSmallDisk(
  `a start on a full disk reads everything, refuses writes, and goes on when there is room${WITHOUT_MOUNT}`,
  async (t) => {
    const disk = mountSmallDisk(16) as string;
    const dir = path.join(disk, 'wal');
    t.teardown(() => unmount(disk));
    const first = await open(t, dir);
    for (let index = 1; index <= 20; index++) first.client.append(1, index, Buffer.alloc(1000));
    await first.client.durable();
    await first.wal.stop();
    for (const name of fs.readdirSync(dir)) if (name.startsWith('spare-')) fs.unlinkSync(path.join(dir, name));
    const filler = path.join(disk, 'filler');
    fs.writeFileSync(filler, Buffer.alloc(13 * MiB));

    const { wal, client } = await open(t, dir);
    t.is(wal.recovery.ranges.get(1)?.lastIndex, 20);
    await client.until(() => client.status === WAL_FULL);
    client.append(1, 21, Buffer.from('waits'));
    fs.unlinkSync(filler);
    await client.durable();
    t.is(scanWal(nodeDisk, dir).ranges.get(1)?.lastIndex, 21);
  },
);
