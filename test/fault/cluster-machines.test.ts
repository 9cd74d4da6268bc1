/**
 * Three nodes of which one has a bad machine: a clock that jumps, a disk that is full, a disk that takes seconds for a
 * sync. What clients saw is linearizable each time, and the others carry on.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { createPrng } from '../../src/core/prng.ts';
import { ClusterLab } from '../support/cluster-lab.ts';
import { namespacesMissing } from '../support/namespaces.ts';

const missing = namespacesMissing();
const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 2 ** 31);
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';
const STRACE = '/usr/bin/strace';
const MiB = 2 ** 20;

async function folder(t: ExecutionContext): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'skerry-machine-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const withClocks = missing === null && existsSync(FAKETIME) ? test.serial : test.serial.skip;

withClocks('a clock that jumps by an hour, forth and back, breaks no promise (FAILURES 3)', async (t) => {
  t.timeout(300_000);
  const offsets = path.join(await folder(t), 'offset');
  await writeFile(offsets, '+0');
  const env = {
    LD_PRELOAD: FAKETIME,
    FAKETIME_TIMESTAMP_FILE: offsets,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
  const lab = await ClusterLab.start(t, { nodes: 3, prng: createPrng(seed), env: (i) => (i === 1 ? env : {}) });
  for (const offset of ['+1h', '-1h', '+0']) {
    await lab.endure(`a clock is off by ${offset}`, async (workload) => {
      await writeFile(offsets, offset);
      await workload.progress(300);
      // The one with the wrong clock leads for a while, and then no longer.
      await lab.node(await lab.leaderOf('a', 1)).child.kill('SIGSTOP');
      await sleep(1500);
      for (const i of [1, 2, 3]) lab.node(i).child.kill('SIGCONT');
      await workload.progress(300);
    });
  }
});

const withDisks = missing === null ? test.serial : test.serial.skip;

withDisks('a full disk on one node harms nobody, and the node comes back when there is room', async (t) => {
  t.timeout(300_000);
  const mount = await folder(t);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'skerry-test', mount]);
  const lab = await ClusterLab.start(t, {
    nodes: 3,
    prng: createPrng(seed),
    dataDir: (i) => (i === 2 ? path.join(mount, 'data') : undefined),
  });
  t.teardown(() => void execFileSync('umount', ['-l', mount]));
  const filler = path.join(mount, 'filler');
  await lab.endure('a disk is full', async (workload) => {
    const file = await open(filler, 'w');
    const piece = Buffer.alloc(MiB, 1);
    for (let isRoom = true; isRoom;) {
      isRoom = await file.write(piece).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOSPC') throw error;
          return false;
        },
      );
    }
    await file.close();
    await workload.progress(1000);
    await unlink(filler);
    await workload.progress(300);
  });
});

const withStrace = missing === null && existsSync(STRACE) ? test.serial : test.serial.skip;

withStrace('a disk that takes seconds for a sync costs its node the leadership (FAILURES 32)', async (t) => {
  t.timeout(300_000);
  const lab = await ClusterLab.start(t, { nodes: 3, prng: createPrng(seed) });
  await lab.endure('a disk is slow', async (workload) => {
    const slow = await lab.leaderOf('a', 1);
    const asked = (slow % 3) + 1;
    // A batch of the log is one or the other: past the page cache the write is the sync.
    const calls = 'fdatasync,pwrite64';
    const inject = `inject=${calls}:delay_enter=2500000`;
    const strace = spawn(
      STRACE,
      ['-f', '-qq', '-e', `trace=${calls}`, '-e', inject, '-p', String(lab.node(slow).child.pid)],
      { stdio: 'ignore' },
    );
    t.teardown(() => strace.kill('SIGKILL'));
    while ((await lab.leaderOf('a', asked)) === slow) await workload.progress(1);
    await workload.progress(500);
    strace.kill('SIGTERM');
  });
});
