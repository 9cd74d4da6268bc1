// Makes dist/, which is what the published package runs: plain JavaScript with types beside it. In the checkout nothing needs it.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

rmSync(dist, { recursive: true, force: true });
const tsc = spawnSync(process.execPath, [tscPath(), '-p', join(root, 'ops/tsconfig.build.json')], { stdio: 'inherit' });
if (tsc.status !== 0) process.exit(tsc.status ?? 1);

for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  if (file.endsWith('.js')) rewriteThreadUrls(join(dist, file));
}

function tscPath() {
  const folder = join(root, 'node_modules/typescript');
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return join(folder, bin.tsc);
}

/**
 * The compiler turns './a.ts' into './a.js' in imports, but not in `new URL('./a.ts', import.meta.url)`, by which threads
 * are started. A URL that leads nowhere ends the build here rather than a thread at a user's.
 */
function rewriteThreadUrls(file) {
  const source = readFileSync(file, 'utf8');
  const rewritten = source.replaceAll(
    /(\bnew URL\(\s*['"])([^'"]+)\.ts(['"]\s*,\s*import\.meta\.url)/g,
    (_, before, path, after) => {
      const target = resolve(dirname(file), `${path}.js`);
      if (!existsSync(target)) throw new Error(`${file} starts ${path}.ts, but the build has no ${target}`);
      return `${before}${path}.js${after}`;
    },
  );
  if (rewritten !== source) writeFileSync(file, rewritten);
}
