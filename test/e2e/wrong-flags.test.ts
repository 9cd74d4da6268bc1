/** Starts that cannot be: each ends at once, with the reason on stderr, nothing on stdout, and the exit code that says whose fault it is. */
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { LAUNCHER, startNode, temporaryDir } from '../support/node-process.ts';

const run = promisify(execFile);
const FREE_PORTS = ['--port', '0', '--resp-port', '0', '--http-port', '0'];
const USED_WRONGLY = 2;
const FAILED = 1;

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
}

async function skerry(args: readonly string[], { env = {}, uid }: Options = {}): Promise<Ended> {
  const options = { env: { ...process.env, ...env }, timeout: 60_000, ...(uid === undefined ? {} : { uid }) };
  try {
    return { code: 0, ...(await run(process.execPath, [LAUNCHER, ...args], options)) };
  } catch (error) {
    return error as Ended;
  }
}

async function serve(t: ExecutionContext, ...flags: string[]): Promise<Ended> {
  return skerry(['serve', '--json', '--data-dir', path.join(await temporaryDir(t), 'data'), ...FREE_PORTS, ...flags]);
}

function refused(t: ExecutionContext, { code, stdout, stderr }: Ended, expected: number, reason: RegExp): void {
  t.is(stdout, '');
  t.regex(stderr, reason);
  t.notRegex(stderr, /\n\s+at /, 'no stack: the user is not our debugger');
  t.is(code, expected);
}

const WRONG_USE: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['a flag that does not exist', ['serve', '--prot', '1'], /unknown option '--prot'\n\(Did you mean --port\?\)/],
  ['a word too many', ['serve', 'now'], /too many arguments for 'serve'/],
  ['a command that does not exist', ['sreve'], /unknown command 'sreve'\n\(Did you mean serve\?\)/],
  ['no command', [], /Usage: skerry/],
  ['a command without its key', ['get'], /missing required argument 'key'/],
  [
    'two wrong values',
    ['serve', '--port', '99999', '--workers', 'x'],
    /--port is "99999"; allowed: .*\n *--workers is "x"/,
  ],
  [
    'one port for two servers',
    ['serve', '--port', '7000', '--resp-port', '7000'],
    /--resp-port and --port are both 7000/,
  ],
  [
    'a pre-split at an empty key',
    ['serve', '--pre-split', 'a,,b'],
    /--pre-split is "a,,b"; allowed: .*1 to 1024 bytes/,
  ],
  ['a pre-split at a key too long', ['serve', '--pre-split', 'k'.repeat(1025)], /--pre-split is .*1 to 1024 bytes/],
  ['a configuration file that is not there', ['serve', '--config', 'none.json'], /--config none.json cannot be read/],
  ['a log that is not there', ['wal', 'verify', 'nowhere'], /There is no write-ahead log in nowhere/],
];

for (const [what, args, reason] of WRONG_USE) {
  test.serial(`wrong use: ${what}`, async (t) => refused(t, await skerry(args), USED_WRONGLY, reason));
}

test.serial('wrong use: an environment variable that is no setting', async (t) => {
  const ended = await skerry(['serve'], { env: { SKERRY_PRT: '1' } });
  refused(t, ended, USED_WRONGLY, /SKERRY_PRT is not a setting; did you mean SKERRY_PORT\?/);
});

test.serial('a port in use is named, whichever server wanted it', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const port = String((other.address() as AddressInfo).port);
  for (const flag of ['--port', '--resp-port', '--http-port']) {
    refused(t, await serve(t, flag, port), FAILED, new RegExp(`cannot listen on 127.0.0.1:${port}`, 'i'));
  }
});

test.serial('an address that this machine does not have is named', async (t) => {
  refused(t, await serve(t, '--host', '203.0.113.7'), FAILED, /cannot listen on 203\.0\.113\.7/i);
});

test.serial('a data folder that is a file is refused', async (t) => {
  const file = path.join(await temporaryDir(t), 'file');
  await writeFile(file, 'precious');
  refused(t, await serve(t, '--data-dir', file), FAILED, /The data folder .*file cannot be used \(ENOTDIR.*--data-dir/);
});

const inProc = existsSync('/proc/self') ? test.serial : test.skip;

inProc('a data folder where none can be made is refused, not tried for ever', async (t) => {
  const pattern = /The data folder \/proc\/skerry cannot be used \(ENOENT.*--data-dir/;
  refused(t, await serve(t, '--data-dir', '/proc/skerry'), FAILED, pattern);
});

// Root reads everything: then the node is started as nobody, if nobody may read our code.
const NOBODY = 65_534;
const uid = process.getuid?.() === 0 ? NOBODY : undefined;
const canStart = uid === undefined || spawnSync(process.execPath, [LAUNCHER, '--version'], { uid }).status === 0;
const withoutRights = canStart && process.platform !== 'win32' ? test.serial : test.skip;
const WHY = canStart ? '' : ' (SKIPPED: we are root, and nobody else may read this checkout)';

withoutRights(`a data folder without the right to read it is refused${WHY}`, async (t) => {
  const dir = await temporaryDir(t);
  await chmod(dir, 0o755);
  await mkdir(path.join(dir, 'locked'), { mode: 0o000 });
  const args = ['serve', '--data-dir', path.join(dir, 'locked', 'data'), ...FREE_PORTS];
  refused(t, await skerry(args, uid === undefined ? {} : { uid }), FAILED, /data folder .* cannot be used \(EACCES/);
});

test.serial('a data folder of a newer format is refused and left as it is', async (t) => {
  const dir = await temporaryDir(t);
  const identity = `{ "format": 99, "storeId": "s", "nodeId": 1 }`;
  await writeFile(path.join(dir, 'node.json'), identity);
  refused(t, await serve(t, '--data-dir', dir), FAILED, /node\.json has format 99.*Start the version that wrote it/);
  t.false((await readdir(dir)).includes('wal'));
});

test.serial('a data folder in use is refused with the process that uses it', async (t) => {
  const dir = await temporaryDir(t);
  const node = await startNode(dir);
  refused(t, await serve(t, '--data-dir', dir), FAILED, new RegExp(`in use by process ${node.child.pid}`));
  t.is(await node.end('SIGTERM'), 0);
});

test.serial('no server there: the client command says where it looked', async (t) => {
  refused(t, await skerry(['get', 'a', '--server', '127.0.0.1:1']), FAILED, /127\.0\.0\.1:1/);
});

test.serial('an old Node hands over to the one that the install brought, or says what is needed', async (t) => {
  const dir = await temporaryDir(t);
  const pretend = path.join(dir, 'pretend.mjs');
  await writeFile(
    pretend,
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.1.0' } });",
  );
  const { stdout } = await run(process.execPath, ['--import', pretend, LAUNCHER, '--version']);
  t.regex(stdout, /^\d+\.\d+\.\d+\n$/);
  const alone = path.join(dir, 'skerry.mjs');
  await copyFile(LAUNCHER, alone);
  const ended = await run(process.execPath, ['--import', pretend, alone, '--version']).catch((error: Ended) => error);
  refused(t, { code: 0, ...ended }, FAILED, /^skerry needs Node\.js 24\.12 or newer; this is 20\.1\.0\.\n$/);
});
