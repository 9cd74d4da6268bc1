/**
 * Runs the micro benchmarks, all of them or those whose name contains a word given.
 *
 * A suite is a program `*.bench.ts` in this folder or in src/sharedarraybuffer-ring/bench that runs itself with benny. Each
 * has a process of its own, so that none meets the heap and the compiled code of another.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const folders = ['./', '../../src/sharedarraybuffer-ring/bench/'].map((folder) => new URL(folder, import.meta.url));

function findSuites(): { readonly name: string; readonly file: URL }[] {
  return folders.flatMap((folder) => {
    const names = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.name.endsWith('.bench.ts'));
    return names.map(({ name }) => ({ name: basename(name, '.bench.ts'), file: new URL(name, folder) }));
  });
}

function run(file: URL): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fileURLToPath(file)], { stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (exitCode) => resolve(exitCode ?? 1));
  });
}

/** True when all went well. */
export async function runMicro(words: readonly string[]): Promise<boolean> {
  const all = findSuites();
  const chosen = all.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
  if (chosen.length === 0) {
    console.error(`No suite is called ${words.join(' or ')}. There is: ${all.map(({ name }) => name).join(', ')}.`);
    return false;
  }
  let isWell = true;
  for (const { name, file } of chosen) {
    console.error(`\n# ${name}`);
    // One after another: two at once would measure each other.
    // oxlint-disable-next-line no-await-in-loop
    if ((await run(file)) !== 0) isWell = false;
  }
  return isWell;
}
