/** The version of this software, as package.json has it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

export const version: string = (JSON.parse(readFileSync(findPackage(), 'utf8')) as { readonly version: string })
  .version;

function findPackage(): URL {
  // src/server in a checkout, dist/src/server when published.
  return new URL(
    path.extname(import.meta.url) === '.ts' ? '../../package.json' : '../../../package.json',
    import.meta.url,
  );
}
