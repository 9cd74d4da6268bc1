#!/usr/bin/env node
// Starts the command line. Plain JavaScript that any Node can read: an old one hands over to the Node that the development
// install brings, or says in one line what is needed.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const NEEDED = [24, 12];
const [major, minor] = process.versions.node.split('.').map(Number);
const isOld = major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1]);
const bundled = fileURLToPath(new URL('../../node_modules/node/bin/node', import.meta.url));

if (isOld && existsSync(bundled)) {
  const child = spawn(bundled, process.argv.slice(1), { stdio: 'inherit' });
  // Whoever stops this process means the one that does the work. A terminal's Ctrl-C reaches both by itself.
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  process.on('SIGINT', () => undefined);
  child.once('error', (error) => {
    process.stderr.write(`skerry: ${bundled} cannot be started: ${error.message}\n`);
    process.exit(1);
  });
  child.once('exit', (code, signal) => {
    process.removeAllListeners(signal);
    if (signal === null) process.exit(code);
    process.kill(process.pid, signal);
  });
} else if (isOld) {
  process.stderr.write(`skerry needs Node.js ${NEEDED.join('.')} or newer; this is ${process.versions.node}.\n`);
  process.exit(1);
} else {
  const source = new URL('./main.ts', import.meta.url);
  const { run } = await import(
    existsSync(source) ? source.href : new URL('../../dist/src/cli/main.js', import.meta.url).href
  );
  await run(process.argv);
}
