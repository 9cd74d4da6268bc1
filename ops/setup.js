// Makes a fresh clone ready before `npm start`, `npm test` and the other scripts: installs what package-lock.json names
// when that is not what node_modules holds. Plain JavaScript without dependencies, so that any Node from 20 on can run it.
//
//     node_modules/.skerry-setup    the lock file's hash, written when an install has ended well; `npm ci` removes it with
//                                   the folder when it begins, so an interrupted install is never taken for a whole one
//     .setup.lock                   pid of the process that is installing; a second one waits for it
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR_MIN = 20;
const POLL_MS = 200;
/** After so long the lock's pid belongs to somebody else by now. */
const LOCK_AGE_MAX_MS = 30 * 60_000;

class SetupFailed extends Error {}

const root = fileURLToPath(new URL('..', import.meta.url));
const lockFile = `${root}package-lock.json`;
const stamp = `${root}node_modules/.skerry-setup`;
const setupLock = `${root}.setup.lock`;

try {
  if (!isReady()) {
    requireNode();
    underLock(() => {
      // Somebody else may have installed while we waited.
      if (!isReady()) install();
    });
  }
} catch (error) {
  if (!(error instanceof SetupFailed)) throw error;
  say(error.message);
  process.exitCode = 1;
}

function wantedStamp() {
  const hash = createHash('sha256').update(readFileSync(lockFile)).digest('hex');
  return `${hash} ${process.platform} ${process.arch}\n`;
}

function isReady() {
  if (existsSync(stamp)) return readFileSync(stamp, 'utf8') === wantedStamp();
  // Installed by hand with npm, which writes this file of its own at the very end.
  const hidden = `${root}node_modules/.package-lock.json`;
  const byHand = existsSync(hidden) && hasRuntime() && statSync(hidden).mtimeMs >= statSync(lockFile).mtimeMs;
  if (byHand) writeFileSync(stamp, wantedStamp());
  return byHand;
}

function hasRuntime() {
  return existsSync(`${root}node_modules/node/bin/${process.platform === 'win32' ? 'node.exe' : 'node'}`);
}

function requireNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major >= NODE_MAJOR_MIN) return;
  throw new SetupFailed(
    `this is Node ${process.versions.node}; Node ${NODE_MAJOR_MIN} or newer is needed to install (the right one to run comes with it).`,
  );
}

function underLock(work) {
  for (let waited = false; !tryLock(); waited = true) {
    const owner = lockOwner();
    if (owner === null) continue;
    if (!owner.alive) {
      rmSync(setupLock, { force: true });
      continue;
    }
    if (!waited) say(`waiting for the installation that process ${owner.pid} is doing …`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
  }
  try {
    work();
  } finally {
    rmSync(setupLock, { force: true });
  }
}

function tryLock() {
  try {
    writeFileSync(setupLock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw new SetupFailed(`cannot write ${setupLock}: ${error.message}`);
  }
}

/** Who holds the lock; null when nobody does any more. */
function lockOwner() {
  try {
    const pid = Number(readFileSync(setupLock, 'utf8'));
    const ageMs = Date.now() - statSync(setupLock).mtimeMs;
    // A lock without a pid is being written right now.
    return { pid, alive: ageMs < LOCK_AGE_MAX_MS && (pid === 0 || isAlive(pid)) };
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw new SetupFailed(`cannot read ${setupLock}: ${error.message}`);
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function install() {
  say('installing dependencies from package-lock.json; this takes a minute …');
  // Under npm, the npm that runs us; else the one on the PATH.
  const running = process.env.npm_execpath ?? '';
  const command = basename(running) === 'npm-cli.js' ? [process.execPath, running] : ['npm'];
  // Tests and start need the development packages (the Node runtime is one), whatever NODE_ENV says; and the engines that
  // packages ask for are those of the Node that this very install brings.
  const options = ['ci', '--include=dev', '--engine-strict=false', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = spawnSync(command[0], [...command.slice(1), ...options], {
    cwd: root,
    stdio: ['ignore', 2, 'pipe'],
    encoding: 'utf8',
    shell: process.platform === 'win32' && command.length === 1,
  });
  process.stderr.write(npm.stderr ?? '');
  if (npm.error?.code === 'ENOENT')
    throw new SetupFailed('npm was not found. It comes with Node.js: https://nodejs.org');
  if (npm.error !== undefined) throw new SetupFailed(`npm could not be started: ${npm.error.message}`);
  if (npm.status !== 0) {
    const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH/.test(npm.stderr);
    throw new SetupFailed(
      offline
        ? 'the packages could not be fetched: no network, or no way to the package registry. Once installed, no network is needed.'
        : '`npm ci` failed, see above. Mend that and run the command again.',
    );
  }
  if (!hasRuntime())
    throw new SetupFailed('the Node runtime was not installed: are install scripts switched off (ignore-scripts)?');
  writeFileSync(stamp, wantedStamp());
}

function say(text) {
  process.stderr.write(`skerry: ${text}\n`);
}
