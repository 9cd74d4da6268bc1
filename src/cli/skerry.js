#!/usr/bin/env node
// Starts the command line. Plain JavaScript that any Node can read: an old one hands over to the Node that the development
// install brings, or says in one line what is needed.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const NEEDED = [24, 12];
const [major, minor] = process.versions.node.split('.').map(Number);
const isOld = major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1]);
const bundled = fileURLToPath(new URL('../../node_modules/node/bin/node', import.meta.url));

if (isOld && existsSync(bundled)) {
  const child = spawnSync(bundled, process.argv.slice(1), { stdio: 'inherit' });
  process.exit(child.status ?? 1);
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
