/** `skerry wal` as a user calls it: output, exit codes, and nothing changed without --force. */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { nodeDisk } from '../../../src/storage/disk.ts';
import { scanWal } from '../../../src/storage/wal/recovery.ts';
import { WalHarness } from '../../support/wal-harness.ts';

const CLI = fileURLToPath(new URL('../../../src/cli/skerry.js', import.meta.url));

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function skerry(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, 'wal', ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** A data directory with a log of four batches; the second one is damaged if asked for. */
function makeData(t: ExecutionContext, isDamaged: boolean): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-cli-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  const log = new WalHarness(nodeDisk, { dir: path.join(dir, 'wal') });
  for (let index = 1; index <= 4; index++) {
    log.append(1 + (index % 2), Math.ceil(index / 2), `value ${index}`);
    log.flush();
  }
  log.writer.stop();
  if (isDamaged) {
    const file = path.join(dir, 'wal', '0000000000000001.wal');
    const bytes = fs.readFileSync(file);
    bytes[8192 + 4096 + 50] = 0xff;
    fs.writeFileSync(file, bytes);
  }
  return dir;
}

test('dump prints records for people and for programs, and filters by range', async (t) => {
  const dir = makeData(t, false);
  const [people, programs, one] = await Promise.all([
    skerry('dump', dir),
    skerry('dump', path.join(dir, 'wal'), '--json'),
    skerry('dump', dir, '--json', '--range', '2', '--limit', '1'),
  ]);
  t.deepEqual([people.code, programs.code, one.code], [0, 0, 0]);
  t.is(people.stdout.trim().split('\n').length, 4);
  t.regex(people.stdout, /range 2 index 1 term 1 {2}data 7 B/);
  const parsed = programs.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { sequence: number });
  t.deepEqual(
    parsed.map(({ sequence }) => sequence),
    [1, 2, 3, 4],
  );
  t.is((JSON.parse(one.stdout) as { rangeId: number }).rangeId, 2);
});

test('verify ends with 0 for a good log and 1 for a damaged one, and names file and offset', async (t) => {
  const good = await skerry('verify', makeData(t, false));
  t.deepEqual([good.code, good.stderr], [0, '']);
  t.regex(good.stdout, /The log is good: 4 valid records/);
  const dir = makeData(t, true);
  const damaged = await skerry('verify', dir);
  t.is(damaged.code, 1);
  t.regex(damaged.stdout, /DAMAGED .*0000000000000001\.wal, offset 12288: the checksum does not match/);
  const verdict = JSON.parse((await skerry('verify', dir, '--json')).stdout) as {
    isUsable: boolean;
    damages: unknown[];
  };
  t.deepEqual([verdict.isUsable, verdict.damages.length], [false, 1]);
});

test('repair changes nothing without --force, and says what is lost with it', async (t) => {
  const dir = makeData(t, true);
  const file = path.join(dir, 'wal', '0000000000000001.wal');
  const before = fs.readFileSync(file);
  const refused = await skerry('repair', dir);
  t.is(refused.code, 1);
  t.is(refused.stdout, '');
  t.regex(refused.stderr, /--force/);
  t.true(fs.readFileSync(file).equals(before));
  t.throws(() => scanWal(nodeDisk, path.join(dir, 'wal')), { code: 'KV_CORRUPT' });

  const repaired = await skerry('repair', dir, '--force');
  t.is(repaired.code, 0);
  t.regex(repaired.stdout, /Lost of range 1: 1 readable records, entries 2 to 2/);
  t.regex(repaired.stdout, /kept in .*cut-/);
  t.is(scanWal(nodeDisk, path.join(dir, 'wal')).recordCount, 1);
  t.is((await skerry('verify', dir)).code, 0);
});

test('a directory without a log, and a wrong option, are told in one line each', async (t) => {
  const none = await skerry('verify', os.tmpdir());
  t.is(none.code, 2);
  t.regex(none.stderr, /There is no write-ahead log in/);
  t.is((await skerry('dump', os.tmpdir(), '--range', 'x')).code, 2);
});

test('the log of a running node is not verified', async (t) => {
  const dir = makeData(t, false);
  const lock = nodeDisk.lockFile(path.join(dir, 'wal', 'LOCK'));
  const { code, stderr } = await skerry('verify', dir);
  lock.release();
  t.is(code, 1);
  t.regex(stderr, new RegExp(`in use by process ${process.pid}`));
});
