import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';

const script = fileURLToPath(new URL('../../../ops/setup.js', import.meta.url));

/** Stands in for npm: notes that it was called and does what `npm ci` does to node_modules, then ends as `ending` says. */
function fakeNpm(ending: string): string {
  return `#!/bin/sh
echo "$@" >> "$PWD/calls"
rm -rf node_modules
mkdir -p node_modules/node/bin
sleep 0.3
echo > node_modules/node/bin/node
${ending}
echo > node_modules/.package-lock.json
`;
}

interface Clone {
  readonly folder: string;
  readonly calls: () => string[];
  readonly setup: () => Promise<{ exitCode: number | null; said: string }>;
  readonly npm: (ending: string) => void;
}

function freshClone(t: ExecutionContext, ending = ''): Clone {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-setup-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const name of ['ops', 'bin']) mkdirSync(join(folder, name));
  copyFileSync(script, join(folder, 'ops/setup.js'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'package-lock.json'), '{}');
  const npm = (text: string): void => {
    writeFileSync(join(folder, 'bin/npm'), fakeNpm(text));
    chmodSync(join(folder, 'bin/npm'), 0o755);
  };
  npm(ending);
  return {
    folder,
    npm,
    calls: () => {
      const file = join(folder, 'calls');
      return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : [];
    },
    setup: () =>
      new Promise((resolve, reject) => {
        const env = { PATH: `${join(folder, 'bin')}:/usr/bin:/bin`, NODE_ENV: 'production' };
        const child = spawn(process.execPath, ['ops/setup.js'], {
          cwd: folder,
          env,
          stdio: ['ignore', 'ignore', 'pipe'],
        });
        let said = '';
        child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
        child.once('error', reject);
        child.once('close', (exitCode) => resolve({ exitCode, said }));
      }),
  };
}

test('a fresh clone is installed once, development packages included; then nothing is done', async (t) => {
  const clone = freshClone(t);
  t.is((await clone.setup()).exitCode, 0);
  t.is(clone.calls().length, 1);
  t.regex(clone.calls()[0] ?? '', /^ci .*--include=dev/);
  const again = await clone.setup();
  t.is(again.exitCode, 0);
  t.is(again.said, '');
  t.is(clone.calls().length, 1);
});

test('a changed lock file is installed, one that was only touched is not', async (t) => {
  const clone = freshClone(t);
  await clone.setup();
  const later = new Date(Date.now() + 60_000);
  utimesSync(join(clone.folder, 'package-lock.json'), later, later);
  await clone.setup();
  t.is(clone.calls().length, 1);
  writeFileSync(join(clone.folder, 'package-lock.json'), '{ "packages": {} }');
  await clone.setup();
  t.is(clone.calls().length, 2);
});

test('an install that was interrupted is done again', async (t) => {
  const clone = freshClone(t, 'kill -9 $$');
  const killed = await clone.setup();
  t.is(killed.exitCode, 1);
  t.true(existsSync(join(clone.folder, 'node_modules/node/bin/node')));
  clone.npm('');
  t.is((await clone.setup()).exitCode, 0);
  t.is(clone.calls().length, 2);
});

test('two at once install once: the second waits', async (t) => {
  const clone = freshClone(t);
  const results = await Promise.all([clone.setup(), clone.setup(), clone.setup()]);
  t.deepEqual(
    results.map(({ exitCode }) => exitCode),
    [0, 0, 0],
  );
  t.is(clone.calls().length, 1);
  t.false(existsSync(join(clone.folder, '.setup.lock')));
});

test('the lock of a process that was killed holds nobody up', async (t) => {
  const clone = freshClone(t);
  const dead = spawn(process.execPath, ['-e', '']);
  await new Promise((resolve) => dead.once('exit', resolve));
  writeFileSync(join(clone.folder, '.setup.lock'), String(dead.pid));
  t.is((await clone.setup()).exitCode, 0);
  t.is(clone.calls().length, 1);
});

test('what was installed by hand with npm is taken as it is', async (t) => {
  const clone = freshClone(t);
  mkdirSync(join(clone.folder, 'node_modules/node/bin'), { recursive: true });
  writeFileSync(join(clone.folder, 'node_modules/node/bin/node'), '');
  writeFileSync(join(clone.folder, 'node_modules/.package-lock.json'), '{}');
  t.is((await clone.setup()).exitCode, 0);
  t.deepEqual(clone.calls(), []);
});

test('a failure is said in one clear line, and leaves no lock', async (t) => {
  const clone = freshClone(t, 'echo "npm error code EAI_AGAIN" >&2; exit 1');
  const offline = await clone.setup();
  t.is(offline.exitCode, 1);
  t.regex(offline.said, /skerry: the packages could not be fetched: no network/);
  t.false(existsSync(join(clone.folder, '.setup.lock')));

  clone.npm('echo "npm error something" >&2; exit 1');
  t.regex((await clone.setup()).said, /npm error something\nskerry: `npm ci` failed, see above/);

  clone.npm('rm node_modules/node/bin/node');
  t.regex((await clone.setup()).said, /the Node runtime was not installed/);
});

test('a machine without npm is told so', async (t) => {
  const clone = freshClone(t);
  const child = spawn(process.execPath, ['ops/setup.js'], {
    cwd: clone.folder,
    env: { PATH: join(clone.folder, 'ops') },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
  const exitCode = await new Promise((resolve) => child.once('close', resolve));
  t.is(exitCode, 1);
  t.regex(said, /skerry: npm was not found/);
});
