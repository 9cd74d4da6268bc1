/**
 * Plants a bug to see that the tests notice: imports a module once more, together with all that it imports, with the text of
 * some files changed on the way in. The originals stay loaded as they are.
 *
 *     simulation.ts?planted=voteForgotten ─▶ core-node.ts?planted=… ─▶ raft.ts?planted=… ─▶ ready.ts?planted=…  ◀ changed
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

export interface TextChange {
  /** Under the root of the project. */
  readonly file: string;
  /** Is there exactly once, or importPlanted() rejects: a mutation must not outlive the text that it changes. */
  readonly from: string;
  readonly to: string;
}

const root = new URL('../../', import.meta.url);
const modules = new URL('node_modules/', root);
const planted = new Map<string, readonly TextChange[]>();
let isHooked = false;

/** The module at `url` with the changes, which go under the name `name`. */
export async function importPlanted(url: URL, name: string, changes: readonly TextChange[]): Promise<unknown> {
  hook();
  planted.set(name, changes);
  for (const change of changes) textOf(new URL(change.file, root), [change]);
  const copy = new URL(url);
  copy.searchParams.set('planted', name);
  return import(copy.href);
}

function hook(): void {
  if (isHooked) return;
  isHooked = true;
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const resolved = nextResolve(specifier, context);
      const name = nameIn(context.parentURL);
      const isOurs = resolved.url.startsWith(root.href) && !resolved.url.startsWith(modules.href);
      if (name === null || !isOurs) return resolved;
      const url = new URL(resolved.url);
      url.searchParams.set('planted', name);
      return { ...resolved, url: url.href };
    },
    load(url, context, nextLoad) {
      const name = nameIn(url);
      if (name === null) return nextLoad(url, context);
      const file = new URL(url);
      file.search = '';
      const changes = (planted.get(name) ?? []).filter((change) => new URL(change.file, root).href === file.href);
      return { format: 'module-typescript', source: textOf(file, changes), shortCircuit: true };
    },
  });
}

function nameIn(url: string | undefined): string | null {
  return url?.startsWith('file:') === true ? new URL(url).searchParams.get('planted') : null;
}

function textOf(file: URL, changes: readonly TextChange[]): string {
  let text = readFileSync(fileURLToPath(file), 'utf8');
  for (const { from, to } of changes) {
    const parts = text.split(from);
    if (parts.length !== 2) throw new Error(`${file.pathname} has ${parts.length - 1} times: ${from}`);
    text = parts.join(to);
  }
  return text;
}
