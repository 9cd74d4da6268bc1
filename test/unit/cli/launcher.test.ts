/** The launcher under a Node that is too old to run Skerry: it hands over to the one that comes with the installation. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const LAUNCHER = fileURLToPath(new URL('../../../src/cli/skerry.js', import.meta.url));
/** Makes a process believe that it is an old Node; what it starts is told the truth. */
const AS_NODE_20 = [
  '--import',
  'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.0.0"}})',
];

test('a node started by an old Node ends with its launcher, in order', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'skerry-launcher-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const ports = ['--port', '0', '--resp-port', '0', '--http-port', '0', '--peer-port', '0'];
  const serve = [LAUNCHER, 'serve', '--json', '--data-dir', dir, '--workers', '1', '--log-level', 'warn', ...ports];
  const launcher = spawn(process.execPath, [...AS_NODE_20, ...serve], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface(launcher.stdout), 'line')) as [string];
  const { httpPort } = JSON.parse(line) as { httpPort: number };
  t.is((await fetch(`http://127.0.0.1:${httpPort}/healthz`)).status, 200);
  launcher.kill('SIGTERM');
  t.deepEqual(await once(launcher, 'exit'), [0, null], 'the exit code of the node');
  await t.throwsAsync(fetch(`http://127.0.0.1:${httpPort}/healthz`), undefined, 'nobody is left');
});

test('what the command answers is the launcher’s exit code', async (t) => {
  const wrong = spawn(process.execPath, [...AS_NODE_20, LAUNCHER, 'serf'], { stdio: 'ignore' });
  t.deepEqual(await once(wrong, 'exit'), [2, null]);
});
