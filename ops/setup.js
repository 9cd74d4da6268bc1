// Makes a fresh clone ready before `npm start`, `npm test` and the other scripts: installs what the lock file names when
// node_modules is missing or older than the lock file. Plain JavaScript, so that any Node with npm can run it.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const lock = `${root}package-lock.json`;
// npm writes this file at the end of every install, so its time says whether the install finished.
const installed = `${root}node_modules/.package-lock.json`;

const fresh =
  existsSync(installed) &&
  existsSync(`${root}node_modules/node/bin`) &&
  statSync(installed).mtimeMs >= statSync(lock).mtimeMs;

if (!fresh) {
  process.stderr.write('skerry: installing dependencies from package-lock.json …\n');
  // The packages want the Node that this very install brings, so the engine check of the old one says nothing.
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (npm.status !== 0) {
    process.stderr.write('skerry: `npm ci` failed; see above. Fix that and run the command again.\n');
    process.exit(1);
  }
}
