/** The port to the disk: the real one and the faulty one keep the same promises. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { nodeDisk } from '../../../src/storage/disk.ts';
import type { Disk } from '../../../src/storage/disk.ts';
import { FaultyDisk } from '../../support/faulty-disk.ts';

const disks: [string, () => { disk: Disk; dir: string; end: () => void }][] = [
  [
    'the real disk',
    () => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-disk-'));
      return { disk: nodeDisk, dir, end: () => fs.rmSync(dir, { recursive: true }) };
    },
  ],
  [
    'the faulty disk',
    () => {
      const disk = new FaultyDisk();
      disk.mkdir('/data');
      return { disk, dir: '/data', end: () => undefined };
    },
  ],
];

test('the real disk: folders are made with those above them; what is there already is no error, a file in the way is', (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-disk-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  const deep = path.join(dir, 'a', 'b', 'c');
  nodeDisk.mkdir(deep);
  nodeDisk.mkdir(deep);
  t.true(fs.statSync(deep).isDirectory());
  fs.writeFileSync(path.join(dir, 'file'), 'precious');
  t.throws(() => nodeDisk.mkdir(path.join(dir, 'file')), { code: 'EEXIST' });
  t.throws(() => nodeDisk.mkdir(path.join(dir, 'file', 'below', 'it')), { code: 'ENOTDIR' });
});

for (const [name, make] of disks) {
  test(`${name}: writes, reads, lists, renames, truncates, removes`, (t) => {
    const { disk, dir, end } = make();
    t.teardown(end);
    const file = path.join(dir, 'a');
    t.throws(() => disk.openFile(file, 'r'), { code: 'ENOENT' });
    t.throws(() => disk.openFile(file, 'r+'), { code: 'ENOENT' });
    const opened = disk.openFile(file, 'wx+');
    t.throws(() => disk.openFile(file, 'wx+'), { code: 'EEXIST' });
    opened.write(Buffer.from('..hello..'), 2, 5, 5000);
    t.is(opened.size(), 5005);
    opened.writev([Buffer.from('one '), Buffer.alloc(0), Buffer.from('two '), Buffer.alloc(9000, 'x')], 4090);
    opened.datasync();
    const buffer = Buffer.alloc(20, '-');
    t.is(opened.read(buffer, 3, 10, 4090), 10);
    t.is(buffer.toString(), '---one two xx-------');
    t.is(opened.size(), 13_098);
    t.is(opened.read(buffer, 0, 20, 13_090), 8);
    t.is(opened.read(buffer, 0, 20, 20_000), 0);
    t.is(opened.read(buffer, 0, 4, 0), 4);
    t.is(buffer.toString('latin1', 0, 4), '\0\0\0\0');
    opened.truncate(4094);
    t.is(opened.size(), 4094);
    opened.sync();
    opened.close();
    disk.mkdir(path.join(dir, 'sub', 'folder'));
    disk.mkdir(path.join(dir, 'sub', 'folder'));
    t.deepEqual(disk.list(dir), ['a', 'sub']);
    disk.rename(file, path.join(dir, 'b'));
    disk.syncDir(dir);
    t.false(disk.exists(file));
    const emptied = disk.openFile(path.join(dir, 'b'), 'w+');
    t.is(emptied.size(), 0);
    emptied.close();
    disk.unlink(path.join(dir, 'b'));
    t.deepEqual(disk.list(dir), ['sub']);
    t.throws(() => disk.unlink(path.join(dir, 'b')), { code: 'ENOENT' });
    t.true(disk.freeBytes(dir) > 0);
  });

  test(`${name}: a lock is held once, also within one process`, (t) => {
    const { disk, dir, end } = make();
    t.teardown(end);
    const lock = disk.lockFile(path.join(dir, 'LOCK'));
    t.throws(() => disk.lockFile(path.join(dir, 'LOCK')), { code: 'KV_STATE' });
    lock.release();
    disk.lockFile(path.join(dir, 'LOCK')).release();
  });
}

test('the faulty disk loses what was not synced, keeps what was', (t) => {
  const disk = new FaultyDisk(1);
  disk.mkdir('/d');
  const file = disk.openFile('/d/a', 'w+');
  file.write(Buffer.alloc(8192, 'a'), 0, 8192, 0);
  file.sync();
  disk.syncDir('/d');
  file.write(Buffer.alloc(8192, 'b'), 0, 8192, 4096);
  const lost = disk.clone();
  lost.crash(() => 'old');
  t.is(lost.bytes('/d/a', 4096, 4096).toString(), 'a'.repeat(4096));
  const kept = disk.clone();
  kept.crash(() => 'new');
  t.is(kept.bytes('/d/a', 4096, 4096).toString(), 'b'.repeat(4096));
  const torn = disk.clone(3);
  torn.crash(() => 'torn');
  t.regex(torn.bytes('/d/a', 4096, 4096).toString(), /^b+a+$/);
});

test('the faulty disk forgets names that no syncDir has made durable, in the order of their making', (t) => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const disk = new FaultyDisk(seed);
    disk.mkdir('/d');
    disk.openFile('/d/a', 'w+').sync();
    disk.rename('/d/a', '/d/b');
    disk.openFile('/d/c', 'w+').sync();
    disk.crash();
    outcomes.add(disk.list('/d').join());
  }
  t.deepEqual([...outcomes].sort(), ['', 'a', 'b', 'b,c']);
});

test('after a sync that failed, the faulty disk says ok and has lost the data', (t) => {
  const disk = new FaultyDisk(1);
  disk.mkdir('/d');
  const file = disk.openFile('/d/a', 'w+');
  file.sync();
  disk.syncDir('/d');
  disk.faults.failSyncAfter = 0;
  file.write(Buffer.from('gone'), 0, 4, 0);
  t.throws(() => file.datasync(), { code: 'EIO' });
  file.datasync();
  t.is(disk.bytes('/d/a', 0, 4).toString(), 'gone');
  disk.crash(() => 'new');
  t.not(disk.bytes('/d/a', 0, 4).toString(), 'gone');
});
