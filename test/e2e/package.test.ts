/** The published package: built, packed, installed in an empty folder, and the README's first example and the command run from there. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

test('a tarball installed in an empty folder runs the first example of the README, and serves and measures', async (t) => {
  t.timeout(300_000);
  const dir = await mkdtemp(path.join(tmpdir(), 'skerry-package-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const { stdout } = await run('npm', ['pack', '--json', '--loglevel=error', '--pack-destination', dir], { cwd: ROOT });
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string }];
  await writeFile(path.join(dir, 'package.json'), '{ "private": true, "type": "module" }');
  await run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', `./${filename}`], { cwd: dir });
  await writeFile(
    path.join(dir, 'example.js'),
    `import { open } from 'skerry';
     await using kv = await open('./data', { as: 'text' });
     await kv.set('user:1', 'Ada');
     await kv.set('session:9', 'x', { ttlMs: 60_000, ifAbsent: true });
     console.log(await kv.get('user:1'));
     for await (const { key, value } of kv.list({ prefix: 'user:' })) console.log(key, value);
     await kv.batch([{ type: 'put', key: 'user:2', value: 'Grace' }, { type: 'delete', key: 'user:1' }]);`,
  );
  const example = await run(process.execPath, ['example.js'], { cwd: dir });
  t.is(example.stdout, 'Ada\nuser:1 Ada\n');

  const command = path.join('node_modules', 'skerry', 'src', 'cli', 'skerry.js');
  const settings = ['--port', '0', '--resp-port', '0', '--http-port', '0', '--peer-port', '0', '--log-level', 'warn'];
  const node = spawn(process.execPath, [command, 'serve', '--json', '--data-dir', 'served', ...settings], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => node.kill('SIGKILL'));
  const [line] = (await once(createInterface(node.stdout), 'line')) as [string];
  const { port, httpPort } = JSON.parse(line) as { port: number; httpPort: number };
  const flags = ['--server', `127.0.0.1:${port}`, '--http', `127.0.0.1:${httpPort}`, '--requests', '100', '--json'];
  // Its generator is a thread, which the package has to bring too.
  const bench = await run(process.execPath, [command, 'bench', 'set', ...flags], { cwd: dir });
  const { runs } = JSON.parse(bench.stdout) as { runs: { operations: number }[] };
  t.is(runs[0]?.operations, 100);
});
