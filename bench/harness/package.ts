/**
 * The package that is measured: what users install is plain JavaScript. A checkout runs its TypeScript as it is, which costs
 * each thread some 15 MB for the compiler that takes the types out, and the start half a second.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BUILD = fileURLToPath(new URL('../../ops/build.js', import.meta.url));

/** The command line of the package. */
export const LAUNCHER = fileURLToPath(new URL('./skerry.js', import.meta.url));

/** Makes dist/ of the present sources. Throws when they do not compile. */
export function buildPackage(): void {
  const { status } = spawnSync(process.execPath, [BUILD], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the package cannot be built');
}
